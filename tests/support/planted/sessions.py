"""Defects of sessions: what is on record and on disk before an order leaves, and what the next session makes of it."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from connectors.coinbase.directory import Directory
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.venue import CoinbaseVenue
from connectors.stream_feed import StreamFeed
from engine.bus import EventBus
from engine.commands import NewOrder
from engine.desk import Desk
from engine.errors import JournalError, VenueError
from engine.events import BalanceReported
from engine.held_orders import HeldOrders
from engine.order_states import OrderState
from engine.orders import OrderManager
from engine.reconciliation import Reconciliation
from engine.recovery import Recovery
from engine.runtime.journal import JournalWriter
from engine.runtime.succession import Succession


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
        self._executions._trades.clear()
        return fill(self, one)

    patch.setattr(OrderManager, "fill", forget)


def forget_orders_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    """Orders since the last kept state are not taken over."""
    take = Recovery._take

    def forgetful(self: Recovery, record: Any) -> None:
        if not isinstance(record, NewOrder):
            take(self, record)

    patch.setattr(Recovery, "_take", forgetful)


def ask_strategies_at_once(patch: pytest.MonkeyPatch) -> None:
    """What an earlier session left is traded on before its venue has confirmed it."""
    patch.setattr(Reconciliation, "await_venues", lambda *_: None)


def read_no_past_fills(patch: pytest.MonkeyPatch) -> None:
    """The account is compared without asking for executions since it was heard of last, nor orders that show them."""

    async def nothing(_self: Settler, *_asked: object) -> list[Any]:
        return []

    patch.setattr(Settler, "read_fills_since", nothing)
    patch.setattr(Settler, "read_fills_of", nothing)
    patch.setattr(Settler, "look_up_open", nothing)


def decide_by_what_is_not_on_record(patch: pytest.MonkeyPatch) -> None:
    """Order ids go on counting over all sessions of a process."""
    opened = OrderManager.open
    count = itertools.count()

    def counted(self: OrderManager, *arguments: Any) -> NewOrder:
        self._count = next(count)
        return opened(self, *arguments)

    patch.setattr(OrderManager, "open", counted)


def send_before_the_disk_has_it(patch: pytest.MonkeyPatch) -> None:
    """In mode ``always`` orders leave with their record instead of after its sync."""
    place = Desk.place

    def hasty(self: Desk, *arguments: Any, **named: Any) -> Any:
        self._hold_orders, self._opened_as = False, OrderState.SENT
        return place(self, *arguments, **named)

    patch.setattr(Desk, "place", hasty)


def trust_a_disk_that_failed(patch: pytest.MonkeyPatch) -> None:
    """A sync that fails is nobody's concern."""
    patch.setattr(JournalWriter, "_fail", lambda *_: None)


def wait_for_a_slow_disk(patch: pytest.MonkeyPatch) -> None:
    """An order leaves however long ago it was decided."""
    release = HeldOrders._release

    def patient(self: HeldOrders, order: Any) -> None:
        self._deadline_ns = 10**18
        release(self, order)

    patch.setattr(HeldOrders, "_release", patient)


def lock_nobody_out(patch: pytest.MonkeyPatch) -> None:
    """A second daemon may trade on the account."""
    patch.setattr(Succession, "lock", lambda *_: None)


def keep_the_clock_of_before(patch: pytest.MonkeyPatch) -> None:
    """Nobody compares the clocks again after a machine has slept."""
    patch.setattr(CoinbaseVenue, "confirm", lambda self: self.trading and self.trading.reconciler.rounds.wake())

    async def limited(self: Directory, *, limited: bool = True) -> int:
        return await measure(self, limited=True)

    measure = Directory.clock_offset_ns
    patch.setattr(Directory, "clock_offset_ns", limited)


def go_on_from_a_damaged_journal(patch: pytest.MonkeyPatch) -> None:
    """What cannot be read of a journal is done without."""
    left = Succession.left

    def lenient(self: Succession, currency: str) -> Any:
        try:
            return left(self, currency)
        except JournalError:
            return None

    patch.setattr(Succession, "left", lenient)


def wait_for_a_silent_stream(patch: pytest.MonkeyPatch) -> None:
    """A stream that tells nothing any more is taken for one on which nothing happens."""
    make = StreamFeed.__init__

    def patient(self: StreamFeed, *parts: Any, **options: Any) -> None:
        make(self, *parts, **{**options, "silence_timeout_s": 600.0})

    patch.setattr(StreamFeed, "__init__", patient)


PLANTS = (
    wait_for_a_silent_stream,
    read_a_failed_balance_as_zero,
    send_before_journaling,
    forget_booked_entries,
    forget_orders_after_a_crash,
    ask_strategies_at_once,
    read_no_past_fills,
    decide_by_what_is_not_on_record,
    send_before_the_disk_has_it,
    trust_a_disk_that_failed,
    wait_for_a_slow_disk,
    lock_nobody_out,
    keep_the_clock_of_before,
    go_on_from_a_damaged_journal,
)
