"""What goes into the matching engine and what comes out of it.

Owns the order as the book sees it and the closed union of outcomes.  Does not match (``engine``), does not know money
(``ledger``) or instrument rules (``rules``).  Everything is ``Decimal``.
"""

from __future__ import annotations

import enum
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

import msgspec

from engine.commands import OrderType, TimeInForce
from engine.events import Side
from engine.instruments import Instrument

MARKET_ACCOUNT = "market"
"""Account of everybody else: background flow and mirrored liquidity.  May trade with itself."""


class SelfTrade(enum.StrEnum):
    """What gives way when an order meets a resting order of its own account."""

    CANCEL_NEWEST = "cancel_newest"
    CANCEL_OLDEST = "cancel_oldest"
    CANCEL_BOTH = "cancel_both"


class CloseReason(enum.StrEnum):
    """Why an order left the book.  ``NO_LIQUIDITY`` ends a market order that emptied the other side (or its budget
    cannot buy one lot); ``REDUCED`` ends one that was reduced to nothing from outside."""

    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    IOC = "ioc"
    FOK = "fok"
    STP = "stp"
    NO_LIQUIDITY = "no_liquidity"
    REDUCED = "reduced"


class RefuseReason(enum.StrEnum):
    """Why an order never existed."""

    DUPLICATE_ID = "duplicate_id"
    BAD_QTY = "bad_qty"
    BAD_PX = "bad_px"
    BAD_TRIGGER = "bad_trigger"
    BAD_BUDGET = "bad_budget"
    BAD_EXPIRY = "bad_expiry"
    BAD_POST_ONLY = "bad_post_only"
    BAD_BRACKET = "bad_bracket"
    POST_ONLY_WOULD_CROSS = "post_only_would_cross"
    BOOK_FULL = "book_full"


class BookOrder(msgspec.Struct, frozen=True, gc=False):
    """One order as it arrives at the book.

    ``qty`` is base units (contracts); a market order may give ``quote_qty`` instead (then ``qty`` is zero): a budget in
    quote currency, fees not included.  ``limit_px`` is required except for market orders, which ignore it.

    A stop-limit needs ``trigger_px``; ``stop_up`` True fires at a last trade at or above it, False at or below; None
    means up for a buy and down for a sell.  ``expire_ns`` is required for GTD.  ``reduce_only`` is carried for the
    account keeper; the book does not know positions.

    A bracket needs both prices: it rests at ``limit_px``, its target, and when ``trigger_px`` is reached, what is left
    of it leaves for ``bracket_stop_px``.  A seller's target lies above the trigger, a buyer's below.
    """

    order_id: str
    account: str
    side: Side
    order_type: OrderType
    qty: Decimal
    limit_px: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    quote_qty: Decimal | None = None
    trigger_px: Decimal | None = None
    stop_up: bool | None = None
    expire_ns: int | None = None
    reduce_only: bool = False


BRACKET_STOP_BEYOND: Final = Decimal("0.05")
"""Share of the trigger by which a fired bracket goes beyond it, as Coinbase has it: a limit that is met at once."""


def bracket_stop_px(order: BookOrder, instrument: Instrument) -> Decimal:
    """The limit of a bracket whose trigger was reached, on the tick grid and never nearer than it should be."""
    assert order.trigger_px is not None
    px = order.trigger_px + order.side * abs(order.trigger_px) * BRACKET_STOP_BEYOND
    tick_px = instrument.tick_px
    px = (px / tick_px).to_integral_value(ROUND_CEILING if order.side is Side.BUY else ROUND_FLOOR) * tick_px
    return px if px > 0 or instrument.allows_negative_px else tick_px


def dearest_px(order: BookOrder, instrument: Instrument) -> Decimal | None:
    """The limit that a buyer has to be able to pay; None for market orders, whose price the book decides."""
    if order.order_type is OrderType.BRACKET and order.side is Side.BUY:
        return bracket_stop_px(order, instrument)
    return None if order.order_type is OrderType.MARKET else order.limit_px


