"""The flat float64 record that holds all feature state of one instrument, and how kernels read it.

Owns slot numbers and the read helpers.  What is written, and when, is ``engine.features.tape``.

One array instead of an object: the whole state crosses into compiled code as one argument, is copied by one call, and
means the same in plain Python.  Parts, in order: named slots, the row history, private state of the columns, the newest
value of every column.  The history keeps the last ``HISTORY`` rows of every base series, written twice (at ``i`` and
``i + HISTORY``), so that the last n values always lie side by side, oldest first.
"""

from __future__ import annotations

import math
from typing import Protocol

from engine.features.jit import kernel


class State(Protocol):
    """How kernels see the record: slots of float64.  It is a NumPy array, compiled or not."""

    def __getitem__(self, slot: int, /) -> float: ...

    def __setitem__(self, slot: int, value: float, /) -> None: ...


NAN = math.nan

HISTORY = 256
"""Rows kept of each base series, a power of two; the longest look-back of a column is one less."""

# --- named slots: configuration, fixed at construction ------------------------------------------------------------
NEED_TICKS = 0  # quote changes that complete a row; infinity when time completes it
USE_SIZES = 1  # 1: quote quantities are part of the best quote
TICK_VOLUME = 2  # 1: the declared volume of a row is its number of quote changes
PX_FLOOR = 3  # prices must be greater; 0, or minus infinity where the instrument allows negative prices
SILENCE_S = 4  # seconds without an event after which the state restarts; infinity when never

# --- named slots: the last accepted quote ---------------------------------------------------------------------------
HAS_QUOTE = 8
BID_PX = 9
BID_QTY = 10
ASK_PX = 11
ASK_QTY = 12

# --- named slots: the row being built ------------------------------------------------------------------------------
HAS_OPEN = 16
ROW_OPEN = 17
ROW_HIGH = 18
ROW_LOW = 19
ROW_CLOSE = 20
ROW_TICKS = 21  # quote changes
ROW_VOLUME = 22  # traded base units
ROW_FLOW = 23  # the same signed by aggressor
ROW_OFI = 24  # order-flow imbalance, base units

# --- named slots: counters and times ---------------------------------------------------------------------------------
ROWS = 28  # rows since the last restart
POS = 29  # where the newest row lies in the history
RING_POS = 30  # where the next row goes in the window ring
CLEAN = 31  # rows in sequence in which every column is finite
HAS_EVENT = 32
EVENT_S = 33  # time of the last event: whole seconds, and the rest in nanoseconds (one float would lose digits)
EVENT_NS = 34
ROW_S = 35  # time of the newest row, likewise
ROW_NS = 36
BAR_VOLUME = 37  # volume of the historical bar being handed in

SLOTS = 48

# --- base series ------------------------------------------------------------------------------------------------------
# A stride of 4096 bytes would put the same row of every series into one set of the processor's first cache.
_STRIDE = 2 * HISTORY + 40
OPEN = SLOTS  # price, mid
HIGH = OPEN + _STRIDE
LOW = HIGH + _STRIDE
CLOSE = LOW + _STRIDE
VOLUME = CLOSE + _STRIDE  # declared volume: traded base units, or quote changes
TRADED = VOLUME + _STRIDE  # traded base units
FLOW = TRADED + _STRIDE  # the same signed by aggressor
OFI = FLOW + _STRIDE  # order-flow imbalance, base units
DEPTH = OFI + _STRIDE  # mean of bid and ask quantity at the row's end, base units
IMBALANCE = DEPTH + _STRIDE  # (bid - ask) / (bid + ask) quantity at the row's end
SPREAD = IMBALANCE + _STRIDE  # (ask - bid) / mid at the row's end, bps
RETURN = SPREAD + _STRIDE  # ln(close / previous close)
ELAPSED = RETURN + _STRIDE  # seconds since the previous row

PRIVATE = ELAPSED + _STRIDE
"""Where the columns' private state begins."""

SERIES = (OPEN, HIGH, LOW, CLOSE, VOLUME, TRADED, FLOW, OFI, DEPTH, IMBALANCE, SPREAD, RETURN, ELAPSED)


@kernel
def newest(s: State) -> int:
    """Where the newest row lies within a series (its second copy).

    The mask changes nothing; it tells the compiler that no index is negative, without which no sum runs on vectors.
    """
    return HISTORY + (int(s[POS]) & (HISTORY - 1))


@kernel
def last(s: State, series: int, lag: int) -> float:
    """Value of a series ``lag`` rows ago; 0 is the newest.  The caller knows that ``s[ROWS] > lag``."""
    return s[series + newest(s) - lag]


@kernel
def sum_last(s: State, series: int, n: int) -> float:
    """Sum of the last ``n`` values, from scratch each time: nothing drifts and nothing needs a re-sync.

    Four running sums hide the latency of the addition; their order is part of the result, here and in plain Python.
    """
    stop = series + newest(s) + 1
    i = stop - n
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while i + 3 < stop:
        a += s[i]
        b += s[i + 1]
        c += s[i + 2]
        d += s[i + 3]
        i += 4
    while i < stop:
        a += s[i]
        i += 1
    return (a + b) + (c + d)


@kernel
def sum_squares_last(s: State, series: int, n: int, centre: float) -> float:
    """Sum of ``(x - centre)^2`` over the last ``n`` values."""
    stop = series + newest(s) + 1
    i = stop - n
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while i + 3 < stop:
        a += (s[i] - centre) * (s[i] - centre)
        b += (s[i + 1] - centre) * (s[i + 1] - centre)
        c += (s[i + 2] - centre) * (s[i + 2] - centre)
        d += (s[i + 3] - centre) * (s[i + 3] - centre)
        i += 4
    while i < stop:
        a += (s[i] - centre) * (s[i] - centre)
        i += 1
    return (a + b) + (c + d)


@kernel
def max_last(s: State, series: int, n: int) -> float:
    """Greatest of the last ``n`` values."""
    stop = series + newest(s) + 1
    best = s[stop - n]
    for i in range(stop - n + 1, stop):
        best = max(best, s[i])
    return best


@kernel
def min_last(s: State, series: int, n: int) -> float:
    """Least of the last ``n`` values."""
    stop = series + newest(s) + 1
    best = s[stop - n]
    for i in range(stop - n + 1, stop):
        best = min(best, s[i])
    return best
