"""The messages of Coinbase Advanced Trade about an account, as typed structs, and their decoders and encoders.

Owns shapes and number kinds: ``Decimal`` or ``str``; market streams are ``market_wire``, what can be traded
``product_wire``.  Does not decide what a message means (``protocol``, ``tracker``) and does no I/O.  Fields that we do
not use are not declared: the decoder skips them without making objects.  Everything the venue may leave out has a
default.

Source: Coinbase Advanced Trade API, WebSocket channels and REST reference (docs.cdp.coinbase.com/advanced-trade).
"""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

NS_PER_S = 1_000_000_000
UNREADABLE = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
"""What decoding raises for bytes that are no such message: for broken UTF-8 it is no error of msgspec's own."""
_BRACKET_STOP = Decimal("1.05")
"""Of its trigger is the most that a buyer's bracket pays once it has fired."""


# --- WebSocket: user --------------------------------------------------------------------------------------------


class UserOrder(msgspec.Struct, gc=False):
    """One order of the user channel; all but three fields are optional by the venue's own schema.

    ``{"order_id":"a1b2","client_order_id":"eng-1","product_id":"BTC-USD","order_side":"BUY","status":"OPEN",
    "cumulative_quantity":"0.0004","leaves_quantity":"0.0006","limit_price":"60000","cancel_reason":"","reject_reason":"...",...}``
    """

    order_id: str
    status: str
    product_id: str
    client_order_id: str = ""
    order_side: str = ""
    cumulative_quantity: str = ""
    leaves_quantity: str = ""
    cancel_reason: str = ""
    reject_reason: str = ""
    limit_price: str = ""
    stop_price: str = ""


class UserEvent(msgspec.Struct, gc=False):
    """``positions`` is read where contracts are traded (``StreamPositions``)."""

    type: str = "update"
    orders: list[UserOrder] = []
    positions: msgspec.Raw = msgspec.Raw()


class UserMessage(msgspec.Struct, gc=False):
    timestamp: str
    sequence_num: int
    events: list[UserEvent]


# --- REST -------------------------------------------------------------------------------------------------------


class KeyPortfolio(msgspec.Struct):
    """GET /key_permissions, of which only whose key it is."""

    portfolio_uuid: str


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


class ContractPosition(msgspec.Struct):
    """``{"product_id":"BIP-20DEC30-CDE","side":"LONG","number_of_contracts":"3","avg_entry_price":"61235",...}``; the
    user stream calls the price ``entry_price``, and is not asked for it."""

    product_id: str
    side: str = ""
    number_of_contracts: str | int | float = ""
    avg_entry_price: str | int | float = ""


class ContractPositions(msgspec.Struct):
    """GET /cfm/positions."""

    positions: list[ContractPosition]


class StreamPositions(msgspec.Struct):
    """Of the user stream: ``{"perpetual_futures_positions":[],"expiring_futures_positions":[...]}``."""

    expiring_futures_positions: list[ContractPosition] = []


class MarginSummary(msgspec.Struct):
    """Of GET /cfm/balance_summary, amounts as ``{"value":"100","currency":"USD"}``."""

    total_usd_balance: Money | None = None
    available_margin: Money | None = None


class MarginSummaryAnswer(msgspec.Struct):
    balance_summary: MarginSummary


class StreamMargin(msgspec.Struct):
    """Of the channel futures_balance_summary: plain text, as ``"total_usd_balance":"100000"``."""

    total_usd_balance: str = ""
    available_margin: str = ""
    liquidation_buffer_percentage: str = ""


class StreamMarginEvent(msgspec.Struct):
    fcm_balance_summary: StreamMargin | None = None


class StreamMarginMessage(msgspec.Struct):
    sequence_num: int
    events: list[StreamMarginEvent]


class KeyPermissions(msgspec.Struct):
    """GET /key_permissions: ``{"can_view":true,"can_trade":true,"can_transfer":false,"portfolio_uuid":"...",...}``."""

    can_view: bool = False
    can_trade: bool = False
    can_transfer: bool = False


class FeeTier(msgspec.Struct):
    taker_fee_rate: Decimal
    maker_fee_rate: Decimal


class TransactionSummary(msgspec.Struct):
    fee_tier: FeeTier


class OrderEdit(msgspec.Struct):
    """``{"price":"60000","size":"0.002","replace_accept_timestamp":"2026-11-20T14:03:09Z"}``; the size is the whole."""

    price: str = ""
    size: str = ""
    replace_accept_timestamp: str = ""


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
    attached_order_id: str | None = ""
    """The exit that the venue makes for what this one fills."""
    originating_order_id: str | None = ""
    """The entry that this one came with."""
    edit_history: list[OrderEdit] | None = None
    """Changes in place that were accepted."""

    def size_and_price(self) -> tuple[Decimal, Decimal | None] | None:
        """Quantity in base units and limit price (None: at market); None where it is sized otherwise, or unreadable.

        Of a bracket that is its target, and for a buy, which its trigger makes dearer, 5 % beyond the trigger.
        """
        for fields in self.order_configuration.values():
            if isinstance(fields, dict) and fields.get("base_size"):
                try:
                    limit, trigger = fields.get("limit_price"), fields.get("stop_trigger_price")
                    px = Decimal(str(limit)) if limit else None
                    if trigger and self.side == "BUY":
                        px = Decimal(str(trigger)) * _BRACKET_STOP
                    return Decimal(str(fields["base_size"])), px
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
    trade_type: str = ""
    """``FILL`` for an execution; ``REVERSAL``, ``CORRECTION`` and ``SYNTHETIC`` adjust others."""
    sequence_timestamp: str = ""
    """When it was listed: of an adjustment long after ``trade_time``."""


class Fills(msgspec.Struct):
    fills: list[Fill]
    cursor: str = ""


class OrderSuccess(msgspec.Struct):
    order_id: str
    client_order_id: str = ""
    attached_order_id: str | None = ""


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


class EntryBody(OrderBody, gc=False):
    """The same with ``"attached_order_configuration":{"trigger_bracket_gtc":{"limit_price":"62000",
    "stop_trigger_price":"58000"}}``, which has no size: it is what the order fills."""

    attached_order_configuration: dict[str, dict[str, str]]


# Lax: the venue writes numbers as strings.
decode_margin = msgspec.json.Decoder(StreamMarginMessage, strict=False).decode
decode_positions = msgspec.json.Decoder(StreamPositions, strict=False).decode
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
        self._whole_text = ""

    def parse(self, text: str) -> int:
        # The form of every message of a stream: nine digits in the second of the message before.
        if text[:20] == self._whole_text and text[29:] == "Z" and (fraction := text[20:29]).isdecimal():
            return self._second_ns + int(fraction)
        return self._parse_any(text)

    __call__ = parse

    def _parse_any(self, text: str) -> int:
        second_text = text[:19]
        if second_text != self._second_text:
            try:
                year, month, day = int(text[0:4]), int(text[5:7]), int(text[8:10])
                hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
                datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)  # refuses month 13, hour 24
            except ValueError:
                return 0
            self._second_ns = timegm((year, month, day, hour, minute, second)) * NS_PER_S
            self._second_text, self._whole_text = second_text, f"{second_text}."
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
