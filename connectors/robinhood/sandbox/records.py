"""Orders as the sandbox keeps them, and what they look like in answers of either generation.

Owns the records and their JSON.  What changes them is ``exchange``.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import msgspec

from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import BookOrder
from connectors.matching.synthetic import SyntheticFlow
from connectors.robinhood.sandbox.errors import Json
from connectors.robinhood.sandbox.settings import SandboxPair, Switches
from connectors.robinhood.sandbox.times import NS, at
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass, Instrument

ZERO = Decimal(0)
ACCOUNT = "client"
OPEN_STATES = frozenset({"pending", "open"})
STOP_REACH = Decimal("0.05")
"""A stop order that is triggered goes as far as this share of its price beyond it."""
_AVERAGE_STEP = Decimal("1E-12")
_DAY_NS = 86_400 * NS
LIVES_NS = {"gtc": None, "gfd": _DAY_NS, "gfw": 7 * _DAY_NS, "gfm": 30 * _DAY_NS}
"""How long an order of each time in force waits."""


def plain(value: Decimal) -> str:
    """Digits without exponent and without zeros at the end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class OrderSpec(msgspec.Struct, frozen=True):
    """A well-formed order, checked against the rules of its pair.  ``api`` is the generation it came by; ``config`` is
    echoed as the client sent it.  ``asset_qty`` is also set for an order in quote money."""

    api: str
    client_order_id: str
    symbol: str
    side: Side
    kind: str
    asset_qty: Decimal
    config_key: str
    config: dict[str, Any]
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    time_in_force: str = "gtc"


class Execution(msgspec.Struct, frozen=True):
    """``px`` as the owner is told, the spread of v1 included."""

    px: Decimal
    qty: Decimal
    ts_ns: int


class OrderRecord(msgspec.Struct):
    """One order from acceptance to its end; ``number`` counts all orders."""

    order_id: str
    number: int
    spec: OrderSpec
    created_ns: int
    updated_ns: int
    state: str = "open"
    executions: list[Execution] = msgspec.field(default_factory=list)
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO

    def average_px(self) -> Decimal | None:
        return (self.filled_value / self.filled_qty).quantize(_AVERAGE_STEP) if self.filled_qty else None

    def state_in(self, api: str, switches: Switches) -> str:
        """By the words of a generation."""
        if self.state == "pending" and api == "v1":
            return "open"
        if self.state == "open" and self.filled_qty:
            return "partially_filled" if api == "v1" else switches.v2_partial_state
        return self.state

    def json(self, api: str, switches: Switches, account_number: str, fee_ratio: Decimal) -> Json:
        """``{"id":"8f0e…","symbol":"BTC-USD","state":"open","executions":[…],"average_price":null,…}``"""
        spec = self.spec
        average = self.average_px()
        executions = [
            {"effective_price": plain(one.px), "quantity": plain(one.qty), "timestamp": at(one.ts_ns)}
            for one in self.executions
        ]
        if switches.executions_order == "newest":
            executions.reverse()
        made: Json = {
            "id": self.order_id,
            "account_number": account_number,
            "symbol": spec.symbol,
            "client_order_id": spec.client_order_id,
            "side": "buy" if spec.side is Side.BUY else "sell",
            "type": spec.kind,
            "state": self.state_in(api, switches),
            "executions": executions,
            "average_price": None if average is None else plain(average),
            "filled_asset_quantity": plain(self.filled_qty),
            "created_at": at(self.created_ns),
            "updated_at": at(self.updated_ns),
            spec.config_key: spec.config,
        }
        if api == "v2":
            px = spec.limit_px or spec.stop_px or average or ZERO
            left = (spec.asset_qty - self.filled_qty) * px if self.state in OPEN_STATES else ZERO
            ratio = fee_ratio if spec.api == "v2" else ZERO
            made["fee_charged"] = plain(self.fees)
            made["estimated_fee_remaining"] = plain(left * ratio)
        return made


class Market(msgspec.Struct):
    """One pair: rules, book and who trades there besides us."""

    pair: SandboxPair
    instrument: Instrument
    engine: MatchingEngine
    flow: SyntheticFlow
    pinned: bool = False
    """The background market stands still: the operator has said what is in the book."""

    def on_grid(self, px: Decimal, *, up: bool) -> Decimal:
        tick = self.pair.quote_increment
        return (px / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * tick


def make_instrument(pair: SandboxPair, fee_ratio: Decimal) -> Instrument:
    """As the book needs it; the rules for clients are checked by ``requests``."""
    return Instrument(
        id=f"{pair.asset}/{pair.quote}@robinhood",
        venue="robinhood",
        venue_symbol=pair.symbol,
        base=pair.asset,
        quote=pair.quote,
        settlement=pair.quote,
        asset_class=AssetClass.SPOT,
        tick_px=pair.quote_increment,
        lot_qty=pair.asset_increment,
        min_qty=pair.asset_increment,
        max_qty=pair.max_order_size,
        min_notional=ZERO,
        maker_fee_rate=fee_ratio,
        taker_fee_rate=fee_ratio,
    )


def book_order(record: OrderRecord, market: Market, fee_ratio: Decimal, now_ns: int) -> BookOrder:
    """The order as the book sees it.  A limit of v1 includes the spread, which the book does not know."""
    spec = record.spec
    buys = spec.side is Side.BUY
    if spec.kind == "market":
        return BookOrder(
            record.order_id, ACCOUNT, spec.side, OrderType.MARKET, spec.asset_qty, time_in_force=TimeInForce.IOC
        )
    limit_px = spec.limit_px
    if limit_px is None:
        assert spec.stop_px is not None
        limit_px = market.on_grid(spec.stop_px * (1 + spec.side * STOP_REACH), up=not buys)
    elif spec.api == "v1":
        limit_px = market.on_grid(limit_px / (1 + spec.side * fee_ratio), up=not buys)
    life_ns = LIVES_NS[spec.time_in_force]
    return BookOrder(
        record.order_id,
        ACCOUNT,
        spec.side,
        OrderType.LIMIT if spec.stop_px is None else OrderType.STOP_LIMIT,
        spec.asset_qty,
        max(limit_px, market.pair.quote_increment),
        TimeInForce.GTC if life_ns is None else TimeInForce.GTD,
        trigger_px=spec.stop_px,
        expire_ns=None if life_ns is None else now_ns + life_ns,
    )
