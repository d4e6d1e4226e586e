"""The messages of Coinbase Advanced Trade as typed structs, and their decoders and encoders.

Owns shapes and number kinds: float64 for market data, ``Decimal`` or ``str`` for account data.  Does not decide what a
message means (``protocol``, ``tracker``) and does no I/O.  Fields that we do not use are not declared: the decoder
skips them without making objects.  Everything the venue may leave out has a default.

Source: Coinbase Advanced Trade API, WebSocket channels and REST reference (docs.cdp.coinbase.com/advanced-trade).
"""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

NS_PER_S = 1_000_000_000


# --- WebSocket: market ------------------------------------------------------------------------------------------


class Ticker(msgspec.Struct, gc=False):
    """``{"type":"ticker","product_id":"BTC-USD","price":"61234.55","best_bid":"61234.54","best_bid_quantity":"0.5",
    "best_ask":"61234.56","best_ask_quantity":"0.4",...}``.  Quantities are absent on older feeds: NaN."""

    product_id: str
    best_bid: float = float("nan")
    best_ask: float = float("nan")
    best_bid_quantity: float = float("nan")
    best_ask_quantity: float = float("nan")


class TickerEvent(msgspec.Struct, gc=False):
    tickers: list[Ticker]


class TickerMessage(msgspec.Struct, gc=False):
    """``{"channel":"ticker","client_id":"","timestamp":"2026-11-20T14:03:07.123456789Z","sequence_num":0,
    "events":[{"type":"update","tickers":[...]}]}``."""

    timestamp: str
    sequence_num: int
    events: list[TickerEvent]


class LooseTicker(msgspec.Struct, gc=False):
    """A ticker whose numbers are not numbers, as when a side of the book is empty: ``"best_bid":""``."""

    product_id: str
    best_bid: str = ""
    best_ask: str = ""
    best_bid_quantity: str = ""
    best_ask_quantity: str = ""


class LooseTickerEvent(msgspec.Struct, gc=False):
    tickers: list[LooseTicker]


class LooseTickerMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[LooseTickerEvent]


class MarketTrade(msgspec.Struct, gc=False):
    """``{"trade_id":"9001","product_id":"BTC-USD","price":"61234.55","size":"0.01","side":"BUY",
    "time":"2026-11-20T14:03:07.1Z"}``; ``side`` is the MAKER's."""

    trade_id: str
    product_id: str
    price: float
    size: float
    side: str = ""
    time: str = ""


class TradesEvent(msgspec.Struct, gc=False):
    trades: list[MarketTrade]
    type: str = "update"


class TradesMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[TradesEvent]


class LevelUpdate(msgspec.Struct, gc=False):
    """``{"side":"bid","event_time":"2026-11-20T14:03:07.1Z","price_level":"61234.54","new_quantity":"0.5"}``;
    ``side`` is ``bid`` or ``offer``; the quantity is absolute and "0" removes the level."""

    side: str
    price_level: float
    new_quantity: float


class LevelsEvent(msgspec.Struct, gc=False):
    type: str
    product_id: str
    updates: list[LevelUpdate]


class LevelsMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[LevelsEvent]


class StatusProduct(msgspec.Struct, gc=False):
    """``{"id":"BTC-USD","status":"online","status_message":"",...}``."""

    id: str
    status: str = ""


class StatusEvent(msgspec.Struct, gc=False):
    products: list[StatusProduct] = []


class StatusMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[StatusEvent]


class SubscriptionsEvent(msgspec.Struct, gc=False):
    """``{"subscriptions":{"ticker":["BTC-USD"],"heartbeats":["heartbeats"]}}``: the complete set after each change."""

    subscriptions: dict[str, list[str]] = {}


class SubscriptionsMessage(msgspec.Struct, gc=False):
    sequence_num: int
    events: list[SubscriptionsEvent]
    timestamp: str = ""


class Envelope(msgspec.Struct, gc=False):
    """What every message has, errors included: ``{"type":"error","message":"authentication failure"}``."""

    channel: str = ""
    type: str = ""
    message: str = ""
    sequence_num: int = -1
    timestamp: str = ""


# --- WebSocket: user --------------------------------------------------------------------------------------------


