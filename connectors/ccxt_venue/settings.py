"""Settings of the ccxt connector.  Owns names, units and defaults; ``config`` fills them from files."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from engine.errors import ConfigError

PREFIX: Final = "ccxt_"
EXCHANGE: Final = re.compile(r"[a-z][a-z0-9]{1,30}")
LOCAL_HOSTS: Final = ("localhost", "::1")


class CcxtSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``exchange`` is the library's id; ``symbols`` are canonical without venue: ``BTC/USD`` of a spot market,
    ``BTC/USDT:USDT`` of a perpetual that is paid in its quote currency, whose market alone is read.

    The addresses are empty for the exchange's own; they are given for a server on this machine.  Without ``key_file``
    the connector is market-only.
    """

    exchange: str
    symbols: tuple[str, ...] = ("BTC/USD",)
    rest_url: str = ""
    rest_fallbacks: tuple[str, ...] = ()
    """Addresses that serve the same as the exchange's own (``https://HOST``), taken in order when it fails."""
    ws_market_url: str = ""
    ws_user_url: str = ""
    key_file: str = ""
    proxy: str = ""
    """``http://HOST:PORT`` for everything; ``none``; empty: as the environment says."""
    ca_file: str = ""
    money: Literal["", "play", "real"] = ""
    trades: bool = True
    depth: bool = False
    """Whether levels behind the best are told too."""
    depth_levels: int = 25
    order_hints: bool = True
    """Whether the stream of own orders is used, where there is one; without it they are asked about."""
    poll_s: float = 1.0
    """Between two questions for a price, a trade or an order's state where the exchange has no stream of it."""
    request_timeout_s: float = 10.0
    order_timeout_s: float = 5.0
    confirm_timeout_s: float = 30.0
    """All prices must have been told in this time, else the start fails."""
    silence_s: float = 20.0
    """A symbol without news for this long is asked about: another price than the stream's means that it is mute."""
    trades_silence_s: float = 60.0
    """The same of its trades: newer ones in a listing mean that their stream is mute."""
    unknown_grace_s: float = 20.0
    """How long an order without outcome may stay missing from listings before it counts as never arrived."""
    reconcile_s: float = 300.0
    listing_lag_s: float = 0.3
    """Executions may be listed so long after they moved a balance."""
    products_s: float = 60.0
    """Between two looks at the states of the markets; 0: only at the start."""
    recycle_s: float = 86_400.0
    """The library's objects grow with the years: they are made anew this often."""
    requests_share: float = 0.5
    """Of the exchange's rate: the market and the account have an object each, and the limit is of both."""
    orders_in_flight: int = 8
    dead_man_s: float = 0.0
    """After so long without us the exchange itself cancels everything, where it has such a switch; 0: not asked."""
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 30.0
    skew_limit_s: float = 30.0
    default_fee_rate: Decimal = Decimal("0.0026")
    """Where neither market nor account tell one: a middling taker fee of the first tier."""

    @property
    def name(self) -> str:
        """The venue in instrument ids."""
        return PREFIX + self.exchange

    @property
    def is_local(self) -> bool:
        return bool(self.rest_url)

    def check(self) -> None:
        """Raises ``ConfigError`` with one line for the first setting that cannot work."""
        if not EXCHANGE.fullmatch(self.exchange):
            raise ConfigError(f"ccxt exchange {self.exchange[:40]!r}", expected="its id, such as kraken: ccxt:kraken")
        for field, schemes in (
            ("rest_url", ("http", "https")),
            ("ws_market_url", ("ws", "wss")),
            ("ws_user_url", ("ws", "wss")),
        ):
            value = getattr(self, field)
            if value and (urlsplit(value).scheme not in schemes or not urlsplit(value).hostname):
                raise ConfigError(f"ccxt {field} {value!r}", expected=f"{' or '.join(schemes)}://HOST[:PORT]")
            if value and not is_here(value):
                raise ConfigError(
                    f"ccxt {field} {value!r}",
                    expected="a server on this machine, or nothing: the library knows the exchange's own addresses",
                )
        for value in self.rest_fallbacks:
            here, scheme = is_here(value), urlsplit(value).scheme
            if not urlsplit(value).hostname or here is not self.is_local or scheme not in ("https", "http")[: 1 + here]:
                raise ConfigError(
                    f"ccxt rest_fallbacks {value!r}",
                    expected="a server on this machine, like rest_url"
                    if self.is_local
                    else "https://HOST, an address of the exchange",
                    do="play money and real money are never mixed" if here is not self.is_local else "",
                )
        if not self.symbols:
            raise ConfigError("ccxt symbols is empty", expected="at least one, such as BTC/USD")
        for symbol in self.symbols:
            base, slash, rest = symbol.partition("/")
            quote, colon, settle = rest.partition(":")
            if not base or not slash or not quote or "@" in quote or (colon and settle != quote):
                raise ConfigError(
                    f"ccxt symbol {symbol!r}",
                    expected="BASE/QUOTE of a spot market, BASE/QUOTE:QUOTE of a perpetual paid in its quote currency",
                    do="inverse and dated contracts and options are not read" if colon else "",
                )
            if colon and self.key_file:
                raise ConfigError(
                    f"ccxt symbol {symbol!r}, a contract, with orders at the exchange",
                    expected="spot markets: margin and positions of contracts are not followed through ccxt",
                    do="venue.feed live reads its market, with orders on paper",
                )
        for field in (
            "poll_s",
            "request_timeout_s",
            "order_timeout_s",
            "silence_s",
            "trades_silence_s",
            "reconcile_s",
            "recycle_s",
        ):
            if not getattr(self, field) > 0:
                raise ConfigError(f"ccxt {field} {getattr(self, field)}", expected="more than 0")
        if self.dead_man_s and not self.dead_man_s >= 1:
            raise ConfigError(f"ccxt dead_man_s {self.dead_man_s}", expected="0, or at least 1")
        if not 0 < self.requests_share <= 1:
            raise ConfigError(f"ccxt requests_share {self.requests_share}", expected="more than 0 and at most 1")


def is_here(url: str) -> bool:
    """Whether an address is of this machine."""
    host = urlsplit(url).hostname or ""
    return host in LOCAL_HOSTS or host.startswith("127.")
