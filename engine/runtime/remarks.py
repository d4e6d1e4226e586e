"""What a person should be told of a session that did less than it looks: lines for the summary's ``warnings``.

Owns the words and from which share on something is worth a line.  What is counted is the core's.  A session of which
nothing here is true has none of these lines; one in which nothing could happen says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.buffers import main_of
from engine.core import TradingCore
from engine.features import FeatureBuffer
from engine.lanes import Lane
from engine.runtime.rate_lines import currencies_needed
from engine.runtime.unattended import unattended_lines, unreached_lines

DROPPED_SHARE = 0.1
"""Of market events; a feed with a bad row now and then is usual."""
UNUSED_SHARE = 0.5
"""Of predictions."""
SUPERSEDED = "superseded"
"""Conflated quotes, as ``drops`` names them."""
NAMED = 5
"""Reasons or instruments named one by one; the rest is counted."""


def remarks(core: TradingCore, drops: Mapping[str, int]) -> Iterator[str]:
    """The lines, most basic first.  ``drops``: market events that were not used, by reason."""
    yield from _market(core, drops)
    yield from _features(core)
    yield from _predictions(core)
    yield from _intents(core)
    yield from _money(core)
    yield from _unattended(core)
    yield from _shut(core)


def _market(core: TradingCore, drops: Mapping[str, int]) -> Iterator[str]:
    # A quote that gave way to a newer one is nothing amiss.
    drops = {reason: count for reason, count in drops.items() if reason != SUPERSEDED}
    ticks, dropped = core.counters.ticks, sum(drops.values())
    seen = ticks + dropped
    if not seen:
        yield "no quote and no trade came"
    elif dropped >= DROPPED_SHARE * seen:
        yield f"{dropped:,} of {seen:,} market events ({dropped / seen:.0%}) were dropped: {_counts(drops)}"


def _features(core: TradingCore) -> Iterator[str]:
    """Instruments on which nothing was predicted, or on which no strategy was asked with warm features."""
    lanes = {name: lane for name, lane in core.lanes.items() if lane.slots and lane.features is not None}
    if not core.counters.predictions and (modelled := [name for name in lanes if lanes[name].seat is not None]):
        reasons = {name: _why_cold(lanes[name]) or "no feature row was completed" for name in modelled}
        yield f"no prediction was made although a model is assigned: {_each(reasons)}"
        lanes = {name: lane for name, lane in lanes.items() if name not in modelled}
    cold = {name: why for name, lane in lanes.items() if (why := _why_cold(lane))}
    if cold:
        yield f"features were not warm at the end: {_each(cold)}"


def _why_cold(lane: Lane) -> str:
    """Why the features were not warm before the feed was closed; empty when they were."""
    features = main_of(lane.features)
    if features is None or features.warm:
        return ""
    if not isinstance(features, FeatureBuffer):
        return features.reason
    # The end of a session closes the feed, and that is a gap like any other.
    closed = features.restarts and features.row_ts_ns == 0
    reason = features.reason_before_gap if closed else features.reason
    if reason and features.rejected:
        reason += f"; {features.rejected:,} events have numbers out of range"
    return reason


def _predictions(core: TradingCore) -> Iterator[str]:
    counters = core.counters
    total = counters.predictions
    for count, what in (
        (counters.failed_predictions, "failed: a feature or the output was no usable number"),
        (counters.late_predictions, "took longer than models.deadline_us"),
    ):
        if count and count >= UNUSED_SHARE * total:
            yield f"{count:,} of {total:,} predictions {what}; nothing was traded on them"


def _intents(core: TradingCore) -> Iterator[str]:
    counters = core.counters
    if counters.intents and not counters.orders and counters.rejected:
        yield f"none of {counters.intents:,} intents became an order; refused by {_counts(counters.rejected)}"
    refused = sum(counters.venue_rejected.values())
    if refused and refused >= counters.orders:
        yield f"the venue refused every order ({counters.orders:,}): {_counts(counters.venue_rejected)}"


def _money(core: TradingCore) -> Iterator[str]:
    portfolio = core.portfolio
    unrated = [currency for currency in currencies_needed(core) if portfolio.rate(currency) is None]
    text = f"equity in {portfolio.currency} could not be known and entries were refused: "
    if missing := [currency for currency in unrated if not portfolio.rates.market_of(currency)]:
        yield f"{text}portfolio.rates has none for {', '.join(missing)}"
    if unquoted := [market for currency in unrated if (market := portfolio.rates.market_of(currency))]:
        yield f"{text}{', '.join(unquoted)} had no price, which is a currency's rate"
    if unknown := portfolio.unknown_holdings:
        yield (f"{text}an earlier session holds {', '.join(unknown)}, which is not among this one's symbols")


def _unattended(core: TradingCore) -> Iterator[str]:
    if held := unattended_lines(core):
        yield f"positions that nobody looks after: {_each(held)}"
    if left := unreached_lines(core):
        yield f"orders that nobody here can cancel: {_each(left)}"


def _shut(core: TradingCore) -> Iterator[str]:
    """Positions that nobody can leave: their instruments do not trade."""
    held = {
        name: f"{qty} held, {why}"
        for name in core.lanes
        if (why := core.venues.why_shut(name)) and (qty := core.portfolio.qty(name))
    }
    if held:
        yield f"positions are held in what does not trade: {_each(held)}"


def _counts(table: Mapping[str, int]) -> str:
    """``crossed 12, not_finite 3``: the most frequent first."""
    ordered = sorted(table.items(), key=lambda item: (-item[1], item[0]))
    return _few([f"{reason} {count:,}" for reason, count in ordered if count], ", ")


def _each(reasons: Mapping[str, str]) -> str:
    return _few([f"{name}: {why}" for name, why in reasons.items()], " | ")


def _few(parts: list[str], separator: str) -> str:
    return separator.join(parts[:NAMED]) + (f" and {len(parts) - NAMED} more" if len(parts) > NAMED else "")
