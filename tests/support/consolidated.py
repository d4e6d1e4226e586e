"""Venues that quote the same thing, for tests of consolidated instruments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.consolidated import ConsolidatedDefinition, Consolidator
from engine.events import Quote, Trade
from engine.instruments import Instrument
from tests.support.fake_view import START_NS, make_instrument

NAME = "BTC/USD@consolidated"
MS = 1_000_000
S = 1_000 * MS


def venue(number: int) -> str:
    return f"BTC/USD@v{number}"


def rules(count: int, **changes: Any) -> list[Instrument]:
    """``count`` venues: v0, v1, ..."""
    return [make_instrument(venue(number), **changes) for number in range(count)]


def define(count: int, **changes: Any) -> ConsolidatedDefinition:
    """Stale after 1 s, wild beyond 50 bps, 500 bps at first sight."""
    fields: dict[str, Any] = {"stale_ns": S, "wild_bps": 50.0, "band_bps": 500.0}
    return ConsolidatedDefinition(NAME, tuple(venue(number) for number in range(count)), **{**fields, **changes})


def make(count: int, **changes: Any) -> Consolidator:
    return Consolidator(define(count, **changes), rules(count))


def quote(
    number: int, mid_px: float, at_ns: int, *, half_px: float = 0.5, delay_ns: int = 0, qty: float = 1.0
) -> Quote:
    """Of venue ``number``, ``at_ns`` after the start; ``delay_ns``: how much earlier the venue says it was."""
    now_ns = START_NS + at_ns
    return Quote(now_ns - delay_ns, now_ns, venue(number), mid_px - half_px, qty, mid_px + half_px, 2.0 * qty)


def trade(number: int, px: float, at_ns: int, qty: float = 1.0) -> Trade:
    now_ns = START_NS + at_ns
    return Trade(now_ns, now_ns, venue(number), px, qty, 1, f"t{at_ns}")


def say(consolidator: Consolidator, mids: Sequence[float], at_ns: int = 0) -> None:
    """Every venue quotes at once, in order."""
    for number, mid_px in enumerate(mids):
        consolidator.on_quote(quote(number, mid_px, at_ns))


def statuses(consolidator: Consolidator, at_ns: int = 0) -> list[str]:
    return [source.status for source in consolidator.at(START_NS + at_ns).sources]
