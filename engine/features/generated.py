"""Generated source of compiled entry points: its file in the folder of compiled code, its loading, its fallback.

A function that is kept on disk by numba must come from a file, in the folder that is named after all sources it is made
of (``engine.features.jit``).  Owns that file and nothing of what is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from engine.features import jit, kept


def load(name: str, source: str, files: Iterable[Path]) -> ModuleType:
    """Run generated source as a module; its compiled functions come from disk where they are.

    ``source`` decorates its entry points with ``ENTRY`` (from ``engine.features.jit``: ``entry``, or ``entry_uncached``
    where nothing can be written).  ``files`` are the sources of all kernels that it calls.  Raises what the compiler
    raises when the source does not compile.
    """
    if jit.enabled():
        folder = jit.cache_folder(files)
        text = source.replace("ENTRY", "entry")
        path = folder / f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
        # A read-only folder or a damaged cache costs seconds at a start, and nothing else.
        for _ in range(2):
            with contextlib.suppress(Exception):
                _write_once(path, text)
                kept.claim(folder)
                return _execute(text, f"kestrel_{path.stem}", str(path))
            _discard(path)
    return _execute(source.replace("ENTRY", "entry_uncached"), f"kestrel_{name}", f"<{name}>")


def _write_once(path: Path, text: str) -> None:
    """Leave an existing file alone: numba compares its time stamp with the one it compiled."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(text)
    try:
        # Fails when another process was first; its file is the same.
        os.link(scratch, path)
    except FileExistsError:
        pass
    finally:
        scratch.unlink()


def _discard(path: Path) -> None:
    """Remove what may be damaged: numba's files of this module."""
    with contextlib.suppress(OSError):
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def _execute(text: str, name: str, origin: str) -> ModuleType:
    module = ModuleType(name)
    # numba looks the module of a cached function up by name.
    sys.modules[name] = module
    exec(compile(text, origin, "exec"), module.__dict__)
    return module
