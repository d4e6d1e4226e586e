"""The past of other columns, volume against its own past, and a label of the market's memory."""

from __future__ import annotations

import math
from typing import Final

from engine.features import layout as at
from engine.features.column import Column, Family, lookup, register, register_family
from engine.features.jit import kernel
from engine.features.layout import HISTORY, NAN, State

GROWTH_MAX = 99.0
"""Growth beyond a hundredfold, and growth from nothing, count as that much."""
REVERTING_BELOW = 0.45
TRENDING_ABOVE = 0.55
"""Bands of the Hurst exponent.  A random walk has 0.5; estimates from some hundred rows scatter by about 0.05."""


@kernel
def lag(s: State, p: int, n: int, value: float) -> float:
    """Private: the last n values, the oldest at the place of the row number modulo n."""
    place = p + int(s[at.ROWS]) % n
    before = s[place]
    s[place] = value
    return before if s[at.ROWS] > n else NAN


@kernel
def volume_momentum(s: State, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    now = at.last(s, at.VOLUME, 0)
    before = at.last(s, at.VOLUME, n)
    if before > 0.0:
        return min(now / before - 1.0, GROWTH_MAX)
    return GROWTH_MAX if now > 0.0 else 0.0


@kernel
def volume_flow(s: State, n: int) -> float:
    """The first row after a restart has no return, so it takes n + 1 rows."""
    if s[at.ROWS] < n + 1:
        return NAN
    newest = at.newest(s)
    signed = 0.0
    total = 0.0
    for i in range(newest + 1 - n, newest + 1):
        change = s[at.RETURN + i]
        # NaN, where prices are not above 0, stays NaN.
        sign = 1.0 if change > 0.0 else -1.0 if change < 0.0 else change
        signed += sign * s[at.VOLUME + i]
        total += s[at.VOLUME + i]
    if total > 0.0:
        return signed / total
    return NAN if math.isnan(signed) else 0.0


@kernel
def fractal_regime(_s: State, hurst: float) -> float:
    if hurst < REVERTING_BELOW:
        return -1.0
    if hurst > TRENDING_ABOVE:
        return 1.0
    return NAN if math.isnan(hurst) else 0.0


def make_lag(column: str, rows: int) -> Column:
    """``lag(column,rows)``.  Raises ``ValueError`` when the rows are none that the history holds."""
    if type(rows) is not int or not 1 <= rows < HISTORY:
        raise ValueError(f"{rows} rows, which must be 1 to {HISTORY - 1}")
    of = lookup(str(column))
    return Column(
        name=f"lag({column},{rows})",
        function=lag,
        formula=f"{column} {rows} {'row' if rows == 1 else 'rows'} ago",
        unit=of.unit,
        inputs=of.inputs,
        warm_rows=of.warm_rows + rows,
        params=(rows,),
        uses=(of.name,),
        private_slots=rows,
        bounds=of.bounds,
        candle=of.candle,
    )


def make_regime(column: str) -> Column:
    """``fractal_regime(column)`` of any column that estimates a Hurst exponent."""
    of = lookup(str(column))
    return Column(
        name=f"fractal_regime({column})",
        function=fractal_regime,
        formula=f"-1 (mean-reverting) where {column} < {REVERTING_BELOW}, 1 (trending) where it is > {TRENDING_ABOVE}, "
        "else 0 (random)",
        unit="label",
        inputs=of.inputs,
        warm_rows=of.warm_rows,
        uses=(of.name,),
        bounds=(-1.0, 1.0),
        candle=of.candle,
        source="H. E. Hurst (1951); B. Mandelbrot, J. Van Ness, Fractional Brownian motions (1968)",
    )


register_family(
    Family(
        name="lag",
        make=make_lag,
        usage="lag(column,rows)",
        example="lag(rsi_14,5)",
        formula="the column's value that many rows ago, 1 to 255; any column, also a lag",
    )
)
register_family(
    Family(
        name="fractal_regime",
        make=make_regime,
        usage="fractal_regime(column)",
        example="fractal_regime(hurst_128)",
        formula=f"label of a Hurst exponent: -1 below {REVERTING_BELOW}, 1 above {TRENDING_ABOVE}, else 0",
    )
)
for _n in (1, 5, 10):
    register(
        Column(
            name=f"volume_momentum_{_n}",
            function=volume_momentum,
            params=(_n,),
            formula=f"volume / volume {_n} {'row' if _n == 1 else 'rows'} ago - 1, at most {GROWTH_MAX:g}; "
            f"{GROWTH_MAX:g} from nothing to something, 0 from nothing to nothing",
            unit="ratio",
            inputs=("price", "volume"),
            warm_rows=_n + 1,
            bounds=(-1.0, GROWTH_MAX),
            candle=True,
        )
    )
for _n in (5, 20):
    register(
        Column(
            name=f"volume_flow_{_n}",
            function=volume_flow,
            params=(_n,),
            formula=f"(volume of rising rows - volume of falling rows) / volume, over {_n} rows, by the sign of ret_1; "
            "0 when there was no volume",
            unit="ratio",
            inputs=("price", "volume"),
            warm_rows=_n + 1,
            bounds=(-1.0, 1.0),
            candle=True,
            source="J. Granville's on-balance volume (1963), as a share of the volume",
        )
    )

LAGS: Final = (
    *(
        name
        for of in ("ret_1", "volume_ratio", "rsi_14")
        for name in (of, *(f"lag({of},{n})" for n in (1, 2, 3, 5, 10)))
    ),
    "volume_momentum_1",
    "volume_momentum_5",
    "volume_momentum_10",
    "volume_flow_5",
    "volume_flow_20",
    "fractal_regime(hurst_128)",
)
