"""Energy of the returns by scale: Daubechies wavelets on the last rows, right-aligned.

The transform is orthonormal and periodic, so the energies of all levels and of the rest add up to the sum of squared
returns: they split the realised variance by the length of the moves.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from engine.features import layout as at
from engine.features.column import Column, Family, register_family
from engine.features.columns.strides import SLOT, call, check, check_span, held, is_due
from engine.features.jit import kernel, kernel_apart
from engine.features.layout import NAN, State

ROWS: Final = (32, 64, 128)
_TAPS: Final = 16
_LEVELS: Final = 8

# Scaling filters (decomposition, low pass) of 1 to 8 vanishing moments.  The live process has no library of them.
_SCALING: Final = (
    (0.7071067811865476, 0.7071067811865476),
    (-0.12940952255126037, 0.2241438680420134, 0.8365163037378079, 0.48296291314453416),
    (
        *(0.03522629188570953, -0.08544127388202666, -0.13501102001025458, 0.45987750211849154),
        *(0.8068915093110925, 0.33267055295008263),
    ),
    (
        *(-0.010597401785069032, 0.0328830116668852, 0.030841381835560764, -0.18703481171909309),
        *(-0.027983769416859854, 0.6308807679298589, 0.7148465705529157, 0.2303778133088965),
    ),
    (
        *(0.0033357252854737712, -0.012580751999081999, -0.006241490212798274, 0.07757149384004572),
        *(-0.032244869584638375, -0.24229488706638203, 0.13842814590132074, 0.7243085284377729),
        *(0.6038292697971896, 0.16010239797419293),
    ),
    (
        *(-0.0010773010853084796, 0.004777257510945511, 0.0005538422011614961, -0.03158203931748603),
        *(0.027522865530305727, 0.09750160558732304, -0.12976686756726194, -0.22626469396543983),
        *(0.31525035170919763, 0.7511339080210954, 0.49462389039845306, 0.11154074335010947),
    ),
    (
        *(0.00035371379997452024, -0.0018016407040474908, 0.0004295779729213665, 0.01255099855609984),
        *(-0.01657454163066688, -0.03802993693501441, 0.08061260915108308, 0.07130921926683026),
        *(-0.22403618499387498, -0.14390600392856498, 0.4697822874051931, 0.7291320908462351),
        *(0.3965393194819173, 0.07785205408500918),
    ),
    (
        *(-0.00011747678412476953, 0.0006754494064505693, -0.00039174037337694705, -0.004870352993451574),
        *(0.008746094047405777, 0.013981027917398282, -0.044088253930794755, -0.017369301001807547),
        *(0.12874742662047847, 0.0004724845739132828, -0.2840155429615469, -0.015829105256349306),
        *(0.5853546836542067, 0.6756307362972898, 0.31287159091429995, 0.05441584224310401),
    ),
)
ORDERS: Final = len(_SCALING)


def filters() -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Low and high pass of every order, ``_TAPS`` places each; high is low mirrored, with signs in turn."""
    low, high = np.zeros(ORDERS * _TAPS), np.zeros(ORDERS * _TAPS)
    for i, scaling in enumerate(_SCALING):
        taps = len(scaling)
        low[i * _TAPS : i * _TAPS + taps] = scaling
        high[i * _TAPS : i * _TAPS + taps] = [(-1) ** (j + 1) * scaling[taps - 1 - j] for j in range(taps)]
    return low, high


_LOW, _HIGH = filters()


def deepest(order: int, rows: int) -> int:
    """Levels until the filter is longer than what is left to filter."""
    level = 0
    while rows >> (level + 1) >= 2 * order - 1 and level < _LEVELS:
        level += 1
    return level


