"""What the library's classes are told to do otherwise than by default.  Pure."""

from __future__ import annotations

from typing import Any, Final

OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "binance": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
    "binanceus": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
}
"""Beside those of all: what a class asks for at its start and a spot market has no use for."""
ALL_OPTIONS: Final[dict[str, Any]] = {
    # Of any request, of orders as well: what became of the first is not known.
    "maxRetriesOnFailure": 0,
    "tradesLimit": 1000,
    "warnOnFetchOpenOrdersWithoutSymbol": False,
}
NONCED: Final = frozenset(
    {"kraken", "krakenfutures", "bitfinex", "gemini", "poloniex", "cex", "ndax", "independentreserve", "btcmarkets"}
)
"""Sign with numbers that must arrive in order: their private requests go one after the other."""


def options_of(exchange: str) -> dict[str, Any]:
    """For the constructor.

    The clock's offset is taken into account but where requests are numbered by the clock: some exchanges tell the time
    in whole seconds, and numbers of two objects with one key would go up and down by as much.
    """
    return {**ALL_OPTIONS, "adjustForTimeDifference": exchange not in NONCED, **OPTIONS.get(exchange, {})}
