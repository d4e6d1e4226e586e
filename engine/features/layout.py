"""The flat float64 record that holds all feature state of one instrument, and how kernels read it.

Owns slot numbers and the read helpers.  What is written, and when, is ``engine.features.tape``.

One array instead of an object: the whole state crosses into compiled code as one argument, is copied by one call, and
means the same in plain Python.  Parts, in order: named slots, the row history (its second group only where a column
reads it), other instruments' prices, published series, private state of the columns, the newest value of every column.
The history keeps the last ``HISTORY`` rows of every base series, written twice (at ``i`` and ``i + HISTORY``), so that
the last n values always lie side by side, oldest first.
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

NOT_NEGATIVE = 0x7FFFFFFF
"""Mask of an index: it changes none, and tells the compiler that there is no sign to look at (see ``newest``)."""

# --- named slots: configuration, fixed at construction ------------------------------------------------------------
NEED_TICKS = 0  # changes of the row's price that complete a row; infinity when something else does
USE_SIZES = 1  # 1: quote quantities are part of the best quote
TICK_VOLUME = 2  # 1: the declared volume of a row is its number of quote changes
PX_FLOOR = 3  # prices must be greater; 0, or minus infinity where the instrument allows negative prices
SILENCE_S = 4  # seconds without an event after which the state restarts; infinity when never
TRADE_PRICED = 5  # 1: rows are made of trade prices, 0: of mids
NEED_QTY = 6  # traded base units that complete a row; infinity when something else does
NEED_NOTIONAL = 7  # traded quote units that complete a row; infinity when something else does
NEED_IMBALANCE = 8  # 1: an imbalance of signed trades completes a row
EWMA_WEIGHT = 9  # of the newest bar in the expectations of imbalance bars
TICKS_FIRST = 10  # expected trades of the first imbalance bar
WIDE = 11  # 1: the record holds the second group of series too
PEERS = 12  # other instruments whose prices are kept
PEER_STALE_S = 13  # age from which on another instrument's price is unknown

# --- named slots: the last accepted quote ---------------------------------------------------------------------------
HAS_QUOTE = 16  # everything from here on is forgotten at a restart
BID_PX = 17
BID_QTY = 18
ASK_PX = 19
ASK_QTY = 20
BID_SINCE_S = 21  # when the best bid took its price: whole seconds, and the rest in nanoseconds
BID_SINCE_NS = 22
ASK_SINCE_S = 23
ASK_SINCE_NS = 24
BID_QTY_FIRST = 25  # quantity the best bid had when it took its price, base units
ASK_QTY_FIRST = 26
BID_QTY_LEAST = 27  # least quantity since then: what a new order would now have before it, at best
ASK_QTY_LEAST = 28

# --- named slots: the row being built ------------------------------------------------------------------------------
HAS_OPEN = 32
ROW_OPEN = 33
ROW_HIGH = 34
ROW_LOW = 35
ROW_CLOSE = 36
ROW_TICKS = 37  # changes of the best quote, or trades where rows are made of trade prices
ROW_VOLUME = 38  # traded base units
ROW_FLOW = 39  # the same signed by aggressor
ROW_OFI = 40  # order-flow imbalance, base units
ROW_TRADES = 41  # number of trades
ROW_NOTIONAL = 42  # traded quote units
ROW_SIGNS = 43  # trades signed by the tick rule, summed

# --- named slots: counters and times ---------------------------------------------------------------------------------
ROWS = 48  # rows since the last restart
POS = 49  # where the newest row lies in the history
RING_POS = 50  # where the next row goes in the window ring
CLEAN = 51  # rows in sequence in which every column is finite
HAS_EVENT = 52
EVENT_S = 53  # time of the last event: whole seconds, and the rest in nanoseconds (one float would lose digits)
EVENT_NS = 54
ROW_S = 55  # time of the newest row, likewise
ROW_NS = 56
BAR_VOLUME = 57  # volume of the historical bar being handed in
HAS_TRADE = 58
TRADE_PX = 59  # price of the last trade
TRADE_SIGN = 60  # its sign by the tick rule
TICKS_EXPECTED = 61  # trades expected in an imbalance bar, and their expected mean sign
SIGN_EXPECTED = 62
SESSION_OPEN_S = 63  # trading session that the newest event lies in or that comes next, seconds since the epoch
SESSION_CLOSE_S = 64
HAS_DEPTH = 65

DEPTH_LEVELS = 10
LEVELS = 72  # for each of the best levels: bid px, bid qty, ask px, ask qty; quantity 0 and price NaN where none is

SLOTS = LEVELS + 4 * DEPTH_LEVELS

# --- base series ------------------------------------------------------------------------------------------------------
# A stride of 4096 bytes would put the same row of every series into one set of the processor's first cache.
_SPARE = 40
STRIDE = 2 * HISTORY + _SPARE
# The first group: all that candles give.
OPEN = SLOTS  # price
HIGH = OPEN + STRIDE
LOW = HIGH + STRIDE
CLOSE = LOW + STRIDE
VOLUME = CLOSE + STRIDE  # declared volume: traded base units, or quote changes
RETURN = VOLUME + STRIDE  # ln(close / previous close)
ELAPSED = RETURN + STRIDE  # seconds since the previous row
# The second group: what only quotes and trades give.
TRADED = ELAPSED + STRIDE  # traded base units
FLOW = TRADED + STRIDE  # the same signed by aggressor
TRADES = FLOW + STRIDE  # number of trades
OFI = TRADES + STRIDE  # order-flow imbalance, base units
DEPTH = OFI + STRIDE  # mean of bid and ask quantity at the row's end, base units
IMBALANCE = DEPTH + STRIDE  # (bid - ask) / (bid + ask) quantity at the row's end
SPREAD = IMBALANCE + STRIDE  # (ask - bid) / mid at the row's end, bps

NARROW_END = TRADED
WIDE_END = SPREAD + STRIDE
"""Where other instruments' blocks begin (one ``STRIDE`` each), and behind them what is the columns' own."""

SERIES = (OPEN, HIGH, LOW, CLOSE, VOLUME, RETURN, ELAPSED, TRADED, FLOW, TRADES, OFI, DEPTH, IMBALANCE, SPREAD)

# Within the block of another instrument: its price at the end of each row as a series, then the newest, and its time.
PEER_PX = 2 * HISTORY
PEER_S = PEER_PX + 1
PEER_NS = PEER_PX + 2
# Within the block of a published series.
KNOWN_VALUE = 0  # of the newest period, as last published
KNOWN_S = 1  # publication time
KNOWN_NS = 2
KNOWN_PERIOD_S = 3  # end of that period
KNOWN_BEFORE = 4  # value of the period before, as last published
KNOWN_BEFORE_S = 5  # end of that period
KNOWN_PERIODS = 6  # how many of the two are known
KNOWN_SLOTS = 8


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
def sum_before(s: State, stop: int, n: int) -> float:
    """Sum of the ``n`` slots before ``stop``, from scratch each time: nothing drifts and nothing needs a re-sync.

    Four running sums hide the latency of the addition; their order is part of the result, here and in plain Python.
    """
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
def sum_last(s: State, series: int, n: int) -> float:
    """Sum of the last ``n`` values of a series."""
    return sum_before(s, series + newest(s) + 1, n)


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
    """Greatest of the last ``n`` values, none of which is NaN; two at a time, since each waits for the one before."""
    stop = series + newest(s) + 1
    i = stop - n
    a = s[i]
    b = s[stop - 1]
    while i + 1 < stop:
        a = s[i] if s[i] > a else a
        b = s[i + 1] if s[i + 1] > b else b
        i += 2
    return b if b > a else a


@kernel
def min_last(s: State, series: int, n: int) -> float:
    """Least of the last ``n`` values; see ``max_last``."""
    stop = series + newest(s) + 1
    i = stop - n
    a = s[i]
    b = s[stop - 1]
    while i + 1 < stop:
        a = s[i] if s[i] < a else a
        b = s[i + 1] if s[i + 1] < b else b
        i += 2
    return b if b < a else a