class UserOrder(msgspec.Struct, gc=False):
    """One order of the user channel; all but three fields are optional by the venue's own schema.

    ``{"order_id":"a1b2","client_order_id":"eng-1","product_id":"BTC-USD","order_side":"BUY","status":"OPEN",
    "cumulative_quantity":"0.0004","leaves_quantity":"0.0006","cancel_reason":"","reject_reason":"...",...}``
    """

    order_id: str
    status: str
    product_id: str
    client_order_id: str = ""
    order_side: str = ""
    cumulative_quantity: str = ""
    cancel_reason: str = ""
    reject_reason: str = ""


class UserEvent(msgspec.Struct, gc=False):
    type: str = "update"
    orders: list[UserOrder] = []


class UserMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[UserEvent]


# --- REST -------------------------------------------------------------------------------------------------------


class ServerTime(msgspec.Struct):
    """GET /time: ``{"iso":"2026-11-20T14:03:07Z","epochSeconds":"1795183387","epochMillis":"1795183387123"}``.

    ``sandbox`` is told by the built-in exchange alone.
    """

    epochMillis: int  # noqa: N815 -- the venue's spelling
    sandbox: bool = False


class Money(msgspec.Struct):
    value: Decimal
    currency: str = ""


class Account(msgspec.Struct):
    """``{"uuid":"...","currency":"BTC","available_balance":{"value":"0.52","currency":"BTC"},
    "hold":{"value":"0.01","currency":"BTC"},...}``; total = available + hold."""

    currency: str
    available_balance: Money
    hold: Money | None = None


class Accounts(msgspec.Struct):
    accounts: list[Account]
    has_next: bool = False
    cursor: str = ""


class Product(msgspec.Struct):
    """``{"product_id":"BTC-USD","base_increment":"0.00000001","price_increment":"0.01","quote_increment":"0.01",
    "quote_min_size":"1","base_min_size":"0.00000001","base_max_size":"3400","status":"online",...}``."""

    product_id: str
    base_increment: Decimal
    quote_increment: Decimal
    base_min_size: Decimal
    base_max_size: Decimal
    price_increment: str = ""
    quote_min_size: str = ""
    base_currency_id: str = ""
    quote_currency_id: str = ""
    status: str = ""
    product_type: str = "SPOT"
    alias: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    cancel_only: bool = False
    limit_only: bool = False
    post_only: bool = False
    auction_mode: bool = False
    view_only: bool = False


class ProductId(msgspec.Struct):
    product_id: str


class ProductIds(msgspec.Struct):
    products: list[ProductId]


class FeeTier(msgspec.Struct):
    taker_fee_rate: Decimal
    maker_fee_rate: Decimal


class TransactionSummary(msgspec.Struct):
    fee_tier: FeeTier


class RestOrder(msgspec.Struct):
    """GET /orders/historical/...: ``{"order_id":"a1b2","client_order_id":"eng-1","product_id":"BTC-USD","side":"BUY",
    "status":"OPEN","filled_size":"0.0004","reject_reason":"...","cancel_message":"",...}``."""

    order_id: str
    status: str
    product_id: str
    client_order_id: str = ""
    side: str = ""
    filled_size: str = ""
    reject_reason: str = ""
    reject_message: str = ""
    cancel_message: str = ""
    order_configuration: dict[str, Any] = {}

    def size_and_price(self) -> tuple[Decimal, Decimal | None] | None:
        """Quantity in base units and limit price (None: at market); None where it is sized otherwise, or unreadable."""
        for fields in self.order_configuration.values():
            if isinstance(fields, dict) and fields.get("base_size"):
                try:
                    limit = fields.get("limit_price")
                    return Decimal(str(fields["base_size"])), Decimal(str(limit)) if limit else None
                except ArithmeticError:
                    return None
        return None


class RestOrderAnswer(msgspec.Struct):
    order: RestOrder


class RestOrders(msgspec.Struct):
    orders: list[RestOrder]
    has_next: bool = False
    cursor: str = ""


class Fill(msgspec.Struct):
    """``{"entry_id":"e1","trade_id":"t1","order_id":"a1b2","trade_time":"2026-11-20T14:03:09Z","price":"60000",
    "size":"0.0004","commission":"0.096","product_id":"BTC-USD","liquidity_indicator":"MAKER","size_in_quote":false,
    "side":"BUY",...}``."""

    entry_id: str
    order_id: str
    price: Decimal
    size: Decimal
    product_id: str
    side: str
    commission: Decimal = Decimal(0)
    trade_time: str = ""
    trade_id: str = ""
    liquidity_indicator: str = ""
    size_in_quote: bool = False