def malformed(order: BookOrder, instrument: Instrument, ts_ns: int) -> RefuseReason | None:
    """What makes this order one that no book could take at ``ts_ns``; None when nothing does."""
    market = order.order_type is OrderType.MARKET
    if order.quote_qty is not None:
        # An inverse contract's notional is not in the quote currency: such a budget has no meaning.
        if not market or order.qty != 0 or not is_positive(order.quote_qty) or instrument.inverse:
            return RefuseReason.BAD_BUDGET
    elif not is_positive(order.qty):
        return RefuseReason.BAD_QTY
    if not market and not is_price(order.limit_px, instrument):
        return RefuseReason.BAD_PX
    if order.order_type is OrderType.STOP_LIMIT or order.order_type is OrderType.BRACKET:
        if not is_price(order.trigger_px, instrument):
            return RefuseReason.BAD_TRIGGER
    elif order.trigger_px is not None:
        return RefuseReason.BAD_TRIGGER
    if order.time_in_force is TimeInForce.GTD and (order.expire_ns is None or order.expire_ns <= ts_ns):
        return RefuseReason.BAD_EXPIRY
    if order.post_only and (market or order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)):
        return RefuseReason.BAD_POST_ONLY
    if order.order_type is OrderType.BRACKET and not _is_bracket(order):
        return RefuseReason.BAD_BRACKET
    return None


def _is_bracket(order: BookOrder) -> bool:
    """Whether target and trigger lie on their sides of the market, and the order may wait for either."""
    if order.limit_px is None or order.trigger_px is None or (order.limit_px - order.trigger_px) * order.side >= 0:
        return False
    waits = order.time_in_force is TimeInForce.GTC or order.time_in_force is TimeInForce.GTD
    return waits and not order.post_only and order.stop_up in (None, order.side is Side.BUY)


def is_positive(value: Decimal) -> bool:
    """Finite and above zero."""
    return value.is_finite() and value > 0  # finite first: comparing with NaN raises


def is_price(px: Decimal | None, instrument: Instrument) -> bool:
    """Finite, and positive unless the instrument allows more."""
    return px is not None and px.is_finite() and (px > 0 or instrument.allows_negative_px)


class LiveOrder:
    """An order inside the engine: resting on a level, waiting for its trigger, or (bracket) both.  Read-only for
    everybody else."""

    __slots__ = (
        "account",
        "armed",
        "filled_qty",
        "leaves_qty",
        "limit_px",
        "order",
        "order_id",
        "seq",
        "side",
        "waiting",
    )

    def __init__(self, order: BookOrder, seq: int) -> None:
        self.order = order
        self.order_id = order.order_id
        self.account = order.account
        self.side = order.side
        self.limit_px = order.limit_px
        self.leaves_qty = order.qty
        self.filled_qty = Decimal(0)
        self.seq = seq
        """When it came to the book: an order of a smaller number has the better place at the same price."""
        self.waiting = False
        """True while it rests nowhere: a stop order that has not triggered, an order that was withdrawn."""
        self.armed = False
        """True while a trigger may still fire it: a stop order that waits, a bracket that rests at its target."""


# --- outcomes, in the order in which they happened ----------------------------------------------------------------


class Opened(msgspec.Struct, frozen=True, gc=False):
    """The order was taken: it rests, waits for its trigger, or is about to fill."""

    order_id: str
    account: str = ""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The order never existed."""

    order_id: str
    reason: RefuseReason
    account: str = ""


class Filled(msgspec.Struct, frozen=True, gc=False):
    """One match at the maker's price.  ``aggressor`` is the taker's side; ``match_id`` is unique in the engine."""

    maker_id: str
    taker_id: str
    px: Decimal
    qty: Decimal
    aggressor: Side
    match_id: str
    ts_ns: int
    maker_account: str = ""
    taker_account: str = ""


class Closed(msgspec.Struct, frozen=True, gc=False):
    """The order is gone for good; ``filled_qty`` of it was executed in its life."""

    order_id: str
    reason: CloseReason
    account: str = ""
    filled_qty: Decimal = Decimal(0)


class Triggered(msgspec.Struct, frozen=True, gc=False):
    """The trigger of a stop order or a bracket was reached; it is a limit order from here on."""

    order_id: str
    account: str = ""


Outcome = Opened | Refused | Filled | Closed | Triggered
