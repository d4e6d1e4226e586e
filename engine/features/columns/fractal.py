"""How rough the path is: Hurst exponent by rescaled range, fractal dimension by box counting and after Higuchi."""

from __future__ import annotations

import math
from typing import Final

from engine.features import layout as at
from engine.features.column import Column, Family, register, register_family
from engine.features.columns.strides import SLOT, call, check_span, held, is_due
from engine.features.jit import kernel, kernel_apart
from engine.features.layout import NAN, State

ROWS: Final = (32, 64, 128)
_SHORTEST: Final = 8
_LONGEST: Final = 10


def expected_range(n: int) -> float:
    """Rescaled range of n independent normal numbers: A. Anis, E. Lloyd (1976), with the factor of E. Peters (1994)."""
    total = sum(math.sqrt((n - i) / i) for i in range(1, n))
    return (n - 0.5) / n * math.gamma(0.5 * (n - 1)) / (math.sqrt(math.pi) * math.gamma(0.5 * n)) * total


_LENGTHS: Final = (8, 16, 32, 64, 128)
_LOG_LENGTH: Final = tuple(math.log(n) for n in _LENGTHS)
_LOG_EXPECTED: Final = tuple(math.log(expected_range(n)) for n in _LENGTHS)


@kernel
def slope(n: float, x: float, y: float, xx: float, xy: float) -> float:
    """Of the straight line through n points, by least squares, from the sums of x, y, x^2 and x y."""
    return (n * xy - x * y) / (n * xx - x * x)


@kernel_apart
def rescaled_range(s: State, begin: int, sums: int, pieces: int, n: int) -> float:
    """Mean of R/S over pieces of ``n`` numbers, whose sums are given; 0 where none of the pieces moves.

    R: range of the summed deviations from the piece's mean, S: its standard deviation (n - 1).  A piece of equal
    numbers has neither; rounding alone makes its deviation no more than 1e-12 of its mean.
    """
    total = 0.0
    moving = 0.0
    for piece in range(pieces):
        mean = s[(sums & SLOT) + piece] / n
        first = (begin & SLOT) + piece * n
        level = 0.0
        low = math.inf
        high = -math.inf
        squares = 0.0
        for i in range(first, first + n):
            off = s[i] - mean
            level += off
            squares += off * off
            low = min(low, level)
            high = max(high, level)
        if squares > 1e-24 * n * mean * mean:
            total += (high - low) / math.sqrt(squares / (n - 1))
            moving += 1.0
    return total / moving if moving > 0.0 else 0.0


@kernel_apart
def hurst_exponent(s: State, p: int, rows: int) -> float:
    """Slots from ``p``: sums of the pieces, of the shortest first."""
    begin = at.RETURN + at.newest(s) - (rows & SLOT) + 1
    sums = p & SLOT
    pieces = (rows & SLOT) // _SHORTEST
    for piece in range(pieces):
        total = 0.0
        for i in range(begin + piece * _SHORTEST, begin + (piece + 1) * _SHORTEST):
            total += s[i]
        s[sums + piece] = total
    points = 0.0
    x = 0.0
    y = 0.0
    xx = 0.0
    xy = 0.0
    n = _SHORTEST & SLOT
    i = 0
    while True:
        found = rescaled_range(s, begin, sums, pieces, n)
        if found > 0.0:
            here = _LOG_LENGTH[i]
            value = math.log(found) - _LOG_EXPECTED[i]
            points += 1.0
            x += here
            y += value
            xx += here * here
            xy += here * value
        if pieces == 1:
            break
        pieces //= 2
        for piece in range(pieces):
            s[sums + piece] = s[sums + 2 * piece] + s[sums + 2 * piece + 1]
        n *= 2
        i += 1
    if s[sums] - s[sums] != 0.0:
        return NAN
    if points < 2.0:
        return 0.5
    return 0.5 + slope(points, x, y, xx, xy)


@kernel
def hurst(s: State, p: int, rows: int, every: int) -> float:
    """Private: the value held, then the sums of pieces."""
    if s[at.ROWS] < rows + 1:
        return NAN
    if is_due(s, rows + 1, every & SLOT):
        s[p] = hurst_exponent(s, p + 1, rows & SLOT)
    return s[p]


@kernel_apart
def higuchi_dimension(s: State, rows: int) -> float:
    rows &= SLOT
    begin = at.CLOSE + at.newest(s) - rows + 1
    points = 0.0
    x = 0.0
    y = 0.0
    xx = 0.0
    xy = 0.0
    for k in range(1, _LONGEST + 1):
        total = 0.0
        for m in range(k):
            steps = (rows - m - 1) // k
            path = 0.0
            last = s[begin + m]
            for i in range(begin + m + k, begin + m + k * steps + 1, k):
                path += abs(s[i] - last)
                last = s[i]
            total += path / k * ((rows - 1.0) / (k * steps))
        total /= k
        if total > 0.0:
            here = math.log(1.0 / k)
            value = math.log(total)
            points += 1.0
            x += here
            y += value
            xx += here * here
            xy += here * value
    if points < 2.0:
        return 1.0
    return slope(points, x, y, xx, xy)


@kernel
def higuchi(s: State, p: int, rows: int, every: int) -> float:
    """Private: the value held."""
    if s[at.ROWS] < rows:
        return NAN
    if is_due(s, rows & SLOT, every & SLOT):
        s[p] = higuchi_dimension(s, rows & SLOT)
    return s[p]


