"""An order and a trade as the sandbox keeps them, and their JSON.

Owns the shapes of both.  Numbers on the wire are texts; units are signed.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from connectors.oanda.sandbox.errors import Json
from connectors.oanda.sandbox.times import at
from engine.events import Side

ZERO = Decimal(0)
ENTRIES = frozenset({"MARKET", "LIMIT", "STOP", "MARKET_IF_TOUCHED"})
EXITS = ("TAKE_PROFIT", "STOP_LOSS", "TRAILING_STOP_LOSS", "GUARANTEED_STOP_LOSS")
"""Orders that belong to a trade and close it."""
_SLOTS = {
    "TAKE_PROFIT": "takeProfitOrder",
    "STOP_LOSS": "stopLossOrder",
    "TRAILING_STOP_LOSS": "trailingStopLossOrder",
    "GUARANTEED_STOP_LOSS": "guaranteedStopLossOrder",
}
_CENTS = Decimal("0.0001")


def money(amount: Decimal) -> str:
    """An amount of the account's currency: four decimals."""
    return f"{rounded(amount):f}"


def rounded(amount: Decimal) -> Decimal:
    """To four decimals, half to even; zero has no sign."""
    return amount.quantize(_CENTS, ROUND_HALF_EVEN) + 0


def plain(value: Decimal) -> str:
    """No exponent, no needless zeros: units and rates."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text


class ExitSpec(msgspec.Struct, frozen=True):
    """One of the orders that a fill, or a request for a trade, is to attach: ``fields`` is its echo."""

    kind: str
    px: Decimal | None
    distance: Decimal | None
    time_in_force: str
    gtd_ns: int | None
    fields: Json


class OrderSpec(msgspec.Struct, frozen=True):
    """A valid request for an order.  ``fields`` is its echo in wire form, without the type.

    ``units`` are signed; None for exits, whose size is their trade's.  ``client_id`` is of the order's extensions.
    """

    kind: str
    instrument: str
    fields: Json
    time_in_force: str
    units: Decimal | None = None
    px: Decimal | None = None
    bound: Decimal | None = None
    distance: Decimal | None = None
    gtd_ns: int | None = None
    position_fill: str = "DEFAULT"
    trigger: str = "DEFAULT"
    trade_id: int | None = None
    client_id: str = ""
    exits: tuple[ExitSpec, ...] = ()

    @property
    def trade_extensions(self) -> Json | None:
        found = self.fields.get("tradeClientExtensions")
        return found if isinstance(found, dict) else None


class Order(msgspec.Struct):
    """``state``: PENDING, FILLED, TRIGGERED or CANCELLED.  ``outcome`` holds what filling or cancelling adds to it.

    ``wants_up`` says on which side of the market a market-if-touched order waits.  ``trailing_px`` follows the market.
    """

    number: int
    spec: OrderSpec
    created_ns: int
    state: str = "PENDING"
    outcome: Json = {}
    expires_ns: int | None = None
    wants_up: bool = False
    trailing_px: Decimal | None = None

    @property
    def id(self) -> str:
        return str(self.number)

    def json(self, display_precision: int) -> Json:
        made: Json = {"id": self.id, "createTime": at(self.created_ns), "state": self.state, "type": self.spec.kind}
        made.update(self.spec.fields)
        if self.trailing_px is not None:
            made["trailingStopValue"] = f"{self.trailing_px:.{display_precision}f}"
        made.update(self.outcome)
        return made


class Trade(msgspec.Struct):
    """``units`` are signed and what is left; profits are of the account's currency."""

    number: int
    instrument: str
    px: Decimal
    opened_ns: int
    initial_units: Decimal
    units: Decimal
    initial_margin: Decimal
    state: str = "OPEN"
    realised: Decimal = ZERO
    financing: Decimal = ZERO
    closed_units: Decimal = ZERO
    closed_value: Decimal = ZERO
    closing_ids: list[str] = []
    closed_ns: int | None = None
    extensions: Json | None = None
    exits: dict[str, Order] = {}

    @property
    def id(self) -> str:
        return str(self.number)

    @property
    def side(self) -> Side:
        return Side.BUY if self.initial_units > 0 else Side.SELL

    @property
    def client_id(self) -> str:
        return str((self.extensions or {}).get("id", ""))

    def profit(self, px: Decimal) -> Decimal:
        """In quote currency, of what is left, at ``px``."""
        return (px - self.px) * self.units

    def json(self, display_precision: int, unrealised: Decimal, margin: Decimal, *, summary: bool = False) -> Json:
        """As in ``trades``; as a summary the orders are told by their ids."""
        made: Json = {
            "id": self.id,
            "instrument": self.instrument,
            "price": f"{self.px:.{display_precision}f}",
            "openTime": at(self.opened_ns),
            "state": self.state,
            "initialUnits": plain(self.initial_units),
            "initialMarginRequired": money(self.initial_margin),
            "currentUnits": plain(self.units),
            "realizedPL": money(self.realised),
            "financing": money(self.financing),
            "dividendAdjustment": "0.0000",
        }
        if self.state == "CLOSED":
            made["closeTime"] = at(self.closed_ns or 0)
        else:
            made["unrealizedPL"] = money(unrealised)
            made["marginUsed"] = money(margin)
        if self.closed_units:
            made["averageClosePrice"] = f"{self.closed_value / self.closed_units:.{display_precision}f}"
            made["closingTransactionIDs"] = list(self.closing_ids)
        if self.extensions:
            made["clientExtensions"] = self.extensions
        for kind, order in self.exits.items():
            made[_SLOTS[kind] + ("ID" if summary else "")] = order.id if summary else order.json(display_precision)
        return made


class Totals(msgspec.Struct):
    """What an instrument has brought since the account began, by side (True: long); account currency."""

    profit: dict[bool, Decimal] = msgspec.field(default_factory=lambda: {True: ZERO, False: ZERO})
    financing: dict[bool, Decimal] = msgspec.field(default_factory=lambda: {True: ZERO, False: ZERO})
    guarantees: dict[bool, Decimal] = msgspec.field(default_factory=lambda: {True: ZERO, False: ZERO})
