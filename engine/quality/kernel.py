"""The judge: one market event against what the record knows of its instrument.

Compiled once for the live path and once for whole files (``engine.quality.compiled``), from this source; without numba
it runs as it stands.  Every check with its formula is in ``docs/quality.md``.  Owns the rules and nothing else: no
clock is read here, time is what events carry.

Order: values, times, repeats, then the price against recent prices.  Only what passes is remembered.
"""

from __future__ import annotations

import math

from engine.features.jit import kernel
from engine.features.layout import State
from engine.quality import layout as at
from engine.quality import times, windows
from engine.quality import verdicts as v

# What the caller hands in.
QUOTE = 0  # a, b, c, d = bid px, bid qty, ask px, ask qty
TRADE = 1  # a, b = px, qty; c = key of its id, negative: none
BAR = 2  # a, b, c, d = open, high, low, close; volume and interval in their slots
BOOK = 3  # a change of the book: its time only; it is no point of its own
NOTE = 4  # a = a judgement made elsewhere, to be counted
SHOWN = 5  # as QUOTE: the best prices of a book whose time was refused; not counted

LIMIT = math.inf
WARM = 20
"""Values that a scale needs before anything is judged by it."""
COLD_FACTOR = 10.0
"""Times ``outlier_bps`` that a quote or trade may move at once while there is no scale: 2.5 % by default."""
FAR = 0.2
"""Of the price: beyond that a second word soon after is not enough; a feed wrong by a digit is so twice in seconds."""
FAR_BANDS = 4.0
"""Outlier limits that are never far: prices near zero move by more than any share of themselves."""
FAR_NS = 60e9
"""Two words so far apart, with nothing between, are enough: rows that were candles."""
NORMAL = 1.4826
"""Median of absolute deviations -> standard deviation of a normal distribution."""
NORMAL_RANGE = 1.349
"""The same for the range between the quartiles."""
HOUR_NS = 3_600_000_000_000


@kernel
def band_px(s: State, stream: int) -> float:
    """The largest price change that is none of an outlier.  Before there is a scale it is wide, not infinite: a calm
    market may take an hour for its first changes, and one wild price is enough for a stop."""
    window = stream + at.CHANGES
    share_px = s[at.OUTLIER_FRACTION] * abs(s[stream + at.LAST_PX])
    if windows.count(s, window) < WARM:
        # Candles that are far apart move by more, and none of them waits for its successor.
        return math.inf if stream == at.BARS else max(COLD_FACTOR * share_px, s[at.TICK_PX])
    return max(s[at.OUTLIER_Z] * NORMAL * windows.median(s, window), share_px, s[at.TICK_PX])


@kernel
def price_issue(s: State, stream: int, px: float, ts: float, low_px: float, high_px: float) -> int:
    """``OUTLIER`` (held back), ``SPIKE`` (accepted; the one held back was wrong), ``CONFIRMED`` (accepted) or 0.

    A price from ``low_px`` to ``high_px`` is confirmed from elsewhere; NaN where nobody offers such a range.
    """
    issue = 0
    if s[stream + at.HAS_PX] != 0.0:
        last = s[stream + at.LAST_PX]
        change = abs(px - last)
        if change > 0.0:
            band = band_px(s, stream)
            if change > band:
                run = s[stream + at.PENDING]
                near = max(band, 0.25 * abs(s[stream + at.PENDING_PX] - last))
                since = ts - s[stream + at.PENDING_NS]
                # Where a price may be negative, a share of it says nothing.
                far = s[at.PX_FLOOR] == 0.0 and change > max(FAR * abs(last), FAR_BANDS * band)
                told_twice = (
                    run > 0.0
                    and abs(px - s[stream + at.PENDING_PX]) <= near
                    and since <= s[at.CONFIRM_NS]
                    and (not far or since >= FAR_NS)
                )
                if not (told_twice or low_px <= px <= high_px or run + 1.0 >= s[at.CONFIRM_RUN]):
                    s[stream + at.PENDING] = run + 1.0
                    s[stream + at.PENDING_PX] = px
                    s[stream + at.PENDING_NS] = ts
                    return v.OUTLIER
                issue = v.CONFIRMED
            windows.push(s, stream + at.CHANGES, change)
        if issue == 0 and s[stream + at.PENDING] > 0.0:
            issue = v.SPIKE
        s[stream + at.PENDING] = 0.0
    s[stream + at.HAS_PX] = 1.0
    s[stream + at.LAST_PX] = px
    return issue


