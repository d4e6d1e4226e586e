"""The JSON of the private stock API as typed structs, and how its texts become numbers and times.

Owns shapes and number kinds: float64 for quotes, ``Decimal`` for money and orders.  Does not decide what a row means
(``protocol``, ``orders``).  What we do not use is not declared; what the venue may leave out has a default.  Nothing
here is documented by the venue: the shapes are those that its unofficial client reads.
"""

from __future__ import annotations

from calendar import timegm
from decimal import Decimal
from typing import TypeVar

import msgspec

NS_PER_S = 1_000_000_000
UNREADABLE = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
"""What decoding raises for bytes that are no such row."""
ZERO = Decimal(0)
_MOST_DIGITS = 20
T = TypeVar("T", bound=msgspec.Struct)


class AccountRow(msgspec.Struct):
    """``{"account_number":"5QT00001","cash":"1000.0000","buying_power":"990.0000","state":"active",...}``"""

    account_number: str
    cash: Decimal
    buying_power: Decimal
    state: str = ""
    deactivated: bool = False
    nickname: str | None = None

    def check(self) -> None:
        """Raises ``ValueError`` for numbers that are none."""
        sane(self.cash, self.buying_power)


class PositionRow(msgspec.Struct):
    """``{"instrument":"https://api.robinhood.com/instruments/ID/","quantity":"3.00000000",...}``"""

    instrument: str
    quantity: Decimal
    average_buy_price: Decimal = ZERO
    shares_held_for_sells: Decimal = ZERO

    def check(self) -> None:
        sane(self.quantity, self.average_buy_price, self.shares_held_for_sells)


class OptionPositionRow(msgspec.Struct):
    """``average_price`` is of one contract (a hundred shares), negative for one that was sold."""

    option: str
    quantity: Decimal
    average_price: Decimal = ZERO
    type: str = "long"
    trade_value_multiplier: Decimal = Decimal(100)

    def check(self) -> None:
        sane(self.quantity, self.average_price, self.trade_value_multiplier)


class QuoteRow(msgspec.Struct):
    """``{"symbol":"AAPL","bid_price":"231.390000","bid_size":400,"ask_price":"231.410000","ask_size":300,
    "updated_at":"2026-11-20T14:03:07Z","trading_halted":false,...}``; an option is named by ``instrument``."""

    symbol: str = ""
    instrument: str = ""
    bid_price: float | None = None
    bid_size: float | None = None
    ask_price: float | None = None
    ask_size: float | None = None
    last_trade_price: float | None = None
    updated_at: str = ""
    trading_halted: bool = False


class InstrumentRow(msgspec.Struct):
    """``{"id":"...","url":"...","symbol":"AAPL","tradeable":true,"tradability":"tradable","min_tick_size":null,...}``"""

    id: str
    url: str
    symbol: str
    type: str = "stock"
    tradeable: bool = True
    tradability: str = "tradable"
    fractional_tradability: str = ""
    min_tick_size: Decimal | None = None
    market: str = ""
    state: str = "active"


class Ticks(msgspec.Struct):
    above_tick: Decimal
    below_tick: Decimal
    cutoff_price: Decimal


class ContractRow(msgspec.Struct):
    """``{"id":"...","url":"...","chain_symbol":"AAPL","expiration_date":"2026-12-18","strike_price":"200.0000",
    "type":"call","state":"active","tradability":"tradable","min_ticks":{...}}``"""

    id: str
    url: str
    chain_symbol: str
    expiration_date: str
    strike_price: Decimal
    type: str
    state: str = "active"
    tradability: str = "tradable"
    min_ticks: Ticks | None = None


class ExecutionRow(msgspec.Struct):
    id: str
    price: Decimal
    quantity: Decimal
    timestamp: str = ""


class LegRow(msgspec.Struct):
    option: str
    side: str = ""
    executions: list[ExecutionRow] = []


