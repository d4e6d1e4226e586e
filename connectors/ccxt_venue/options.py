"""What the library's classes are told to do otherwise than by default.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "binance": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
    "binanceus": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False},
}
"""Beside those of all: what a class asks for at its start and a spot market has no use for."""
ALL_OPTIONS: Final[dict[str, Any]] = {
    # Of any request, of orders as well: what became of the first is not known.
    "maxRetriesOnFailure": 0,
    "warnOnFetchOpenOrdersWithoutSymbol": False,
}
MOST_TRADES: Final = 10_000
LEAST_TRADES: Final = 100
NONCED: Final = frozenset(
    {"kraken", "krakenfutures", "bitfinex", "gemini", "poloniex", "cex", "ndax", "independentreserve", "btcmarkets"}
)
"""Sign with numbers that must arrive in order: their private requests go one after the other."""


def trades_kept(symbols: int) -> int:
    """Trades that the library keeps of each symbol, about 2.5 KB each: ten thousand together.

    They are read right after they came; so many may come in between before one is missed, which is told as a gap.
    """
    return max(min(MOST_TRADES // max(symbols, 1), 1000), LEAST_TRADES)


def options_of(exchange: str, symbols: Sequence[str] = ()) -> dict[str, Any]:
    """For the constructor.  ``symbols``: what is wanted of it; of spot markets alone, where none is named.

    The clock's offset is taken into account but where requests are numbered by the clock: some exchanges tell the time
    in whole seconds, and numbers of two objects with one key would go up and down by as much.
    """
    own = OPTIONS.get(exchange, {})
    own = {"tradesLimit": trades_kept(len(symbols)), **own}
    contracts = sum(":" in symbol for symbol in symbols)
    if contracts and "fetchMarkets" in own:
        types = ["linear"] if contracts == len(symbols) else ["spot", "linear"]
        own = {**own, "fetchMarkets": {"types": types}, "defaultType": "swap" if types == ["linear"] else "spot"}
    return {**ALL_OPTIONS, "adjustForTimeDifference": exchange not in NONCED, **own}
