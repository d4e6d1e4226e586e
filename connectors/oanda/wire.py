"""The messages of OANDA v20 as typed structs, and their decoders and encoders.

Owns shapes and number kinds: float64 for prices of the stream, ``Decimal`` for accounts and orders.  Does not decide
what a message means (``protocol``, ``account_protocol``) and does no I/O.  Fields that we do not use are not declared:
the decoder skips them without making objects.  Everything the venue may leave out has a default.

Source: OANDA v20 REST API, endpoints and definitions (developer.oanda.com/rest-live-v20).
"""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

NS_PER_S = 1_000_000_000
UNREADABLE = (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)
"""What decoding raises for bytes that are no such message: for broken UTF-8 it is no error of msgspec's own."""
MAX_LINE_BYTES = 1 << 20
SANDBOX_TAG = "KESTREL_SANDBOX"
"""Of an account whose money and prices nobody made."""
_ZERO = Decimal(0)
_MOST_DIGITS = 20


# --- streams ----------------------------------------------------------------------------------------------------------


class Bucket(msgspec.Struct, gc=False):
    """``{"price":"1.08400","liquidity":1000000}``; liquidity is in units."""

    price: float
    liquidity: float = float("nan")


class Price(msgspec.Struct, gc=False, tag_field="type", tag="PRICE"):
    """``{"type":"PRICE","instrument":"EUR_USD","time":"2026-11-20T14:03:07.123456789Z","tradeable":true,
    "bids":[{"price":"1.08400","liquidity":1000000}],"asks":[...],"closeoutBid":"1.08396",...}``.

    Without a side the instrument has no quote; ``status`` is the older form of ``tradeable``.
    """

    instrument: str
    time: str
    bids: list[Bucket] = []
    asks: list[Bucket] = []
    tradeable: bool | None = None
    status: str = ""

    @property
    def is_tradeable(self) -> bool:
        return self.tradeable if self.tradeable is not None else self.status == "tradeable"


class Heartbeat(msgspec.Struct, gc=False, tag_field="type", tag="HEARTBEAT"):
    """``{"type":"HEARTBEAT","time":"2026-11-20T14:03:10.000000000Z"}``, on transaction streams with the last id."""

    time: str = ""
    lastTransactionID: str = ""  # noqa: N815 -- the venue's spelling, here and below


class Extensions(msgspec.Struct, omit_defaults=True, gc=False):
    id: str = ""
    tag: str = ""


class TradePart(msgspec.Struct, gc=False):
    """What an execution did to one trade: ``{"tradeID":"7002","units":"250","price":"1.08407",...}``."""

    tradeID: str  # noqa: N815
    units: Decimal
    price: Decimal | None = None


class PositionFinancing(msgspec.Struct, gc=False):
    """A day's interest on one position, in the account's currency: ``{"instrument":"EUR_USD","financing":"-0.0123",
    "openTradeFinancings":[...]}``."""

    instrument: str
    financing: Decimal = _ZERO


class Transaction(msgspec.Struct, gc=False):
    """Any transaction, and a heartbeat between them: what is told of orders, and the balance.

    ``{"id":"7002","time":"...","type":"ORDER_FILL","batchID":"7001","orderID":"7001","clientOrderID":"eng-8",
    "instrument":"EUR_USD","units":"250","price":"1.08407","pl":"0.0000","accountBalance":"99980.1200",...}``
    """

    type: str
    id: str = ""
    time: str = ""
    batchID: str = ""  # noqa: N815
    reason: str = ""
    rejectReason: str = ""  # noqa: N815
    instrument: str = ""
    units: Decimal | None = None
    requestedUnits: Decimal | None = None  # noqa: N815
    price: Decimal | None = None
    fullVWAP: Decimal | None = None  # noqa: N815
    timeInForce: str = ""  # noqa: N815
    orderID: str = ""  # noqa: N815
    clientOrderID: str = ""  # noqa: N815
    clientExtensions: Extensions | None = None  # noqa: N815
    replacesOrderID: str = ""  # noqa: N815
    tradeID: str = ""  # noqa: N815
    commission: Decimal = _ZERO
    guaranteedExecutionFee: Decimal = _ZERO  # noqa: N815
    financing: Decimal = _ZERO
    accountBalance: Decimal | None = None  # noqa: N815
    tradeOpened: TradePart | None = None  # noqa: N815
    tradeReduced: TradePart | None = None  # noqa: N815
    tradesClosed: list[TradePart] = []  # noqa: N815
    positionFinancings: list[PositionFinancing] = []  # noqa: N815
    lastTransactionID: str = ""  # noqa: N815

    @property
    def client_id(self) -> str:
        return self.clientOrderID or (self.clientExtensions.id if self.clientExtensions is not None else "")

    @property
    def parts(self) -> list[TradePart]:
        """Of an execution: the trades that it closed, reduced and opened."""
        return [*self.tradesClosed, *(one for one in (self.tradeReduced, self.tradeOpened) if one is not None)]

    @property
    def executed_px(self) -> Decimal | None:
        """What the units of an execution were dealt at.  ``fullVWAP`` is what they would have been dealt at without a
        guarantee, so the trades' own prices come first."""
        worth = units = _ZERO
        for part in self.parts:
            if part.price is None:
                break
            units += abs(part.units)
            worth += abs(part.units) * part.price
        else:
            if units and units == abs(self.units or _ZERO):
                return worth / units
        return self.price or self.fullVWAP or None

    def check(self) -> None:
        """Raises ``ValueError`` for numbers that are none: a Decimal may be NaN, money may not."""
        numbers = (self.units, self.requestedUnits, self.price, self.fullVWAP, self.accountBalance, self.financing)
        parts = [number for part in self.parts for number in (part.units, part.price)]
        interest = [one.financing for one in self.positionFinancings]
        for number in (*numbers, self.commission, self.guaranteedExecutionFee, *parts, *interest):
            if number is not None and not (number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS):
                raise ValueError(f"number {number} in transaction {self.id}")


