"""How regular the returns are: sample entropy."""

from __future__ import annotations

import math
from typing import Final

from engine.features import layout as at
from engine.features.column import Column, Family, register_family
from engine.features.columns.strides import SLOT, call, check_span, held, is_due
from engine.features.jit import kernel, kernel_apart
from engine.features.layout import NAN, State

ROWS: Final = (32, 64, 128)


def greatest(rows: int) -> float:
    """Where no or hardly any stretch of returns comes again: the logarithm of the number of pairs."""
    return math.log(0.5 * (rows - 2) * (rows - 3))


@kernel_apart
def sample_entropy(s: State, rows: int) -> float:
    begin = at.RETURN + at.newest(s) - rows + 1
    mean = at.sum_last(s, at.RETURN, rows) / rows
    squares = at.sum_squares_last(s, at.RETURN, rows, mean)
    if squares - squares != 0.0:
        return NAN
    if not squares > 1e-24 * rows * mean * mean:
        return 0.0
    radius = 0.2 * math.sqrt(squares / rows)
    # Three comparisons a pair, one would do; but so they run on vectors.
    begin &= SLOT
    n = rows & SLOT
    two = 0
    three = 0
    for lag in range(1, n - 2):
        for k in range(n - 2 - lag):
            i = begin + k
            j = i + lag
            both = (abs(s[i] - s[j]) < radius) & (abs(s[i + 1] - s[j + 1]) < radius)
            two += int(both)
            three += int(both & (abs(s[i + 2] - s[j + 2]) < radius))
    if three == 0:
        return math.log(0.5 * (rows - 2) * (rows - 3))
    return math.log(two / three)


@kernel
def regularity(s: State, p: int, rows: int, every: int) -> float:
    """Private: the value held."""
    if s[at.ROWS] < rows + 1:
        return NAN
    if is_due(s, rows + 1, every & SLOT):
        s[p] = sample_entropy(s, rows & SLOT)
    return s[p]


def make_entropy(rows: int, every: int = 1) -> Column:
    """``sample_entropy(rows[,every])``."""
    check_span(rows, ROWS, every)
    return Column(
        name=call("sample_entropy", rows, every=every),
        function=regularity,
        params=(rows, every),
        private_slots=1,
        formula=f"-ln(A / B) of ret_1 over {rows} rows; A, B: pairs of stretches of three, two returns that differ by "
        f"less than 0.2 population standard deviations throughout; ln(number of pairs) when A is 0, 0 when nothing "
        f"varies{held(every)}",
        unit="ratio",
        bounds=(0.0, greatest(rows)),
        inputs=("price",),
        candle=True,
        warm_rows=rows + 1,
        source="J. Richman, J. Moorman (2000); antropy sample_entropy, order 2",
    )


register_family(
    Family(
        name="sample_entropy",
        make=make_entropy,
        usage="sample_entropy(rows) or sample_entropy(rows,every)",
        example="sample_entropy(128,10)",
        formula="sample entropy of ret_1, stretches of two returns, within 0.2 standard deviations: high where returns "
        "do not repeat",
    )
)
