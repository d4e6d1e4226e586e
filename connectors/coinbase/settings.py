"""Settings of the Coinbase connector.  Owns names, units and defaults; ``config`` fills them from files."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from connectors.route import Route
from engine.errors import ConfigError

CHANNELS = ("heartbeats", "ticker", "ticker_batch", "level2", "market_trades", "candles", "status")
TRANSPORTS = ("websockets", "picows")


class CoinbaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``symbols`` are canonical without venue (``BTC/USD``).  Without ``key_file`` the connector is market-only."""

    symbols: tuple[str, ...] = ("BTC/USD",)
    rest_url: str = "https://api.coinbase.com"
    ws_market_url: str = "wss://advanced-trade-ws.coinbase.com"
    ws_user_url: str = "wss://advanced-trade-ws-user.coinbase.com"
    key_file: str = ""
    money: Literal["", "play", "real"] = ""
    """What the server, and the key with it, must be of; nothing is asked of whoever only looks (empty)."""
    name: str = "coinbase"
    channels: tuple[str, ...] = ("heartbeats", "ticker", "market_trades")
    transport: str = "websockets"
    route: Route = Route()
    """The proxy, and whose certificates are believed: of streams, requests and orders."""
    order_connections: int = 4
    order_timeout_s: float = 5.0
    order_warm_s: float = 20.0
    """An order connection that was idle for so long is used for a small question, so that nobody closes it."""
    rest_timeout_s: float = 10.0
    open_timeout_s: float = 10.0
    confirm_timeout_s: float = 10.0
    """All subscriptions must be confirmed in this time, else the connection is given up and tried again."""
    silence_timeout_s: float = 10.0
    """No message (heartbeats come every second) for this long: the stream is mute and is reconnected."""
    conflate_lag_ms: float = 5.0
    """Superseded quotes of a batch are dropped when the loop is later than this."""
    unknown_grace_s: float = 15.0
    """How long an order without outcome may stay missing from listings before it counts as never arrived."""
    reconcile_s: float = 300.0
    """How often orders, fills and balances are compared with the books."""
    products_s: float = 0.0
    """How often rules and states of the products are read again; 0: only after a refusal that speaks of them."""
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 30.0
    orders_per_s: float = 30.0
    """Private REST requests a second that the venue grants (historical figure); a quarter is kept for cancels."""
    skew_limit_s: float = 30.0
    """The venue's clock may differ from ours by this much; more is refused at the start (the offset is corrected)."""
    default_maker_fee_rate: Decimal = Decimal("0.006")
    default_taker_fee_rate: Decimal = Decimal("0.012")
    """Used without a key: the venue tells an account's own tier only to its owner."""

    def check(self) -> None:
        """Raises ``ConfigError`` with one line for the first setting that cannot work."""
        for field, schemes in (
            ("rest_url", ("http", "https")),
            ("ws_market_url", ("ws", "wss")),
            ("ws_user_url", ("ws", "wss")),
        ):
            value = getattr(self, field)
            if urlsplit(value).scheme not in schemes or not urlsplit(value).hostname:
                raise ConfigError(f"coinbase {field} {value!r}", expected=f"{' or '.join(schemes)}://HOST[:PORT]")
        if self.transport not in TRANSPORTS:
            raise ConfigError(f"coinbase transport {self.transport!r}", expected=" or ".join(TRANSPORTS))
        for channel in self.channels:
            if channel not in CHANNELS:
                raise ConfigError(f"coinbase channel {channel!r}", expected="one of " + ", ".join(CHANNELS))
        if not self.symbols:
            raise ConfigError("coinbase symbols is empty", expected="at least one, such as BTC/USD")
        for symbol in self.symbols:
            base, slash, quote = symbol.partition("/")
            if not base or not slash or not quote or "@" in quote:
                raise ConfigError(f"coinbase symbol {symbol!r}", expected="BASE/QUOTE, such as BTC/USD")
        self.route.check("coinbase")
        if self.order_connections < 1:
            raise ConfigError(f"coinbase order_connections {self.order_connections}", expected="1 or more")
