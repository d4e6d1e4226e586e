"""One compiled function per spec: takes an event, and when that completes a row computes all columns into the ring.

Owns the generated source, its place on disk and its loading.  The generated module only calls column functions in
order; what they compute is theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from engine.features import jit, layout
from engine.features.column import Column, source_files
from engine.features.generated import load
from engine.features.layout import State
from engine.features.spec import FeatureSpec

Step = Callable[[State, npt.NDArray[np.float32], int, float, float, float, float, int], int]

_SIGNATURE = "int64(float64[::1], float32[::1], int64, float64, float64, float64, float64, int64)"
# One loop serves every kernel: it is handed the kernel, so that live and offline run the same machine code.
_LOOP = f"""\
\"\"\"Generated; see engine/features/fused.py.\"\"\"

from engine.features import loops
from engine.features.jit import ENTRY


@ENTRY("int64(FunctionType({_SIGNATURE}), float64[::1], float32[::1], int64[::1], float64[:, ::1], int64[::1], int64, "
       "float32[:, ::1], float64[:, ::1], int64[::1], boolean[::1], float64[::1], int64[::1], int64)")
def run(step, s, ring, kinds, numbers, ts_ns, begin, values, exact, events, warm, closes, made, first):
    return loops.run(step, s, ring, kinds, numbers, ts_ns, begin, values, exact, events, warm, closes, made, first)
"""


class Kernel(NamedTuple):
    """``step(state, ring, kind, a, b, c, d, ts_ns)`` (see ``engine.features.tape``) and the size of its record."""

    step: Step
    state_slots: int
    private: int
    """First slot of the columns' private state; it ends where the values begin."""
    values: int
    """Slot of the first column value; the spec's columns follow in order."""
    peers: dict[str, int]
    """First slot of each other instrument's block."""
    series: dict[str, int]
    """First slot of each published series' block."""
    compiled: Any
    """``step`` as compiled code may call it; the same machine code."""


_built: dict[str, Kernel] = {}
_loop: Callable[..., int] | None = None


def kernel_for(spec: FeatureSpec) -> Kernel:
    """The kernel of a spec, compiled at most once per process (seconds the first time on a machine, then from disk)."""
    blocks = _Blocks(spec)
    source, state_slots, values = generate(spec, blocks)
    found = _built.get(source)
    if found is None:
        step = _load(source, source_files(spec.plan)).__dict__["step"]
        found = Kernel(_guarded(step), state_slots, blocks.end, values, blocks.peers, blocks.series, step)
        _built[source] = found
    return found


def loop() -> Callable[..., int]:
    """``engine.features.loops.run``, compiled at most once per process."""
    global _loop  # noqa: PLW0603 - a cache of one
    if _loop is None:
        _loop = _load(_LOOP, {Path(__file__).parent / "loops.py"}).__dict__["run"]
    return _loop


class _Blocks:
    """Where in the record the parts lie that a spec has or has not."""

    def __init__(self, spec: FeatureSpec) -> None:
        begin = layout.WIDE_END if spec.wide else layout.NARROW_END
        self.peers = {peer: begin + i * layout.STRIDE for i, peer in enumerate(spec.peers)}
        begin += len(self.peers) * layout.STRIDE
        self.series = {series: begin + i * layout.KNOWN_SLOTS for i, series in enumerate(spec.series)}
        self.end = begin + len(self.series) * layout.KNOWN_SLOTS

    def of(self, column: Column) -> int | None:
        return self.peers.get(column.peer, self.series.get(column.series))


def generate(spec: FeatureSpec, blocks: _Blocks) -> tuple[str, int, int]:
    """Source of the kernel, slots of its state, slot of the first value."""
    plan, outputs, window = spec.plan, spec.columns, spec.window
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
    private = blocks.end
    variable: dict[str, str] = {}
    own: dict[str, int] = {}
    for i, column in enumerate(plan):
        function = functions[column.name]
        arguments = ["s"]
        if column.private_slots:
            arguments.append(str(private))
            own[column.name] = private
            private += column.private_slots
        block = blocks.of(column)
        if block is not None:
            arguments.append(str(block))
        arguments += [str(own[read]) for read in column.reads]
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
    here = Path(__file__).parent
    ours = {here / f"{name}.py" for name in ("jit", "layout", "tape", "fused")}
    try:
        return load("feature_kernel", source, ours | user_files)
    except Exception as error:
        first = next((line.strip() for line in reversed(str(error).splitlines()) if "rror" in line), str(error)[:200])
        raise DataError(
            f"the feature kernel does not compile: {type(error).__name__}: {first}",
            expected="column functions of numbers, slots and the helpers of engine.features.layout",
            do="fix the column or set KESTREL_NUMBA=0",
        ) from error


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
