"""An instrument beside others, and beside itself earlier: correlation, beta, lead and lag, dispersion of prices.

Prices of another instrument are those known at the end of a row; where one is unknown or too old (``GapPolicy``), what
needs it is NaN until it has left the span.  All moments are those of deviations from the span's own means.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from engine.errors import DataError
from engine.features import layout as at
from engine.features.column import Column, Family, register_family
from engine.features.columns.moments import moments_of, pearson
from engine.features.columns.strides import SLOT, check
from engine.features.jit import kernel
from engine.features.layout import HISTORY, NAN, State

_LEAST: Final = 3
_MOST: Final = HISTORY - 3


@kernel
def peer_log_return(s: State, block: int, lag: int) -> float:
    if s[at.ROWS] < lag + 1:
        return NAN
    now = block + at.newest(s)
    if s[now] > 0.0 and s[now - lag] > 0.0:
        return math.log(s[now] / s[now - lag])
    return NAN


@kernel
def peer_move(s: State, p: int, block: int) -> float:
    """Private: a series like those of the record, twice ``HISTORY``."""
    change = peer_log_return(s, block, 1)
    pos = int(s[at.POS])
    s[p + pos] = change
    s[p + pos + HISTORY] = change
    return change


@kernel
def covariance(s: State, p: int, moves: int, n: int) -> float:
    """Private: what ``moments_of`` keeps, all divided by n."""
    if s[at.ROWS] < n + 1:
        return NAN
    now = at.newest(s)
    moments_of(s, p & SLOT, at.RETURN + now - n + 1, moves + now - n + 1, n & SLOT)
    return s[p]


@kernel
def correlation(s: State, moments: int, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    both = s[moments]
    if s[moments + 1] > 0.0 and s[moments + 2] > 0.0:
        return min(max(both / (math.sqrt(s[moments + 1]) * math.sqrt(s[moments + 2])), -1.0), 1.0)
    return 0.0 if both - both == 0.0 else NAN


@kernel
def beta(s: State, moments: int, n: int) -> float:
    if s[at.ROWS] < n + 1:
        return NAN
    both = s[moments]
    if s[moments + 2] > 0.0:
        return both / s[moments + 2]
    return 0.0 if both - both == 0.0 else NAN


@kernel
def lead_lag(s: State, moves: int, n: int) -> float:
    if s[at.ROWS] < n + 2:
        return NAN
    now = at.newest(s)
    return pearson(s, at.RETURN + now - n + 1, moves + now - n, n & SLOT)


@kernel
def basis(s: State, block: int) -> float:
    own = at.last(s, at.CLOSE, 0)
    px = s[block + at.newest(s)]
    if own > 0.0 and px > 0.0:
        return 1e4 * (px / own - 1.0)
    return NAN


@kernel
def dispersion(_s: State, *bases: float) -> float:
    """The own price has a basis of 0."""
    n = len(bases) + 1.0
    mean = 0.0
    for value in bases:
        mean += value
    mean /= n
    squares = mean * mean
    for value in bases:
        squares += (value - mean) * (value - mean)
    return math.sqrt(squares / n) / (1.0 + 1e-4 * mean)


@kernel
def price_volume(s: State, n: int) -> float:
    if s[at.ROWS] < n:
        return NAN
    now = at.newest(s) - n + 1
    return pearson(s, at.CLOSE + now, at.VOLUME + now, n & SLOT)


@kernel
def autocorrelation(s: State, lag: int, n: int) -> float:
    if s[at.ROWS] < n + lag + 1:
        return NAN
    now = at.RETURN + at.newest(s) - n + 1
    return pearson(s, now, now - lag, n & SLOT)


def _check_peer(peer: object) -> str:
    """Raises ``DataError`` where it is no instrument's id."""
    if not isinstance(peer, str) or not all(peer.partition("@")[::2]) or "/" not in peer.partition("@")[0]:
        raise DataError(f"another instrument: {peer}", expected="its id, such as BTC/USDT@binance")
    return peer


def _check_rows(rows: object, most: int = _MOST) -> None:
    check("a span of rows:", rows, range(_LEAST, most + 1), f"{_LEAST} to {most}")