# --- REST -------------------------------------------------------------------------------------------------------------


class TransactionId(msgspec.Struct):
    """Of a transaction the rest of which cannot be read."""

    id: str


class Transactions(msgspec.Struct):
    """GET transactions/sinceid and /idrange; each is decoded by itself, so that one that is broken hides no other."""

    transactions: list[msgspec.Raw]
    lastTransactionID: str = ""  # noqa: N815


class OrderAnswer(msgspec.Struct):
    """POST and PUT of orders: 201 with what was created and what became of it at once; 400 and 404 with a reject.  PUT
    of a trade's exits: 200 with what was created of each kind; 400 with what was refused."""

    orderCreateTransaction: Transaction | None = None  # noqa: N815
    orderFillTransaction: Transaction | None = None  # noqa: N815
    orderCancelTransaction: Transaction | None = None  # noqa: N815
    orderRejectTransaction: Transaction | None = None  # noqa: N815
    orderCancelRejectTransaction: Transaction | None = None  # noqa: N815
    takeProfitOrderTransaction: Transaction | None = None  # noqa: N815
    stopLossOrderTransaction: Transaction | None = None  # noqa: N815
    guaranteedStopLossOrderTransaction: Transaction | None = None  # noqa: N815
    takeProfitOrderRejectTransaction: Transaction | None = None  # noqa: N815
    stopLossOrderRejectTransaction: Transaction | None = None  # noqa: N815
    guaranteedStopLossOrderRejectTransaction: Transaction | None = None  # noqa: N815
    lastTransactionID: str = ""  # noqa: N815
    errorCode: str = ""  # noqa: N815
    errorMessage: str = ""  # noqa: N815

    @property
    def created(self) -> Transaction | None:
        """The order that was asked for, or the first of two."""
        stop = self.stopLossOrderTransaction or self.guaranteedStopLossOrderTransaction
        pair = None if stop is None else self.takeProfitOrderTransaction
        return self.orderCreateTransaction or pair

    @property
    def rejected(self) -> Transaction | None:
        return (
            self.orderRejectTransaction
            or self.stopLossOrderRejectTransaction
            or self.guaranteedStopLossOrderRejectTransaction
            or self.takeProfitOrderRejectTransaction
        )


class InstrumentRow(msgspec.Struct):
    """``{"name":"EUR_USD","type":"CURRENCY","displayPrecision":5,"tradeUnitsPrecision":0,"minimumTradeSize":"1",
    "maximumOrderUnits":"100000000","marginRate":"0.0333",...}``."""

    name: str
    displayPrecision: int  # noqa: N815
    tradeUnitsPrecision: int  # noqa: N815
    minimumTradeSize: Decimal  # noqa: N815
    maximumOrderUnits: Decimal  # noqa: N815
    marginRate: Decimal  # noqa: N815
    type: str = "CURRENCY"
    guaranteedStopLossOrderMode: str = "DISABLED"  # noqa: N815


class Instruments(msgspec.Struct):
    instruments: list[InstrumentRow]
    lastTransactionID: str = ""  # noqa: N815


class OrderRow(msgspec.Struct):
    """An order of GET pendingOrders; exits of trades have no instrument and no units."""

    id: str
    state: str
    type: str = ""
    instrument: str = ""
    units: Decimal | None = None
    price: Decimal | None = None
    tradeID: str = ""  # noqa: N815
    clientExtensions: Extensions | None = None  # noqa: N815

    @property
    def client_id(self) -> str:
        return self.clientExtensions.id if self.clientExtensions is not None else ""


class TradeRow(msgspec.Struct):
    """An open trade of GET account."""

    id: str
    instrument: str
    price: Decimal
    currentUnits: Decimal  # noqa: N815
    takeProfitOrderID: str = ""  # noqa: N815
    stopLossOrderID: str = ""  # noqa: N815
    trailingStopLossOrderID: str = ""  # noqa: N815
    guaranteedStopLossOrderID: str = ""  # noqa: N815

    @property
    def exit_ids(self) -> list[str]:
        """Numbers of the orders that hang on it."""
        found = (self.takeProfitOrderID, self.stopLossOrderID, self.trailingStopLossOrderID)
        return [one for one in (*found, self.guaranteedStopLossOrderID) if one]


