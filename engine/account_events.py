"""Facts of an account (``Decimal``): orders, executions, balances, as venues tell them.

Imported from ``engine.events``, where the conventions stand.
"""

from __future__ import annotations

from decimal import Decimal

from engine.event import Event, Liquidity, Side


class OrderAccepted(Event, frozen=True, array_like=True, gc=False, tag=20):
    venue: str
    client_order_id: str
    venue_order_id: str


class OrderRejected(Event, frozen=True, array_like=True, gc=False, tag=21):
    """The venue, or our own shell before any byte left, refused the order.  It does not exist.

    ``reason`` is one of the words of ``engine.refusals`` on every venue; ``text`` is what the venue said."""

    venue: str
    client_order_id: str
    reason: str
    text: str = ""


class OrderFilled(Event, frozen=True, array_like=True, gc=False, tag=22):
    """One execution.  Distinct by ``(venue, trade_id)``; ``fee`` is positive when paid."""

    venue: str
    client_order_id: str
    venue_order_id: str
    trade_id: str
    instrument: str
    side: Side
    qty: Decimal
    px: Decimal
    fee: Decimal
    fee_currency: str
    liquidity: Liquidity


class OrderCancelled(Event, frozen=True, array_like=True, gc=False, tag=23):
    venue: str
    client_order_id: str
    venue_order_id: str
    reason: str = ""


class OrderExpired(Event, frozen=True, array_like=True, gc=False, tag=24):
    venue: str
    client_order_id: str
    venue_order_id: str


class CancelRejected(Event, frozen=True, array_like=True, gc=False, tag=25):
    """The venue did not cancel.  Says nothing about the order's state by itself."""

    venue: str
    client_order_id: str
    reason: str


class OrderOutcomeUnknown(Event, frozen=True, array_like=True, gc=False, tag=26):
    """The request left, no trustworthy answer came (timeout, reset, 5xx).  The order may live: it holds its risk."""

    venue: str
    client_order_id: str
    reason: str


class BalanceReported(Event, frozen=True, array_like=True, gc=False, tag=27):
    venue: str
    currency: str
    total: Decimal
    available: Decimal


class PositionReported(Event, frozen=True, array_like=True, gc=False, tag=28):
    """A position on margin as the venue holds it, below zero for a short; told with each confirmation of the account,
    and as nothing where there is none.  What differs from the books is booked as it is told."""

    venue: str
    instrument: str
    qty: Decimal
    avg_px: Decimal


class AccountSettled(Event, frozen=True, array_like=True, gc=False, tag=29):
    """Everything that happened to the account before this has been told, and these are its balances.

    ``balances``: every ``(currency, total)`` of the venue, read while nothing was filled.  ``unresolved``: our orders
    of which the venue has not said what became of them.
    """

    venue: str
    balances: tuple[tuple[str, Decimal], ...]
    unresolved: tuple[str, ...] = ()


class OrderFound(Event, frozen=True, array_like=True, gc=False, tag=31):
    """An order lives at the venue that this session has not sent: made by hand, by another program, or by a session
    whose record of it was lost.  ``filled_qty`` of it is part of the balances already; told again, with more, so much
    of it is (docs/decisions/0053)."""

    venue: str
    client_order_id: str
    venue_order_id: str
    instrument: str
    side: Side
    qty: Decimal
    filled_qty: Decimal
    limit_px: Decimal | None


class FillCorrected(Event, frozen=True, array_like=True, gc=False, tag=32):
    """The venue takes an execution back (``new_qty`` 0), or says that it was another.  ``qty``, ``px`` and ``fee`` are
    those that were told before."""

    venue: str
    client_order_id: str
    venue_order_id: str
    trade_id: str
    instrument: str
    side: Side
    qty: Decimal
    px: Decimal
    fee: Decimal
    fee_currency: str
    new_qty: Decimal
    new_px: Decimal
    new_fee: Decimal


class FundingSettled(Event, frozen=True, array_like=True, gc=False, tag=33):
    """What holding a position has earned (``amount`` above zero) or cost: funding of a perpetual, interest of a day.

    Distinct by ``(venue, funding_id)``.  It is profit or loss of the instrument, and counts in every limit of losses.
    """

    venue: str
    instrument: str
    funding_id: str
    currency: str
    amount: Decimal


class OrderAttached(Event, frozen=True, array_like=True, gc=False, tag=36):
    """The venue has made the exit that came with an entry of ours (``engine.commands.NewOrderWithExits``), which
    ``parent_id`` names by its client order id; told again where its size has changed.

    ``client_order_id`` is what it is called here (``engine.order_ids.attached_id``).  No execution of it is told before
    as much of its entry was, but where the venue executes an entry that has ended beyond its size: both are overfills.
    """

    venue: str
    client_order_id: str
    venue_order_id: str
    parent_id: str
    instrument: str
    side: Side
    qty: Decimal
    limit_px: Decimal
    trigger_px: Decimal


class AttachmentMissing(Event, frozen=True, array_like=True, gc=False, tag=37):
    """The venue has made no exit for the entry that ``client_order_id`` names: nothing of it was found for long enough
    after the entry had ended."""

    venue: str
    client_order_id: str
    reason: str


class OrderReplaced(Event, frozen=True, array_like=True, gc=False, tag=34):
    """The venue shows that the order is this version of it now: ``qty`` in all, what has filled included."""

    venue: str
    client_order_id: str
    venue_order_id: str
    qty: Decimal
    limit_px: Decimal


class ReplaceRejected(Event, frozen=True, array_like=True, gc=False, tag=35):
    """The change was refused, or has no effect: the order is as it was before.  Whether it lives, this does not say."""

    venue: str
    client_order_id: str
    reason: str
    text: str = ""


class ReplaceOutcomeUnknown(Event, frozen=True, array_like=True, gc=False, tag=38):
    """The change left, no trustworthy answer came.  Either version may live: the worse of them holds its risk."""

    venue: str
    client_order_id: str
    reason: str


AccountEvent = (
    OrderAccepted
    | OrderRejected
    | OrderFilled
    | OrderCancelled
    | OrderExpired
    | CancelRejected
    | OrderOutcomeUnknown
    | BalanceReported
    | PositionReported
    | AccountSettled
    | OrderFound
    | FillCorrected
    | FundingSettled
    | OrderAttached
    | AttachmentMissing
    | OrderReplaced
    | ReplaceRejected
    | ReplaceOutcomeUnknown
)