def make_peer_return(peer: str, rows: int) -> Column:
    """``peer_return(instrument,rows)``."""
    check("a span of rows:", rows, range(1, HISTORY - 1), f"1 to {HISTORY - 2}")
    return Column(
        name=f"peer_return({peer},{rows})",
        function=peer_log_return,
        params=(rows,),
        peer=_check_peer(peer),
        formula=f"ln(price of {peer} / its price {rows} rows ago)",
        unit="return",
        inputs=("price",),
        warm_rows=rows + 1,
    )


def make_peer_move(peer: str) -> Column:
    """``peer_move(instrument)``: keeps the history that other columns look back on."""
    return Column(
        name=f"peer_move({peer})",
        function=peer_move,
        private_slots=2 * HISTORY,
        peer=_check_peer(peer),
        formula=f"ln(price of {peer} / its price one row ago)",
        unit="return",
        inputs=("price",),
        warm_rows=2,
    )


def make_covariance(peer: str, rows: int) -> Column:
    """``covariance(instrument,rows)``."""
    _check_rows(rows)
    return Column(
        name=f"covariance({_check_peer(peer)},{rows})",
        function=covariance,
        params=(rows,),
        reads=(f"peer_move({peer})",),
        private_slots=3,
        formula=f"population covariance of ret_1 and the return of {peer} over {rows} rows",
        unit="variance",
        inputs=("price",),
        warm_rows=rows + 1,
    )


def make_correlation(peer: str, rows: int) -> Column:
    """``correlation(instrument,rows)``."""
    return Column(
        name=f"correlation({peer},{rows})",
        function=correlation,
        params=(rows,),
        reads=(f"covariance({peer},{rows})",),
        formula=f"correlation of ret_1 and the return of {peer} over {rows} rows; 0 when one of them did not move",
        unit="ratio",
        bounds=(-1.0, 1.0),
        inputs=("price",),
        warm_rows=rows + 1,
        source="K. Pearson (1895)",
    )


def make_beta(peer: str, rows: int) -> Column:
    """``beta(instrument,rows)``."""
    return Column(
        name=f"beta({peer},{rows})",
        function=beta,
        params=(rows,),
        reads=(f"covariance({peer},{rows})",),
        formula=f"slope of ret_1 on the return of {peer} over {rows} rows; 0 when {peer} did not move",
        unit="ratio",
        inputs=("price",),
        warm_rows=rows + 1,
        source="W. Sharpe (1964)",
    )


def make_lead_lag(peer: str, rows: int) -> Column:
    """``lead_lag(instrument,rows)``."""
    _check_rows(rows)
    return Column(
        name=f"lead_lag({_check_peer(peer)},{rows})",
        function=lead_lag,
        params=(rows,),
        reads=(f"peer_move({peer})",),
        formula=f"correlation of ret_1 and the return of {peer} one row earlier over {rows} rows: high where {peer} "
        f"leads; 0 when one of them did not move",
        unit="ratio",
        bounds=(-1.0, 1.0),
        inputs=("price",),
        warm_rows=rows + 2,
        source="A. Lo, A. C. MacKinlay (1990)",
    )


def make_basis(peer: str) -> Column:
    """``basis_bps(instrument)``."""
    return Column(
        name=f"basis_bps({peer})",
        function=basis,
        peer=_check_peer(peer),
        formula=f"1e4 * (price of {peer} / close - 1)",
        unit="bps",
        inputs=("price",),
        warm_rows=1,
    )


def make_dispersion(*peers: str) -> Column:
    """``dispersion_bps(instrument,...)``."""
    if not peers or len(set(peers)) != len(peers):
        raise DataError(f"dispersion of {', '.join(map(str, peers)) or 'nothing'}", expected="other instruments' ids")
    return Column(
        name=f"dispersion_bps({','.join(map(str, peers))})",
        function=dispersion,
        uses=tuple(f"basis_bps({_check_peer(peer)})" for peer in peers),
        formula=f"1e4 * population standard deviation / mean of close and the prices of {', '.join(peers)}",
        unit="bps",
        bounds=(0.0, math.inf),
        inputs=("price",),
        warm_rows=1,
    )


