"""Libraries that columns are compared with, brought to where a test can call them."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import numba


@cache
def antropy() -> ModuleType:
    """antropy as plain Python: compiling all of it at its import takes longer than our few windows do."""
    before = numba.config.DISABLE_JIT
    numba.config.DISABLE_JIT = True
    try:
        import antropy as found
    finally:
        numba.config.DISABLE_JIT = before
    return found


@cache
def nolds() -> ModuleType:
    """The measures of nolds without its package: its data sets cannot be opened by Python 3.11 (nolds 0.6.3)."""
    package = importlib.util.find_spec("nolds")
    assert package is not None
    assert package.origin is not None
    spec = importlib.util.spec_from_file_location("nolds_measures", Path(package.origin).with_name("measures.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
