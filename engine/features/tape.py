"""Market events into rows: the part of the feature kernel that every spec shares.

Owns what is written to the slots and the history of ``engine.features.layout``; the columns only read them.  No column
is computed here, no clock is read here.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engine.features import layout as at
from engine.features.jit import kernel
from engine.features.layout import NAN, State

KERNEL_VERSION = 1
"""Part of every fingerprint: raised when the meaning of a row or a base series changes."""

# What the caller hands in.
QUOTE = 0  # a, b, c, d = bid px, bid qty, ask px, ask qty
TRADE = 1  # a, b, c = px, qty, aggressor
CLOSE_BAR = 2  # time completes the row; ts = end of the bar
DROP_BAR = 3  # forget the row being built, keep the quote
HISTORY_BAR = 4  # a, b, c, d = open, high, low, close; volume in its slot; ts = end of the bar
PEER = 5  # a = first slot of another instrument's block, b = its price
KNOWN = 6  # a = first slot of a published series' block, b = its value, c = end of its period (s); ts = publication

# What it gets back.
REJECTED = -1  # not finite, crossed, or out of range: nothing was changed
SILENCE = -2  # no event for longer than the gap policy allows: nothing was changed, restart first
NOTHING = 0
ROW = 1
WARM_ROW = 2

LIMIT = 1e18
"""Beyond any price or quantity: keeps squares and sums finite, in float32 too."""


@kernel
def _clear_row(s: State) -> None:
    s[at.HAS_OPEN] = 0.0
    s[at.ROW_TICKS] = 0.0
    s[at.ROW_VOLUME] = 0.0
    s[at.ROW_FLOW] = 0.0
    s[at.ROW_OFI] = 0.0
    s[at.ROW_TRADES] = 0.0
    s[at.ROW_NOTIONAL] = 0.0
    s[at.ROW_SIGNS] = 0.0


@kernel
def _elapsed_s(s: State, seconds_slot: int, ts_ns: int) -> float:
    """Seconds from a stored time to ``ts_ns``, exact to a nanosecond whatever the year; negative when time ran back."""
    whole = ts_ns // 1_000_000_000
    rest = ts_ns - whole * 1_000_000_000
    return (whole - s[seconds_slot]) + (rest - s[seconds_slot + 1]) * 1e-9


@kernel
def _store_time(s: State, seconds_slot: int, ts_ns: int) -> None:
    whole = ts_ns // 1_000_000_000
    s[seconds_slot] = whole
    s[seconds_slot + 1] = ts_ns - whole * 1_000_000_000


@kernel
def _is_silence(s: State, ts_ns: int) -> bool:
    return s[at.HAS_EVENT] != 0.0 and _elapsed_s(s, at.EVENT_S, ts_ns) > s[at.SILENCE_S]


@kernel
def _touch_row(s: State, px: float) -> None:
    """This price was seen in the row being built."""
    if s[at.HAS_OPEN] == 0.0:
        s[at.HAS_OPEN] = 1.0
        s[at.ROW_OPEN] = px
        s[at.ROW_HIGH] = px
        s[at.ROW_LOW] = px
    else:
        s[at.ROW_HIGH] = max(s[at.ROW_HIGH], px)
        s[at.ROW_LOW] = min(s[at.ROW_LOW], px)
    s[at.ROW_CLOSE] = px


@kernel
def _follow_queues(s: State, bid_px: float, bid_qty: float, ask_px: float, ask_qty: float, ts_ns: int) -> None:
    """Since when the best queues stand at their price, and how short they have been; before the quote is stored."""
    if s[at.HAS_QUOTE] == 0.0 or bid_px != s[at.BID_PX]:
        _store_time(s, at.BID_SINCE_S, ts_ns)
        s[at.BID_QTY_FIRST] = bid_qty
        s[at.BID_QTY_LEAST] = bid_qty
    else:
        s[at.BID_QTY_LEAST] = min(s[at.BID_QTY_LEAST], bid_qty)
    if s[at.HAS_QUOTE] == 0.0 or ask_px != s[at.ASK_PX]:
        _store_time(s, at.ASK_SINCE_S, ts_ns)
        s[at.ASK_QTY_FIRST] = ask_qty
        s[at.ASK_QTY_LEAST] = ask_qty
    else:
        s[at.ASK_QTY_LEAST] = min(s[at.ASK_QTY_LEAST], ask_qty)


@kernel
def order_flow(s: State, bid_px: float, bid_qty: float, ask_px: float, ask_qty: float) -> float:
    """Contribution of one change of the best quote to order-flow imbalance, base units.

    R. Cont, A. Kukanov, S. Stoikov, "The price impact of order book events" (2014), eq. 2: queues that grow or move
    towards the other side count positive for the bid and negative for the ask.
    """
    flow = 0.0
    if bid_px >= s[at.BID_PX]:
        flow += bid_qty
    if bid_px <= s[at.BID_PX]:
        flow -= s[at.BID_QTY]
    if ask_px <= s[at.ASK_PX]:
        flow -= ask_qty
    if ask_px >= s[at.ASK_PX]:
        flow += s[at.ASK_QTY]
    return flow


@kernel
def take_quote(s: State, bid_px: float, bid_qty: float, ask_px: float, ask_qty: float, ts_ns: int) -> int:
    # Comparisons with NaN are false, so this refuses NaN as well.
    if not (s[at.PX_FLOOR] < bid_px <= ask_px < LIMIT):
        return REJECTED
    sized = s[at.USE_SIZES] != 0.0
    if sized and not (0.0 <= bid_qty < LIMIT and 0.0 <= ask_qty < LIMIT):
        return REJECTED
    if _is_silence(s, ts_ns):
        return SILENCE
    _store_time(s, at.EVENT_S, ts_ns)
    s[at.HAS_EVENT] = 1.0
    by_mid = s[at.TRADE_PRICED] == 0.0
    if s[at.HAS_QUOTE] != 0.0:
        if (
            bid_px == s[at.BID_PX]
            and ask_px == s[at.ASK_PX]
            and (not sized or (bid_qty == s[at.BID_QTY] and ask_qty == s[at.ASK_QTY]))
        ):
            if by_mid:
                _touch_row(s, 0.5 * (bid_px + ask_px))
            return NOTHING
        if sized:
            s[at.ROW_OFI] += order_flow(s, bid_px, bid_qty, ask_px, ask_qty)
    else:
        # The first quote has nothing to compare with: this row's imbalance is unknown, not zero.
        s[at.ROW_OFI] = NAN
    if sized:
        _follow_queues(s, bid_px, bid_qty, ask_px, ask_qty, ts_ns)
    s[at.HAS_QUOTE] = 1.0
    s[at.BID_PX] = bid_px
    s[at.BID_QTY] = bid_qty
    s[at.ASK_PX] = ask_px
    s[at.ASK_QTY] = ask_qty
    if not by_mid:
        return NOTHING
    _touch_row(s, 0.5 * (bid_px + ask_px))
    s[at.ROW_TICKS] += 1.0
    if s[at.ROW_TICKS] >= s[at.NEED_TICKS]:
        _close_row(s, ts_ns)
        return ROW
    return NOTHING


@kernel
def _tick_sign(s: State, px: float) -> float:
    """+1 after a rise, -1 after a fall, the last sign where the price did not change (the tick rule; +1 at first).

    C. Lee, M. Ready, Inferring trade direction from intraday data (1991).
    """
    if s[at.HAS_TRADE] == 0.0:
        return 1.0
    if px > s[at.TRADE_PX]:
        return 1.0
    if px < s[at.TRADE_PX]:
        return -1.0
    return s[at.TRADE_SIGN]


@kernel
def _is_imbalanced(s: State) -> bool:
    """|sum of signs| has reached what was to be expected: max(T |b|, sqrt(T)).

    Tick imbalance bars of M. Lopez de Prado, Advances in Financial Machine Learning (2018), 2.3.2.1: T is the expected
    number of trades of a bar, a moving average over bars; b the expected sign, one over trades.  Left alone T runs
    away, to bars of one trade or of a whole day.  So it stays within half and twice the first one, and the threshold
    is at least sqrt(T): how far signs that mean nothing wander in T trades.
    """
    weight = s[at.EWMA_WEIGHT]
    first = s[at.TICKS_FIRST]
    s[at.SIGN_EXPECTED] += weight / first * (s[at.TRADE_SIGN] - s[at.SIGN_EXPECTED])
    expected = s[at.TICKS_EXPECTED]
    if abs(s[at.ROW_SIGNS]) < max(expected * abs(s[at.SIGN_EXPECTED]), math.sqrt(expected)):
        return False
    expected += weight * (s[at.ROW_TRADES] - expected)
    s[at.TICKS_EXPECTED] = min(max(expected, 0.5 * first), 2.0 * first)
    return True


@kernel
def take_trade(s: State, px: float, qty: float, aggressor: float, ts_ns: int) -> int:
    if not (s[at.PX_FLOOR] < px < LIMIT) or not (0.0 < qty < LIMIT) or not (-1.0 <= aggressor <= 1.0):
        return REJECTED
    if _is_silence(s, ts_ns):
        return SILENCE
    _store_time(s, at.EVENT_S, ts_ns)
    s[at.HAS_EVENT] = 1.0
    sign = _tick_sign(s, px)
    s[at.HAS_TRADE] = 1.0
    s[at.TRADE_PX] = px
    s[at.TRADE_SIGN] = sign
    s[at.ROW_VOLUME] += qty
    s[at.ROW_FLOW] += aggressor * qty
    s[at.ROW_TRADES] += 1.0
    s[at.ROW_NOTIONAL] += px * qty
    s[at.ROW_SIGNS] += sign
    if s[at.TRADE_PRICED] == 0.0:
        return NOTHING
    _touch_row(s, px)
    s[at.ROW_TICKS] += 1.0
    if (
        s[at.ROW_TICKS] >= s[at.NEED_TICKS]
        or s[at.ROW_VOLUME] >= s[at.NEED_QTY]
        or s[at.ROW_NOTIONAL] >= s[at.NEED_NOTIONAL]
        or (s[at.NEED_IMBALANCE] != 0.0 and _is_imbalanced(s))
    ):
        _close_row(s, ts_ns)
        return ROW
    return NOTHING


@kernel
def _put(s: State, series: int, pos: int, value: float) -> None:
    s[series + pos] = value
    s[series + pos + at.HISTORY] = value


@kernel
def _advance(s: State, close: float, ts_ns: int) -> int:
    """Open the next place in the history; writes what only depends on time and the previous close."""
    pos = (int(s[at.POS]) + 1) % at.HISTORY
    elapsed = NAN
    change = NAN
    if s[at.ROWS] > 0.0:
        # Venues send times out of order; a negative duration would be nonsense to every column.
        elapsed = max(_elapsed_s(s, at.ROW_S, ts_ns), 0.0)
        before = at.last(s, at.CLOSE, 0)
        if before > 0.0 and close > 0.0:
            change = math.log(close / before)
    _put(s, at.ELAPSED, pos, elapsed)
    _put(s, at.RETURN, pos, change)
    _put(s, at.CLOSE, pos, close)
    s[at.POS] = pos
    s[at.ROWS] += 1.0
    _store_time(s, at.ROW_S, ts_ns)
    return pos


@kernel
def _put_peers(s: State, pos: int, ts_ns: int) -> None:
    """What other instruments cost at this row's end; NaN where that is not known or too old."""
    for i in range(int(s[at.PEERS])):
        block = at.WIDE_END + i * at.STRIDE
        px = s[block + at.PEER_PX]
        if not _elapsed_s(s, block + at.PEER_S, ts_ns) <= s[at.PEER_STALE_S]:
            px = NAN
        _put(s, block, pos, px)


