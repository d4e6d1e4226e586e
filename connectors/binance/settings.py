"""Settings of the Binance connector.  Owns names, units and defaults; ``config`` fills them from files."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec

from connectors.binance.streams import SPOT, USDM, route, stream_names
from connectors.route import Route
from engine.errors import ConfigError

TRANSPORTS: Final = ("websockets", "picows")
REST_URLS: Final = {
    SPOT: ("https://api.binance.com", "https://api-gcp.binance.com", "https://api1.binance.com"),
    USDM: ("https://fapi.binance.com",),
}
WS_URLS: Final = {
    SPOT: ("wss://stream.binance.com:9443", "wss://stream.binance.com:443", "wss://data-stream.binance.vision"),
    USDM: ("wss://fstream.binance.com",),
}
"""The preferred first; the others serve the same."""
CHANNELS: Final = ("heartbeats", "ticker", "market_trades", "level2", "candles", "funding")
_KINDS: Final = {
    "ticker": {SPOT: "bookTicker", USDM: "bookTicker"},
    # Futures document no stream of single trades; spot's aggregates would hide how many there were.
    "market_trades": {SPOT: "trade", USDM: "aggTrade"},
    "level2": {SPOT: "depth@100ms", USDM: "depth@100ms"},
    "candles": {SPOT: "kline_1m", USDM: "kline_1m"},
    "funding": {USDM: "markPrice@1s"},
}


class BinanceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``venue`` is ``binance_spot`` or ``binance_usdm``; ``symbols`` are canonical without venue (``BTC/USDT``).

    Empty ``rest_urls`` and ``ws_urls`` mean the venue's own; of several the first that works is used.  The venue has no
    heartbeats: that channel is there so that a list made for another venue works here.
    """

    venue: str = SPOT
    symbols: tuple[str, ...] = ("BTC/USDT",)
    rest_urls: tuple[str, ...] = ()
    ws_urls: tuple[str, ...] = ()
    channels: tuple[str, ...] = ("ticker", "market_trades")
    transport: str = "websockets"
    route: Route = Route()
    rest_timeout_s: float = 10.0
    open_timeout_s: float = 10.0
    confirm_timeout_s: float = 10.0
    """All subscriptions must be confirmed in this time, else the connection is given up and tried again."""
    silence_timeout_s: float = 10.0
    """No message for half of this: the venue is asked what is subscribed.  For all of it: the stream is reconnected."""
    renew_after_s: float = 23.5 * 3600
    """The venue ends a connection after 24 hours: another one takes over before that, one after the other."""
    conflate_lag_ms: float = 5.0
    products_s: float = 60.0
    """How often rules and states of the symbols are read again; 0: never."""
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 30.0
    skew_limit_s: float = 30.0
    """The venue's clock may differ from ours by this much; more is refused at the start (the offset is known)."""

    @property
    def has_depth(self) -> bool:
        return "level2" in self.channels

    @property
    def has_trades(self) -> bool:
        return "market_trades" in self.channels

    def venue_symbols(self) -> dict[str, str]:
        """The venue's spelling of each symbol: of futures that end one day the base is the whole name."""
        pairs = {symbol: symbol.partition("/") for symbol in self.symbols}
        return {symbol: base if "_" in base else base + quote for symbol, (base, _, quote) in pairs.items()}

    def kinds(self) -> tuple[str, ...]:
        """Kinds of streams that the channels mean.  A book tells the best prices too, and of one age."""
        wanted = [channel for channel in self.channels if not (channel == "ticker" and self.has_depth)]
        return tuple(dict.fromkeys(_KINDS[channel][self.venue] for channel in wanted if channel in _KINDS))

    def connections(self, streams_max: int) -> list[tuple[str, tuple[str, ...]]]:
        """Path and names of the streams of each connection: futures serve books and the rest at two addresses."""
        by_path: dict[str, list[str]] = {}
        for name in stream_names(self.venue_symbols().values(), self.kinds()):
            by_path.setdefault(route(self.venue, name), []).append(name)
        return [
            (path, tuple(names[at : at + streams_max]))
            for path, names in sorted(by_path.items())
            for at in range(0, len(names), streams_max)
        ]

    def check(self) -> None:
        """Raises ``ConfigError`` with one line for the first setting that cannot work."""
        if self.venue not in (SPOT, USDM):
            raise ConfigError(f"binance venue {self.venue!r}", expected=f"{SPOT} or {USDM}")
        for field, urls, schemes in (
            ("rest_urls", self.rest_urls, ("http", "https")),
            ("ws_urls", self.ws_urls, ("ws", "wss")),
        ):
            for url in urls:
                if urlsplit(url).scheme not in schemes or not urlsplit(url).hostname:
                    raise ConfigError(f"{self.venue} {field} {url!r}", expected=f"{' or '.join(schemes)}://HOST[:PORT]")
        if self.transport not in TRANSPORTS:
            raise ConfigError(f"{self.venue} transport {self.transport!r}", expected=" or ".join(TRANSPORTS))
        for channel in self.channels:
            if channel not in CHANNELS or (channel in _KINDS and self.venue not in _KINDS[channel]):
                known = [name for name in CHANNELS if self.venue in _KINDS.get(name, {self.venue: ""})]
                raise ConfigError(f"{self.venue} channel {channel!r}", expected="one of " + ", ".join(known))
        if not self.kinds():
            raise ConfigError(f"{self.venue} channels name no market data", expected="ticker, market_trades or level2")
        if not self.symbols:
            raise ConfigError(f"{self.venue} symbols is empty", expected="at least one, such as BTC/USDT")
        for symbol in self.symbols:
            base, slash, quote = symbol.partition("/")
            if not base or not slash or not quote or "@" in quote:
                raise ConfigError(f"{self.venue} symbol {symbol!r}", expected="BASE/QUOTE, such as BTC/USDT")
        self.route.check(self.venue)