class Fills(msgspec.Struct):
    fills: list[Fill]
    cursor: str = ""


class OrderSuccess(msgspec.Struct):
    order_id: str
    client_order_id: str = ""


class OrderError(msgspec.Struct):
    error: str = ""
    message: str = ""
    error_details: str = ""
    preview_failure_reason: str = ""
    new_order_failure_reason: str = ""


class OrderAnswer(msgspec.Struct):
    """POST /orders: ``{"success":true,"success_response":{"order_id":"a1b2",...},...}`` or
    ``{"success":false,"error_response":{"error":"INSUFFICIENT_FUND","message":"...",...},...}``."""

    success: bool
    success_response: OrderSuccess | None = None
    error_response: OrderError | None = None
    failure_reason: str = ""


class CancelResult(msgspec.Struct):
    success: bool
    order_id: str = ""
    failure_reason: str = ""


class CancelAnswer(msgspec.Struct):
    """POST /orders/batch_cancel: ``{"results":[{"success":true,"failure_reason":"UNKNOWN_CANCEL_FAILURE_REASON",
    "order_id":"a1b2"}]}``."""

    results: list[CancelResult]


class OrderBody(msgspec.Struct, gc=False):
    """POST /orders: ``{"client_order_id":"eng-1","product_id":"BTC-USD","side":"BUY",
    "order_configuration":{"limit_limit_gtc":{"base_size":"0.001","limit_price":"60000","post_only":true}}}``."""

    client_order_id: str
    product_id: str
    side: str
    order_configuration: dict[str, dict[str, str | bool]]


# Lax: the venue writes numbers as strings.
decode_ticker = msgspec.json.Decoder(TickerMessage, strict=False).decode
decode_loose_ticker = msgspec.json.Decoder(LooseTickerMessage, strict=False).decode
decode_trades = msgspec.json.Decoder(TradesMessage, strict=False).decode
decode_levels = msgspec.json.Decoder(LevelsMessage, strict=False).decode
decode_status = msgspec.json.Decoder(StatusMessage, strict=False).decode
decode_subscriptions = msgspec.json.Decoder(SubscriptionsMessage, strict=False).decode
decode_envelope = msgspec.json.Decoder(Envelope, strict=False).decode
decode_user = msgspec.json.Decoder(UserMessage, strict=False).decode
decode_order_answer = msgspec.json.Decoder(OrderAnswer, strict=False).decode
decode_cancel_answer = msgspec.json.Decoder(CancelAnswer, strict=False).decode

encode_json = msgspec.json.Encoder().encode


class TimeParser:
    """RFC 3339 text to UTC nanoseconds, ``2026-11-20T14:03:07.123456789Z``; 0 for text that is no such time.

    Keeps the second it parsed last: a stream's messages share it, and the calendar is most of the cost.
    """

    def __init__(self) -> None:
        self._second_text = ""
        self._second_ns = 0

    def __call__(self, text: str) -> int:
        second_text = text[:19]
        if second_text != self._second_text:
            try:
                year, month, day = int(text[0:4]), int(text[5:7]), int(text[8:10])
                hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
                datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)  # refuses month 13, hour 24
            except ValueError:
                return 0
            self._second_ns = timegm((year, month, day, hour, minute, second)) * NS_PER_S
            self._second_text = second_text
        fraction = text[20:-1]
        if fraction.isdecimal() and text[-1] == "Z" and text[19] == ".":
            return self._second_ns + int(fraction if len(fraction) == 9 else fraction[:9].ljust(9, "0"))
        return self._second_ns if text[19:] == "Z" else 0


def format_time(ts_ns: int) -> str:
    """UTC nanoseconds as RFC 3339 with microseconds, rounded down."""
    seconds, rest_ns = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"


def plain(value: Decimal) -> str:
    """A Decimal without exponent: the venue refuses ``1E-8``."""
    text = str(value)  # half the cost of format(), and plain for the sizes and prices of every real order
    return format(value, "f") if "E" in text else text
