"""Which venues there are: each by the name that ``venue.name`` and instrument ids use."""

from __future__ import annotations

from config.schema import Settings
from config.venue_kind import VenueKind
from engine.errors import ConfigError


def kind_of(settings: Settings) -> VenueKind:
    """The kind of the configured venue; only its own code is loaded.

    Raises ``ConfigError`` for a setting that this venue would leave unheard.
    """
    venue = settings.venue
    for field, several in (
        ("rest_fallbacks", {"binance": "binance_spot, binance_usdm", "ccxt": "an exchange of ccxt"}),
        ("ws_market_fallbacks", {"binance": "binance_spot or binance_usdm"}),
    ):
        if getattr(venue, field) and venue.name.partition("_")[0] not in several:
            raise ConfigError(
                f"venue.{field} with {venue.name}",
                expected=f"it with a venue that has several addresses: {' or '.join(several.values())}",
            )
    if venue.guaranteed_stops and venue.name != "oanda":
        raise ConfigError(f"venue.guaranteed_stops with {venue.name}", expected="it with oanda, or false")
    match settings.venue.name:
        case "coinbase":
            from config.venue_coinbase import KIND

            return KIND
        case "binance_spot" | "binance_usdm" as name:
            from config.venue_binance import KINDS

            return KINDS[name]
        case "oanda":
            from config.venue_oanda import KIND as OANDA

            return OANDA
        case "robin_stocks":
            from config.venue_robin_stocks import KIND as ROBIN_STOCKS

            return ROBIN_STOCKS
        case "robinhood":
            from config.venue_robinhood import KIND as ROBINHOOD

            return ROBINHOOD
        case name if name.startswith("ccxt_"):
            from config.venue_ccxt import kind_named

            return kind_named(name)
    raise ConfigError(f"venue.name is {settings.venue.name!r}", expected="a venue of docs/venues.md")