@kernel
def _close_row(s: State, ts_ns: int) -> None:
    """Move the row being built into the history."""
    mid = 0.5 * (s[at.BID_PX] + s[at.ASK_PX]) if s[at.HAS_QUOTE] != 0.0 else NAN
    if s[at.HAS_OPEN] == 0.0:
        # Time passed and nothing came: the price did not change.
        _touch_row(s, mid if s[at.TRADE_PRICED] == 0.0 else s[at.TRADE_PX])
    pos = _advance(s, mid if s[at.TRADE_PRICED] == 0.0 else s[at.ROW_CLOSE], ts_ns)
    _put(s, at.OPEN, pos, s[at.ROW_OPEN])
    _put(s, at.HIGH, pos, s[at.ROW_HIGH])
    _put(s, at.LOW, pos, s[at.ROW_LOW])
    _put(s, at.VOLUME, pos, s[at.ROW_TICKS] if s[at.TICK_VOLUME] != 0.0 else s[at.ROW_VOLUME])
    if s[at.WIDE] != 0.0:
        _put(s, at.TRADED, pos, s[at.ROW_VOLUME])
        _put(s, at.FLOW, pos, s[at.ROW_FLOW])
        _put(s, at.TRADES, pos, s[at.ROW_TRADES])
        _put(s, at.OFI, pos, s[at.ROW_OFI] if s[at.HAS_QUOTE] != 0.0 else NAN)
        total = s[at.BID_QTY] + s[at.ASK_QTY] if s[at.HAS_QUOTE] != 0.0 else NAN
        _put(s, at.DEPTH, pos, 0.5 * total)
        imbalance = NAN
        if total > 0.0:
            imbalance = (s[at.BID_QTY] - s[at.ASK_QTY]) / total
        elif total == 0.0:
            imbalance = 0.0
        _put(s, at.IMBALANCE, pos, imbalance)
        _put(s, at.SPREAD, pos, 1e4 * (s[at.ASK_PX] - s[at.BID_PX]) / mid if mid > 0.0 else NAN)
        _put_peers(s, pos, ts_ns)
    _clear_row(s)