@kernel
def volume_issue(s: State, volume: int, qty: float) -> int:
    """0; ``VOLUME_SPIKE``, which is a fact; or its negative for a volume beyond belief, to be held back."""
    window = volume + at.VOLUMES
    issue = 0
    if windows.count(s, window) >= WARM and qty > windows.median(s, window):
        beyond_belief = qty > s[at.VOLUME_RATIO] * windows.largest(s, window)
        if beyond_belief and s[volume + at.VOLUME_RUN] + 1.0 < s[at.CONFIRM_RUN]:
            s[volume + at.VOLUME_RUN] += 1.0
            return -v.VOLUME_SPIKE
        scale = windows.quartile_range(s, window) / NORMAL_RANGE
        # Lots of one size have no range: then their own size is the scale.
        if scale <= 0.0:
            scale = windows.median(s, window)
        if scale > 0.0 and qty > windows.median(s, window) + s[at.VOLUME_Z] * scale:
            issue = v.VOLUME_SPIKE
    s[volume + at.VOLUME_RUN] = 0.0
    windows.push(s, window, qty)
    return issue


@kernel
def value_issue(s: State, bid_px: float, bid_qty: float, ask_px: float, ask_qty: float) -> int:
    """What is wrong with the numbers of a quote; 0 for a usable one, locked (bid equals ask) included."""
    # One chained comparison refuses NaN, infinities and a wrong sign at once: NaN compares false.
    if not s[at.PX_FLOOR] < bid_px <= ask_px < LIMIT:
        if not (-LIMIT < bid_px < LIMIT and -LIMIT < ask_px < LIMIT):
            return v.NOT_FINITE
        if bid_px <= s[at.PX_FLOOR] or ask_px <= s[at.PX_FLOOR]:
            return v.NOT_POSITIVE
        return v.CROSSED
    if s[at.HAS_SIZES] != 0.0 and not (0.0 < bid_qty < LIMIT and 0.0 < ask_qty < LIMIT):
        return v.BAD_SIZE
    return 0


@kernel
def told_before(s: State, bid_px: float, bid_qty: float, ask_px: float, ask_qty: float, ts: float) -> bool:
    """Whether it is the quote before once more.  One that is held back is not confirmed by its own copy."""
    last = at.BID_PX
    told_ns = s[at.QUOTES + at.NEWEST_NS]
    if s[at.QUOTES + at.PENDING] > 0.0:
        last = at.HELD_QUOTE
        told_ns = s[at.HELD_NS]
    return (
        s[at.QUOTES + at.HAS_PX] != 0.0
        and ts == told_ns
        and bid_px == s[last]
        and ask_px == s[last + 2]
        and (s[at.HAS_SIZES] == 0.0 or (bid_qty == s[last + 1] and ask_qty == s[last + 3]))
    )


@kernel
def expect_quote(s: State, px: float) -> None:
    """There was no quote yet: the first one should be near here."""
    if s[at.QUOTES + at.HAS_PX] == 0.0:
        s[at.QUOTES + at.HAS_PX] = 1.0
        s[at.QUOTES + at.LAST_PX] = px
        s[at.BID_PX] = px
        s[at.ASK_PX] = px


@kernel
def hold_quote(s: State, bid_px: float, bid_qty: float, ask_px: float, ask_qty: float, ts: float) -> None:
    """Remember a suspect quote, by which its copies are known."""
    s[at.HELD_QUOTE] = bid_px
    s[at.HELD_QUOTE + 1] = bid_qty
    s[at.HELD_QUOTE + 2] = ask_px
    s[at.HELD_QUOTE + 3] = ask_qty
    s[at.HELD_NS] = ts


@kernel
def is_plausible(
    s: State, bid_px: float, bid_qty: float, ask_px: float, ask_qty: float, ts: float, recv_ns: int
) -> bool:
    """Whether the price of a quote is no outlier; its own time ``ts`` tells no more than whether it is a copy, so the
    receive time is taken."""
    if s[at.QUOTES + at.PENDING] > 0.0 and told_before(s, bid_px, bid_qty, ask_px, ask_qty, ts):
        return False
    recv = times.since_base(s, recv_ns)
    if price_issue(s, at.QUOTES, 0.5 * bid_px + 0.5 * ask_px, recv, math.nan, math.nan) != v.OUTLIER:
        return True
    hold_quote(s, bid_px, bid_qty, ask_px, ask_qty, ts)
    return False


