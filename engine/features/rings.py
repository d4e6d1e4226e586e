"""Short histories that a column keeps for itself: the last rows of a number that it derives from each row.

Owns how they are written and read.  A ring takes two private slots for each of its rows: the last values, written
twice like the base series (``engine.features.layout``), so that the last n lie side by side, oldest first.  It follows
the history's own position: each row must be put, in its turn.
"""

from __future__ import annotations

from engine.features import layout as at
from engine.features.jit import kernel
from engine.features.layout import State

RING_ROWS = 32
"""Of the rings that most columns have.  A ring's rows are a power of two, and the most that can be read."""
RING_SLOTS = 2 * RING_ROWS

LEAST_CHANGE = 1e-13
"""Relative: what sums of the same prices may differ by; a change or deviation of that size is none."""


@kernel
def put(s: State, ring: int, rows: int, value: float) -> int:
    """Write this row's value into a ring of ``rows``; the slot behind it, where a reading of the last values ends."""
    i = int(s[at.POS]) & (rows - 1)
    s[ring + i] = value
    s[ring + rows + i] = value
    return ring + rows + 1 + i


@kernel
def sum_offsets(s: State, stop: int, n: int, centre: float) -> float:
    """Sum of ``x - centre`` over the ``n`` slots before ``stop``: exactly 0 where all equal the centre."""
    i = stop - n
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while i + 3 < stop:
        a += s[i] - centre
        b += s[i + 1] - centre
        c += s[i + 2] - centre
        d += s[i + 3] - centre
        i += 4
    while i < stop:
        a += s[i] - centre
        i += 1
    return (a + b) + (c + d)


@kernel
def sum_distances(s: State, stop: int, n: int, centre: float) -> float:
    """Sum of ``|x - centre|`` over the ``n`` slots before ``stop``."""
    i = stop - n
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while i + 3 < stop:
        a += abs(s[i] - centre)
        b += abs(s[i + 1] - centre)
        c += abs(s[i + 2] - centre)
        d += abs(s[i + 3] - centre)
        i += 4
    while i < stop:
        a += abs(s[i] - centre)
        i += 1
    return (a + b) + (c + d)
