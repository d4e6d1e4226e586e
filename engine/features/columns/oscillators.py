"""Oscillators: stochastic, Williams %R, CCI, rate of change, TRIX, ADX."""

from __future__ import annotations

from engine.features import layout as at
from engine.features import rings
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State
from engine.features.rings import LEAST_CHANGE

_SPANS = 8
"""Rows of the rings of greatest and least values."""


@kernel
def highest_of_14(s: State, p: int) -> float:
    """Of the last 8 rows and of the 8 that ended six rows before: four comparisons where a search takes thirteen.

    Private: rings of the highest of 2, of 4 and of 8 rows.
    """
    now = at.HIGH + at.newest(s)
    two = s[now] if s[now] > s[now - 1] else s[now - 1]
    before = s[rings.put(s, p, _SPANS, two) - 3]
    four = two if two > before else before
    before = s[rings.put(s, p + 2 * _SPANS, _SPANS, four) - 5]
    eight = four if four > before else before
    before = s[rings.put(s, p + 4 * _SPANS, _SPANS, eight) - 7]
    if s[at.ROWS] < 14.0:
        return NAN
    return eight if eight > before else before


@kernel
def lowest_of_14(s: State, p: int) -> float:
    """As ``highest_of_14``."""
    now = at.LOW + at.newest(s)
    two = s[now] if s[now] < s[now - 1] else s[now - 1]
    before = s[rings.put(s, p, _SPANS, two) - 3]
    four = two if two < before else before
    before = s[rings.put(s, p + 2 * _SPANS, _SPANS, four) - 5]
    eight = four if four < before else before
    before = s[rings.put(s, p + 4 * _SPANS, _SPANS, eight) - 7]
    if s[at.ROWS] < 14.0:
        return NAN
    return eight if eight < before else before


@kernel
def stochastic(s: State, high: float, low: float) -> float:
    """The quotient first: it is at most 1 whatever is rounded, so that the bounds hold."""
    span = high - low
    if span > 0.0:
        return 100.0 * ((at.last(s, at.CLOSE, 0) - low) / span)
    # No span: in the middle.
    return 50.0 if span == 0.0 else NAN


@kernel
def mean_of_three(s: State, p: int, first_row: int, value: float) -> float:
    """Private: the value one row ago and two rows ago."""
    if s[at.ROWS] < first_row - 2:
        return NAN
    total = value + s[p] + s[p + 1]
    s[p + 1] = s[p]
    s[p] = value
    if s[at.ROWS] < first_row:
        return NAN
    return total * (1.0 / 3.0)


@kernel
def williams(_s: State, fast: float) -> float:
    return fast - 100.0


@kernel
def commodity_channel(s: State, p: int, n: int) -> float:
    """Private: a ring of three typical prices; the three cancels out.

    A market that stands still deviates from its rounded mean by a last digit: no index is made of that.
    """
    typical = at.last(s, at.HIGH, 0) + at.last(s, at.LOW, 0) + at.last(s, at.CLOSE, 0)
    stop = rings.put(s, p, rings.RING_ROWS, typical)
    if s[at.ROWS] < n:
        return NAN
    mean = at.sum_before(s, stop, n) * (1.0 / n)
    distance = rings.sum_distances(s, stop, n, mean)
    if distance > LEAST_CHANGE * n * abs(mean):
        return (typical - mean) * n / (0.015 * distance)
    return 0.0


