"""The named column sets and the specs made of them.

Owns which columns a set holds and in which order; the order is part of every model trained on it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Final, Literal

from engine.errors import DataError
from engine.features.columns.calendar import CALENDAR
from engine.features.columns.cross_asset import CROSS_ASSET, at_venues, beside
from engine.features.columns.exogenous import published
from engine.features.columns.hourly import HOURLY28
from engine.features.columns.lags import LAGS
from engine.features.columns.microstructure import MICROSTRUCTURE
from engine.features.columns.spectral import SPECTRAL
from engine.features.columns.technical import HYBRID11, TECHNICAL40
from engine.features.sampling import GapPolicy, Sampling
from engine.features.spec import FeatureSpec

INDICATORS = (
    "sma_20",
    "ema_12",
    "rsi_14",
    "atr_14",
    "obv",
    "vwap",
    "macd_line",
    "macd_signal",
    "macd_histogram",
    "bb_upper",
    "bb_lower",
    "bb_width",
    "bb_position",
)

CORE40 = (
    *INDICATORS,
    "close",
    "spread_bps",
    "spread_20_bps",
    "imbalance",
    "imbalance_5",
    "imbalance_20",
    "microprice_bps",
    "ofi_1",
    "ofi_5",
    "ofi_20",
    "ofi_50",
    "flow_5",
    "flow_20",
    "flow_50",
    "volume",
    "volume_ratio",
    "rv_5",
    "rv_20",
    "rv_50",
    "ret_1",
    "ret_2",
    "ret_5",
    "ret_10",
    "ret_20",
    "ret_50",
    "range_20_bps",
    "log_duration_20",
)

QUOTE40 = (
    *INDICATORS,
    "close",
    "spread_bps",
    "spread_20_bps",
    "spread_ratio",
    "rv_5",
    "rv_10",
    "rv_20",
    "rv_50",
    "rv_ratio",
    "ret_1",
    "ret_2",
    "ret_3",
    "ret_5",
    "ret_10",
    "ret_20",
    "ret_50",
    "range_5_bps",
    "range_20_bps",
    "range_50_bps",
    "tick_sign_5",
    "tick_sign_20",
    "tick_sign_50",
    "efficiency_20",
    "log_duration_1",
    "log_duration_5",
    "log_duration_20",
    "log_duration_50",
)

# All that candles give: windows of 30 days can be made of it.
EXTENDED = tuple(dict.fromkeys((*TECHNICAL40, *HYBRID11, *SPECTRAL, *CROSS_ASSET, *LAGS, *CALENDAR)))

# On candles of a day the clock stands still: what is left says the day of the week.
_CLOCK = (
    "day_sin",
    "day_cos",
    "session_open",
    "session_progress",
    "session_sin",
    "session_cos",
    "to_open_s",
    "to_close_s",
)
DAILY95 = (*(name for name in EXTENDED if name not in _CLOCK), "rv_5")

SETS: Final[dict[str, tuple[str, ...]]] = {
    "technical13": INDICATORS,
    "technical40": TECHNICAL40,
    "hybrid11": HYBRID11,
    "core40": CORE40,
    "quote40": QUOTE40,
    "microstructure": MICROSTRUCTURE,
    "spectral": SPECTRAL,
    "cross_asset": CROSS_ASSET,
    "lags": LAGS,
    "calendar": CALENDAR,
    "daily95": DAILY95,
    "hourly28": HOURLY28,
    "extended": EXTENDED,
    "extended_book": tuple(dict.fromkeys((*EXTENDED, *MICROSTRUCTURE))),
}
"""Columns by the name of their set."""

SETS_OF: Final[dict[str, Callable[..., tuple[str, ...]]]] = {
    "cross_asset": beside,
    "cross_venue": at_venues,
    "published": published,
}
"""Sets of other instruments or published series: ``cross_asset(ETH/USDT@binance)``, ``published(CPI,FEDFUNDS)``."""
_CALL: Final = re.compile(r"(\w+)\(([^()]+)\)")


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """Column names, with each set's name replaced by its columns; what comes twice stays where it came first."""
    return tuple(dict.fromkeys(column for name in names for column in _columns(name)))


def _columns(name: str) -> tuple[str, ...]:
    call = _CALL.fullmatch(name)
    if call is not None and call[1] in SETS_OF:
        return SETS_OF[call[1]](*call[2].split(","))
    return SETS.get(name, (name,))


def named_spec(
    name: str,
    window: int = 30,
    sampling: Sampling | None = None,
    gap: GapPolicy | None = None,
    volume: Literal["trades", "ticks"] = "trades",
) -> FeatureSpec:
    """The spec of a set.  Raises ``DataError`` that names the nearest known set."""
    if name not in SETS:
        near = difflib.get_close_matches(name, SETS, n=1)
        raise DataError(
            f"unknown feature set {name!r}",
            expected=f"one of {', '.join(SETS)}",
            do=f"did you mean {near[0]!r}?" if near else "",
        )
    return FeatureSpec(
        name=name,
        columns=SETS[name],
        window=window,
        sampling=Sampling.tick() if sampling is None else sampling,
        volume=volume,
        gap=GapPolicy(flat_rows_max=max(min(5, window - 1), 0)) if gap is None else gap,
    )


def core40_spec(window: int = 30, sampling: Sampling | None = None, gap: GapPolicy | None = None) -> FeatureSpec:
    """40 columns for instruments with quotes, sizes and trades: crypto, equities, futures."""
    return named_spec("core40", window, sampling, gap)


def quote40_spec(window: int = 30, sampling: Sampling | None = None, gap: GapPolicy | None = None) -> FeatureSpec:
    """40 columns from quotes alone, no sizes and no trades: FX.  The declared volume is the count of quote changes."""
    return named_spec("quote40", window, sampling, gap, "ticks")
