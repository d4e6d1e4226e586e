"""The judge as two functions that Python calls: one event, and whole arrays of them.

The live path needs the first only, so each is compiled by itself and at most once a process; both come from the same
kernels, hence the same verdicts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.features import generated, jit
from engine.features.layout import State

Step = Callable[[State, int, float, float, float, float, int, int], int]
Batch = Callable[..., None]

_STEP = '''"""Generated; see engine/quality/compiled.py."""

from engine.features.jit import ENTRY
from engine.quality import kernel


@ENTRY("int64(float64[::1], int64, float64, float64, float64, float64, int64, int64)")
def step(s, kind, a, b, c, d, ts_ns, recv_ns):
    return kernel.judge(s, kind, a, b, c, d, ts_ns, recv_ns)
'''

_BATCH = '''"""Generated; see engine/quality/compiled.py."""

from engine.features.jit import ENTRY
from engine.quality import kernel
from engine.quality import layout as at


@ENTRY(
    "void(float64[::1], int64, float64[::1], float64[::1], float64[::1], float64[::1], float64[::1], "
    "int64[::1], int64[::1], uint8[::1])"
)
def batch(s, kind, a, b, c, d, volume, ts_ns, recv_ns, codes):
    for i in range(len(codes)):
        if kind == kernel.BAR:
            s[at.NEXT_VOLUME] = volume[i]
        codes[i] = kernel.judge(s, kind, a[i], b[i], c[i], d[i], ts_ns[i], recv_ns[i])
'''


def _sources() -> set[Path]:
    here = Path(__file__).parent
    features = here.parent / "features"
    ours = {here / f"{name}.py" for name in ("kernel", "layout", "times", "windows", "verdicts", "compiled")}
    return ours | {features / "jit.py", features / "generated.py"}


@cache
def step_function() -> Step:
    """``step(record, kind, a, b, c, d, ts_ns, recv_ns)``; the meaning of the letters is ``engine.quality.kernel``'s.

    Compiled within seconds the first time on a machine, then read from disk.
    """
    step = generated.load("quality_step", _STEP, _sources()).__dict__["step"]
    if jit.enabled():
        return jit.direct(step)

    def plain(s: State, kind: int, a: float, b: float, c: float, d: float, ts_ns: int, recv_ns: int) -> int:
        # Python floats: NumPy's warn where they overflow.
        return int(step(s, kind, float(a), float(b), float(c), float(d), int(ts_ns), int(recv_ns)))

    return plain


@cache
def batch_function() -> Batch:
    """``batch(record, kind, a, b, c, d, volume, ts_ns, recv_ns, codes)``: the same over arrays of one length."""
    batch: Any = generated.load("quality_batch", _BATCH, _sources()).__dict__["batch"]
    if jit.enabled():
        return batch  # type: ignore[no-any-return]  # numba is untyped

    def plain(s: State, kind: int, *columns: npt.NDArray[Any]) -> None:
        with np.errstate(all="ignore"):
            batch(s, kind, *columns)

    return plain