@kernel
def rate_of_change(s: State, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    before = at.last(s, at.CLOSE, n)
    if before != 0.0:
        return 100.0 * ((at.last(s, at.CLOSE, 0) - before) / before)
    return 0.0


@kernel
def trix(s: State, p: int, n: int) -> float:
    """Private: three averages, each of the one before it; until its seed is complete, the sum that will be the seed."""
    rows = s[at.ROWS]
    if rows < n:
        return NAN
    weight = 2.0 / (n + 1.0)
    if rows == n:
        s[p] = at.sum_last(s, at.CLOSE, n) / n
    else:
        s[p] += (at.last(s, at.CLOSE, 0) - s[p]) * weight
    if rows < 2 * n - 1:
        s[p + 1] += s[p]
        return NAN
    if rows == 2 * n - 1:
        s[p + 1] = (s[p + 1] + s[p]) / n
    else:
        s[p + 1] += (s[p] - s[p + 1]) * weight
    before = s[p + 2]
    if rows <= 3 * n - 2:
        s[p + 2] += s[p + 1]
        if rows == 3 * n - 2:
            s[p + 2] /= n
        return NAN
    rise = (s[p + 1] - before) * weight
    s[p + 2] = before + rise
    if before != 0.0:
        return 100.0 * (rise / before)
    return 0.0


@kernel
def directional(s: State, p: int, n: int) -> float:
    """Private: smoothed rises of the high, smoothed falls of the low, the average (while it is seeded, its sum).

    The smoothed true range that both directional indicators are divided by cancels out.
    """
    rows = s[at.ROWS]
    if rows < 2.0:
        return NAN
    up = at.last(s, at.HIGH, 0) - at.last(s, at.HIGH, 1)
    down = at.last(s, at.LOW, 1) - at.last(s, at.LOW, 0)
    # Both conditions at once: chosen, not branched to.
    rise = up if (up > 0.0) & (up > down) else 0.0
    fall = down if (down > 0.0) & (down > up) else 0.0
    if rows <= n:
        s[p] += rise
        s[p + 1] += fall
        return NAN
    s[p] += rise - s[p] * (1.0 / n)
    s[p + 1] += fall - s[p + 1] * (1.0 / n)
    total = s[p] + s[p + 1]
    index = 100.0 * (abs(s[p] - s[p + 1]) / total) if total > 0.0 else 0.0
    if rows < 2 * n:
        s[p + 2] += index
        return NAN
    if rows == 2 * n:
        s[p + 2] = (s[p + 2] + index) / n
    elif total > 0.0:
        s[p + 2] += (index - s[p + 2]) * (1.0 / n)
    return s[p + 2]


for _name, _function, _word in (
    ("highest_14", highest_of_14, "highest high"),
    ("lowest_14", lowest_of_14, "lowest low"),
):
    register(
        Column(
            name=_name,
            function=_function,
            private_slots=6 * _SPANS,
            formula=f"{_word} of the last 14 rows",
            unit="price",
            inputs=("price",),
            candle=True,
            warm_rows=14,
        )
    )
register(
    Column(
        name="stoch_fast",
        function=stochastic,
        uses=("highest_14", "lowest_14"),
        formula="100 * (close - lowest_14) / (highest_14 - lowest_14); 50 where both are equal (TA-Lib: 0)",
        unit="percent",
        inputs=("price",),
        candle=True,
        warm_rows=14,
        bounds=(0.0, 100.0),
        source="TA-Lib STOCHF fastk; G. Lane",
    )
)
register(
    Column(
        name="stoch_k",
        function=mean_of_three,
        params=(16,),
        uses=("stoch_fast",),
        private_slots=2,
        formula="mean of stoch_fast over 3 rows: the slow %K, since the fast one is willr_14 + 100",
        unit="percent",
        inputs=("price",),
        candle=True,
        warm_rows=16,
        bounds=(0.0, 100.0),
        source="TA-Lib STOCH(14, 3, 3) slowk; G. Lane",
    )
)
register(
    Column(
        name="stoch_d",
        function=mean_of_three,
        params=(18,),
        uses=("stoch_k",),
        private_slots=2,
        formula="mean of stoch_k over 3 rows",
        unit="percent",
        inputs=("price",),
        candle=True,
        warm_rows=18,
        bounds=(0.0, 100.0),
        source="TA-Lib STOCH(14, 3, 3) slowd; G. Lane",
    )
)
register(
    Column(
        name="willr_14",
        function=williams,
        uses=("stoch_fast",),
        formula="stoch_fast - 100 = -100 * (highest_14 - close) / (highest_14 - lowest_14); "
        "-50 where both are equal (TA-Lib: 0)",
        unit="percent",
        inputs=("price",),
        candle=True,
        warm_rows=14,
        bounds=(-100.0, 0.0),
        source="TA-Lib WILLR; L. Williams",
    )
)
register(
    Column(
        name="cci_20",
        function=commodity_channel,
        params=(20,),
        private_slots=rings.RING_SLOTS,
        formula="(typical - its mean over 20 rows) / (0.015 * mean distance of the 20 from that mean), "
        "typical = (high + low + close) / 3; 0 where nothing moved",
        unit="ratio",
        inputs=("price",),
        candle=True,
        warm_rows=20,
        source="TA-Lib CCI; D. Lambert (1980)",
    )
)
register(
    Column(
        name="roc_10",
        function=rate_of_change,
        params=(10,),
        formula="100 * (close / close 10 rows ago - 1); 0 where that close was 0",
        unit="percent",
        inputs=("price",),
        candle=True,
        warm_rows=11,
        source="TA-Lib ROC",
    )
)
register(
    Column(
        name="trix_15",
        function=trix,
        params=(15,),
        private_slots=3,
        formula="100 * one-row change of the ema of the ema of the ema 15 of close, each seeded with the mean of its "
        "first 15 inputs; 0 where the average was 0",
        unit="percent",
        inputs=("price",),
        candle=True,
        warm_rows=44,
        source="TA-Lib TRIX; J. Hutson (1983)",
    )
)
register(
    Column(
        name="adx_14",
        function=directional,
        params=(14,),
        private_slots=3,
        formula="directional index 100 * |r - f| / (r + f) smoothed a += (x - a)/14 from the mean of its first 14; "
        "r, f: rises of the high, falls of the low, the greater of a row only, smoothed r += x - r/14; "
        "unchanged where both are 0 (0 while it is seeded)",
        unit="percent",
        inputs=("price",),
        candle=True,
        warm_rows=28,
        bounds=(0.0, 100.0),
        source="TA-Lib ADX; J. W. Wilder (1978)",
    )
)