@kernel
def take_history_bar(s: State, open_px: float, high_px: float, low_px: float, close_px: float, ts_ns: int) -> int:
    """A finished candle becomes a row; what a candle cannot tell (spread, sizes, flow) is NaN, not zero.

    The row being built from live quotes is left alone.
    """
    floor = s[at.PX_FLOOR]
    volume = s[at.BAR_VOLUME]
    if not (floor < low_px <= high_px < LIMIT and low_px <= open_px <= high_px and low_px <= close_px <= high_px):
        return REJECTED
    if not 0.0 <= volume < LIMIT:
        return REJECTED
    pos = _advance(s, close_px, ts_ns)
    _put(s, at.OPEN, pos, open_px)
    _put(s, at.HIGH, pos, high_px)
    _put(s, at.LOW, pos, low_px)
    _put(s, at.VOLUME, pos, volume)
    if s[at.WIDE] != 0.0:
        for series in (at.TRADED, at.FLOW, at.TRADES, at.OFI, at.DEPTH, at.IMBALANCE, at.SPREAD):
            _put(s, series, pos, NAN)
        _put_peers(s, pos, ts_ns)
    return ROW


@kernel
def take_peer(s: State, block: int, px: float, ts_ns: int) -> int:
    """Another instrument's price: remembered with its time, completes no row."""
    s[block + at.PEER_PX] = px
    _store_time(s, block + at.PEER_S, ts_ns)
    return NOTHING


