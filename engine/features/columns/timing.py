"""How fast rows come: on tick rows the market's own clock is information."""

from __future__ import annotations

import math

from engine.features import layout as at
from engine.features.column import Column, register
from engine.features.jit import kernel
from engine.features.layout import NAN, State


@kernel
def log_duration(s: State, n: int) -> float:
    """The first row after a restart has no duration, so it takes n + 1 rows."""
    if s[at.ROWS] < n + 1:
        return NAN
    return math.log(1.0 + at.sum_last(s, at.ELAPSED, n))


for _n in (1, 5, 20, 50):
    register(
        Column(
            name=f"log_duration_{_n}",
            function=log_duration,
            params=(_n,),
            formula=f"ln(1 + seconds that the last {_n} rows took), venue time",
            unit="log_s",
            bounds=(0.0, math.inf),
            inputs=("price",),
            candle=True,
            warm_rows=_n + 1,
        )
    )
