"""Defects of orders: what they hold, how often they are sent, which executions and ends are believed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.coinbase.edits import Edits as CoinbaseEdits
from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.unknown_orders import UnknownOrders
from connectors.reconnect import Backoff
from engine.awaited_exits import AwaitedExits
from engine.closures import Closures
from engine.commands import NewOrder, ReplaceOrder
from engine.events import OrderOutcomeUnknown
from engine.facts import AccountFacts
from engine.order_states import Happening
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from engine.stakes import Stakes


def drop_the_reservation(patch: pytest.MonkeyPatch) -> None:
    """Open orders hold nothing: each is judged as if it were the only one."""
    patch.setattr(OrderManager, "open_qty", lambda *_: Decimal(0))


def book_a_fill_twice(patch: pytest.MonkeyPatch) -> None:
    """Money and position move twice for one execution."""
    book = Portfolio.apply_fill

    def twice(self: Portfolio, *arguments: Any) -> None:
        book(self, *arguments)
        book(self, *arguments)

    patch.setattr(Portfolio, "apply_fill", twice)


def resend_under_a_new_id(patch: pytest.MonkeyPatch) -> None:
    """An order whose outcome is unknown is opened again."""
    lose = CoinbaseGateway._on_order_unknown
    again: dict[str, int] = {}

    def resend(self: CoinbaseGateway, order: NewOrder, reason: str) -> None:
        lose(self, order, reason)
        name = f"{order.client_order_id}r"
        if order.client_order_id not in again:
            again[order.client_order_id] = again[name] = 1
            self.submit(msgspec.structs.replace(order, client_order_id=name))

    patch.setattr(CoinbaseGateway, "_on_order_unknown", resend)


def send_again_under_the_same_id(patch: pytest.MonkeyPatch) -> None:
    """An order whose outcome is unknown is sent a second time."""
    lose = CoinbaseGateway._on_order_unknown
    again: set[str] = set()

    def resend(self: CoinbaseGateway, order: NewOrder, reason: str) -> None:
        lose(self, order, reason)
        if order.client_order_id not in again:
            again.add(order.client_order_id)
            self.submit(order)

    patch.setattr(CoinbaseGateway, "_on_order_unknown", resend)


def forget_an_unknown(patch: pytest.MonkeyPatch) -> None:
    """An order without an answer is taken for one that never was."""
    happen = OrderManager.happen

    def forget(self: OrderManager, name: str, what: Happening, *more: Any) -> Any:
        return happen(self, name, Happening.REJECT if what is Happening.LOSE else what, *more)

    patch.setattr(OrderManager, "happen", forget)
    patch.setattr(Settler, "resolve", lambda *_: None)


def take_the_refused_cancel_for_a_cancel(patch: pytest.MonkeyPatch) -> None:
    """A cancel that was refused or lost ends the order in the books."""
    happen = OrderManager.happen

    def wrong(self: OrderManager, name: str, what: Happening, *more: Any) -> Any:
        return happen(self, name, Happening.CANCEL if what is Happening.CANCEL_REFUSED else what, *more)

    patch.setattr(OrderManager, "happen", wrong)


def never_arrived_at_once(patch: pytest.MonkeyPatch) -> None:
    """An order that one listing omits is given up without a grace."""
    absent = UnknownOrders._absent

    def hasty(self: UnknownOrders, client_id: str, asked_ns: int) -> None:
        unknown = self._orders[client_id]
        unknown.absent, unknown.lost_ns = 2, 0
        absent(self, client_id, asked_ns)

    patch.setattr(UnknownOrders, "_absent", hasty)


def believe_the_stream_blindly(patch: pytest.MonkeyPatch) -> None:
    """An end that the stream tells is told on, whether the fills before it are booked or not, and none is read."""
    patch.setattr(OrderTracker, "take_wanted", lambda _self: [])


def floats_for_money(patch: pytest.MonkeyPatch) -> None:
    """Quantities of orders are binary floats."""
    opened = OrderManager.open

    def floating(self: OrderManager, *arguments: Any) -> NewOrder:
        new = opened(self, *arguments)
        return msgspec.structs.replace(new, intent=msgspec.structs.replace(new.intent, qty=float(new.intent.qty)))

    patch.setattr(OrderManager, "open", floating)


def overlook_an_overfill(patch: pytest.MonkeyPatch) -> None:
    """More executed than ordered is booked, and nothing follows from it."""
    patch.setattr(AccountFacts, "_look_for_overfill", lambda *_: None)


def leave_orders_that_rules_refuse(patch: pytest.MonkeyPatch) -> None:
    """New rules hold for new orders alone."""
    patch.setattr(Closures, "on_redefined", lambda *_: None)


def book_what_is_told_last(patch: pytest.MonkeyPatch) -> None:
    """An execution that is told again with other values is another execution."""
    book = OrderTracker.book

    def again(self: OrderTracker, fill: Any, ts_recv_ns: int) -> Any:
        order = self._by_venue.get(fill.order_id)
        known = None if order is None or order.entries is None else order.entries.get(fill.entry_id)
        if known:
            fill = msgspec.structs.replace(fill, entry_id=f"{fill.entry_id}'")
        return book(self, fill, ts_recv_ns)

    patch.setattr(OrderTracker, "book", again)


def leave_stakes_to_who_lost_them(patch: pytest.MonkeyPatch) -> None:
    """What the venue has closed by itself goes on being a strategy's."""
    patch.setattr(Stakes, "lose", lambda *_: [])
    patch.setattr(Stakes, "write_off", lambda *_: [])


