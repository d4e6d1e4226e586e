"""Pressure over spans of rows: order-flow imbalance of the quotes, signed flow and volume of the trades."""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State


@kernel
def mean_depth(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    return at.sum_last(s, at.DEPTH, n) / n


@kernel
def order_flow_imbalance(s: State, n: int, depth: float) -> float:
    """A row's own imbalance is unknown on the first row after a restart, so it takes n + 1 rows."""
    if s[at.ROWS] < n + 1:
        return NAN
    if depth > 0.0:
        return at.sum_last(s, at.OFI, n) / depth
    return 0.0 if depth == 0.0 else NAN


@kernel
def trade_flow(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    traded = at.sum_last(s, at.TRADED, n)
    if traded > 0.0:
        return at.sum_last(s, at.FLOW, n) / traded
    # NaN where a row came from a candle, which has no flow.
    return 0.0 if traded == 0.0 else NAN


@kernel
def volume(s: State) -> float:
    return at.last(s, at.VOLUME, 0)


@kernel
def volume_ratio(s: State, short: int, long: int) -> float:
    if s[at.ROWS] < long:
        return NAN
    usual = at.sum_last(s, at.VOLUME, long) / long
    if usual > 0.0:
        return at.sum_last(s, at.VOLUME, short) / short / usual
    return 1.0


@kernel
def direction_balance(s: State, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    now = at.CLOSE + at.newest(s)
    balance = 0.0
    for i in range(now - n + 1, now + 1):
        if s[i] > s[i - 1]:
            balance += 1.0
        elif s[i] < s[i - 1]:
            balance -= 1.0
    return balance / n


register(
    Column(
        name="depth_20",
        function=mean_depth,
        params=(20,),
        formula="mean over 20 rows of (bid qty + ask qty) / 2 of the best quote",
        unit="qty",
        bounds=(0.0, math.inf),
        inputs=("quotes", "sizes"),
        warm_rows=20,
    )
)
for _n in (1, 5, 20, 50):
    register(
        Column(
            name=f"ofi_{_n}",
            function=order_flow_imbalance,
            params=(_n,),
            uses=("depth_20",),
            formula=f"sum of order-flow imbalance over {_n} rows / depth_20",
            unit="ratio",
            inputs=("quotes", "sizes"),
            warm_rows=max(_n + 1, 20),
            source="R. Cont, A. Kukanov, S. Stoikov, The price impact of order book events (2014)",
        )
    )
for _n in (5, 20, 50):
    register(
        Column(
            name=f"flow_{_n}",
            function=trade_flow,
            params=(_n,),
            formula=f"(bought - sold) / traded quantity over {_n} rows, by aggressor; 0 when nothing traded",
            unit="ratio",
            bounds=(-1.0, 1.0),
            inputs=("trades",),
            warm_rows=_n,
        )
    )
register(
    Column(
        name="volume",
        function=volume,
        formula="declared volume of the row",
        unit="qty",
        bounds=(0.0, math.inf),
        inputs=("price", "volume"),
        candle=True,
        warm_rows=1,
    )
)
register(
    Column(
        name="volume_ratio",
        function=volume_ratio,
        params=(5, 50),
        formula="mean volume of 5 rows / mean volume of 50 rows; 1 when nothing traded",
        unit="ratio",
        bounds=(0.0, math.inf),
        inputs=("price", "volume"),
        candle=True,
        warm_rows=50,
    )
)
for _n in (5, 20, 50):
    register(
        Column(
            name=f"tick_sign_{_n}",
            function=direction_balance,
            params=(_n,),
            formula=f"(rows with a higher close - rows with a lower close) / {_n}",
            unit="ratio",
            bounds=(-1.0, 1.0),
            inputs=("price",),
            candle=True,
            warm_rows=_n + 1,
        )
    )