@kernel
def judge_quote(
    s: State,
    bid_px: float,
    bid_qty: float,
    ask_px: float,
    ask_qty: float,
    ts_ns: int,
    recv_ns: int,
) -> int:
    issue = value_issue(s, bid_px, bid_qty, ask_px, ask_qty)
    if issue != 0:
        return v.DROPPED + 4 * issue
    code = times.judge_time(s, at.QUOTES, ts_ns, recv_ns)
    if code != 0:
        # Nobody's stop goes by a price that no other bears out, whatever its time.
        shown = code & 3 == v.SUSPECT and is_plausible(
            s, bid_px, bid_qty, ask_px, ask_qty, times.since_base(s, ts_ns), recv_ns
        )
        return code if shown else v.DROPPED + 4 * (code >> 2)
    if told_before(s, bid_px, bid_qty, ask_px, ask_qty, times.since_base(s, ts_ns)):
        return v.DROPPED + 4 * v.DUPLICATE
    ts = times.remember_time(s, at.QUOTES, ts_ns)
    if s[at.TRADES + at.HAS_PX] != 0.0:
        expect_quote(s, s[at.TRADES + at.LAST_PX])
    mid_px = 0.5 * bid_px + 0.5 * ask_px
    reference_px = s[at.REFERENCE_PX]
    near_px = s[at.OUTLIER_FRACTION] * abs(reference_px)
    issue = price_issue(s, at.QUOTES, mid_px, ts, reference_px - near_px, reference_px + near_px)
    if issue == v.OUTLIER:
        hold_quote(s, bid_px, bid_qty, ask_px, ask_qty, ts)
        return v.SUSPECT + 4 * v.OUTLIER
    s[at.BID_PX] = bid_px
    s[at.BID_QTY] = bid_qty
    s[at.ASK_PX] = ask_px
    s[at.ASK_QTY] = ask_qty
    if issue == 0 and bid_px == ask_px:
        issue = v.LOCKED
    return v.ACCEPTED + 4 * issue


@kernel
def doubt_held_quote(s: State, px: float, ts: float) -> None:
    """A trade since the quote that is held back, at the quote that stands: another one like it is no second word for
    it.  So many suspects in a row still are: quotes may run ahead of trades."""
    near_px = s[at.OUTLIER_FRACTION] * abs(px)
    if (
        s[at.QUOTES + at.PENDING] > 0.0
        and ts > s[at.QUOTES + at.PENDING_NS]
        and s[at.BID_PX] - near_px <= px <= s[at.ASK_PX] + near_px
    ):
        s[at.QUOTES + at.PENDING_PX] = math.nan


@kernel
def known_id(s: State, key: float) -> bool:
    """Whether a trade of that id came before, among the last ``ID_KEPT``; remembers it."""
    n = int(s[at.ID_COUNT])
    if n > 0 and key <= s[at.ID_NEWEST]:
        for i in range(at.IDS, at.IDS + n):
            if s[i] == key:
                return True
    else:
        s[at.ID_NEWEST] = key
    pos = int(s[at.ID_POS])
    s[at.IDS + pos] = key
    s[at.ID_POS] = pos + 1.0 if pos + 1 < at.ID_KEPT else 0.0
    if n < at.ID_KEPT:
        s[at.ID_COUNT] = n + 1.0
    return False


@kernel
def judge_trade(s: State, px: float, qty: float, key: float, ts_ns: int, recv_ns: int) -> int:
    issue = 0
    if not s[at.PX_FLOOR] < px < LIMIT:
        issue = v.NOT_POSITIVE if -LIMIT < px < LIMIT else v.NOT_FINITE
    elif not 0.0 < qty < LIMIT:
        issue = v.BAD_SIZE
    else:
        # A trade told again is old as well; that it was told before says more.
        if key >= 0.0 and known_id(s, key):
            return v.DROPPED + 4 * v.DUPLICATE
        issue = times.judge_time(s, at.TRADES, ts_ns, recv_ns) >> 2
    if issue != 0:
        return v.DROPPED + 4 * issue
    ts = times.remember_time(s, at.TRADES, ts_ns)
    # Prices that confirm a trade: the quote that stands, or the one the caller offers.
    low_px = s[at.REFERENCE_PX]
    high_px = low_px
    if math.isnan(low_px) and s[at.QUOTES + at.HAS_PX] != 0.0:
        low_px = s[at.BID_PX]
        high_px = s[at.ASK_PX]
    if s[at.TRADES + at.HAS_PX] == 0.0 and s[at.QUOTES + at.HAS_PX] != 0.0:
        # The first trade of all: the quotes say where it should be.
        s[at.TRADES + at.HAS_PX] = 1.0
        s[at.TRADES + at.LAST_PX] = s[at.QUOTES + at.LAST_PX]
    near_px = s[at.OUTLIER_FRACTION] * abs(px)
    issue = price_issue(s, at.TRADES, px, ts, low_px - near_px, high_px + near_px)
    if issue == v.OUTLIER:
        return v.SUSPECT + 4 * v.OUTLIER
    doubt_held_quote(s, px, ts)
    size = volume_issue(s, at.TRADE_VOLUME, qty)
    if size < 0:
        return v.SUSPECT + 4 * v.VOLUME_SPIKE
    if issue == 0:
        issue = size
    return v.ACCEPTED + 4 * issue