def send_beside_the_venues_own(patch: pytest.MonkeyPatch) -> None:
    """An exit that came with its entry and has not shown itself is taken for none."""
    patch.setattr(AwaitedExits, "may_come", lambda *_: False)
    patch.setattr(AwaitedExits, "refusal", lambda *_: None)


def forget_what_an_order_is_changed_to(patch: pytest.MonkeyPatch) -> None:
    """Until a change is done, the order counts as what it was."""
    patch.setattr(OrderManager, "edit", lambda *_: None)


def take_a_lost_change_for_refused(patch: pytest.MonkeyPatch) -> None:
    """A change without an answer is taken for one that was not done."""
    lose = CoinbaseEdits._on_lost

    def forget(self: CoinbaseEdits, replace: ReplaceOrder, reason: str) -> None:
        lose(self, replace, reason)
        if self._tracker.versions.drop(replace.venue_order_id):
            self._refuse(replace.client_order_id, "refused", reason)

    patch.setattr(CoinbaseEdits, "_on_lost", forget)


def dial_without_a_pause(patch: pytest.MonkeyPatch) -> None:
    """A connection that breaks is asked for again at once, as often as it takes."""
    patch.setattr(Backoff, "next_delay_s", lambda *_: 0.05)


def doubt_what_was_told(patch: pytest.MonkeyPatch) -> None:
    """An answer that is lost makes an order unknown, whatever the stream has told of it meanwhile."""
    patch.setattr(CoinbaseGateway, "_on_order_unknown", _doubt)


def _doubt(self: Any, order: Any, reason: str) -> None:
    now_ns = self._clock.now_ns()
    self._settler.resolve(order.client_order_id, self._products[order.intent.instrument], order.ts_ns, now_ns)
    self.publish(OrderOutcomeUnknown(now_ns, now_ns, self._venue, order.client_order_id, reason))


PLANTS = (
    dial_without_a_pause,
    doubt_what_was_told,
    drop_the_reservation,
    book_a_fill_twice,
    resend_under_a_new_id,
    send_again_under_the_same_id,
    forget_an_unknown,
    take_the_refused_cancel_for_a_cancel,
    never_arrived_at_once,
    believe_the_stream_blindly,
    floats_for_money,
    overlook_an_overfill,
    leave_orders_that_rules_refuse,
    book_what_is_told_last,
    leave_stakes_to_who_lost_them,
    send_beside_the_venues_own,
    forget_what_an_order_is_changed_to,
    take_a_lost_change_for_refused,
)
