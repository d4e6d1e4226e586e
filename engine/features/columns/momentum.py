"""Wilder's smoothed indicators (rsi, atr) and the efficiency ratio."""

from __future__ import annotations

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State


@kernel
def rsi(s: State, p: int, n: int) -> float:
    """Private: smoothed gain, smoothed loss."""
    rows = s[at.ROWS]
    if rows < n + 1:
        return NAN
    if rows == n + 1:
        gain = 0.0
        loss = 0.0
        for k in range(n - 1, -1, -1):
            change = at.last(s, at.CLOSE, k) - at.last(s, at.CLOSE, k + 1)
            if change > 0.0:
                gain += change
            else:
                loss -= change
        s[p] = gain / n
        s[p + 1] = loss / n
    else:
        change = at.last(s, at.CLOSE, 0) - at.last(s, at.CLOSE, 1)
        s[p] = (s[p] * (n - 1.0) + (change if change > 0.0 else 0.0)) / n
        s[p + 1] = (s[p + 1] * (n - 1.0) + (-change if change < 0.0 else 0.0)) / n
    total = s[p] + s[p + 1]
    if total > 0.0:
        return 100.0 * s[p] / total
    # Neither gain nor loss: neutral.
    return 50.0


@kernel
def true_range(s: State, lag: int) -> float:
    before = at.last(s, at.CLOSE, lag + 1)
    high = at.last(s, at.HIGH, lag)
    low = at.last(s, at.LOW, lag)
    return (high if high > before else before) - (low if low < before else before)


@kernel
def atr(s: State, p: int, n: int) -> float:
    """Private: the smoothed true range."""
    rows = s[at.ROWS]
    if rows < n + 1:
        return NAN
    if rows == n + 1:
        total = 0.0
        for k in range(n - 1, -1, -1):
            total += true_range(s, k)
        s[p] = total / n
    else:
        s[p] = (s[p] * (n - 1.0) + true_range(s, 0)) / n
    return s[p]


@kernel
def efficiency(s: State, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    now = at.CLOSE + at.newest(s)
    path = 0.0
    for i in range(now - n + 1, now + 1):
        path += abs(s[i] - s[i - 1])
    if path > 0.0:
        return (s[now] - s[now - n]) / path
    return 0.0


register(
    Column(
        name="rsi_14",
        function=rsi,
        params=(14,),
        private_slots=2,
        formula="100 * gain / (gain + loss), both smoothed g += (x - g)/14 from the mean of the first 14; "
        "50 when both are 0",
        unit="percent",
        inputs=("price",),
        candle=True,
        warm_rows=15,
        source="TA-Lib RSI; J. W. Wilder (1978)",
    )
)
register(
    Column(
        name="atr_14",
        function=atr,
        params=(14,),
        private_slots=1,
        formula="true range smoothed a += (x - a)/14 from the mean of the first 14",
        unit="price",
        inputs=("price",),
        candle=True,
        warm_rows=15,
        source="TA-Lib ATR; J. W. Wilder (1978)",
    )
)
register(
    Column(
        name="efficiency_20",
        function=efficiency,
        params=(20,),
        formula="(close - close 20 rows ago) / sum of |changes of close|, in [-1, 1]; 0 when nothing moved",
        unit="ratio",
        inputs=("price",),
        candle=True,
        warm_rows=21,
        source="P. Kaufman's efficiency ratio, with its sign",
    )
)
