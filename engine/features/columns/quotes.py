"""The best quote at a row's end: spread, top-of-book imbalance, microprice."""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State


@kernel
def spread(s: State) -> float:
    return at.last(s, at.SPREAD, 0)


@kernel
def mean_spread(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    return at.sum_last(s, at.SPREAD, n) / n


@kernel
def ratio(_s: State, above: float, below: float) -> float:
    if below > 0.0:
        return above / below
    # Only a market locked over the whole span has no mean spread: as wide as usual.
    return 1.0 if below == 0.0 else NAN


@kernel
def imbalance(s: State) -> float:
    return at.last(s, at.IMBALANCE, 0)


@kernel
def mean_imbalance(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    return at.sum_last(s, at.IMBALANCE, n) / n


@kernel
def microprice(s: State) -> float:
    """The size-weighted mid less the mid is half the spread times the imbalance, exactly."""
    return 0.5 * at.last(s, at.SPREAD, 0) * at.last(s, at.IMBALANCE, 0)


register(
    Column(
        name="spread_bps",
        function=spread,
        formula="1e4 * (ask - bid) / mid",
        unit="bps",
        bounds=(0.0, math.inf),
        inputs=("quotes",),
        warm_rows=1,
    )
)
register(
    Column(
        name="spread_20_bps",
        function=mean_spread,
        params=(20,),
        formula="mean of spread_bps over 20 rows",
        unit="bps",
        bounds=(0.0, math.inf),
        inputs=("quotes",),
        warm_rows=20,
    )
)
register(
    Column(
        name="spread_ratio",
        function=ratio,
        uses=("spread_bps", "spread_20_bps"),
        formula="spread_bps / spread_20_bps; 1 when both are 0",
        unit="ratio",
        bounds=(0.0, math.inf),
        inputs=("quotes",),
        warm_rows=20,
    )
)
register(
    Column(
        name="imbalance",
        function=imbalance,
        formula="(bid qty - ask qty) / (bid qty + ask qty) of the best quote",
        unit="ratio",
        bounds=(-1.0, 1.0),
        inputs=("quotes", "sizes"),
        warm_rows=1,
        source="M. Gould, J. Bonart, Queue imbalance as a one-tick-ahead price predictor (2016)",
    )
)
for _n in (5, 20):
    register(
        Column(
            name=f"imbalance_{_n}",
            function=mean_imbalance,
            params=(_n,),
            formula=f"mean of imbalance over {_n} rows",
            unit="ratio",
            bounds=(-1.0, 1.0),
            inputs=("quotes", "sizes"),
            warm_rows=_n,
        )
    )
register(
    Column(
        name="microprice_bps",
        function=microprice,
        formula="1e4 * (microprice - mid) / mid, microprice = (bid * ask qty + ask * bid qty) / (bid qty + ask qty)",
        unit="bps",
        inputs=("quotes", "sizes"),
        warm_rows=1,
        source="J. Gatheral, R. Oomen, Zero-intelligence realized variance estimation (2010)",
    )
)
