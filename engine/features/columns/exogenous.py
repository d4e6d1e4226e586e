"""Published series: fundamental and macro values as of their publication, never as of their period's end.

A value counts for the rows made after it was published (of a time bar: published before its end).  The value is that of
the newest period, as last published: a revision of that period replaces it, a revision of an older one does not.
Values outlast restarts of the indicators: what was published stays published.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

from engine.errors import DataError
from engine.features import layout as at
from engine.features.column import Column, Family, register_family
from engine.features.jit import kernel
from engine.features.layout import NAN, State

_NAME: Final = re.compile(r"[A-Za-z_][\w.:/^-]{0,59}")


@kernel
def value(s: State, block: int) -> float:
    return s[block + at.KNOWN_VALUE] if s[block + at.KNOWN_PERIODS] > 0.0 else NAN


@kernel
def change(s: State, block: int) -> float:
    return s[block + at.KNOWN_VALUE] - s[block + at.KNOWN_BEFORE] if s[block + at.KNOWN_PERIODS] > 1.0 else NAN


@kernel
def age(s: State, block: int) -> float:
    """Of a row of ticks, whose venue may be behind the publisher: not negative."""
    if s[block + at.KNOWN_PERIODS] > 0.0:
        return max((s[at.ROW_S] - s[block + at.KNOWN_S]) + (s[at.ROW_NS] - s[block + at.KNOWN_NS]) * 1e-9, 0.0)
    return NAN


_PARTS: Final[tuple[tuple[str, Callable[..., float], str, str, tuple[float, float]], ...]] = (
    ("exogenous", value, "value", "value of {} for its newest period, as last published", (-math.inf, math.inf)),
    ("exogenous_change", change, "value", "exogenous({0}) less the value of the period before", (-math.inf, math.inf)),
    ("exogenous_age", age, "s", "seconds since exogenous({}) was published", (0.0, math.inf)),
)


def _register(name: str, function: Callable[..., float], unit: str, meaning: str, bounds: tuple[float, float]) -> None:
    def make(series: str) -> Column:
        if not isinstance(series, str) or _NAME.fullmatch(series) is None:
            raise DataError(
                f"published series {series}", expected="a name of at most 60 letters, digits and any of _ . : / ^ -"
            )
        return Column(
            name=f"{name}({series})",
            function=function,
            series=series,
            formula=meaning.format(series),
            unit=unit,
            bounds=bounds,
            inputs=("price",),
            candle=True,
            warm_rows=1,
        )

    register_family(
        Family(
            name=name,
            make=make,
            usage=f"{name}(series)",
            example=f"{name}(CPI)",
            formula=meaning.format("a series"),
        )
    )


for _part in _PARTS:
    _register(*_part)


def published(*series: str) -> tuple[str, ...]:
    """The columns of the set ``published(series,...)``."""
    return tuple(f"{part[0]}({name})" for name in series for part in _PARTS)
