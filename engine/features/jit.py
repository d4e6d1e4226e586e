"""How kernels are compiled: numba when it is there and wanted, the same source as plain Python otherwise.

Owns the decorators, the switch ``KESTREL_NUMBA`` and the place of compiled code.  Does not own any kernel.

numba's on-disk cache notices a change of the file that holds the cached function and of nothing that function calls.
Compiled code therefore lies in ``var/numba/<hash of all kernel sources and the numba version>``: another source means
another folder.  ``KESTREL_NUMBA_CACHE`` moves ``var/numba`` elsewhere.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

try:
    if os.environ.get("KESTREL_NUMBA", "1") == "0":
        raise ImportError("switched off by KESTREL_NUMBA=0")
    import numba
except ImportError:
    numba = None

NUMBA_VERSION: str = "off" if numba is None else str(numba.__version__)

_OPTIONS: dict[str, Any] = {
    # No fastmath and no parallel: results must equal the plain Python run bit for bit.
    "nogil": False,
    # Kernels allocate nothing, so nobody counts references to the arrays they are given: eleven locked additions a row,
    # and a heap object for each array that Python hands in.  A kernel that does allocate fails to compile.
    "_nrt": False,
    # Every division is guarded in the source, so the check that raises ZeroDivisionError would be dead weight.
    "error_model": "numpy",
}

if numba is not None:
    from numba.core.compiler import Compiler
    from numba.core.registry import CPUDispatcher

    # numba makes for every function what C and Python would call, and machine code behind it.  A kernel is only ever a
    # part of another function: without all that a set compiles in five sixths of the time.

    class _Part(CPUDispatcher):  # type: ignore[misc]
        """A stray call from Python, which would find no machine code and end the process, runs the Python source."""

        def __call__(self, *arguments: Any) -> Any:
            return self.py_func(*arguments)

    class _PartCompiler(Compiler):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            # The context of this compilation alone.  numba knows a compiled function by the object returned here, which
            # must be a built-in of its own.
            self.state.targetctx.get_executable = lambda *found: list(found).append


def _part(function: F, forceinline: bool) -> F:
    found = numba.njit(
        **_OPTIONS,
        no_cfunc_wrapper=True,
        no_cpython_wrapper=True,
        # Said in so many words: left out, it would be taken over from the function that calls.
        forceinline=forceinline,
        pipeline_class=_PartCompiler,
    )(function)
    found.__class__ = _Part
    compiled: F = found
    return compiled


def enabled() -> bool:
    """True when kernels are compiled."""
    return numba is not None


def kernel(function: F) -> F:
    """A function that kernels may call; compiled into its callers."""
    if numba is None:
        return function
    # Spans become constants only inside the caller; then the sums over them unroll (540 against 780 ns for core40).
    return _part(function, forceinline=True)


def kernel_apart(function: F) -> F:
    """As ``kernel`` for a large function: compiled once, called, and not made part of every caller.

    A body with several loops costs more to compile in place than a call costs to make; its spans are then no constants.
    """
    if numba is None:
        return function
    return _part(function, forceinline=False)


def entry(signature: str) -> Callable[[F], F]:
    """A function that Python calls: compiled for one signature when it is defined, kept on disk."""

    def decorate(function: F) -> F:
        if numba is None:
            return function
        compiled: F = numba.njit(signature, cache=True, **_OPTIONS)(function)
        return compiled

    return decorate


def entry_uncached(signature: str) -> Callable[[F], F]:
    """As ``entry`` for a process that has no folder to write to."""

    def decorate(function: F) -> F:
        if numba is None:
            return function
        compiled: F = numba.njit(signature, **_OPTIONS)(function)
        return compiled

    return decorate


def direct(function: Callable[..., Any]) -> Callable[..., Any]:
    """The C entry of a function compiled for one signature.

    Skips the dispatcher's look at the argument types, which costs twice the call itself; the caller passes exactly the
    declared types.  Falls back to the function where numba does not offer it.
    """
    overloads = getattr(function, "overloads", None)
    if not overloads:
        return function
    compiled = next(iter(overloads.values()))
    found: Callable[..., Any] = getattr(compiled, "entry_point", None) or function
    return found


def python_source(function: Callable[..., Any]) -> Callable[..., Any]:
    """The plain Python function behind a kernel (itself when not compiled)."""
    found: Callable[..., Any] = getattr(function, "py_func", function)
    return found


def cache_folder(sources: Iterable[Path]) -> Path:
    """The folder of compiled code made from exactly these source files."""
    digest = hashlib.sha256(f"numba {NUMBA_VERSION}\n".encode())
    for path in sorted(set(sources)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return cache_root() / digest.hexdigest()[:20]


def cache_root() -> Path:
    """Where all folders of compiled code lie; ``engine.features.kept`` keeps it small."""
    return Path(os.environ.get("KESTREL_NUMBA_CACHE") or Path(__file__).resolve().parents[2] / "var" / "numba")
