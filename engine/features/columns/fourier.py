"""The strongest cycles of the last rows: magnitude, phase and frequency, by discrete Fourier transform.

The series is ln(close) less its straight line (least squares), which a transform would take for a cycle of its own.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from engine.features import layout as at
from engine.features.column import Column, Family, register_family
from engine.features.columns.strides import SLOT, call, check, check_span, held, is_due
from engine.features.jit import kernel, kernel_apart
from engine.features.layout import NAN, State

ROWS: Final = (16, 32, 64, 128)
RANKS: Final = 5
"""The strongest cycles that are kept, strongest first."""
_FULL: Final = 128
_COS: Final = np.array([math.cos(2.0 * math.pi * k / _FULL) for k in range(_FULL // 2)])
_SIN: Final = np.array([math.sin(2.0 * math.pi * k / _FULL) for k in range(_FULL // 2)])
_SOURCE: Final = "J. Cooley, J. Tukey (1965); numpy.fft.rfft of the detrended window"


@kernel_apart
def transform(s: State, x: int, y: int, n: int) -> None:
    """Discrete Fourier transform in place of ``n`` numbers, a power of two: real parts at ``x``, imaginary at ``y``.

    Radix 2, decimation in time.
    """
    x &= SLOT
    y &= SLOT
    n &= SLOT
    j = 0
    for i in range(n - 1):
        if i < j:
            s[x + i], s[x + j] = s[x + j], s[x + i]
            s[y + i], s[y + j] = s[y + j], s[y + i]
        bit = n >> 1
        while j & bit:
            j ^= bit
            bit >>= 1
        j |= bit
    half = 1
    while half < n:
        step = _FULL // (2 * half)
        for k in range(half):
            re = _COS[k * step]
            im = -_SIN[k * step]
            for i in range(k, n, 2 * half):
                a = x + i
                b = y + i
                u = s[a + half] * re - s[b + half] * im
                v = s[a + half] * im + s[b + half] * re
                s[a + half] = s[a] - u
                s[b + half] = s[b] - v
                s[a] += u
                s[b] += v
        half *= 2


@kernel_apart
def detrend(s: State, x: int, n: int) -> float:
    """ln(close) of the last ``n`` rows less its straight line to ``x``; returns the root of the mean square.

    From the returns, so that no logarithm of a price is taken twice; where it starts is part of the line.
    """
    x &= SLOT
    n &= SLOT
    first = at.RETURN + at.newest(s) - n + 1
    middle = 0.5 * (n - 1)
    level = 0.0
    total = 0.0
    moment = 0.0
    s[x] = 0.0
    for i in range(1, n):
        level += s[first + i]
        s[x + i] = level
        total += level
        moment += (i - middle) * level
    mean = total / n
    slope = moment / (n * (n * n - 1.0) / 12.0)
    squares = 0.0
    for i in range(n):
        left = s[x + i] - mean - slope * (i - middle)
        s[x + i] = left
        squares += left * left
    return math.sqrt(squares / n)


@kernel_apart
def find_cycles(s: State, p: int, n: int) -> float:
    """Magnitude, phase and frequency of each rank to ``s[p:]``; behind them the work of the transform."""
    p &= SLOT
    n &= SLOT
    x = p + 3 * RANKS
    y = x + n
    deviation = detrend(s, x, n)
    for i in range(n):
        s[y + i] = 0.0
    transform(s, x, y, n)
    size = y + n
    half = n // 2
    for k in range(1, half + 1):
        # Every frequency comes twice, mirrored, but the highest.
        share = 2.0 if k < half else 1.0
        s[size + k] = share * math.sqrt(s[x + k] * s[x + k] + s[y + k] * s[y + k]) / n
    for rank in range(RANKS):
        best = 1
        for k in range(2, half + 1):
            if s[size + k] > s[size + best]:
                best = k
        magnitude = s[size + best]
        s[p + 3 * rank] = magnitude
        s[p + 3 * rank + 1] = math.atan2(s[y + best], s[x + best]) if magnitude > 0.0 else 0.0
        s[p + 3 * rank + 2] = best / n
        if not magnitude >= 0.0:
            s[p + 3 * rank + 1] = NAN
            s[p + 3 * rank + 2] = NAN
        s[size + best] = -1.0
    return deviation


@kernel
def deviation_from_line(s: State, p: int, n: int, every: int) -> float:
    """Private: the value held, then what ``find_cycles`` keeps."""
    if s[at.ROWS] < n:
        return NAN
    if is_due(s, n & SLOT, every & SLOT):
        s[p] = find_cycles(s, p + 1, n & SLOT)
    return s[p]


@kernel
def of_cycle(s: State, spectrum: int, place: float, n: float) -> float:
    """Floats, because of an int each value would be compiled by itself."""
    if s[at.ROWS] < n:
        return NAN
    return s[spectrum + 1 + int(place)]


def make_deviation(rows: int, every: int = 1) -> Column:
    """``line_deviation(rows[,every])``: the transform itself, whose value is how far prices are off their line."""
    check_span(rows, ROWS, every)
    return Column(
        name=call("line_deviation", rows, every=every),
        function=deviation_from_line,
        params=(rows, every),
        private_slots=1 + 3 * RANKS + 2 * rows + rows // 2 + 1,
        formula=f"root of the mean square of ln(close) less its straight line over {rows} rows{held(every)}",
        unit="return",
        bounds=(0.0, math.inf),
        inputs=("price",),
        candle=True,
        warm_rows=rows,
        source=_SOURCE,
    )


_PARTS: Final = (
    (
        "fft_magnitude",
        "return",
        (0.0, math.inf),
        "magnitude of the cycle of that rank: amplitude of its wave",
    ),
    ("fft_phase", "rad", (-math.pi, math.pi), "phase of that cycle at the first of the rows; 0 where there is none"),
    ("fft_frequency", "per_row", (0.0, 0.5), "frequency of that cycle, cycles per row"),
)


def _register_part(place: int, name: str, unit: str, bounds: tuple[float, float], meaning: str) -> None:
    def make(rank: int, rows: int, every: int = 1) -> Column:
        check_span(rows, ROWS, every)
        check("cycle of rank", rank, range(1, RANKS + 1), f"1 (the strongest) to {RANKS}")
        return Column(
            name=call(name, rank, rows, every=every),
            function=of_cycle,
            reads=(call("line_deviation", rows, every=every),),
            params=(float(3 * (rank - 1) + place), float(rows)),
            formula=f"{meaning}; rank {rank} of ln(close) less its straight line over {rows} rows{held(every)}",
            unit=unit,
            bounds=bounds,
            inputs=("price",),
            candle=True,
            warm_rows=rows,
            source=_SOURCE,
        )

    register_family(
        Family(
            name=name,
            make=make,
            usage=f"{name}(rank,rows) or {name}(rank,rows,every)",
            example=f"{name}(1,128)",
            formula=meaning,
        )
    )


register_family(
    Family(
        name="line_deviation",
        make=make_deviation,
        usage="line_deviation(rows) or line_deviation(rows,every)",
        example="line_deviation(128)",
        formula="root of the mean square of ln(close) less its straight line",
    )
)
for _place, _part in enumerate(_PARTS):
    _register_part(_place, *_part)
