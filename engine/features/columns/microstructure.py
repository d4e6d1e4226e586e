"""How trades come and what they do to the price: intensity, realised and bipower variation, price impact, toxicity."""

from __future__ import annotations

import math
from typing import Final

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State

TICK_S = 1e-3
"""Shortest time over which a rate is measured: many venues stamp milliseconds, and rows of one stamp took no time."""


@kernel
def intensity(s: State, n: int) -> float:
    """The first row after a restart has no duration, so it takes n + 1 rows."""
    if s[at.ROWS] < n + 1:
        return NAN
    return at.sum_last(s, at.TRADES, n) / max(at.sum_last(s, at.ELAPSED, n), TICK_S)


@kernel
def excitation(s: State, p: int, memory_s: float) -> float:
    """Private: the decayed count over ``memory_s``, and the seconds it was counted for.

    It is divided by what a steady rate of 1 would have reached by then, so that it has no start to forget.
    """
    trades = at.last(s, at.TRADES, 0)
    elapsed = at.last(s, at.ELAPSED, 0)
    if s[at.ROWS] < 2.0 or math.isnan(trades):
        # A row of a candle has no count, and what came before it is too old.
        s[p] = 0.0
        s[p + 1] = 0.0
        return NAN
    s[p] = s[p] * math.exp(-elapsed / memory_s) + trades / memory_s
    s[p + 1] += elapsed
    return s[p] / (1.0 - math.exp(-max(s[p + 1], TICK_S) / memory_s))