@kernel
def judge_bar(
    s: State,
    open_px: float,
    high_px: float,
    low_px: float,
    close_px: float,
    ts_ns: int,
    recv_ns: int,
) -> int:
    """A finished candle.  A candle cannot wait for its successor, so an outlier among them is counted and used."""
    interval_ns = s[at.NEXT_INTERVAL_NS]
    volume = s[at.NEXT_VOLUME]
    if not interval_ns > 0.0:
        return v.DROPPED + 4 * v.GATE_FAILED
    if not (-LIMIT < low_px < LIMIT and -LIMIT < high_px < LIMIT):
        return v.DROPPED + 4 * v.NOT_FINITE
    if low_px <= s[at.PX_FLOOR]:
        return v.DROPPED + 4 * v.NOT_POSITIVE
    if not (low_px <= open_px <= high_px and low_px <= close_px <= high_px):
        if not (-LIMIT < open_px < LIMIT and -LIMIT < close_px < LIMIT):
            return v.DROPPED + 4 * v.NOT_FINITE
        return v.DROPPED + 4 * v.HIGH_LOW
    if not 0.0 <= volume < LIMIT:
        return v.DROPPED + 4 * v.BAD_SIZE
    if not (0 <= ts_ns < times.TIME_LIMIT and 0 <= recv_ns < times.TIME_LIMIT):
        return v.DROPPED + 4 * v.STALE
    times.find_base(s, recv_ns)
    stream = at.BARS
    ts = times.since_base(s, ts_ns)
    if s[at.BAR_INTERVAL_NS] != interval_ns:
        for i in range(stream, stream + at.STREAM_SLOTS):
            s[i] = 0.0
        s[at.BAR_INTERVAL_NS] = interval_ns
    elif s[stream + at.HAS_NEWEST] != 0.0:
        if ts < s[stream + at.NEWEST_NS]:
            return v.DROPPED + 4 * v.LATE
        if ts == s[stream + at.NEWEST_NS]:
            same = close_px == s[at.BAR_CLOSE] and volume == s[at.BAR_VOLUME]
            return v.DROPPED + 4 * (v.DUPLICATE if same else v.REVISED)
    if ts_ns - recv_ns > s[at.OFFSET_MAX_NS] + s[at.FUTURE_NS]:
        return v.DROPPED + 4 * v.FUTURE
    times.remember_time(s, stream, ts_ns)
    s[at.BAR_CLOSE] = close_px
    s[at.BAR_VOLUME] = volume
    # -inf to inf: whatever the price, it is not held back.
    issue = price_issue(s, stream, close_px, ts, -LIMIT, LIMIT)
    if issue == v.CONFIRMED:
        issue = v.OUTLIER
    size = abs(volume_issue(s, at.BAR_VOLUMES, volume))
    if issue == 0:
        issue = size
    return v.ACCEPTED + 4 * issue


@kernel
def tally(s: State, counts: int, code: int) -> None:
    """Count one judgement."""
    s[counts + at.COUNT_VERDICT + (code & 3)] += 1.0
    s[counts + at.COUNT_ISSUE + (code >> 2)] += 1.0


@kernel
def tally_hour(s: State, recv_ns: int, code: int) -> None:
    """Count it in the hour of its receive time, taking the bucket over from two days ago."""
    if not 0 <= recv_ns < times.TIME_LIMIT:
        return
    hour = recv_ns // HOUR_NS
    bucket = at.BUCKETS + (hour % at.HOURS) * at.HOUR_SLOTS
    if s[bucket + at.HOUR_NUMBER] != hour + 1.0:
        for i in range(bucket, bucket + at.HOUR_SLOTS):
            s[i] = 0.0
        s[bucket + at.HOUR_NUMBER] = hour + 1.0
    tally(s, bucket + at.HOUR_COUNTS, code)


@kernel
def judge(s: State, kind: int, a: float, b: float, c: float, d: float, ts_ns: int, recv_ns: int) -> int:
    """One event; see the kinds above.  Returns verdict + 4 x issue (``engine.quality.verdicts``)."""
    if kind == BOOK:
        code = times.judge_time(s, at.QUOTES, ts_ns, recv_ns)
        if code == 0:
            return 0
    elif kind == SHOWN:
        if value_issue(s, a, b, c, d) == 0 and is_plausible(s, a, b, c, d, math.nan, recv_ns):
            return 0
        return v.SUSPECT + 4 * v.OUTLIER
    elif kind == QUOTE:
        code = judge_quote(s, a, b, c, d, ts_ns, recv_ns)
    elif kind == TRADE:
        code = judge_trade(s, a, b, c, ts_ns, recv_ns)
    elif kind == NOTE:
        code = int(a)
    else:
        code = judge_bar(s, a, b, c, d, ts_ns, recv_ns)
    s[at.REFERENCE_PX] = math.nan
    tally(s, at.TOTAL, code)
    tally_hour(s, recv_ns, code)
    return code
