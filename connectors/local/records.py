"""Orders, fills and markets as a local spot venue keeps them.

Owns the records and small derived figures.  How they look on a venue's wire is the venue's; what changes them is
``exchange``.
"""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec

from connectors.local.settings import ZERO, LocalSettings, SpotProduct
from connectors.local.tape import PublicTrade, Tape
from connectors.matching.changes import Change
from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import CloseReason
from connectors.matching.synthetic import SyntheticFlow
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from engine.instruments import AssetClass, Instrument

_AVERAGE_STEP = Decimal("1E-12")


class Refused(Exception):  # noqa: N818 - what a venue does
    """An order that is understood and refused.  ``reason``: ``tick_px lot_qty min_qty max_qty min_notional bad_px
    bad_qty funds post_only halted stop_side too_many expired``; what the venue calls it is the venue's."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class OrderSpec(msgspec.Struct, frozen=True):
    """A readable order request.  ``qty`` in base units, or ``quote_qty``: what a market order may spend, in quote
    currency, its fee not included.  ``kind`` MARKET, LIMIT, STOP or STOP_LIMIT; ``stop_up`` as ``BookOrder`` has it.

    ``name`` is the venue's own word for the kind; ``time_in_force`` EXPIRE_NS only with GTD.
    """

    symbol: str
    side: Side
    kind: OrderType
    name: str
    qty: Decimal = ZERO
    quote_qty: Decimal | None = None
    limit_px: Decimal | None = None
    trigger_px: Decimal | None = None
    stop_up: bool | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    expire_ns: int | None = None
    client_id: str = ""
    reference: int | None = None


class OrderRecord(msgspec.Struct):
    """One order from acceptance to its end; amounts are cumulative.  ``reason`` None: it is open."""

    number: int
    spec: OrderSpec
    created_ns: int
    updated_ns: int
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: dict[str, Decimal] = {}
    fills: int = 0
    triggered: bool = False
    reason: CloseReason | None = None
    closed_ns: int = 0

    @property
    def is_open(self) -> bool:
        return self.reason is None

    @property
    def average_px(self) -> Decimal:
        return (self.filled_value / self.filled_qty).quantize(_AVERAGE_STEP) if self.filled_qty else ZERO


class FillRecord(msgspec.Struct, frozen=True):
    """One side of a match; ``number`` is the public trade's."""

    number: int
    order: OrderRecord
    px: Decimal
    qty: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    ts_ns: int


class Act(enum.Enum):
    """What happened to an order."""

    NEW = enum.auto()
    FILL = enum.auto()
    TRIGGER = enum.auto()
    END = enum.auto()
    AMEND = enum.auto()


class OrderEvent(msgspec.Struct, frozen=True):
    """``order`` as it was right after it happened."""

    act: Act
    order: OrderRecord
    ts_ns: int
    fill: FillRecord | None = None


class Updates(msgspec.Struct):
    """What streams have to tell since the last ``drain``, by symbol where it is public."""

    trades: dict[str, list[PublicTrade]]
    changes: dict[str, list[Change]]
    quotes: list[str]
    orders: list[OrderEvent]
    assets: list[str]


class Market(msgspec.Struct):
    """One product: rules, book, history and who trades there when no client does."""

    product: SpotProduct
    instrument: Instrument
    engine: MatchingEngine
    tape: Tape
    flow: SyntheticFlow
    halted: bool = False


def make_instrument(product: SpotProduct, venue: str, settings: LocalSettings) -> Instrument:
    """The product as the ledger knows instruments: fees that are not paid in quote currency are not its business."""
    paid = settings.fees_in == "quote"
    return Instrument(
        id=f"{product.symbol}@{venue}",
        venue=venue,
        venue_symbol=product.symbol,
        base=product.base,
        quote=product.quote,
        settlement=product.quote,
        asset_class=AssetClass.SPOT,
        tick_px=product.tick_px,
        lot_qty=product.lot_qty,
        min_qty=product.min_qty,
        max_qty=product.max_qty,
        min_notional=product.min_notional,
        maker_fee_rate=settings.maker_fee_rate if paid else ZERO,
        taker_fee_rate=settings.taker_fee_rate if paid else ZERO,
    )
