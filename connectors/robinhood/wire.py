"""The messages of the crypto API of both generations, as far as they are used here: pure.

Owns their types, their decoding and the paths.  What an answer means is ``orders`` and ``tracker``.  Members that one
generation lacks have defaults; numbers may come as text or as numbers (v1 writes some so).

Source: Robinhood Crypto Trading API (docs.robinhood.com/crypto/trading).
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from engine.errors import VenueError

Generation = Literal["v1", "v2"]
UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError, ArithmeticError)
"""What decoding raises for bytes that are no such message."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO: Final = Decimal(0)

T = TypeVar("T")


class FeeTier(msgspec.Struct, frozen=True):
    fee_ratio: Decimal | None = None


class Account(msgspec.Struct, frozen=True):
    """``{"account_number":"RH0001","status":"active","buying_power":"5000.00","buying_power_currency":"USD"}``"""

    account_number: str
    status: str = "active"
    buying_power: Decimal = _ZERO
    buying_power_currency: str = "USD"
    is_api_tradable: bool = True
    fee_tier_status: FeeTier | None = None


class Accounts(msgspec.Struct, frozen=True):
    results: list[Account]
    next: str | None = None


class Pair(msgspec.Struct, frozen=True):
    symbol: str
    asset_code: str
    quote_code: str
    quote_increment: Decimal
    asset_increment: Decimal
    max_order_size: Decimal
    min_order_size: Decimal = _ZERO
    min_order_amount: Decimal = _ZERO
    status: str = "tradable"
    is_api_tradable: bool = True


class Pairs(msgspec.Struct, frozen=True):
    results: list[Pair]
    next: str | None = None


class Holding(msgspec.Struct, frozen=True):
    asset_code: str
    total_quantity: Decimal
    quantity_available_for_trading: Decimal = _ZERO


class Holdings(msgspec.Struct, frozen=True):
    results: list[Holding]
    next: str | None = None


class BestPrices(msgspec.Struct, frozen=True):
    """v1: prices with the spread in them, ``{"symbol":"BTC-USD","bid_inclusive_of_sell_spread":"60000.1",...}``; v2:
    ``{"symbol":"BTC-USD","bid":"60010.5","ask":"60011.2"}``."""

    symbol: str
    bid: float | str | None = None
    ask: float | str | None = None
    bid_inclusive_of_sell_spread: float | str | None = None
    ask_inclusive_of_buy_spread: float | str | None = None
    timestamp: str | None = None


class Quotes(msgspec.Struct, frozen=True):
    results: list[BestPrices]


class Execution(msgspec.Struct, frozen=True):
    effective_price: Decimal
    quantity: Decimal
    timestamp: str = ""


class Config(msgspec.Struct, frozen=True):
    """Of any kind of order."""

    asset_quantity: Decimal | None = None
    quote_amount: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class Order(msgspec.Struct, frozen=True):
    """``{"id":"8f0e...","client_order_id":"11d2...","side":"buy","state":"open","executions":[...],...}``"""

    id: str
    symbol: str
    side: str
    state: str
    client_order_id: str | None = None
    type: str = ""
    executions: list[Execution] | None = None
    filled_asset_quantity: Decimal | None = None
    created_at: str | None = None
    updated_at: str | None = None
    fee_charged: Decimal | None = None
    estimated_fee_remaining: Decimal | None = None
    market_order_config: Config | None = None
    limit_order_config: Config | None = None
    stop_loss_order_config: Config | None = None
    stop_limit_order_config: Config | None = None

    @property
    def config(self) -> Config:
        configs = (
            self.market_order_config,
            self.limit_order_config,
            self.stop_loss_order_config,
            self.stop_limit_order_config,
        )
        return next((one for one in configs if one is not None), Config())

    def qty(self) -> Decimal | None:
        """Units of the asset in all; None where that cannot be read."""
        config = self.config
        if config.asset_quantity is not None:
            return finite(config.asset_quantity)
        px = finite(config.limit_price) or finite(config.stop_price)
        amount = finite(config.quote_amount)
        return amount / px if amount is not None and px is not None and px > 0 else None


class Orders(msgspec.Struct, frozen=True):
    results: list[Order]
    next: str | None = None


class FieldError(msgspec.Struct, frozen=True):
    detail: str = ""
    attr: str | None = None


class Errors(msgspec.Struct, frozen=True):
    """``{"type":"validation_error","errors":[{"detail":"...","attr":"limit_order_config.limit_price"}]}``"""

    type: str = ""
    errors: list[FieldError] = []


encode_json = msgspec.json.Encoder(decimal_format="string").encode


def decode(body: bytes, kind: type[T]) -> T:
    """Raises one of ``UNREADABLE``."""
    return msgspec.json.decode(body, type=kind)


def finite(value: Decimal | None) -> Decimal | None:
    return value if value is not None and value.is_finite() else None


def number(value: float | str | None) -> float:
    """A price of a quote; NaN for what is none."""
    if value is None:
        return float("nan")
    try:
        return float(value)
    except ValueError:
        return float("nan")


def plain(value: Decimal) -> str:
    """Digits without exponent, as the venue wants them."""
    return f"{value:f}"


def time_ns(text: str | None) -> int:
    """UTC nanoseconds of an ISO 8601 time; 0 for what is none."""
    if not text:
        return 0
    try:
        told = datetime.fromisoformat(text)
        since = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return 0
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def time_text(ts_ns: int) -> str:
    """``2026-11-20T14:03:07.120000Z``"""
    seconds, rest = divmod(ts_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000:06d}Z"


class Paths:
    """Path and query of each request, ready to be signed and sent."""

    def __init__(self, generation: Generation, account_number: str = "") -> None:
        self.generation: Generation = generation
        self._root = f"/api/{generation}/crypto"
        self._account = f"account_number={quote(account_number, safe='')}" if generation == "v2" else ""

    @property
    def accounts(self) -> str:
        return f"{self._root}/trading/accounts/"

    def pairs(self, symbols: list[str]) -> str:
        return self._with(f"{self._root}/trading/trading_pairs/", *(f"symbol={quote(one)}" for one in symbols))

    @property
    def holdings(self) -> str:
        return self._with(f"{self._root}/trading/holdings/", self._account)

    def quotes(self, symbols: list[str]) -> str:
        return self._with(f"{self._root}/marketdata/best_bid_ask/", *(f"symbol={quote(one)}" for one in symbols))

    def orders(self, **filters: str) -> str:
        """``updated_at_start="2026-11-20T14:03:07Z"``; without filters also where orders are placed."""
        asked = (f"{name}={quote(value, safe=':')}" for name, value in filters.items())
        return self._with(f"{self._root}/trading/orders/", self._account, *asked)

    def order(self, venue_order_id: str) -> str:
        return self._with(f"{self._root}/trading/orders/{quote(venue_order_id, safe='')}/", self._account)

    def cancel(self, venue_order_id: str) -> str:
        return self._with(f"{self._root}/trading/orders/{quote(venue_order_id, safe='')}/cancel/", self._account)

    @staticmethod
    def _with(path: str, *asked: str) -> str:
        query = "&".join(one for one in asked if one)
        return f"{path}?{query}" if query else path


def following(url: str) -> str:
    """Path and query of a page that an answer names by a whole URL: the host is ours to choose, never the answer's.

    Raises ``VenueError`` for what leads anywhere else.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if not parts.path.startswith("/api/") or not url.isascii() or not url.isprintable() or " " in url:
        raise VenueError(f"the next page is at {url[:80]!r}", expected="a page of the same interface")
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
