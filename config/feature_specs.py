"""Feature specs as configured (``features``): what strategies without a model see."""

from __future__ import annotations

from typing import Literal

from config.features_schema import FeaturesSettings, SamplingSettings
from engine.errors import ConfigError, KestrelError
from engine.features import FeatureSpec, GapPolicy, Sampling
from engine.features.sets import expand
from engine.instruments import Instrument


def plain_spec(wanted: FeaturesSettings, instrument: Instrument) -> FeatureSpec:
    """For strategies without a model: of ``auto`` the richest set that the instrument's data can fill."""
    if wanted.columns is not None or wanted.set != "auto":
        return own_spec(wanted, has_trades=instrument.has_trades)
    rich = _spec(wanted, "core40", "trades")
    return _spec(wanted, "quote40", "ticks") if rich.lacking(instrument) else rich


def own_spec(wanted: FeaturesSettings, *, has_trades: bool) -> FeatureSpec:
    """The spec of ``features.columns``, else of the set that is named.  Raises ``ConfigError`` when they make none."""
    # quote40 is made for counts of quotes, also where there are trades.
    by_trades = has_trades and (wanted.columns is not None or wanted.set != "quote40")
    return _spec(wanted, "own" if wanted.columns is not None else wanted.set, "trades" if by_trades else "ticks")


def _spec(wanted: FeaturesSettings, name: str, volume: Literal["trades", "ticks"]) -> FeatureSpec:
    flat_rows_max = max(0, min(GapPolicy().flat_rows_max, wanted.window - 1))
    gap = GapPolicy(flat_rows_max=flat_rows_max, hole_ns_max=wanted.sampling.hole_ns)
    names = [name] if wanted.columns is None else wanted.columns
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice:
        # Sets may overlap; a name that stands there twice is a mistake.
        raise ConfigError(f"features: columns name {', '.join(twice)} twice", expected="each once")
    try:
        columns = expand(names)
        return FeatureSpec(name, columns, wanted.window, _sampling(wanted.sampling), volume, gap)
    except KestrelError as error:
        raise ConfigError(f"features: {error}") from None


def _sampling(wanted: SamplingSettings) -> Sampling:
    if wanted.kind == "volume_bar":
        return Sampling.volume_bar(wanted.size or 0.0)
    if wanted.kind == "dollar_bar":
        return Sampling.dollar_bar(wanted.size or 0.0)
    if wanted.kind == "imbalance_bar":
        return Sampling.imbalance_bar(wanted.every_ticks, wanted.span or 20)
    price = wanted.price or "mid"
    if wanted.kind == "time_bar":
        return Sampling.time_bar(wanted.interval_ns, wanted.lateness_ns, price)
    return Sampling.tick(price) if wanted.kind == "tick" else Sampling.tick_bar(wanted.every_ticks, price)