@kernel
def realised_variance(s: State, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    return at.sum_squares_last(s, at.RETURN, n, 0.0)


@kernel
def bipower_variation(s: State, n: int) -> float:
    """Four running sums, as in ``layout.sum_last``."""
    if s[at.ROWS] < n + 1:
        return NAN
    stop = at.RETURN + at.newest(s) + 1
    i = stop - n + 1
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while i + 3 < stop:
        a += abs(s[i] * s[i - 1])
        b += abs(s[i + 1] * s[i])
        c += abs(s[i + 2] * s[i + 1])
        d += abs(s[i + 3] * s[i + 2])
        i += 4
    while i < stop:
        a += abs(s[i] * s[i - 1])
        i += 1
    return 0.5 * math.pi * ((a + b) + (c + d))


@kernel
def jump_share(_s: State, variance: float, bipower: float) -> float:
    if variance > 0.0:
        return max(1.0 - bipower / variance, 0.0)
    return 0.0 if variance == 0.0 else NAN


@kernel
def price_impact(s: State, n: int) -> float:
    """Slope of the least-squares line of returns over signed flow, both about their means."""
    if s[at.ROWS] < n + 1:
        return NAN
    mean_flow = at.sum_last(s, at.FLOW, n) / n
    mean_return = at.sum_last(s, at.RETURN, n) / n
    flows = at.FLOW + at.newest(s) + 1 - n
    returns = at.RETURN + at.newest(s) + 1 - n
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    i = 0
    while i + 3 < n:
        a += (s[flows + i] - mean_flow) * (s[returns + i] - mean_return)
        b += (s[flows + i + 1] - mean_flow) * (s[returns + i + 1] - mean_return)
        c += (s[flows + i + 2] - mean_flow) * (s[returns + i + 2] - mean_return)
        d += (s[flows + i + 3] - mean_flow) * (s[returns + i + 3] - mean_return)
        i += 4
    while i < n:
        a += (s[flows + i] - mean_flow) * (s[returns + i] - mean_return)
        i += 1
    spread_of_flow = at.sum_squares_last(s, at.FLOW, n, mean_flow)
    # Rounding of the mean must not count as flow that varies.
    if spread_of_flow > 1e-20 * n * mean_flow * mean_flow:
        return 1e4 * ((a + b) + (c + d)) / spread_of_flow
    return NAN if math.isnan(spread_of_flow) else 0.0


@kernel
def toxicity(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    stop = at.FLOW + at.newest(s) + 1
    i = stop - n
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while i + 3 < stop:
        a += abs(s[i])
        b += abs(s[i + 1])
        c += abs(s[i + 2])
        d += abs(s[i + 3])
        i += 4
    while i < stop:
        a += abs(s[i])
        i += 1
    traded = at.sum_last(s, at.TRADED, n)
    if traded > 0.0:
        return ((a + b) + (c + d)) / traded
    return 0.0 if traded == 0.0 else NAN


for _n in (20, 50):
    register(
        Column(
            name=f"intensity_{_n}",
            function=intensity,
            params=(_n,),
            formula=f"trades in {_n} rows / seconds that they took, at least 0.001 s",
            unit="per_s",
            inputs=("price", "trades"),
            warm_rows=_n + 1,
            bounds=(0.0, math.inf),
        )
    )
for _s in (1, 10):
    register(
        Column(
            name=f"excitation_{_s}s",
            function=excitation,
            params=(float(_s),),
            private_slots=2,
            formula=f"sum of trades * exp(-age / {_s} s) / {_s} s, age of their row at this row's end, divided by "
            f"1 - exp(-T / {_s} s), T = seconds since the restart, at least 0.001 s",
            unit="per_s",
            inputs=("price", "trades"),
            warm_rows=2,
            bounds=(0.0, math.inf),
            source="A. Hawkes, Spectra of some self-exciting and mutually exciting point processes (1971), the kernel",
        )
    )
for _n in (20, 50):
    register(
        Column(
            name=f"realised_variance_{_n}",
            function=realised_variance,
            params=(_n,),
            formula=f"sum of squared ret_1 over {_n} rows",
            unit="variance",
            inputs=("price",),
            candle=True,
            warm_rows=_n + 1,
            bounds=(0.0, math.inf),
            source="O. Barndorff-Nielsen, N. Shephard, Econometric analysis of realized volatility (2002)",
        )
    )
    register(
        Column(
            name=f"bipower_{_n}",
            function=bipower_variation,
            params=(_n,),
            formula=f"pi/2 * sum of |ret_1 * ret_1 one row ago| over the {_n - 1} pairs within {_n} rows",
            unit="variance",
            inputs=("price",),
            candle=True,
            warm_rows=_n + 1,
            bounds=(0.0, math.inf),
            source="O. Barndorff-Nielsen, N. Shephard, Power and bipower variation with stochastic volatility and "
            "jumps (2004), without their factor n/(n - 1)",
        )
    )
register(
    Column(
        name="jump_share_50",
        function=jump_share,
        uses=("realised_variance_50", "bipower_50"),
        formula="1 - bipower_50 / realised_variance_50, 0 where that is negative or nothing moved",
        unit="ratio",
        inputs=("price",),
        candle=True,
        warm_rows=51,
        bounds=(0.0, 1.0),
        source="O. Barndorff-Nielsen, N. Shephard, Econometrics of testing for jumps (2006), relative jump",
    )
)
register(
    Column(
        name="kyle_lambda_50",
        function=price_impact,
        params=(50,),
        formula="1e4 * cov(ret_1, bought - sold quantity) / var(bought - sold quantity) over 50 rows; "
        "0 when the flow does not vary",
        unit="bps_per_qty",
        inputs=("price", "trades"),
        warm_rows=51,
        source="A. Kyle, Continuous auctions and insider trading (1985); the regression of J. Hasbrouck (2009)",
    )
)
register(
    Column(
        name="vpin_50",
        function=toxicity,
        params=(50,),
        formula="sum of |bought - sold| quantity of each row / traded quantity, over 50 rows; 0 when nothing traded.  "
        "VPIN where rows are volume bars, with aggressors as the venue tells them in place of a classification; on "
        "other rows a mean of |imbalance| weighted by volume, which falls as rows get longer",
        unit="ratio",
        inputs=("price", "trades"),
        warm_rows=50,
        bounds=(0.0, 1.0),
        source="D. Easley, M. Lopez de Prado, M. O'Hara, Flow toxicity and liquidity in a high-frequency world (2012)",
    )
)

MICROSTRUCTURE: Final = (
    "spread_bps",
    "spread_20_bps",
    "spread_ratio",
    "microprice_bps",
    "imbalance",
    "book_imbalance_5",
    "book_imbalance_10",
    "book_imbalance_weighted",
    "book_price_bps",
    "ofi_1",
    "ofi_5",
    "ofi_20",
    "ofi_50",
    "flow_5",
    "flow_20",
    "flow_50",
    "intensity_20",
    "intensity_50",
    "excitation_1s",
    "excitation_10s",
    "realised_variance_20",
    "realised_variance_50",
    "bipower_20",
    "bipower_50",
    "jump_share_50",
    "kyle_lambda_50",
    "vpin_50",
    "log_age_bid",
    "log_age_ask",
    "queue_left_bid",
    "queue_left_ask",
    "queue_ahead_bid",
    "queue_ahead_ask",
)
"""For instruments with sizes, trades and levels."""
