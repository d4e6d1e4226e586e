"""Sums over spans of the record for pairs of series: what correlations are made of.

Owns the arithmetic alone; the columns are in ``cross_asset``.  Two passes: means first, then deviations from them.
"""

from __future__ import annotations

import math

from engine.features.columns.strides import SLOT
from engine.features.jit import kernel, kernel_apart
from engine.features.layout import NAN, State


@kernel
def sum_from(s: State, first: int, n: int) -> float:
    """Four running sums, as in ``layout.sum_last``."""
    stop = first + n
    i = first
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while i + 3 < stop:
        a += s[i]
        b += s[i + 1]
        c += s[i + 2]
        d += s[i + 3]
        i += 4
    while i < stop:
        a += s[i]
        i += 1
    return (a + b) + (c + d)


@kernel
def products_from(s: State, first: int, mean: float, second: int, other_mean: float, n: int) -> float:
    """Sum of (x - mean) (y - other mean) over ``n`` pairs that begin at ``first`` and ``second``."""
    i = 0
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while i + 3 < n:
        a += (s[first + i] - mean) * (s[second + i] - other_mean)
        b += (s[first + i + 1] - mean) * (s[second + i + 1] - other_mean)
        c += (s[first + i + 2] - mean) * (s[second + i + 2] - other_mean)
        d += (s[first + i + 3] - mean) * (s[second + i + 3] - other_mean)
        i += 4
    while i < n:
        a += (s[first + i] - mean) * (s[second + i] - other_mean)
        i += 1
    return (a + b) + (c + d)


@kernel
def squares_from(s: State, first: int, mean: float, n: int) -> float:
    """Sum of squared deviations; 0 where they are within 1e-12 of the mean: that is what rounding makes of equals."""
    squares = products_from(s, first, mean, first, mean, n)
    if squares <= 1e-24 * n * mean * mean:
        return 0.0
    return squares


@kernel_apart
def moments_of(s: State, p: int, first: int, second: int, n: int) -> None:
    """Population covariance and the two variances of ``n`` pairs to ``s[p]`` and the two slots behind it."""
    p &= SLOT
    first &= SLOT
    second &= SLOT
    n &= SLOT
    mean = sum_from(s, first, n) / n
    other_mean = sum_from(s, second, n) / n
    s[p] = products_from(s, first, mean, second, other_mean, n) / n
    s[p + 1] = squares_from(s, first, mean, n) / n
    s[p + 2] = squares_from(s, second, other_mean, n) / n


@kernel_apart
def pearson(s: State, first: int, second: int, n: int) -> float:
    """Correlation of ``n`` pairs; 0 where one of the two does not move, NaN where one is unknown."""
    first &= SLOT
    second &= SLOT
    n &= SLOT
    mean = sum_from(s, first, n) / n
    other_mean = sum_from(s, second, n) / n
    both = products_from(s, first, mean, second, other_mean, n)
    squares = squares_from(s, first, mean, n)
    other_squares = squares_from(s, second, other_mean, n)
    if squares > 0.0 and other_squares > 0.0:
        return min(max(both / (math.sqrt(squares) * math.sqrt(other_squares)), -1.0), 1.0)
    return 0.0 if both - both == 0.0 else NAN