@kernel_apart
def box_dimension(s: State, p: int, rows: int) -> float:
    """Slots from ``p``: least and greatest close of each column of boxes, scaled to 0..1, finest columns first.

    A column of boxes holds its rows and the first row of the next: the line between the two crosses their border.
    """
    rows &= SLOT
    p &= SLOT
    begin = at.CLOSE + at.newest(s) - rows + 1
    lowest = s[begin]
    highest = s[begin]
    for i in range(begin + 1, begin + rows):
        lowest = min(lowest, s[i])
        highest = max(highest, s[i])
    if not highest > lowest:
        return 1.0
    columns = rows // 4
    for c in range(columns):
        first = begin + 4 * c
        low = s[first]
        high = s[first]
        for i in range(first + 1, min(first + 5, begin + rows)):
            low = min(low, s[i])
            high = max(high, s[i])
        s[p + 2 * c] = (low - lowest) / (highest - lowest)
        s[p + 2 * c + 1] = (high - lowest) / (highest - lowest)
    points = 0.0
    x = 0.0
    y = 0.0
    xx = 0.0
    xy = 0.0
    while columns >= 2:
        boxes = 0.0
        for c in range(columns):
            bottom = min(math.floor(s[p + 2 * c] * columns), columns - 1.0)
            top = min(math.floor(s[p + 2 * c + 1] * columns), columns - 1.0)
            boxes += top - bottom + 1.0
        here = math.log(columns)
        value = math.log(boxes)
        points += 1.0
        x += here
        y += value
        xx += here * here
        xy += here * value
        columns //= 2
        for c in range(columns):
            s[p + 2 * c] = min(s[p + 4 * c], s[p + 4 * c + 2])
            s[p + 2 * c + 1] = max(s[p + 4 * c + 1], s[p + 4 * c + 3])
    return slope(points, x, y, xx, xy)


@kernel
def boxes(s: State, p: int, rows: int, every: int) -> float:
    """Private: the value held, then the columns of boxes."""
    if s[at.ROWS] < rows:
        return NAN
    if is_due(s, rows & SLOT, every & SLOT):
        s[p] = box_dimension(s, p + 1, rows & SLOT)
    return s[p]


def declare_hurst(name: str, rows: int, every: int) -> Column:
    """The Hurst exponent over that many returns."""
    check_span(rows, ROWS, every)
    lengths = ", ".join(str(n) for n in _LENGTHS if n <= rows)
    return Column(
        name=name,
        function=hurst,
        params=(rows, every),
        private_slots=1 + rows // _SHORTEST,
        formula=f"0.5 + slope of ln(R/S / expected R/S) on ln(n), n = {lengths}, of ret_1 over {rows} rows; 0.5 when "
        f"fewer than two lengths have a piece that moves{held(every)}",
        unit="ratio",
        # Least and greatest R/S of n numbers are sqrt((n - 1) / n) and n / 2 times that.
        bounds=(-5.1, 6.0),
        inputs=("price",),
        candle=True,
        warm_rows=rows + 1,
        source="H. E. Hurst (1951), correction of A. Anis, E. Lloyd (1976); nolds hurst_rs, fit poly",
    )


def make_hurst(rows: int, every: int = 1) -> Column:
    """``hurst(rows[,every])``."""
    return declare_hurst(call("hurst", rows, every=every), rows, every)


def make_higuchi(rows: int, every: int = 1) -> Column:
    """``higuchi(rows[,every])``."""
    check_span(rows, ROWS, every)
    return Column(
        name=call("higuchi", rows, every=every),
        function=higuchi,
        params=(rows, every),
        private_slots=1,
        formula=f"fractal dimension of the last {rows} closes after Higuchi, delays of 1 to {_LONGEST} rows: about 1 "
        f"(smooth) to 2 (rough); delays over which nothing moved are left out, 1 when fewer than two are left"
        f"{held(every)}",
        unit="ratio",
        inputs=("price",),
        candle=True,
        warm_rows=rows,
        source="T. Higuchi (1988); antropy higuchi_fd, kmax 10",
    )


def make_boxes(rows: int, every: int = 1) -> Column:
    """``box_dimension(rows[,every])``."""
    check_span(rows, ROWS, every)
    return Column(
        name=call("box_dimension", rows, every=every),
        function=boxes,
        params=(rows, every),
        private_slots=1 + rows // 2,
        formula=f"slope of ln(boxes that the line through the last {rows} closes touches) on ln(m), the line scaled to "
        f"a square of m x m boxes, each {rows}/m rows wide, m = 2 to {rows // 4}; 1 when nothing moved{held(every)}",
        unit="ratio",
        bounds=(0.0, 2.0),
        inputs=("price",),
        candle=True,
        warm_rows=rows,
        source="B. Mandelbrot, The Fractal Geometry of Nature (1982)",
    )


register(declare_hurst("hurst_128", 128, 1))
for _name, _make, _meaning in (
    ("hurst", make_hurst, "Hurst exponent of ret_1 by rescaled range: 0.5 without memory, above it trends last"),
    ("higuchi", make_higuchi, "fractal dimension of the closes after Higuchi"),
    ("box_dimension", make_boxes, "fractal dimension of the closes by box counting"),
):
    register_family(
        Family(
            name=_name,
            make=_make,
            usage=f"{_name}(rows) or {_name}(rows,every)",
            example=f"{_name}(128)",
            formula=_meaning,
        )
    )
