"""Requests, in the imperative: what strategies ask for, what risk answered, what leaves for a venue.

All are frozen and journaled before any byte leaves.  ``OrderIntent`` is a wish; ``Approved`` and ``Rejected`` are the
gate's typed verdicts; ``NewOrder`` and ``CancelOrder`` are what a gateway encodes.
"""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec

from engine.events import Side


class OrderType(enum.StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP_LIMIT = "stop_limit"


class TimeInForce(enum.StrEnum):
    GTC = "gtc"
    GTD = "gtd"
    IOC = "ioc"
    FOK = "fok"


class RiskState(enum.StrEnum):
    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


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


class CancelIntent(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=101):
    """A strategy's wish that one of its orders goes away.  Always allowed, in every risk state."""

    ts_ns: int
    strategy: str
    client_order_id: str
    reason: str = ""


class ReplaceIntent(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=108):
    """A strategy's wish that one of its orders becomes another: ``qty`` in all, what has filled included, at
    ``limit_px``.  The old one is cancelled; what is left of the wish is judged and sent when it is gone."""

    ts_ns: int
    strategy: str
    client_order_id: str
    qty: Decimal
    limit_px: Decimal | None
    reason: str = ""


Intent = OrderIntent | CancelIntent | ReplaceIntent


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


class NewOrder(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=103):
    """Open this order.  ``client_order_id`` is unique for ever and the only id a resend may use."""

    ts_ns: int
    client_order_id: str
    venue: str
    intent: OrderIntent


class CancelOrder(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True, tag=104):
    """Cancel.  ``venue_order_id`` is empty when the venue has not told it yet."""

    ts_ns: int
    client_order_id: str
    venue: str
    venue_order_id: str
    instrument: str
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


Command = NewOrder | CancelOrder
Decision = Rejected | NewOrder | CancelOrder | RiskStateChanged | StrategyQuarantined | BalanceAdjusted
