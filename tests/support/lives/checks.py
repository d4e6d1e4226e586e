"""What must hold: no step of an order that cannot be, and in the end books and venue alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal

from engine import events as e
from engine.core import TradingCore
from engine.order_ids import attached_id
from engine.order_states import FINAL, OrderState
from tests.support.lives.records import ZERO, Fill, Order
from tests.support.lives.session import Session
from tests.support.lives.venue import ModelVenue

_LIVES_ON = (OrderState.PARTLY_FILLED, OrderState.CANCEL_PENDING)
_UNSURE = (OrderState.UNKNOWN, OrderState.SENT, OrderState.HELD)


class Steps:
    """Of one session's orders; ``fail(text)`` hears of what cannot be."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._states: dict[str, tuple[OrderState, Decimal]] = {}

    def look(self, core: TradingCore) -> None:
        """After an event."""
        orders, states = core.orders, self._states
        seen = {one.client_order_id: one for one in orders.open_orders()}
        for name, before in list(states.items()):
            order = seen.get(name) or orders.get(name)
            if order is None:
                self._fail(f"order {name} was forgotten in state {before[0]}")
                del states[name]
                continue
            after = (order.state, order.filled_qty)
            if after != before:
                self._check(name, before, after)
                states[name] = after
        for name, order in seen.items():
            states.setdefault(name, (order.state, order.filled_qty))

    def _check(self, name: str, before: tuple[OrderState, Decimal], after: tuple[OrderState, Decimal]) -> None:
        (old, old_qty), (new, new_qty) = before, after
        if new_qty < old_qty:
            self._fail(f"filled quantity of {name} went from {old_qty} to {new_qty}")
        grown = old is OrderState.FILLED and new in _LIVES_ON  # the venue shows a larger version
        if old in FINAL and new not in (old, OrderState.FILLED) and old is not OrderState.REJECTED and not grown:
            self._fail(f"order {name} went from {old} to {new}")


class Told:
    """How often each execution was told, by its id, in records that were not lost; and how often of those as one of
    somebody else's order, where the venue had not named the exit that it is of."""

    def __init__(self, venue: ModelVenue) -> None:
        self._venue = venue
        self.times: Counter[str] = Counter()
        self._aside: Counter[str] = Counter()
        self._found_ns: dict[str, int] = {}

    def find(self, found: e.OrderFound) -> None:
        """What it has filled by now may be part of balances alone."""
        self._found_ns[found.venue_order_id] = found.ts_recv_ns

    def count(self, fill: e.OrderFilled, times: int = 1) -> None:
        """``times`` is -1 where the record was lost."""
        self.times[fill.trade_id] += times
        if fill.client_order_id != name_of(self._venue.orders[fill.venue_order_id], self._venue):
            self._aside[fill.trade_id] += times

    def may_be_untold(self, fill: Fill) -> bool:
        """Whether it may be part of balances alone: nobody could know then that the order is an exit of ours."""
        order = self._venue.orders[fill.order_id]
        is_late = order.entry_id and self._venue.rules.named_after_s and not self.times[fill.entry_id]
        unknown_until_ns = max(self._venue.named_ns(order), self._found_ns.get(order.order_id, 0))
        return bool(is_late) and fill.at_ns < unknown_until_ns

    def aside_qty(self, order: Order) -> Decimal:
        """What an exit has filled that its order in the books does not count."""
        if not (order.entry_id and self._venue.rules.named_after_s):
            return ZERO
        of_it = [fill for fill in self._venue.fills if fill.order_id == order.order_id]
        return sum((one.qty for one in of_it if self._aside[one.entry_id] > 0 or self.may_be_untold(one)), ZERO)


def too_early(core: TradingCore, event: e.InputEvent, venue: ModelVenue, told: Told) -> str:
    """What a fact of an order of ours releases that is still at risk; empty where it is told in time: an end after all
    that the order has filled, an execution of an exit after as much of its entry.  An overfill of either is
    not waited for."""
    if isinstance(event, e.OrderCancelled | e.OrderExpired):
        there, order = venue.orders[event.venue_order_id], core.orders.get(event.client_order_id)
        is_renamed = there.entry_id and event.client_order_id != name_of(there, venue)
        if is_renamed:
            return ""  # it goes on by its own name
        if there.ours and order is not None and there.filled_qty - told.aside_qty(there) > order.filled_qty:
            return f"{event.client_order_id} is told to have ended with {order.filled_qty} of {there.filled_qty} filled"
    elif isinstance(event, e.OrderFilled) and (there := venue.orders[event.venue_order_id]).entry_id:
        entry, order = core.orders.get(venue.orders[there.entry_id].client_id), core.orders.get(event.client_order_id)
        if event.client_order_id != name_of(there, venue):
            return ""
        if there.order_id in venue.overfilled or entry is None or order is None or order.state in FINAL:
            return ""
        awaited_qty = venue.orders[there.entry_id].qty if there.entry_id in venue.overfilled else order.filled_qty
        if min(order.filled_qty, awaited_qty) > entry.filled_qty:
            return f"{event.client_order_id} has filled {order.filled_qty}, and its entry {entry.filled_qty}"
    return ""