@kernel
def take_known(s: State, block: int, value: float, period_s: float, ts_ns: int) -> int:
    """A published value: of a newer period it becomes the value; of a known period it is that one's revision.

    A revision of anything older changes nothing that a column reads.
    """
    periods = s[block + at.KNOWN_PERIODS]
    if periods > 0.0 and period_s < s[block + at.KNOWN_PERIOD_S]:
        if periods == 1.0 or period_s >= s[block + at.KNOWN_BEFORE_S]:
            s[block + at.KNOWN_BEFORE] = value
            s[block + at.KNOWN_BEFORE_S] = period_s
            s[block + at.KNOWN_PERIODS] = 2.0
        return NOTHING
    if periods > 0.0 and period_s > s[block + at.KNOWN_PERIOD_S]:
        s[block + at.KNOWN_BEFORE] = s[block + at.KNOWN_VALUE]
        s[block + at.KNOWN_BEFORE_S] = s[block + at.KNOWN_PERIOD_S]
        s[block + at.KNOWN_PERIODS] = 2.0
    elif periods == 0.0:
        s[block + at.KNOWN_PERIODS] = 1.0
    s[block + at.KNOWN_VALUE] = value
    s[block + at.KNOWN_PERIOD_S] = period_s
    _store_time(s, block + at.KNOWN_S, ts_ns)
    return NOTHING


@kernel
def take(s: State, kind: int, a: float, b: float, c: float, d: float, ts_ns: int) -> int:
    """One event into the record; ``ROW`` when that completed a row and the columns are to be computed."""
    if kind == QUOTE:
        return take_quote(s, a, b, c, d, ts_ns)
    if kind == TRADE:
        return take_trade(s, a, b, c, ts_ns)
    if kind == CLOSE_BAR:
        if s[at.HAS_QUOTE if s[at.TRADE_PRICED] == 0.0 else at.HAS_TRADE] == 0.0:
            return NOTHING
        _close_row(s, ts_ns)
        return ROW
    if kind == HISTORY_BAR:
        return take_history_bar(s, a, b, c, d, ts_ns)
    if kind == PEER:
        return take_peer(s, int(a), b, ts_ns)
    if kind == KNOWN:
        return take_known(s, int(a), b, c, ts_ns)
    if kind == DROP_BAR:
        _clear_row(s)
    return NOTHING


@kernel
def emit(s: State, ring: npt.NDArray[np.float32], values: int, width: int, window: int) -> int:
    """Copy the newest ``width`` column values (from slot ``values``) into the window ring; count clean rows.

    The ring holds ``2 * window`` rows, flat: each row is written at its place and ``window`` rows further, so that the
    last ``window`` rows always lie side by side.
    """
    # The mask changes nothing; see ``layout.newest``.
    pos = int(s[at.RING_POS]) & at.NOT_NEGATIVE
    first = pos * width
    second = first + window * width
    # A sum is finite unless a value is not (or it leaves float64, far beyond what float32 holds): one addition a value,
    # where a comparison of each costs six instructions.  Two sums, since each addition waits for the one before.
    total = 0.0
    other = 0.0
    for j in range(0, width - 1, 2):
        left = s[values + j]
        right = s[values + j + 1]
        ring[first + j] = left
        ring[first + j + 1] = right
        ring[second + j] = left
        ring[second + j + 1] = right
        total += left
        other += right
    # The last one once more, which is the first time where their number is odd.
    left = s[values + width - 1]
    ring[first + width - 1] = left
    ring[second + width - 1] = left
    total += other + left
    clean = total - total == 0.0
    s[at.RING_POS] = pos + 1 if pos + 1 < window else 0
    s[at.CLEAN] = s[at.CLEAN] + 1.0 if clean else 0.0
    return WARM_ROW if s[at.CLEAN] >= window else ROW
