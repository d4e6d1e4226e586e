"""Defects to plant: each makes the product wrong in one way, as somebody might by mistake.

Used by tests that show that the simulation sees them; never imported by anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.coinbase.directory import Directory
from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from engine.bus import EventBus
from engine.commands import Approved, NewOrder
from engine.errors import VenueError
from engine.events import BalanceReported
from engine.orders import Happening, OrderManager
from engine.portfolio import Portfolio
from engine.recovery import Recovery
from risk.gate import Gate

Plant = Callable[[pytest.MonkeyPatch], None]


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


def read_a_failed_balance_as_zero(patch: pytest.MonkeyPatch) -> None:
    """A listing that fails, or says nothing, is an empty account."""
    ask = Directory.balances

    async def balances(self: Directory) -> Any:
        try:
            return await ask(self)
        except VenueError:
            now_ns = self._clock.now_ns()
            return [
                BalanceReported(now_ns, now_ns, "coinbase", name, Decimal(0), Decimal(0)) for name in ("BTC", "USD")
            ]

    patch.setattr(Directory, "balances", balances)


def send_before_journaling(patch: pytest.MonkeyPatch) -> None:
    """Orders are put on record with the next event instead of at once."""
    record = EventBus.record
    waiting: list[Any] = []

    def late(self: EventBus, what: Any) -> int:
        if isinstance(what, NewOrder):
            waiting.append(what)
            return self.seq + 1
        while waiting:
            record(self, waiting.pop(0))
        return record(self, what)

    patch.setattr(EventBus, "record", late)


def trade_while_halted(patch: pytest.MonkeyPatch) -> None:
    """The gate approves everything, whatever state risk is in."""
    patch.setattr(Gate, "review", lambda _self, intent, _view: Approved(intent, Decimal(0)))


def forget_booked_entries(patch: pytest.MonkeyPatch) -> None:
    """Neither the connector nor the core knows an execution again."""
    book = OrderTracker.book

    def forgetful(self: OrderTracker, fill: Any, ts_recv_ns: int) -> Any:
        order = self._by_venue.get(fill.order_id)
        if order is not None:
            order.entries = None
        return book(self, fill, ts_recv_ns)

    patch.setattr(OrderTracker, "book", forgetful)
    fill = OrderManager.fill

    def forget(self: OrderManager, one: Any) -> Any:
        self._trades.clear()
        return fill(self, one)

    patch.setattr(OrderManager, "fill", forget)


def forget_orders_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    """Orders since the last kept state are not taken over."""
    take = Recovery._take

    def forgetful(self: Recovery, record: Any) -> None:
        if not isinstance(record, NewOrder):
            take(self, record)

    patch.setattr(Recovery, "_take", forgetful)


def take_the_refused_cancel_for_a_cancel(patch: pytest.MonkeyPatch) -> None:
    """A cancel that was refused or lost ends the order in the books."""
    happen = OrderManager.happen

    def wrong(self: OrderManager, name: str, what: Happening, *more: Any) -> Any:
        return happen(self, name, Happening.CANCEL if what is Happening.CANCEL_REFUSED else what, *more)

    patch.setattr(OrderManager, "happen", wrong)


def never_arrived_at_once(patch: pytest.MonkeyPatch) -> None:
    """An order that one listing omits is given up without a grace."""
    absent = Settler._absent

    def hasty(self: Settler, client_id: str, asked_ns: int) -> None:
        self._grace_ns = 0
        self._unknown[client_id].absent += 2
        absent(self, client_id, asked_ns)

    patch.setattr(Settler, "_absent", hasty)


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


PLANTED: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        drop_the_reservation,
        book_a_fill_twice,
        resend_under_a_new_id,
        send_again_under_the_same_id,
        forget_an_unknown,
        read_a_failed_balance_as_zero,
        send_before_journaling,
        trade_while_halted,
        forget_booked_entries,
        forget_orders_after_a_crash,
        take_the_refused_cancel_for_a_cancel,
        never_arrived_at_once,
        believe_the_stream_blindly,
        floats_for_money,
    )
}
