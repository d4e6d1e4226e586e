"""Robust scales of the last values: a window kept in order of arrival and sorted, inside the record.

Owns the window's form: count, place of the next value, ``WINDOW`` values by arrival, the same values ascending.  A
median is then one read, and a new value moves at most ``WINDOW`` floats.
"""

from __future__ import annotations

from engine.features.jit import kernel
from engine.features.layout import State
from engine.quality.layout import WINDOW

_COUNT = 0
_POS = 1
_RING = 2
_SORTED = _RING + WINDOW


@kernel
def count(s: State, window: int) -> int:
    """How many values it holds."""
    return int(s[window + _COUNT])


@kernel
def push(s: State, window: int, value: float) -> None:
    """Take a value in; the oldest goes when the window is full.  ``value`` is finite."""
    n = int(s[window + _COUNT])
    pos = int(s[window + _POS])
    first = window + _SORTED
    if n < WINDOW:
        s[window + _COUNT] = n + 1.0
        place = first + n
    else:
        # Where the oldest value lies among the sorted: halving, it is there.
        oldest = s[window + _RING + pos]
        low = first
        high = first + WINDOW - 1
        while low < high:
            middle = (low + high) // 2
            if s[middle] < oldest:
                low = middle + 1
            else:
                high = middle
        place = low
        stop = first + WINDOW - 1
        while place < stop and s[place + 1] < value:
            s[place] = s[place + 1]
            place += 1
    while place > first and s[place - 1] > value:
        s[place] = s[place - 1]
        place -= 1
    s[place] = value
    s[window + _RING + pos] = value
    s[window + _POS] = pos + 1.0 if pos + 1 < WINDOW else 0.0


@kernel
def median(s: State, window: int) -> float:
    """The lower median; the window is not empty."""
    return s[window + _SORTED + (int(s[window + _COUNT]) - 1) // 2]


@kernel
def quartile_range(s: State, window: int) -> float:
    """Third less first quartile (nearest rank); the window is not empty."""
    n = int(s[window + _COUNT])
    first = window + _SORTED
    return s[first + (3 * n) // 4] - s[first + n // 4]


@kernel
def largest(s: State, window: int) -> float:
    """The greatest value; the window is not empty."""
    return s[window + _SORTED + int(s[window + _COUNT]) - 1]