def differences(session: Session, venue: ModelVenue, told: Told) -> list[str]:
    """Nothing is under way any more: what is not alike, in words."""
    named = {name_of(one, venue): one for one in venue.orders.values()}
    return [
        *_open_orders(session, named, told),
        *_filled(session, named, told),
        *_executions(venue, told),
        *_balances(session, venue),
        *_left_over(session),
    ]


def name_of(order: Order, venue: ModelVenue) -> str:
    """What it is called in the books."""
    return attached_id(venue.orders[order.entry_id].client_id) if order.entry_id else order.client_id


def _open_orders(session: Session, named: Mapping[str, Order], told: Told) -> list[str]:
    found = []
    books = session.core.orders.open_orders()
    ours = {one.client_order_id for one in books}
    theirs = {name for name, one in named.items() if one.status == "OPEN"}
    waiting = {name for name, one in named.items() if one.status == "PENDING"}  # for its entry: told or not
    if ours - waiting != theirs:
        found.append(f"open only in the books: {sorted(ours - theirs - waiting)}; only there: {sorted(theirs - ours)}")
    for order in books:
        name, there = order.client_order_id, named.get(order.client_order_id)
        if order.state in _UNSURE or order.edit is not None:
            found.append(f"{name} is still {order.state}, its change {order.edit}")
        qty = ZERO if there is None else there.qty - told.aside_qty(there)
        if there is not None and (order.intent.qty, order.intent.limit_px) != (qty, there.px):
            seen = f"{order.intent.qty} at {order.intent.limit_px}"
            found.append(f"{name} is {seen} in the books, {qty} at {there.px} there")
    return found


def _filled(session: Session, named: Mapping[str, Order], told: Told) -> list[str]:
    """Of those that have ended the newest are in the books.  What others had filled before balances were read may be
    part of those alone."""
    found = []
    for name, there in named.items():
        booked = session.core.orders.get(name)
        filled_qty = there.filled_qty - told.aside_qty(there)
        if booked is None or booked.filled_qty == filled_qty:
            continue
        if there.ours or booked.filled_qty > filled_qty:
            seen = f"filled {booked.filled_qty} in the books, {filled_qty} there"
            found.append(f"{name}: {seen} ({there.status})")
    return found


def _executions(venue: ModelVenue, told: Told) -> list[str]:
    found = []
    for fill in venue.fills:
        order, times = venue.orders[fill.order_id], told.times[fill.entry_id]
        if times > 1 or (order.ours and times != 1 and not told.may_be_untold(fill)):
            found.append(f"fill {fill.entry_id} of {name_of(order, venue)} was told {times} times")
    return found


def _balances(session: Session, venue: ModelVenue) -> list[str]:
    booked = {name: session.core.portfolio.balance("coinbase", name) for name in venue.balances}
    return [
        f"{name}: {booked[name]} in the books, {is_} there"
        for name, is_ in venue.balances.items()
        if booked[name] != is_
    ]


def _left_over(session: Session) -> list[str]:
    """What the connector waits for."""
    tracker, found = session.tracker, []
    if tracker._wanted or tracker.held_orders() or tracker.defers:
        held = [one.venue_order_id for one in tracker.held_orders()]
        found.append(f"wanted {list(tracker._wanted)}, held {held}, put off: {tracker.defers}")
    found += [f"{one.name} is awaited" for one in tracker.awaited_exits()]
    unsure = [one.client_order_id for one in tracker.open_orders() if tracker.is_unresolved(one.client_order_id)]
    unresolved = session.core.reconciliation.unresolved.get("coinbase", ())
    if unsure or unresolved:
        found.append(f"unresolved: {unsure} in the tracker, {unresolved} told")
    return found