class OrderRow(msgspec.Struct):
    """Of stocks and of options; ``legs`` are those of an option order, which has its executions there.

    ``quantity`` and ``cumulative_quantity`` are shares; options say ``processed_quantity`` for the latter.
    """

    id: str
    state: str
    quantity: Decimal | None = None
    cumulative_quantity: Decimal | None = None
    processed_quantity: Decimal | None = None
    ref_id: str | None = None
    side: str = ""
    direction: str = ""
    type: str = ""
    price: Decimal | None = None
    stop_price: Decimal | None = None
    instrument: str = ""
    reject_reason: str | None = None
    fees: Decimal = ZERO
    executions: list[ExecutionRow] = []
    legs: list[LegRow] = []
    created_at: str = ""
    updated_at: str = ""

    @property
    def url(self) -> str:
        """Of what it trades; empty for an order of several legs, which this engine never sends."""
        if not self.legs:
            return self.instrument
        return self.legs[0].option if len(self.legs) == 1 else ""

    @property
    def is_buy(self) -> bool | None:
        """None where the row does not say."""
        word = self.side or (self.legs[0].side if len(self.legs) == 1 else "")
        return {"buy": True, "sell": False}.get(word)

    @property
    def filled(self) -> Decimal:
        claimed = self.processed_quantity if self.legs else self.cumulative_quantity
        return ZERO if claimed is None else claimed

    @property
    def fills(self) -> list[ExecutionRow]:
        return [one for leg in self.legs for one in leg.executions] if self.legs else self.executions

    def check(self) -> None:
        """Raises ``ValueError``: a ``Decimal`` may be NaN, money may not."""
        optional = (self.quantity, self.cumulative_quantity, self.processed_quantity, self.price, self.stop_price)
        sane(*(one for one in optional if one is not None), self.fees)
        for fill in self.fills:
            sane(fill.price, fill.quantity)
            if fill.price <= 0 or fill.quantity <= 0 or not fill.id:
                raise ValueError(f"execution {fill.id!r} of {fill.quantity} at {fill.price}")


class HoursRow(msgspec.Struct):
    """``{"date":"2026-11-20","is_open":true,"opens_at":"2026-11-20T14:30:00Z","closes_at":"...",...}``"""

    is_open: bool
    opens_at: str | None = None
    closes_at: str | None = None


class BarRow(msgspec.Struct):
    begins_at: str
    open_price: float
    high_price: float
    low_price: float
    close_price: float
    volume: float = 0.0


def read(body: bytes, kind: type[T]) -> T:
    """One row.  Raises one of ``UNREADABLE``."""
    made = msgspec.json.decode(body, type=kind, strict=False)
    if isinstance(made, AccountRow | PositionRow | OptionPositionRow | OrderRow):
        made.check()
    return made


def read_rows(body: bytes, kind: type[T]) -> tuple[list[T], int]:
    """A list, each row by itself, so that one that is broken hides no other: the rows, and how many were broken.

    ``null`` stands for a symbol that the venue does not know.  Raises one of ``UNREADABLE`` for what is no list.
    """
    rows: list[T] = []
    broken = 0
    for raw in msgspec.json.decode(body, type=list[msgspec.Raw]):
        if bytes(raw) == b"null":
            continue
        try:
            rows.append(read(bytes(raw), kind))
        except UNREADABLE:
            broken += 1
    return rows, broken


def refusal(body: bytes) -> str:
    """The venue's own words of a refusal, in one line: ``{"detail": ...}`` or lists of words by field."""
    try:
        said = msgspec.json.decode(body)
    except UNREADABLE:
        return ""
    if not isinstance(said, dict):
        return ""
    parts = []
    for name, words in list(said.items())[:4]:
        text = " ".join(str(word) for word in words[:3]) if isinstance(words, list) else str(words)
        parts.append(text if name in ("detail", "non_field_errors") else f"{name}: {text}")
    return "; ".join(parts)[:200]


def sane(*numbers: Decimal) -> None:
    """Raises ``ValueError`` for what is no amount."""
    for number in numbers:
        if not (number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS):
            raise ValueError(f"number {number}")


def parse_time(text: str) -> int:
    """``2026-11-20T14:03:07.123456Z`` as UTC nanoseconds, 0 for what is no such time."""
    try:
        if len(text) < 20 or not text.isascii() or text[10] != "T" or text[-1] != "Z":
            return 0
        numbers = [int(text[at:to]) for at, to in ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))]
        if not 1970 <= numbers[0] <= 2200:
            return 0
        part = text[20:-1]
        ns = int(f"{part[:9]:0<9}") if part else 0
        return timegm((*numbers, 0, 0, 0)) * NS_PER_S + ns
    except ValueError:
        return 0
