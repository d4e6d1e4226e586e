"""Moving averages and what is made of them: sma, ema, macd, vwap, obv, and the close they all start from."""

from __future__ import annotations

from engine.features import layout as at
from engine.features import rings
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State

LONG_ROWS = 64
"""Rows of a ring that reaches back more than a usual one."""


@kernel
def close(s: State) -> float:
    return at.last(s, at.CLOSE, 0)


@kernel
def sma(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    return at.sum_last(s, at.CLOSE, n) / n


@kernel
def mean_close(s: State, n: int) -> float:
    """As ``sma``, by a product: a division costs as much as ten additions."""
    if s[at.ROWS] < n:
        return NAN
    return at.sum_last(s, at.CLOSE, n) * (1.0 / n)


@kernel
def mean_of_means(s: State, p: int, n: int, count: int, mean: float) -> float:
    """Mean of ``count`` spans of ``n`` rows each, one behind the other.  Private: a ring of the means of one span."""
    stop = rings.put(s, p, LONG_ROWS, mean)
    if s[at.ROWS] < n * count:
        return NAN
    total = 0.0
    for k in range(count):
        total += s[stop - 1 - n * k]
    return total * (1.0 / count)


@kernel
def ema(s: State, p: int, n: int) -> float:
    """Private: the average.  Seeded with the plain mean of the first n closes, as TA-Lib does."""
    rows = s[at.ROWS]
    if rows < n:
        return NAN
    if rows == n:
        s[p] = at.sum_last(s, at.CLOSE, n) / n
    else:
        s[p] += (at.last(s, at.CLOSE, 0) - s[p]) * (2.0 / (n + 1.0))
    return s[p]


@kernel
def macd_line(s: State, p: int, fast: int, slow: int) -> float:
    """Private: fast average, slow average.  Both are seeded at row ``slow``, as TA-Lib does."""
    rows = s[at.ROWS]
    if rows < slow:
        return NAN
    if rows == slow:
        s[p] = at.sum_last(s, at.CLOSE, fast) / fast
        s[p + 1] = at.sum_last(s, at.CLOSE, slow) / slow
    else:
        newest = at.last(s, at.CLOSE, 0)
        s[p] += (newest - s[p]) * (2.0 / (fast + 1.0))
        s[p + 1] += (newest - s[p + 1]) * (2.0 / (slow + 1.0))
    return s[p] - s[p + 1]


@kernel
def macd_signal(s: State, p: int, slow: int, n: int, line: float) -> float:
    """Private: the average, or the running sum of the lines that will seed it."""
    rows = s[at.ROWS]
    first = slow + n - 1
    if rows < slow:
        return NAN
    if rows < first:
        s[p] += line
        return NAN
    if rows == first:
        s[p] = (s[p] + line) / n
    else:
        s[p] += (line - s[p]) * (2.0 / (n + 1.0))
    return s[p]


@kernel
def difference(_s: State, left: float, right: float) -> float:
    return left - right


@kernel
def vwap(s: State, p: int, n: int) -> float:
    """Private: a ring of three typical prices, and a ring of these * volume."""
    now = at.newest(s)
    typical = s[at.HIGH + now] + s[at.LOW + now] + s[at.CLOSE + now]
    plain_stop = rings.put(s, p, rings.RING_ROWS, typical)
    stop = rings.put(s, p + rings.RING_SLOTS, rings.RING_ROWS, typical * s[at.VOLUME + now])
    if s[at.ROWS] < n:
        return NAN
    weighted = 0.0
    weight = 0.0
    for i in range(n):
        weighted += s[stop - n + i]
        weight += s[at.VOLUME + now - n + 1 + i]
    if weight > 0.0:
        return weighted / weight / 3.0
    # Nothing traded in the window: the limit of equal, vanishing volumes.
    plain = 0.0
    for i in range(plain_stop - n, plain_stop):
        plain += s[i]
    # Without the last addition, which changes nothing, both ways end alike; the compiler then makes one of them, whose
    # sum waits until it is known which, and doubles the time of this column.
    return plain / n / 3.0 + 0.0


@kernel
def obv(s: State, p: int) -> float:
    """Private: the running total."""
    volume = at.last(s, at.VOLUME, 0)
    if s[at.ROWS] == 1.0:
        s[p] = volume
        return s[p]
    newest = at.last(s, at.CLOSE, 0)
    before = at.last(s, at.CLOSE, 1)
    # Chosen, not branched to: half of such branches are mispredicted.
    rise = volume if newest > before else 0.0
    s[p] += -volume if newest < before else rise
    return s[p]


register(
    Column(
        name="close",
        function=close,
        formula="mid price at the row's end",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=1,
    )
)
register(
    Column(
        name="sma_20",
        function=sma,
        params=(20,),
        formula="mean of the last 20 closes",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        source="TA-Lib SMA",
    )
)
register(
    Column(
        name="ema_12",
        function=ema,
        params=(12,),
        private_slots=1,
        formula="e += (close - e) * 2/13, seeded with the mean of the first 12 closes",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=12,
        source="TA-Lib EMA",
    )
)
register(
    Column(
        name="macd_line",
        function=macd_line,
        params=(12, 26),
        private_slots=2,
        formula="ema 12 - ema 26 of close, both seeded at row 26",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=26,
        source="TA-Lib MACD; G. Appel",
    )
)
register(
    Column(
        name="macd_signal",
        function=macd_signal,
        params=(26, 9),
        uses=("macd_line",),
        private_slots=1,
        formula="ema 9 of macd_line, seeded with the mean of its first 9 values",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=34,
        source="TA-Lib MACD; G. Appel",
    )
)
register(
    Column(
        name="macd_histogram",
        function=difference,
        uses=("macd_line", "macd_signal"),
        formula="macd_line - macd_signal",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=34,
        source="TA-Lib MACD; G. Appel",
    )
)
register(
    Column(
        name="vwap",
        function=vwap,
        params=(20,),
        private_slots=2 * rings.RING_SLOTS,
        formula="sum(typical * volume) / sum(volume) over the last 20 rows, typical = (high + low + close) / 3; "
        "the plain mean of typical when nothing traded; rolling, so that it does not depend on the session's start",
        unit="price",
        inputs=("price", "volume"),
        candle=True,
        warm_rows=20,
        source="rolling form of the session VWAP",
    )
)
register(
    Column(
        name="obv",
        function=obv,
        private_slots=1,
        formula="running sum of volume, signed by the change of close; starts with the first volume; restarts at a gap",
        unit="qty",
        inputs=("price", "volume"),
        candle=True,
        warm_rows=1,
        source="TA-Lib OBV; J. Granville",
    )
)
register(
    Column(
        name="sma_10",
        function=mean_close,
        params=(10,),
        formula="mean of the last 10 closes",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=10,
        source="TA-Lib SMA",
    )
)
register(
    Column(
        name="sma_50",
        function=mean_of_means,
        params=(10, 5),
        uses=("sma_10",),
        private_slots=2 * LONG_ROWS,
        formula="mean of the last 50 closes, as the mean of five means of 10",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=50,
        source="TA-Lib SMA",
    )
)
register(
    Column(
        name="ema_26",
        function=ema,
        params=(26,),
        private_slots=1,
        formula="e += (close - e) * 2/27, seeded with the mean of the first 26 closes",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=26,
        source="TA-Lib EMA",
    )
)
