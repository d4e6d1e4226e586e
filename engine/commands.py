"""Requests, in the imperative: what strategies ask for, what risk answered, what leaves for a venue.

All are frozen and journaled before any byte leaves.  ``OrderIntent`` is a wish; ``Approved`` and ``Rejected`` are the
gate's typed verdicts; ``NewOrder``, ``CancelOrder`` and ``ReplaceOrder`` are what a gateway encodes.
"""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec

from engine.events import Side


class OrderType(enum.StrEnum):
    """``STOP`` is a market order and ``STOP_LIMIT`` a limit order from when the price reaches ``trigger_px``, which is
    worse than the market's; ``MARKET_IF_TOUCHED`` is a market order from when it reaches one that is better.

    ``BRACKET`` is one exit order with two ways out: a limit order at ``limit_px`` that turns into a marketable one when
    the price reaches ``trigger_px`` on the other side.  What a venue does not offer is carried out here
    (``engine.groups``).
    """

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    BRACKET = "bracket"
    MARKET_IF_TOUCHED = "market_if_touched"


class TimeInForce(enum.StrEnum):
    GTC = "gtc"
    GTD = "gtd"
    IOC = "ioc"
    FOK = "fok"


class RiskState(enum.StrEnum):
    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


_MARKET, _AT_ONCE = OrderType.MARKET, (TimeInForce.IOC, TimeInForce.FOK)


class OrderIntent(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=100):
    """A strategy's wish.  ``qty`` is positive (contracts for futures); ``limit_px`` is None for market orders.

    ``prediction_seq`` is the journal number of the prediction the wish rests on, 0 for none.
    """

    ts_ns: int
    strategy: str
    instrument: str
    side: Side
    qty: Decimal
    order_type: OrderType
    limit_px: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.IOC
    post_only: bool = False
    reduce_only: bool = False
    reason: str = ""
    model: str = ""
    prediction_seq: int = 0
    parent_id: str = ""
    trigger_px: Decimal | None = None
    trailing_px: Decimal | None = None
    expire_ns: int | None = None

    @property
    def may_rest(self) -> bool:
        """Whether it may stay open at its venue; one that may not has filled or is gone at once.  What has a trigger
        waits for that, whatever holds from then on."""
        return self.trigger_px is not None or (self.order_type is not _MARKET and self.time_in_force not in _AT_ONCE)


class CancelIntent(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=101):
    """A strategy's wish that one of its orders goes away.  Always allowed, in every risk state."""

    ts_ns: int
    strategy: str
    client_order_id: str
    reason: str = ""


class ReplaceIntent(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=108):
    """A strategy's wish that one of its orders becomes another: ``qty`` in all, what has filled included, at
    ``limit_px``.  It is changed in place where that can be (``engine.editing``); else the old one is cancelled, and
    what is left of the wish is judged and sent when it is gone."""

    ts_ns: int
    strategy: str
    client_order_id: str
    qty: Decimal
    limit_px: Decimal | None
    reason: str = ""


class GroupIntent(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=109):
    """A strategy's wish for orders that belong together, of one instrument: ``exits`` exclude each other (OCO), and
    with an ``entry`` they close what it has filled (bracket).

    At most one of the exits is at the venue at any time; the others wait here for their price (``engine.groups``).  The
    quantities of all exits are equal, and the entry's where there is one.  The id of the group is a cancel's
    ``client_order_id`` to end it.
    """

    ts_ns: int
    strategy: str
    exits: tuple[OrderIntent, ...]
    entry: OrderIntent | None = None


Intent = OrderIntent | CancelIntent | ReplaceIntent | GroupIntent


class Approved(msgspec.Struct, frozen=True, gc=False):
    """Has been checked: only the gate makes these, only these open orders.  ``notional`` is the worst case
    that it was judged by, in the portfolio's currency; what an open order holds is its quantity (``engine.orders``)."""

    intent: OrderIntent
    notional: Decimal


class Rejected(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=102):
    """Refused: which check, what it saw, what the limit was.  Journaled as a decision."""

    ts_ns: int
    intent: OrderIntent
    check: str
    seen: str
    limit: str


Verdict = Approved | Rejected
IN_THE_WAY = "in_the_way"
"""Check that refuses an exit for orders of ours that it would trade with: ``seen`` names them, parted by commas.  They
are cancelled, and the exit is to be asked for again."""
EXIT_WAITS = "exit_waits"
"""Check that refuses an order which would rest where such an exit is about to go, or one at market is under way."""


class NewOrder(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=103):
    """Open this order.  ``client_order_id`` is unique for ever and the only id a resend may use."""

    ts_ns: int
    client_order_id: str
    venue: str
    intent: OrderIntent


class NewOrderWithExits(NewOrder, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=114):
    """Open this order, an entry, and with it its way out: for what it fills the venue itself makes a bracket order with
    its target at ``target_px`` and its stop at ``trigger_px``.  What it has made is told as ``OrderAttached``."""

    target_px: Decimal
    trigger_px: Decimal


class CancelOrder(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=104):
    """Cancel.  ``venue_order_id`` is empty when the venue has not told it yet."""

    ts_ns: int
    client_order_id: str
    venue: str
    venue_order_id: str
    instrument: str
    reason: str = ""


class ReplaceOrder(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=113):
    """Change an open limit order in place, under its ids: to ``qty`` in all, what has filled included, at ``limit_px``.

    ``old_qty`` and ``old_px`` are what it was when this was decided.  Either version may fill until the venue has shown
    which one lives.
    """

    ts_ns: int
    client_order_id: str
    venue: str
    venue_order_id: str
    instrument: str
    qty: Decimal
    limit_px: Decimal
    old_qty: Decimal
    old_px: Decimal
    reason: str = ""


class RiskStateChanged(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=105):
    ts_ns: int
    before: RiskState
    after: RiskState
    reason: str


class StrategyQuarantined(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=106):
    """A strategy raised or returned nonsense: it is not called again, its orders are cancelled."""

    ts_ns: int
    strategy: str
    text: str


class BalanceAdjusted(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=107):
    """The venue's total of a currency is not what the books say: it is booked as the venue tells it.

    Deposits, withdrawals, rewards, and trades of others on the same account show themselves like that.
    """

    ts_ns: int
    venue: str
    currency: str
    booked: Decimal
    told: Decimal


class GroupOpened(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=110):
    """Orders that belong together are watched from here on.  Those of them that leave carry ``group_id`` as their
    ``parent_id``."""

    ts_ns: int
    group_id: str
    intent: GroupIntent


class GroupMoved(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=111):
    """The price of a trailing exit has moved, or an exit's price was reached.

    ``levels_px`` are the prices at which the exits act, None for one that trails and has seen no price yet.  ``fired``
    is the index of the exit whose price was reached, -1 for none.
    """

    ts_ns: int
    group_id: str
    levels_px: tuple[Decimal | None, ...]
    fired: int


class GroupEnded(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=112):
    ts_ns: int
    group_id: str
    reason: str


Command = NewOrder | CancelOrder | ReplaceOrder
