"""Many events through one kernel: what a recording needs so that Python does not touch each row.

Owns the loop.  The kernel it calls is the one that serves live (``engine.features.fused``); whatever needs more than
that kernel (restarts, time) ends the loop, and the caller goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from engine.features import layout as at
from engine.features import tape
from engine.features.jit import kernel


@kernel
def run(
    step: Callable[..., int],
    s: npt.NDArray[np.float64],
    ring: npt.NDArray[np.float32],
    kinds: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.float64],
    ts_ns: npt.NDArray[np.int64],
    begin: int,
    values: npt.NDArray[np.float32],
    exact: npt.NDArray[np.float64],
    events: npt.NDArray[np.int64],
    warm: npt.NDArray[np.bool_],
    closes: npt.NDArray[np.float64],
    made: npt.NDArray[np.int64],
    first_value: int,
) -> int:
    """Feed events from ``begin`` on; the number of the first one that was not taken, or how many there are.

    ``kinds (N,)``, ``numbers (N, 5)`` and ``ts_ns (N,)`` are what ``engine.features.tape.take`` wants; the fifth number
    is a candle's volume.  Row ``made[0]`` goes to ``values (rows, F)``, in float64 to ``exact (rows, F)`` unless that
    has no rows, ``events (rows,)`` (which event completed it), ``warm (rows,)`` and ``closes (rows,)``; ``made[0]`` is
    counted up.  The loop also ends when the next row would find no place.
    """
    width = values.shape[1]
    # The masks change nothing; see ``layout.newest``.
    row = made[0] & at.NOT_NEGATIVE
    first_value &= at.NOT_NEGATIVE
    for i in range(begin & at.NOT_NEGATIVE, len(kinds)):
        if row == len(events):
            made[0] = row
            return i
        if kinds[i] == tape.HISTORY_BAR:
            s[at.BAR_VOLUME] = numbers[i, 4]
        code = step(s, ring, kinds[i], numbers[i, 0], numbers[i, 1], numbers[i, 2], numbers[i, 3], ts_ns[i])
        if code < 0:
            made[0] = row
            return i
        if code > 0:
            for j in range(width):
                values[row, j] = s[first_value + j]
            if len(exact):
                for j in range(width):
                    exact[row, j] = s[first_value + j]
            events[row] = i
            warm[row] = code == tape.WARM_ROW
            closes[row] = s[at.CLOSE + int(s[at.POS])]
            row += 1
    made[0] = row
    return len(kinds)
