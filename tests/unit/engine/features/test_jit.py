"""The switch between compiled and plain kernels."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.features import jit

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("prelude", "environment"),
    [("", {"KESTREL_NUMBA": "0"}), ("import sys; sys.modules['numba'] = None;", {})],
    ids=["switched off", "not installed"],
)
def test_the_same_source_runs_without_numba(prelude: str, environment: dict[str, str]) -> None:
    """A process without it makes a row and has not imported it."""
    code = (
        prelude + "from engine.features import FeatureBuffer, FeatureSpec, jit;"
        "from tests.support.features import instrument, quote;"
        "b = FeatureBuffer(FeatureSpec(name='x', columns=('close', 'bb_upper'), window=2), instrument());"
        "print(b.update(quote(1, 100.0, 101.0)), b.latest('close'), jit.enabled())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True", "100.5", "False"], done.stderr


@pytest.mark.skipif(not jit.enabled(), reason="numba is off")
def test_the_direct_entry_is_the_compiled_function() -> None:
    """Same result as through the dispatcher."""
    double = jit.entry_uncached("float64(float64)")(_double)
    assert jit.direct(double) is not double
    assert jit.direct(double)(2.5) == double(2.5) == 5.0
    assert jit.python_source(double) is _double


@pytest.mark.skipif(not jit.enabled(), reason="numba is off")
@pytest.mark.parametrize("decorate", [jit.kernel, jit.kernel_apart])
def test_a_kernel_called_from_python_runs_its_source(decorate: Callable[..., Any]) -> None:
    """It has no machine code of its own, neither before nor after another function was compiled with it."""
    double = decorate(_double)
    assert double(2.5) == 5.0

    def quadruple(x: float) -> float:
        return double(double(x))

    assert jit.entry_uncached("float64(float64)")(quadruple)(2.5) == 10.0
    assert double(2.5) == 5.0
    assert jit.python_source(double) is _double


def _double(x: float) -> float:
    return 2.0 * x
