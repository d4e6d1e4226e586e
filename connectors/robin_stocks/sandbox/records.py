"""What the venue keeps of an order: stocks, options and coins have the same life, and each its own JSON.

Owns the record and its words.  What happens to one is decided by ``desk``.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from connectors.robin_stocks.sandbox.errors import Json
from connectors.robin_stocks.sandbox.market import ZERO, Market
from connectors.robin_stocks.sandbox.times import REGULAR, iso
from engine.events import Side

API = "https://api.robinhood.com"
NUMMUS = "https://nummus.robinhood.com"
OPEN = frozenset({"unconfirmed", "queued", "confirmed", "partially_filled"})


def price(value: Decimal | None) -> str | None:
    """``"231.40000000"``, as orders show prices."""
    return None if value is None else f"{value:.8f}"


class Execution(msgspec.Struct, frozen=True):
    id: str
    ts_ns: int
    px: Decimal
    qty: Decimal


class Leg(msgspec.Struct):
    """One thing that an order trades, ``ratio`` of it for each unit of the order."""

    id: str
    market: Market
    side: Side
    ratio: int = 1
    effect: str = "open"
    executions: list[Execution] = []

    @property
    def signed(self) -> int:
        return self.side * self.ratio


class Trail(msgspec.Struct, frozen=True):
    """``kind`` is ``price`` (USD) or ``percentage``."""

    kind: str
    amount: Decimal


class Order(msgspec.Struct, kw_only=True):
    """One order.  ``side`` is what it does in all: BUY pays.  ``unit_hold``: money bound by each unit left."""

    kind: str
    id: str
    seq: int
    ref_id: str
    account: str
    side: Side
    type: str
    trigger: str
    time_in_force: str
    qty: Decimal
    price: Decimal | None
    stop_px: Decimal | None
    created_ns: int
    updated_ns: int
    legs: tuple[Leg, ...]
    state: str = "unconfirmed"
    market_hours: str = REGULAR
    extended: bool = False
    filled: Decimal = ZERO
    notional: Decimal = ZERO
    """Of what is filled: quantity times price, without the multiplier."""
    fees: Decimal = ZERO
    unit_hold: Decimal = ZERO
    cancel_asked: bool = False
    triggered: bool = False
    reject_reason: str | None = None
    not_before_ns: int = 0
    expire_ns: int = 1 << 62
    trail: Trail | None = None
    wire: Json = {}
    """Fields of the request that come back as they were."""

    @property
    def leaves(self) -> Decimal:
        return self.qty - self.filled

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def average(self) -> Decimal | None:
        return self.notional / self.filled if self.filled else None

    def json(self, *, with_ref: bool = True) -> Json:
        made = {"stock": self._stock, "option": self._option, "coin": self._coin}[self.kind]()
        if not with_ref:
            made.pop("ref_id")
        return made

    def _common(self) -> Json:
        cancellable = self.is_open and not self.cancel_asked
        host = NUMMUS if self.kind == "coin" else API
        folder = "options/orders" if self.kind == "option" else "orders"
        return {
            "id": self.id,
            "ref_id": self.ref_id,
            "url": f"{host}/{folder}/{self.id}/",
            "cancel": f"{host}/{folder}/{self.id}/cancel/" if cancellable else None,
            "state": self.state,
            "type": self.type,
            "time_in_force": self.time_in_force,
            "trigger": self.trigger,
            "price": price(self.price),
            "stop_price": price(self.stop_px),
            "quantity": price(self.qty),
            "created_at": iso(self.created_ns),
            "updated_at": iso(self.updated_ns),
            "last_transaction_at": iso(self.updated_ns),
        }

    def _stock(self) -> Json:
        return {
            **self._common(),
            "account": f"{API}/accounts/{self.account}/",
            "position": f"{API}/positions/{self.account}/{self.wire['instrument_id']}/",
            "instrument": f"{API}/instruments/{self.wire['instrument_id']}/",
            "instrument_id": self.wire["instrument_id"],
            "side": _SIDES[self.side],
            "cumulative_quantity": price(self.filled),
            "average_price": price(self.average),
            "fees": f"{self.fees:.2f}",
            "reject_reason": self.reject_reason,
            "executions": [
                {
                    "id": one.id,
                    "timestamp": iso(one.ts_ns),
                    "settlement_date": iso(one.ts_ns)[:10],
                    "price": price(one.px),
                    "quantity": price(one.qty),
                }
                for one in self.legs[0].executions
            ],
            "extended_hours": self.extended,
            "market_hours": self.market_hours,
            "trailing_peg": self.wire.get("trailing_peg"),
            "preset_percent_limit": self.wire.get("preset_percent_limit"),
        }

    def _option(self) -> Json:
        made = self._common()
        made["cancel_url"] = made.pop("cancel")
        multiplier = self.legs[0].market.multiplier
        spent = self.notional * multiplier
        premium = None if self.price is None else price(self.price * multiplier)
        return {
            **made,
            "account": f"{API}/accounts/{self.account}/",
            "account_number": self.account,
            "chain_id": self.wire["chain_id"],
            "chain_symbol": self.wire["chain_symbol"],
            "direction": "debit" if self.side is Side.BUY else "credit",
            "premium": premium,
            "processed_premium": price(spent),
            "processed_quantity": f"{self.filled:.5f}",
            "pending_quantity": f"{self.leaves if self.is_open else ZERO:.5f}",
            "canceled_quantity": f"{ZERO if self.is_open else self.leaves:.5f}",
            "quantity": f"{self.qty:.5f}",
            "legs": [
                {
                    "id": leg.id,
                    "option": f"{API}/options/instruments/{leg.market.key}/",
                    "side": _SIDES[leg.side],
                    "position_effect": leg.effect,
                    "ratio_quantity": leg.ratio,
                    "executions": [
                        {
                            "id": one.id,
                            "timestamp": iso(one.ts_ns),
                            "settlement_date": iso(one.ts_ns)[:10],
                            "price": price(one.px),
                            "quantity": f"{one.qty:.5f}",
                        }
                        for one in leg.executions
                    ],
                }
                for leg in self.legs
            ],
        }

    def _coin(self) -> Json:
        made = self._common()
        made["cancel_url"] = made.pop("cancel")
        return {
            **made,
            "account_id": self.account,
            "currency_pair_id": self.wire["currency_pair_id"],
            "side": _SIDES[self.side],
            "cumulative_quantity": price(self.filled),
            "average_price": price(self.average),
            "executions": [
                {
                    "id": one.id,
                    "timestamp": iso(one.ts_ns),
                    "effective_price": price(one.px),
                    "quantity": price(one.qty),
                }
                for one in self.legs[0].executions
            ],
        }


_SIDES = {Side.BUY: "buy", Side.SELL: "sell"}
