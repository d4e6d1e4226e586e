"""One compiled function per spec: takes an event, and when that completes a row computes all columns into the ring.

Owns the generated source, its place on disk and its loading.  The generated module only calls column functions in
order; what they compute is theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from engine.features import jit, kept, layout
from engine.features.column import Column, source_files
from engine.features.layout import State
from engine.features.spec import FeatureSpec

Step = Callable[[State, npt.NDArray[np.float32], int, float, float, float, float, int], int]

_SIGNATURE = "int64(float64[::1], float32[::1], int64, float64, float64, float64, float64, int64)"


class Kernel(NamedTuple):
    """``step(state, ring, kind, a, b, c, d, ts_ns)`` (see ``engine.features.tape``) and the size of its record."""

    step: Step
    state_slots: int
    private: int
    """First slot of the columns' private state; it ends where the values begin."""
    values: int
    """Slot of the first column value; the spec's columns follow in order."""


_built: dict[str, Kernel] = {}


def kernel_for(spec: FeatureSpec) -> Kernel:
    """The kernel of a spec, compiled at most once per process (seconds the first time on a machine, then from disk)."""
    source, state_slots, values = generate(spec.plan, spec.columns, spec.window)
    found = _built.get(source)
    if found is None:
        module = _load(source, source_files(spec.plan))
        found = Kernel(_guarded(module.__dict__["step"]), state_slots, layout.PRIVATE, values)
        _built[source] = found
    return found


def generate(plan: tuple[Column, ...], outputs: tuple[str, ...], window: int) -> tuple[str, int, int]:
    """Source of the kernel, slots of its state, slot of the first value."""
    functions = {column.name: jit.python_source(column.function) for column in plan}
    modules = sorted({function.__module__ for function in functions.values()})
    alias = {module: f"m{i}" for i, module in enumerate(modules)}
    lines = [
        '"""Generated from a feature spec; see engine/features/fused.py."""',
        "",
        "from engine.features import tape",
        *(f"import {module} as {alias[module]}" for module in modules),
        "from engine.features.jit import ENTRY, kernel",
        "",
        "",
        "@kernel",
        "def columns(s):",
    ]
    private = layout.PRIVATE
    variable: dict[str, str] = {}
    for i, column in enumerate(plan):
        function = functions[column.name]
        arguments = ["s"]
        if column.private_slots:
            arguments.append(str(private))
            private += column.private_slots
        arguments += [repr(value) for value in column.params]
        arguments += [variable[used] for used in column.uses]
        variable[column.name] = f"v{i}"
        call = f"{alias[function.__module__]}.{function.__name__}({', '.join(arguments)})"
        lines.append(f"    v{i} = {call}  # {column.name}")
    values = private
    lines += [f"    s[{values + i}] = {variable[name]}" for i, name in enumerate(outputs)]
    lines += [
        "",
        "",
        f"@ENTRY({_SIGNATURE!r})",
        "def step(s, ring, kind, a, b, c, d, ts_ns):",
        "    code = tape.take(s, kind, a, b, c, d, ts_ns)",
        "    if code == tape.ROW:",
        "        columns(s)",
        f"        return tape.emit(s, ring, {values}, {len(outputs)}, {window})",
        "    return code",
        "",
    ]
    return "\n".join(lines), values + len(outputs), values


def _load(source: str, user_files: set[Path]) -> ModuleType:
    if jit.enabled():
        here = Path(__file__).parent
        # All built-in kernels at once, so that their specs share a folder.
        ours = {here / f"{name}.py" for name in ("jit", "layout", "tape", "fused")} | set(
            (here / "columns").glob("*.py")
        )
        folder = jit.cache_folder(ours | user_files)
        path = folder / f"kernel_{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
        # A read-only folder or a damaged cache costs seconds at a start, and nothing else.
        for _ in range(2):
            with contextlib.suppress(Exception):
                _write_once(path, source)
                kept.claim(folder)
                return _execute(source.replace("ENTRY", "entry"), path)
            _discard(path)
    try:
        return _execute(source.replace("ENTRY", "entry_uncached"), None)
    except Exception as error:
        first = next((line.strip() for line in reversed(str(error).splitlines()) if "rror" in line), str(error)[:200])
        raise DataError(
            f"the feature kernel does not compile: {type(error).__name__}: {first}",
            expected="column functions of numbers, slots and the helpers of engine.features.layout",
            do="fix the column or set KESTREL_NUMBA=0",
        ) from error


def _write_once(path: Path, source: str) -> None:
    """Leave an existing file alone: numba compares its time stamp with the one it compiled."""
    text = source.replace("ENTRY", "entry")
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
    """Remove what may be damaged: numba's files of this kernel."""
    with contextlib.suppress(OSError):
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()


def _execute(text: str, path: Path | None) -> ModuleType:
    name = "kestrel_feature_kernel" if path is None else f"kestrel_feature_{path.stem}"
    module = ModuleType(name)
    # numba looks the module of a cached function up by name.
    sys.modules[name] = module
    exec(compile(text, "<feature kernel>" if path is None else str(path), "exec"), module.__dict__)
    return module


def _guarded(step: Callable[..., Any]) -> Step:
    if jit.enabled():
        return jit.direct(step)

    def plain(
        s: State, ring: npt.NDArray[np.float32], kind: int, a: float, b: float, c: float, d: float, ts_ns: int
    ) -> int:
        with np.errstate(all="ignore"):
            code: int = step(s, ring, kind, float(a), float(b), float(c), float(d), int(ts_ns))
        return code

    return plain
