"""Orders, fills and products as the sandbox keeps them.

Owns the records and small derived figures.  How they look on the wire is ``wire``; what changes them is ``exchange``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from connectors.coinbase.sandbox.settings import SandboxProduct
from connectors.coinbase.sandbox.tape import Tape
from connectors.matching.engine import MatchingEngine
from connectors.matching.mirror import MarketMirror
from connectors.matching.orders import BookOrder, Outcome
from engine.commands import OrderType
from engine.events import Side
from engine.instruments import AssetClass, Instrument

ZERO = Decimal(0)
_AVERAGE_STEP = Decimal("1E-12")
OPEN_STATES = frozenset({"PENDING", "OPEN"})


class Slicing(msgspec.Struct, frozen=True):
    """How a time-weighted order is cut: ``count`` slices, one each ``every_ns`` from ``start_ns`` on."""

    start_ns: int
    every_ns: int
    count: int


class OrderSpec(msgspec.Struct, frozen=True):
    """A well-formed order request, prices and sizes already checked against the product's increments.

    Exactly one of ``base_size`` and ``quote_size`` is set.  ``configuration`` is echoed as the client sent it.
    """

    client_order_id: str
    product_id: str
    side: Side
    kind: OrderType
    time_in_force: str
    configuration: dict[str, Any]
    base_size: Decimal | None
    quote_size: Decimal | None
    limit_px: Decimal | None = None
    stop_px: Decimal | None = None
    stop_up: bool | None = None
    post_only: bool = False
    expire_ns: int | None = None
    product_type: str = "SPOT"
    leverage: str = ""
    margin_type: str = "UNKNOWN_MARGIN_TYPE"
    attached: dict[str, Any] | None = None
    """Configuration of the bracket that follows this order's fills; it has no size of its own."""
    slicing: Slicing | None = None
    unit_size: Decimal = Decimal(1)
    """Units of the base that one of its sizes is: the contract size of a future."""


class OrderRecord(msgspec.Struct):
    """One order from acceptance to its end; amounts are cumulative.

    ``hold_left`` is what the ledger still holds for it: quote currency of a buy, base of a sell.
    """

    order_id: str
    spec: OrderSpec
    created_ns: int
    status: str = "PENDING"
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    fill_count: int = 0
    last_fill_ns: int = 0
    hold_left: Decimal = ZERO
    trigger_status: str = "INVALID_ORDER_TYPE"
    cancel_message: str = ""
    sequence: int = 0
    reject_reason: str = "REJECT_REASON_UNSPECIFIED"
    reject_message: str = ""
    attached_order_id: str = ""
    originating_order_id: str = ""
    names_exit: bool = True
    """Whether it says which order is attached to it."""
    names_entry: bool = True
    """Whether it says to which order it was attached."""
    is_liquidation: bool = False
    edits: tuple[tuple[Decimal, Decimal, int], ...] = ()
    """``(limit price, size, when)`` of each edit, oldest first."""
    is_being_replaced: bool = False
    """A change was taken and is not carried out yet."""

    @property
    def shown_status(self) -> str:
        return "EDIT_QUEUED" if self.is_being_replaced and self.status == "OPEN" else self.status

    @property
    def average_px(self) -> Decimal:
        units = self.filled_qty * self.spec.unit_size
        return (self.filled_value / units).quantize(_AVERAGE_STEP) if units else ZERO

    @property
    def leaves_qty(self) -> Decimal:
        """Base units that may still fill; zero once the order is closed or while it is sized in quote currency."""
        if self.status not in OPEN_STATES or self.spec.base_size is None:
            return ZERO
        return self.spec.base_size - self.filled_qty

    @property
    def completion_percentage(self) -> Decimal:
        if self.status == "FILLED":
            return Decimal(100)
        if self.spec.base_size is not None:
            return self.filled_qty / self.spec.base_size * 100
        assert self.spec.quote_size is not None
        return self.filled_value / self.spec.quote_size * 100

    @property
    def value_after_fees(self) -> Decimal:
        """Paid by a buyer with fees, received by a seller after fees."""
        return self.filled_value + self.fees if self.spec.side is Side.BUY else self.filled_value - self.fees


class FillRecord(msgspec.Struct, frozen=True):
    entry_id: str
    trade_id: str
    order_id: str
    product_id: str
    side: Side
    px: Decimal
    qty: Decimal
    commission: Decimal
    maker: bool
    ts_ns: int
    trade_type: str = "FILL"
    posted_ns: int = 0
    """When it was listed, where that was later."""

    @property
    def listed_ns(self) -> int:
        return self.posted_ns or self.ts_ns


class Market(msgspec.Struct):
    """One product: rules, book and history; ``mirror`` when its market is a recorded one, ``shares`` when book and
    history are those of another."""

    product: SandboxProduct
    instrument: Instrument
    engine: MatchingEngine
    tape: Tape
    mirror: MarketMirror | None = None
    shares: Market | None = None

    @property
    def currencies(self) -> tuple[str, ...]:
        """Whose balances a trade moves."""
        product = self.product
        return (product.base, product.quote) if product.future is None else (product.quote,)

    def submit(self, order: BookOrder, now_ns: int) -> list[Outcome]:
        """A client's order; in a mirrored market it queues behind what the record shows."""
        if self.shares is not None:
            return self.shares.submit(order, now_ns)
        if self.mirror is not None:
            return self.mirror.submit(order, now_ns)
        return self.engine.submit(order, now_ns)


def make_instrument(product: SandboxProduct, maker_fee_rate: Decimal, taker_fee_rate: Decimal) -> Instrument:
    """The product as the engine knows instruments: id ``BTC/USD@coinbase``; contracts keep the venue's name in it."""
    terms = product.future
    if terms is not None:
        return Instrument(
            id=f"{product.product_id}/{product.quote}@coinbase",
            venue="coinbase",
            venue_symbol=product.product_id,
            base=terms.root,
            quote=product.quote,
            settlement=product.quote,
            asset_class=AssetClass.FUTURE if terms.funding_rate is None else AssetClass.PERPETUAL,
            tick_px=product.price_increment,
            lot_qty=product.base_increment,
            min_qty=product.base_min_size,
            max_qty=product.base_max_size,
            min_notional=product.quote_min_size,
            maker_fee_rate=maker_fee_rate,
            taker_fee_rate=taker_fee_rate,
            multiplier=terms.contract_size,
            can_short=True,
            expiry_ns=terms.expires_ns,
            margin_rate=terms.margin_rate,
        )
    return Instrument(
        id=f"{product.base}/{product.quote}@coinbase",
        venue="coinbase",
        venue_symbol=product.product_id,
        base=product.base,
        quote=product.quote,
        settlement=product.quote,
        asset_class=AssetClass.SPOT,
        tick_px=product.price_increment,
        lot_qty=product.base_increment,
        min_qty=product.base_min_size,
        max_qty=product.base_max_size,
        min_notional=product.quote_min_size,
        maker_fee_rate=maker_fee_rate,
        taker_fee_rate=taker_fee_rate,
    )
