"""Volume and what it says about price: its mean and deviation, accumulation/distribution, money flow."""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features import rings
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State
from engine.features.rings import LEAST_CHANGE


@kernel
def mean_volume(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    return at.sum_last(s, at.VOLUME, n) * (1.0 / n)


@kernel
def volume_score(s: State, n: int) -> float:
    """Measured from the newest volume: rows of the same volume have no deviation, not one of the last digit."""
    if s[at.ROWS] < n:
        return NAN
    stop = at.VOLUME + at.newest(s) + 1
    newest = at.last(s, at.VOLUME, 0)
    mean = rings.sum_offsets(s, stop, n, newest) / n
    deviation = math.sqrt(at.sum_squares_last(s, at.VOLUME, n, newest + mean) / n)
    if deviation > 0.0:
        return -mean / deviation
    return 0.0


@kernel
def accumulation(s: State, p: int) -> float:
    """Private: the running total."""
    high = at.last(s, at.HIGH, 0)
    low = at.last(s, at.LOW, 0)
    close = at.last(s, at.CLOSE, 0)
    if high > low:
        s[p] += ((close - low) - (high - close)) / (high - low) * at.last(s, at.VOLUME, 0)
    return s[p]


@kernel
def money_flow(s: State, p: int, n: int) -> float:
    """Private: rings of the rising and of the falling flow, three typical prices * volume; the three cancels out."""
    flow = 0.0
    change = 0.0
    least = 0.0
    if s[at.ROWS] > 1.0:
        now = at.last(s, at.HIGH, 0) + at.last(s, at.LOW, 0) + at.last(s, at.CLOSE, 0)
        before = at.last(s, at.HIGH, 1) + at.last(s, at.LOW, 1) + at.last(s, at.CLOSE, 1)
        flow = now * at.last(s, at.VOLUME, 0)
        change = now - before
        least = LEAST_CHANGE * abs(now)
    rise_stop = rings.put(s, p, rings.RING_ROWS, flow if change > least else 0.0)
    fall_stop = rings.put(s, p + rings.RING_SLOTS, rings.RING_ROWS, flow if change < -least else 0.0)
    if s[at.ROWS] < n + 1:
        return NAN
    rises = at.sum_before(s, rise_stop, n)
    total = rises + at.sum_before(s, fall_stop, n)
    if total > 0.0:
        return 100.0 * (rises / total)
    # Nothing flowed either way: neutral.
    return 50.0


register(
    Column(
        name="volume_sma_20",
        function=mean_volume,
        params=(20,),
        formula="mean volume of 20 rows",
        unit="qty",
        inputs=("price", "volume"),
        candle=True,
        warm_rows=20,
        bounds=(0.0, math.inf),
        source="TA-Lib SMA",
    )
)
register(
    Column(
        name="volume_z20",
        function=volume_score,
        params=(20,),
        formula="(volume - mean volume of 20 rows) / population standard deviation of the 20; 0 where all are equal",
        unit="ratio",
        inputs=("price", "volume"),
        candle=True,
        warm_rows=20,
        bounds=(-4.36, 4.36),
    )
)
register(
    Column(
        name="ad_line",
        function=accumulation,
        private_slots=1,
        formula="running sum of ((close - low) - (high - close)) / (high - low) * volume, nothing where high = low; "
        "restarts at a gap",
        unit="qty",
        inputs=("price", "volume"),
        candle=True,
        warm_rows=1,
        source="TA-Lib AD; M. Chaikin",
    )
)
register(
    Column(
        name="mfi_14",
        function=money_flow,
        params=(14,),
        private_slots=2 * rings.RING_SLOTS,
        formula="100 * rising / (rising + falling), sums over 14 rows of typical * volume by the change of typical, "
        "typical = (high + low + close) / 3, its change of at most 1e-13 relative is none; "
        "50 where both are 0 (TA-Lib: 0 where they are below 1 together)",
        unit="percent",
        inputs=("price", "volume"),
        candle=True,
        warm_rows=15,
        bounds=(0.0, 100.0),
        source="TA-Lib MFI; G. Quong, A. Soudack",
    )
)