def make_price_volume(rows: int) -> Column:
    """``price_volume_correlation(rows)``."""
    _check_rows(rows)
    return Column(
        name=f"price_volume_correlation({rows})",
        function=price_volume,
        params=(rows,),
        formula=f"correlation of close and volume over {rows} rows; 0 when one of them did not change",
        unit="ratio",
        bounds=(-1.0, 1.0),
        inputs=("price", "volume"),
        candle=True,
        warm_rows=rows,
        source="J. Karpoff, The relation between price changes and trading volume (1987)",
    )


def make_autocorrelation(lag: int, rows: int) -> Column:
    """``autocorrelation(lag,rows)``."""
    check("a lag:", lag, range(1, 101), "1 to 100 rows")
    _check_rows(rows, _MOST - 100)
    return Column(
        name=f"autocorrelation({lag},{rows})",
        function=autocorrelation,
        params=(lag, rows),
        formula=f"correlation of ret_1 and ret_1 {lag} rows earlier over {rows} rows; 0 when nothing moved",
        unit="ratio",
        bounds=(-1.0, 1.0),
        inputs=("price",),
        candle=True,
        warm_rows=rows + lag + 1,
        source="J. Campbell, A. Lo, A. C. MacKinlay, The Econometrics of Financial Markets (1997), 2.4",
    )


_PEER: Final = "ETH/USDT@binance"
_FAMILIES: Final[tuple[tuple[str, Callable[..., Column], str, str, str], ...]] = (
    ("peer_move", make_peer_move, "instrument", _PEER, "return of another instrument over one row"),
    ("peer_return", make_peer_return, "instrument,rows", f"{_PEER},5", "return of another instrument"),
    ("covariance", make_covariance, "instrument,rows", f"{_PEER},50", "covariance of returns with another instrument"),
    (
        "correlation",
        make_correlation,
        "instrument,rows",
        f"{_PEER},50",
        "correlation of returns with another instrument",
    ),
    ("beta", make_beta, "instrument,rows", f"{_PEER},50", "slope of the own returns on another instrument's"),
    ("lead_lag", make_lead_lag, "instrument,rows", f"{_PEER},50", "correlation with another's return one row earlier"),
    ("basis_bps", make_basis, "instrument", "BTC/USDT@binance", "another instrument's price over the own, in bps"),
    (
        "dispersion_bps",
        make_dispersion,
        "instrument,...",
        "BTC/USDT@binance,BTC/USD@coinbase",
        "how far the prices of one thing at several venues lie apart: standard deviation over mean, in bps",
    ),
    ("price_volume_correlation", make_price_volume, "rows", "50", "correlation of close and volume"),
    ("autocorrelation", make_autocorrelation, "lag,rows", "1,50", "correlation of returns with earlier ones"),
)
for _name, _make, _arguments, _example, _meaning in _FAMILIES:
    register_family(
        Family(
            name=_name,
            make=_make,
            usage=f"{_name}({_arguments})",
            example=f"{_name}({_example})",
            formula=_meaning,
        )
    )

CROSS_ASSET: Final = (
    *(f"price_volume_correlation({rows})" for rows in (20, 50)),
    *(f"autocorrelation({lag},50)" for lag in (1, 2, 5)),
)
"""What needs no other instrument; the rest is ``beside`` and ``at_venues``."""


def beside(*peers: str) -> tuple[str, ...]:
    """The columns of the set ``cross_asset(instrument,...)``: the own returns beside those of each."""
    each = (
        (
            f"peer_return({peer},1)",
            f"peer_return({peer},5)",
            f"correlation({peer},20)",
            f"correlation({peer},50)",
            f"beta({peer},50)",
            f"lead_lag({peer},50)",
        )
        for peer in peers
    )
    return tuple(name for names in each for name in names)


def at_venues(*peers: str) -> tuple[str, ...]:
    """The columns of the set ``cross_venue(instrument,...)``: the same thing at other venues."""
    return (*(f"basis_bps({peer})" for peer in peers), f"dispersion_bps({','.join(peers)})")
