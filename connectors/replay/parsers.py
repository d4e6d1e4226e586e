"""Which parser reads the messages of a recording: by the host they came from, or by the venue's name.

Owns that table only.  The parsers are each venue's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from connectors.binance.protocol import BinanceMarketProtocol
from connectors.bitmex import protocol as bitmex
from connectors.bitstamp.protocol import BitstampProtocol
from connectors.coinbase_exchange.protocol import CoinbaseExchangeProtocol
from connectors.deribit import protocol as deribit
from connectors.kraken import futures as kraken_futures
from connectors.kraken.spot_v1 import KrakenV1Protocol
from connectors.kraken.spot_v2 import KrakenV2Protocol
from connectors.market_stream import MarketStream, Products
from engine.errors import DataError


@dataclass(frozen=True)
class Parser:
    """``venue`` is the one in instrument ids; ``split`` gives base and quote where the venue's spelling needs it."""

    venue: str
    make: Callable[..., MarketStream]
    split: Callable[[str], tuple[str, str]] | None = None

    def products(self) -> Products:
        return Products(self.venue, self.split)

    def open(self, products: Mapping[str, tuple[str, ...]], *, quotes: bool, books: bool) -> MarketStream:
        """A parser of one connection."""
        return self.make(self.venue, products, quotes=quotes, books=books)


def _binance(venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool, books: bool) -> MarketStream:
    return BinanceMarketProtocol(venue, products, quotes=quotes, books=books)


PARSERS: Final = {
    "binance_spot": Parser("binance_spot", _binance),
    "binance_usdm": Parser("binance_usdm", _binance),
    "bitmex": Parser("bitmex", bitmex.BitmexProtocol, bitmex.split_contract),
    "bitstamp": Parser("bitstamp", BitstampProtocol),
    "coinbase_exchange": Parser("coinbase", CoinbaseExchangeProtocol),  # the order books of Advanced Trade
    "deribit": Parser("deribit", deribit.DeribitProtocol, deribit.split_contract),
    "kraken_futures": Parser("kraken_futures", kraken_futures.KrakenFuturesProtocol, kraken_futures.split_contract),
    "kraken_v2": Parser("kraken", KrakenV2Protocol),
    "kraken": Parser("kraken", KrakenV1Protocol),
}

_HOSTS: Final = {
    "stream.binance.com": "binance_spot",
    "data-stream.binance.vision": "binance_spot",
    "api.binance.com": "binance_spot",
    "fstream.binance.com": "binance_usdm",
    "fapi.binance.com": "binance_usdm",
    "www.bitmex.com": "bitmex",
    "ws.bitmex.com": "bitmex",
    "ws.bitstamp.net": "bitstamp",
    "www.bitstamp.net": "bitstamp",
    "ws-feed.pro.coinbase.com": "coinbase_exchange",
    "api.pro.coinbase.com": "coinbase_exchange",
    "ws-feed.exchange.coinbase.com": "coinbase_exchange",
    "api.exchange.coinbase.com": "coinbase_exchange",
    "www.deribit.com": "deribit",
    "futures.kraken.com": "kraken_futures",
    "ws.kraken.com": "kraken",
    "api.kraken.com": "kraken",
}


def parser_of(url: str, name: str) -> Parser:
    """The parser for messages from ``url``; where they name no host that is known, by the beginning of ``name``, a
    venue's or a file's.  Raises ``DataError`` when neither says."""
    parts = urlsplit(url)
    key = _HOSTS.get(parts.hostname or "", "")
    if key == "kraken" and parts.path.startswith("/v2"):
        key = "kraken_v2"
    if not key:
        key = next((each for each in PARSERS if name.lower().startswith(each)), "")
    if not key:
        raise DataError(
            f"{name}: nothing says which venue these messages are of",
            expected=f"the address of a venue in each line that opens a connection, or one of {', '.join(PARSERS)}",
            do="name the venue, or let the file's name begin with it",
        )
    return PARSERS[key]
