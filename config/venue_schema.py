"""Settings of where is traded: the venue, the built-in exchange, and fills that are made in process."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from config.sections import Currency, FilePath, NotNegative, Port, Positive, Section, Symbol


def _url(value: str) -> str:
    """Plain http and ws carry keys and orders unprotected: they are for this machine only."""
    parts = urlsplit(value)
    if parts.scheme not in ("https", "wss", "http", "ws") or not parts.hostname:
        raise ValueError("a URL such as https://host or wss://host")
    if parts.username or parts.password:
        raise ValueError("a URL without user name and password")
    if parts.scheme in ("http", "ws") and not _is_loopback(parts.hostname):
        raise ValueError("https or wss for any other machine than this one")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


Url = Annotated[str, AfterValidator(_url)]


def _ccxt_name(value: str) -> str:
    """``ccxt:kraken`` as it stands in instrument ids: ``ccxt_kraken``."""
    name = value.replace("ccxt:", "ccxt_", 1)
    if not re.fullmatch(r"ccxt_[a-z][a-z0-9]{1,30}", name):
        raise ValueError("ccxt:EXCHANGE")
    return name


class VenueSettings(Section):
    name: (
        Literal["coinbase", "binance_spot", "binance_usdm", "oanda", "robin_stocks", "robinhood"]
        | Annotated[str, AfterValidator(_ccxt_name)]
    ) = Field(default="coinbase", description="venue to trade on")
    feed: Literal["sandbox", "live", "replay"] = Field(default="sandbox", description="where the market comes from")
    symbols: list[Symbol] = Field(
        default=["BTC/USD", "ETH/USD"],
        min_length=1,
        description="what to trade; feed replay takes it from the files instead",
    )
    channels: list[
        Literal["heartbeats", "ticker", "ticker_batch", "market_trades", "level2", "candles", "status", "funding"]
    ] = Field(default=["heartbeats", "ticker", "market_trades"], description="market data channels to subscribe")
    transport: Literal["websockets", "picows"] = Field(default="websockets", description="WebSocket library")
    rest_url: Url | None = Field(default=None, description="empty: the venue's own, or the sandbox's")
    ws_market_url: Url | None = Field(default=None, description="empty: the venue's own, or the sandbox's")
    ws_user_url: Url | None = Field(default=None, description="empty: the venue's own, or the sandbox's")
    stream_url: Url | None = Field(
        default=None, description="of venues that stream over HTTP (OANDA); empty: the venue's own, or the sandbox's"
    )
    account: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="where a key opens several (OANDA); empty: the first",
    )
    rest_fallbacks: list[Url] = Field(
        default=[],
        description="addresses that serve the same as rest_url, taken in order when it fails; of Binance and ccxt",
    )
    ws_market_fallbacks: list[Url] = Field(
        default=[], description="the same for ws_market_url; back to the first after five minutes, at a reconnection"
    )
    proxy: str = Field(
        default="",
        description="http://, socks4:// or socks5://HOST:PORT; none; empty: as the environment says (HTTPS_PROXY ...)",
    )
    ca_file: FilePath | None = Field(
        default=None, description="certificates (PEM) to believe; empty: those of the system, or of SSL_CERT_FILE"
    )
    key_file: FilePath | None = Field(
        default=None, description="API key file as the venue gives it, mode 600; the sandbox's own"
    )
    order_connections: int = Field(default=4, ge=1, le=64, description="kept-alive connections for orders")
    request_timeout_ms: int = Field(
        default=5000, ge=100, le=60_000, description="then an order's outcome is unknown, ms"
    )
    external_orders: Literal["adopt", "reduce"] = Field(
        default="adopt", description="orders of others on the account: counted like ours, or also no new risk"
    )
    reconcile_s: float = Field(
        default=300.0, ge=1, le=86_400, description="how often the account is compared with the books, s"
    )
    attach_exits: bool = Field(
        default=False, description="brackets leave with their entry where the venue places them itself (Coinbase, spot)"
    )
    edit_orders: bool = Field(
        default=False, description="orders are changed in place where the venue does that (Coinbase: limit orders, gtc)"
    )
    guaranteed_stops: bool = Field(
        default=False,
        description="stops at market that close a trade are the venue's guaranteed ones, for a premium (OANDA only)",
    )
    products_s: float = Field(
        default=60.0, ge=1, le=86_400, description="how often rules and states of the instruments are read again, s"
    )

    @field_validator("name", mode="before")
    @classmethod
    def _spot_is_meant(cls, value: Any) -> Any:
        return "binance_spot" if value == "binance" else value

    @model_validator(mode="after")
    def _distinct(self) -> VenueSettings:
        if len(set(self.symbols)) != len(self.symbols):
            raise ValueError("each symbol once")
        return self


class SandboxSettings(Section):
    seed: int = Field(default=7, ge=0, description="of the synthetic market")
    port: Port = Field(default=0, description="0: any free port")
    speed: float = Field(default=1.0, gt=0, description="market seconds per second")
    rate_per_s: float = Field(
        default=100.0,
        gt=0,
        le=10_000,
        description="orders and cancels of the synthetic market, each product, per second",
    )
    history_s: float = Field(default=60.0, ge=0, le=3_600, description="market made before the start, s")
    balances: dict[Currency, NotNegative] = Field(
        default={"USD": Decimal(100_000)}, description="of the default account"
    )
    products: dict[Symbol, Positive] = Field(
        default={},
        description="symbols that it makes up besides those it has, with the price at which each starts",
    )


class PaperSettings(Section):
    balances: dict[Currency, NotNegative] = Field(
        default={"USD": Decimal(100_000)},
        description="at the start at each venue, where fills are made in process (feeds live and replay)",
    )
    latency_ms: float = Field(default=5.0, ge=0, le=60_000, description="from sending an order to its arrival, ms")
    maker_fee_bps: NotNegative | None = Field(
        default=None, description="empty: the instrument's own rate, bps of notional"
    )
    taker_fee_bps: NotNegative | None = Field(
        default=None, description="empty: the instrument's own rate, bps of notional"
    )
    assumed_quote_notional: Positive = Field(
        default=Decimal(100_000),
        description="worth of the size at the best price where the feed gives none, quote currency",
    )