class Account(msgspec.Struct):
    """GET account, of which what the engine counts: one moment of everything, that of ``lastTransactionID``."""

    id: str
    currency: str
    balance: Decimal
    NAV: Decimal
    marginAvailable: Decimal  # noqa: N815
    trades: list[TradeRow]
    orders: list[OrderRow]
    hedgingEnabled: bool = False  # noqa: N815

    def check(self) -> None:
        """Raises ``ValueError`` for amounts that are none."""
        rows: list[Decimal | None] = [number for trade in self.trades for number in (trade.price, trade.currentUnits)]
        rows += [number for order in self.orders for number in (order.units, order.price)]
        for number in (self.balance, self.NAV, self.marginAvailable, *rows):
            if number is not None and not (number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS):
                raise ValueError(f"amount {number} in account {self.id}")


class AccountDetails(msgspec.Struct):
    account: Account
    lastTransactionID: str  # noqa: N815

    @property
    def last_id(self) -> int:
        """Raises ``ValueError`` where it is no number."""
        return int(self.lastTransactionID)


class AccountRow(msgspec.Struct):
    id: str
    tags: list[str] = []


class Accounts(msgspec.Struct):
    accounts: list[AccountRow]


class TransactionPages(msgspec.Struct):
    """GET transactions: addresses of id ranges, oldest first."""

    pages: list[str]
    lastTransactionID: str = ""  # noqa: N815


class HomeConversion(msgspec.Struct):
    """What one unit of a currency is worth in the account's: by the middle, a gain and a loss of it."""

    currency: str
    positionValue: Decimal  # noqa: N815


class Pricing(msgspec.Struct):
    """GET pricing: the venue's time, and conversions where they were asked for."""

    time: str = ""
    homeConversions: list[HomeConversion] = []  # noqa: N815


# Lax: the venue writes numbers as strings.
decode_price_line = msgspec.json.Decoder(Price | Heartbeat, strict=False).decode
decode_transaction = msgspec.json.Decoder(Transaction, strict=False).decode
decode_id = msgspec.json.Decoder(TransactionId).decode
decode_transactions = msgspec.json.Decoder(Transactions, strict=False).decode
decode_order_answer = msgspec.json.Decoder(OrderAnswer, strict=False).decode
decode_instruments = msgspec.json.Decoder(Instruments, strict=False).decode
decode_details = msgspec.json.Decoder(AccountDetails, strict=False).decode
decode_accounts = msgspec.json.Decoder(Accounts, strict=False).decode
decode_pages = msgspec.json.Decoder(TransactionPages, strict=False).decode
decode_pricing = msgspec.json.Decoder(Pricing, strict=False).decode
encode_json = msgspec.json.Encoder().encode


class Lines:
    """Bytes of a chunked body to whole lines, whatever the chunks are.

    A line that is longer than ``MAX_LINE_BYTES`` is thrown away up to its end and counted.
    """

    def __init__(self) -> None:
        self.oversize = 0
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The lines that ``data`` completes, without their ends; empty ones (keep-alives) are left out."""
        self._rest += data
        made: list[bytes] = []
        start = 0
        while (end := self._rest.find(b"\n", start)) >= 0:
            line = bytes(self._rest[start:end]).strip()
            start = end + 1
            if self._skipping or len(line) > MAX_LINE_BYTES:
                self.oversize += not self._skipping
                self._skipping = False
            elif line:
                made.append(line)
        del self._rest[:start]
        if len(self._rest) > MAX_LINE_BYTES:
            self.oversize += not self._skipping
            self._skipping = True
            self._rest.clear()
        return made


class TimeParser:
    """RFC 3339 text to UTC nanoseconds, ``2026-11-20T14:03:07.123456789Z``; 0 for text that is no such time.

    Keeps the second it parsed last: lines of a stream share it, and the calendar is most of the cost.
    """

    def __init__(self) -> None:
        self._second_text = ""
        self._second_ns = 0

    def __call__(self, text: str) -> int:
        second_text = text[:19]
        if second_text != self._second_text:
            try:
                second = datetime.strptime(second_text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
            except ValueError:
                return 0
            self._second_ns = timegm(second.timetuple()) * NS_PER_S
            self._second_text = second_text
        fraction = text[20:-1]
        if text[19:20] == "." and text[-1:] == "Z" and fraction.isascii() and fraction.isdecimal():
            return self._second_ns + int(fraction[:9].ljust(9, "0"))
        return self._second_ns if text[19:] == "Z" else 0


def format_time(ts_ns: int) -> str:
    """UTC nanoseconds as RFC 3339 with all nine digits."""
    seconds, rest_ns = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


def plain(value: Decimal) -> str:
    """A Decimal without exponent."""
    text = str(value)
    return format(value, "f") if "E" in text else text
