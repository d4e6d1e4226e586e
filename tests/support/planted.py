"""Defects to plant: each makes the product wrong in one way, as somebody might by mistake.

Used by tests that show that the simulation sees them; never imported by anything else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from connectors.coinbase.directory import Directory
from connectors.coinbase.edits import Edits as CoinbaseEdits
from connectors.coinbase.gateway import CoinbaseGateway
from connectors.coinbase.settle import Settler
from connectors.coinbase.tracker import OrderTracker
from connectors.coinbase.unknown_orders import UnknownOrders
from connectors.coinbase.venue import CoinbaseVenue
from engine.alarms import Alarms
from engine.asking import Asking
from engine.awaited_exits import AwaitedExits
from engine.bus import EventBus
from engine.closures import Closures
from engine.commands import Approved, NewOrder, Rejected, ReplaceOrder
from engine.desk import Desk
from engine.entry_sizes import EntrySizes
from engine.errors import JournalError, VenueError
from engine.events import BalanceReported
from engine.facts import AccountFacts
from engine.groups import Group
from engine.held_orders import HeldOrders
from engine.latch import RiskLatch
from engine.order_states import Happening, OrderState
from engine.orders import OrderManager
from engine.portfolio import Portfolio
from engine.predicting import Predicting
from engine.quality.gate import QualityGate
from engine.reconciliation import Reconciliation
from engine.recovery import Recovery
from engine.runtime.journal import JournalWriter
from engine.runtime.succession import Succession
from engine.seats import NEVER_NS, Seat
from engine.stakes import Stakes
from engine.trusting import Trust
from engine.withdrawals import Withdrawals
from risk.gate import Gate
from strategies.guardian import Guardian

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


def ask_strategies_at_once(patch: pytest.MonkeyPatch) -> None:
    """What an earlier session left is traded on before its venue has confirmed it."""
    patch.setattr(Reconciliation, "await_venues", lambda *_: None)


def read_no_past_fills(patch: pytest.MonkeyPatch) -> None:
    """The account is compared without asking for executions since it was heard of last."""

    async def nothing(_self: Settler, _since: object) -> list[Any]:
        return []

    patch.setattr(Settler, "read_fills_since", nothing)
    patch.setattr(Settler, "read_fills_of", nothing)


def allow_what_a_guard_cannot_judge(patch: pytest.MonkeyPatch) -> None:
    """A check that raises counts as passed."""
    review = Gate._review

    def allow(self: Gate, intent: Any, *more: Any) -> Any:
        verdict = review(self, intent, *more)
        if isinstance(verdict, Rejected) and verdict.check == "guard_error":
            return Approved(intent, Decimal(0))
        return verdict

    patch.setattr(Gate, "_review", allow)


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

    def hasty(self: Desk, intent: Any) -> Any:
        self._hold_orders, self._opened_as = False, OrderState.SENT
        return place(self, intent)

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


def forget_a_halt_with_the_session(patch: pytest.MonkeyPatch) -> None:
    """The next session is active, whatever was latched."""
    patch.setattr(RiskLatch, "go_on_in", lambda *_: None)


def halt_without_cancelling(patch: pytest.MonkeyPatch) -> None:
    """Nothing new leaves any more, and what is open stays."""
    patch.setattr(Withdrawals, "cancel_all", lambda *_: None)
    patch.setattr(Withdrawals, "insist", lambda *_: None)


def guard_nothing(patch: pytest.MonkeyPatch) -> None:
    """The guardian looks on."""
    patch.setattr(Guardian, "_reason", lambda *_: "")


def believe_every_price(patch: pytest.MonkeyPatch) -> None:
    """No quote is judged."""
    patch.setattr(QualityGate, "quote", lambda *_: 0)


def ask_a_broken_strategy_again(patch: pytest.MonkeyPatch) -> None:
    """One that raised or answered nonsense is trusted on."""
    patch.setattr(Asking, "_quarantine", lambda *_: None)


def keep_the_clock_of_before(patch: pytest.MonkeyPatch) -> None:
    """Nobody compares the clocks again after a machine has slept."""
    patch.setattr(CoinbaseVenue, "confirm", lambda self: self.trading and self.trading.reconciler.rounds.wake())

    async def limited(self: Directory, *, limited: bool = True) -> int:
        return await measure(self, limited=True)

    measure = Directory.clock_offset_ns
    patch.setattr(Directory, "clock_offset_ns", limited)


def watch_no_price(patch: pytest.MonkeyPatch) -> None:
    """The prices of exits that wait in the core are shown to nobody."""
    patch.setattr(Group, "fires", lambda self, _top: self.fired)


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


def go_on_from_a_damaged_journal(patch: pytest.MonkeyPatch) -> None:
    """What cannot be read of a journal is done without."""
    left = Succession.left

    def lenient(self: Succession, currency: str) -> Any:
        try:
            return left(self, currency)
        except JournalError:
            return None

    patch.setattr(Succession, "left", lenient)


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


def enter_without_a_model(patch: pytest.MonkeyPatch) -> None:
    """What no model serves enters as if one did."""
    patch.setattr(EntrySizes, "fit", lambda _self, intent: intent)


def forget_a_stop_with_the_session(patch: pytest.MonkeyPatch) -> None:
    """A version that was stopped serves after a restart."""
    patch.setattr(Alarms, "restore", lambda _self, _carried: None)


def let_no_model_expire(patch: pytest.MonkeyPatch) -> None:
    """A version serves beyond the time that it was meant for."""
    make = Seat.__init__

    def make_for_ever(self: Seat, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        self.expires_ns = self.until_ns = NEVER_NS

    patch.setattr(Seat, "__init__", make_for_ever)


def give_a_canary_everything(patch: pytest.MonkeyPatch) -> None:
    """A canary's twin enters at full size."""
    patch.setattr(Trust, "_of_canary", lambda _self, _lane: (Decimal(1), ""))


def believe_whoever_answers(patch: pytest.MonkeyPatch) -> None:
    """An answer off the loop is told as the champion's, whoever serves by then."""
    patch.setattr(Predicting, "_asked", lambda _self, lane, _event: lane.seat)


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
        ask_strategies_at_once,
        read_no_past_fills,
        allow_what_a_guard_cannot_judge,
        decide_by_what_is_not_on_record,
        send_before_the_disk_has_it,
        trust_a_disk_that_failed,
        wait_for_a_slow_disk,
        lock_nobody_out,
        forget_a_halt_with_the_session,
        halt_without_cancelling,
        guard_nothing,
        believe_every_price,
        ask_a_broken_strategy_again,
        keep_the_clock_of_before,
        watch_no_price,
        overlook_an_overfill,
        leave_orders_that_rules_refuse,
        book_what_is_told_last,
        leave_stakes_to_who_lost_them,
        go_on_from_a_damaged_journal,
        send_beside_the_venues_own,
        forget_what_an_order_is_changed_to,
        take_a_lost_change_for_refused,
        enter_without_a_model,
        forget_a_stop_with_the_session,
        let_no_model_expire,
        give_a_canary_everything,
        believe_whoever_answers,
    )
}