@kernel_apart
def decompose(s: State, p: int, order: int, levels: int, rows: int) -> float:
    """Energy of each level's details to ``s[p:p + levels]``; returns the energy of what is left after the last.

    Behind them two buffers, each with room for the filter's reach on both sides: the series that is filtered, and what
    its low pass leaves.
    """
    p &= SLOT
    n = rows & SLOT
    order &= SLOT
    reach = order - 1
    base = (order - 1) * _TAPS
    series = p + _LEVELS + reach
    left = series + n + _TAPS
    first = at.RETURN + at.newest(s) - n + 1
    for i in range(n):
        s[series + i] = s[first + i]
    for level in range(levels):
        for j in range(reach):
            s[series - 1 - j] = s[series + n - 1 - j]
            s[series + n + j] = s[series + j]
        n //= 2
        energy = 0.0
        for i in range(n):
            end = series + order + 2 * i
            low = 0.0
            high = 0.0
            for j in range(2 * order):
                low += _LOW[base + j] * s[end - j]
                high += _HIGH[base + j] * s[end - j]
            s[left + i] = low
            energy += high * high
        s[p + level] = energy
        series, left = left, series
    rest = 0.0
    for i in range(n):
        rest += s[series + i] * s[series + i]
    return rest


@kernel
def smooth_energy(s: State, p: int, order: int, levels: int, rows: int, every: int) -> float:
    """Private: the value held, then what ``decompose`` keeps."""
    if s[at.ROWS] < rows + 1:
        return NAN
    if is_due(s, rows + 1, every & SLOT):
        s[p] = decompose(s, p + 1, order & SLOT, levels & SLOT, rows & SLOT)
    return s[p]


@kernel
def detail_energy(s: State, transform: int, level: float, rows: float) -> float:
    """Floats, because of an int each value would be compiled by itself."""
    if s[at.ROWS] < rows + 1.0:
        return NAN
    return s[transform + int(level)]


def _check(order: int, rows: int, every: int) -> None:
    check_span(rows, ROWS, every)
    check("Daubechies wavelet of order", order, range(1, ORDERS + 1), f"1 to {ORDERS} vanishing moments")


def make_rest(order: int, rows: int, every: int = 1) -> Column:
    """``wavelet_rest(order,rows[,every])``: the transform itself, whose value is what the last level leaves."""
    _check(order, rows, every)
    levels = deepest(order, rows)
    return Column(
        name=call("wavelet_rest", order, rows, every=every),
        function=smooth_energy,
        params=(order, levels, rows, every),
        private_slots=1 + _LEVELS + 2 * (rows + _TAPS) + _TAPS,
        formula=f"sum of squared approximation coefficients of level {levels} (db{order}) of ret_1 over the last "
        f"{rows} rows{held(every)}",
        unit="variance",
        bounds=(0.0, float("inf")),
        inputs=("price",),
        candle=True,
        warm_rows=rows + 1,
        source="I. Daubechies, Ten Lectures on Wavelets (1992); PyWavelets wavedec, mode periodization",
    )


def make_energy(order: int, level: int, rows: int, every: int = 1) -> Column:
    """``wavelet_energy(order,level,rows[,every])``."""
    _check(order, rows, every)
    levels = deepest(order, rows)
    check(f"db{order} on {rows} rows: level", level, range(1, levels + 1), f"1 to {levels}")
    return Column(
        name=call("wavelet_energy", order, level, rows, every=every),
        function=detail_energy,
        reads=(call("wavelet_rest", order, rows, every=every),),
        params=(float(level), float(rows)),
        formula=f"sum of squared detail coefficients of level {level} (db{order}, moves of about {2**level} rows) of "
        f"ret_1 over the last {rows} rows{held(every)}",
        unit="variance",
        bounds=(0.0, float("inf")),
        inputs=("price",),
        candle=True,
        warm_rows=rows + 1,
        source="I. Daubechies, Ten Lectures on Wavelets (1992); PyWavelets wavedec, mode periodization",
    )


register_family(
    Family(
        name="wavelet_rest",
        make=make_rest,
        usage="wavelet_rest(order,rows) or wavelet_rest(order,rows,every)",
        example="wavelet_rest(4,128)",
        formula="energy of the slow part of ret_1, after all levels; with the energies of all levels it adds up to the "
        "sum of squared ret_1",
    )
)
register_family(
    Family(
        name="wavelet_energy",
        make=make_energy,
        usage="wavelet_energy(order,level,rows) or wavelet_energy(order,level,rows,every)",
        example="wavelet_energy(4,3,128)",
        formula="energy of ret_1 at one scale: Daubechies wavelet of that order, periodic on the last rows",
    )
)
