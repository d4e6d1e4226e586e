"""Order of records, re-entrance, and what happens when the journal or the core fails."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.bus import EventBus
from engine.commands import CancelOrder, NewOrder, RiskState, RiskStateChanged
from engine.core import NullProbe, TradingCore
from engine.errors import JournalError
from engine.order_states import OrderState
from engine.router import OrderRouter
from tests.support.account import Account
from tests.support.core import BTC, MemoryJournal, MidModel, OpenGate, Scripted, build_core, intent, quote, spot


class RefusingGateway:
    """Refuses each order at once, from inside ``submit``: the tightest re-entrance there is."""

    venue = "coinbase"

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.seen: list[NewOrder] = []

    def submit(self, order: NewOrder) -> None:
        self.seen.append(order)
        at = order.ts_ns
        self.bus.publish(e.OrderRejected(at, at, "coinbase", order.client_order_id, "no_connection"))

    def cancel(self, cancel) -> None:
        pass


def running(gate: OpenGate | None = None, **answers):
    journal = MemoryJournal()
    errors: list[str] = []
    bus = EventBus(journal, NullProbe(), lambda text, error: errors.append(text))
    core = build_core(bus, Scripted(**answers), gate=gate, model=MidModel())
    gateway = RefusingGateway(bus)
    router = OrderRouter(bus.publish, lambda: [gateway])
    bus.attach(core, router)
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    return bus, core, journal, gateway, errors


def test_an_input_and_what_it_caused_are_neighbours() -> None:
    """quote, prediction, order, then the refusal that arrived while the order was being sent; seq without holes."""
    bus, core, journal, gateway, _ = running(on_prediction=lambda *_: [intent()])
    bus.publish(quote(10))
    kinds = [type(written.record) for written in journal.written]
    assert kinds == [e.InstrumentDefined, e.ModelAssigned, e.Quote, e.Prediction, NewOrder, e.OrderRejected]
    assert [written.seq for written in journal.written] == [1, 2, 3, 4, 5, 6]
    assert gateway.seen[0].client_order_id == "k-1"
    assert core.orders.open_count == 0


@pytest.mark.fault("A8")
def test_a_market_event_without_room_is_lost_and_halts() -> None:
    """The market stream is full, the reserve is not: the core does not see the quote, HALTED is on record, open orders
    are cancelled."""
    gate = OpenGate()
    bus, core, journal, gateway, errors = running(gate, on_prediction=lambda *_: [intent()])
    journal.full_for = (e.Quote,)
    bus.publish(quote(10))
    bus.publish(quote(11))
    assert core.counters.ticks == 0
    assert gateway.seen == []
    assert gate.state is RiskState.HALTED
    assert (bus.unjournaled, bus.dead, len(errors)) == (2, "", 1)
    assert [type(written.record) for written in journal.written][-2:] == [e.Halted, RiskStateChanged]


@pytest.mark.fault("A8")
def test_an_answer_without_room_is_lost_and_halts() -> None:
    """Answers that are computed off the loop come as often as quotes: one that finds no room does not end the
    session, as it would not end one inline."""
    gate = OpenGate()
    bus, core, journal, _, errors = running(gate, on_prediction=lambda *_: [intent()])
    journal.full_for = (e.PredictionMade,)
    bus.publish(e.PredictionMade(10, 10, BTC, "mid@1", 5, 5, e.PredictionStatus.OK, (0.9,)))
    assert core.counters.predictions == 0
    assert gate.state is RiskState.HALTED
    assert (bus.unjournaled, bus.dead, len(errors)) == (1, "", 1)


@pytest.mark.fault("A8")
def test_each_time_that_trading_went_on_a_lost_market_event_halts_again() -> None:
    """Lost, HALTED, room again, resumed, lost again."""
    gate = OpenGate()
    bus, _, journal, _, errors = running(gate)
    for ts_ns in (10, 20):
        journal.full_for = (e.Quote,)
        for later_ns in range(3):
            bus.publish(quote(ts_ns + later_ns))
        assert gate.state is RiskState.HALTED
        journal.full_for = ()
        bus.publish(e.Resumed(ts_ns + 5, ts_ns + 5, "operator", ""))
        assert gate.state is RiskState.ACTIVE
    assert (bus.unjournaled, bus.dead, len(errors)) == (6, "", 2)


@pytest.mark.fault("A8")
def test_an_account_fact_without_room_ends_the_session() -> None:
    """A full journal: the core does not see the event, nothing is sent, later events are ignored."""
    bus, core, journal, gateway, errors = running(on_prediction=lambda *_: [intent()])
    journal.full_for = (e.Event,)
    bus.publish(e.BalanceReported(10, 10, "coinbase", "USD", Decimal(5), Decimal(5)))
    journal.full_for = ()
    bus.publish(quote(11))
    assert core.counters.ticks == 0
    assert gateway.seen == []
    assert bus.dead.startswith("disk full")
    assert len(errors) == 1


@pytest.mark.fault("B14")
def test_a_held_order_that_cannot_be_handed_over_is_unknown_from_then_on() -> None:
    """Written down at 10, on disk at 50, the gateway raises: what is told has the time of the attempt."""
    journal = MemoryJournal()
    bus = EventBus(journal, NullProbe(), lambda text, error: None)
    core = build_core(bus, Scripted(on_prediction=lambda *_: [intent()]), model=MidModel(), hold_orders=True)

    class Broken:
        def send(self, command) -> None:
            raise RuntimeError("no")

    bus.attach(core, Broken())
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    bus.publish(quote(10))
    bus.publish(e.JournalSynced(50, 50, 5))
    told = [written.record for written in journal.written if isinstance(written.record, e.OrderOutcomeUnknown)]
    assert [(event.ts_event_ns, event.ts_recv_ns, event.reason) for event in told] == [(50, 50, "send_failed")]


def test_a_defect_in_the_core_halts_and_goes_on() -> None:
    """A handler that raises: reported, HALTED by a journaled event, account facts still handled."""
    gate = OpenGate()
    bus, core, journal, _, errors = running(gate)
    core._handlers[e.Trade] = lambda event: 1 / 0
    bus.publish(e.Trade(10, 10, BTC, 1.0, 1.0, 1, "t"))
    assert gate.state is RiskState.HALTED
    assert core.counters.core_errors == 1
    assert errors == ["core failed on Trade 3"]
    assert [type(written.record) for written in journal.written][3] is e.Halted
    bus.publish(quote(11))
    assert core.counters.ticks == 1


def test_a_command_for_a_venue_without_gateway_comes_back_as_an_event() -> None:
    """Never lost in silence."""
    bus, core, journal, _gateway, _ = running(on_prediction=lambda *_: [intent()])
    core_router = OrderRouter(bus.publish, list)
    bus.attach(core, core_router)
    bus.publish(quote(10))
    assert journal.written[-1].record.reason == "no_gateway"
    assert core.counters.venue_rejected == {"no_gateway": 1}


# --- what was put on record before something broke --------------------------------------------------------------------


class KeepingGateway:
    """Keeps what it is given; raises for the client order ids in ``breaks``."""

    venue = "coinbase"

    def __init__(self) -> None:
        self.seen: list[NewOrder | CancelOrder] = []
        self.breaks: set[str] = set()

    def submit(self, order: NewOrder) -> None:
        self._take(order)

    def cancel(self, cancel: CancelOrder) -> None:
        self._take(cancel)

    def _take(self, command: NewOrder | CancelOrder) -> None:
        if command.client_order_id in self.breaks:
            raise UnicodeError("no such character")
        self.seen.append(command)

    def take(self) -> list[tuple[type, str]]:
        taken = [(type(command), command.client_order_id) for command in self.seen]
        self.seen.clear()
        return taken


S = 1_000_000_000


def keeping(*strategies: Scripted) -> tuple[EventBus, TradingCore, MemoryJournal, KeepingGateway, list[str]]:
    journal, gateway = MemoryJournal(), KeepingGateway()
    errors: list[str] = []
    bus = EventBus(journal, NullProbe(), lambda text, error: errors.append(text))
    core = build_core(bus, *strategies)
    bus.attach(core, OrderRouter(bus.publish, lambda: [gateway]))
    bus.publish(e.InstrumentDefined(1, 1, spot()))
    return bus, core, journal, gateway, errors


def after(journal: MemoryJournal, kind: type) -> list[type]:
    """Types of the records behind the last one of ``kind``."""
    kinds = [type(written.record) for written in journal.written]
    return kinds[len(kinds) - kinds[::-1].index(kind) :]


def test_cancels_leave_although_the_core_raised_later_in_the_same_event() -> None:
    """A halt cancels three orders; recording the second raises: two cancels leave at once, the third with a timer."""
    bus, core, journal, gateway, errors = keeping(Scripted(on_quote=lambda *_: [intent(), intent(), intent()]))
    bus.publish(quote(S))
    core.slots[0].strategy.answers = {}
    gateway.take()
    append = journal.append

    def append_some(seq, record) -> None:
        if isinstance(record, CancelOrder) and record.client_order_id == "k-2":
            raise TypeError("cannot be encoded")
        append(seq, record)

    journal.append = append_some
    bus.publish(e.Halted(2 * S, 2 * S, "operator", ""))
    assert gateway.take() == [(CancelOrder, "k-1"), (CancelOrder, "k-3")]
    assert len(errors) == 1
    journal.append = append
    bus.publish(e.Timer(3 * S, 3 * S, "tick"))
    assert gateway.take() == [(CancelOrder, "k-2")]


def test_an_order_does_not_leave_when_the_core_failed_on_its_event() -> None:
    """Recorded, then another part raises: it is told as refused, in the journal before the halt, and holds nothing."""
    bus, core, journal, gateway, _ = keeping(Scripted(on_row=lambda *_: [intent()]))
    core.lanes[BTC].quote_slots = (None,)  # type: ignore[assignment]  # the core stumbles behind the rows
    bus.publish(quote(S))
    assert gateway.take() == []
    assert after(journal, NewOrder) == [e.OrderRejected, e.Halted, RiskStateChanged]
    assert core.counters.venue_rejected == {"core_failed": 1}
    assert (core.orders.open_count, core.gate.state) == (0, RiskState.HALTED)


@pytest.mark.fault("A8")
def test_cancels_on_record_leave_although_the_journal_died_behind_them() -> None:
    """The second cancel finds no room: the first leaves, then nothing is sent any more."""
    bus, core, journal, gateway, _ = keeping(Scripted(on_quote=lambda *_: [intent(), intent()]))
    bus.publish(quote(S))
    core.slots[0].strategy.answers = {}
    gateway.take()
    append, room = journal.append, [3]  # the halt, the change of state, one cancel

    def append_little(seq, record) -> None:
        if not room[0]:
            raise JournalError("disk full")
        room[0] -= 1
        append(seq, record)

    journal.append = append_little
    bus.publish(e.Halted(2 * S, 2 * S, "operator", ""))
    assert gateway.take() == [(CancelOrder, "k-1")]
    assert bus.dead


@pytest.mark.fault("B14")
def test_a_command_that_cannot_be_handed_over_stops_no_other() -> None:
    """The gateway raises on the first of two orders: it is UNKNOWN, the second left, trading halts and both are
    cancelled."""
    bus, core, journal, gateway, errors = keeping(Scripted(on_quote=lambda *_: [intent(), intent()]))
    gateway.breaks = {"k-1"}
    bus.publish(quote(S))
    assert gateway.take() == [(NewOrder, "k-2"), (CancelOrder, "k-2")]
    assert core.orders.get("k-1").state is OrderState.UNKNOWN
    assert core.gate.state is RiskState.HALTED
    assert any("k-1" in text for text in errors)
    gateway.breaks = set()
    core.slots[0].strategy.answers = {}
    bus.publish(e.Timer(2 * S, 2 * S, "tick"))
    assert gateway.take() == [(CancelOrder, "k-1")]
    assert not bus.dead
    assert [written.seq for written in journal.written] == list(range(1, len(journal.written) + 1))


def test_a_halt_goes_before_everything_that_waits() -> None:
    """The core fails on a trade while a quote waits that would open an order: the halt comes first, nothing opens."""
    bus, core, journal, gateway, _ = keeping(Scripted(on_quote=lambda *_: [intent()]))

    def fails(event: e.Trade) -> None:
        bus.publish(quote(S + 1))
        raise ZeroDivisionError

    core._handlers[e.Trade] = fails
    bus.publish(e.Trade(S, S, BTC, 1.0, 1.0, 1, "t"))
    assert after(journal, e.Trade)[:3] == [e.Halted, RiskStateChanged, e.Quote]
    assert gateway.take() == []
    assert core.counters.rejected == {"state": 1}


def test_a_halt_whose_words_cannot_be_written_halts_all_the_same() -> None:
    """A lone surrogate in the operator's reason: recorded without it, orders cancelled, the session goes on."""
    bus, core, journal, gateway, errors = keeping(Scripted(on_quote=lambda *_: [intent()]))
    bus.publish(quote(S))
    core.slots[0].strategy.answers = {}
    gateway.take()
    append = journal.append

    def strict(seq, record) -> None:
        try:
            append(seq, record)
        except UnicodeError as error:
            raise JournalError("cannot be encoded") from error

    journal.append = strict
    bus.publish(e.Halted(2 * S, 2 * S, "operator", "\ud800"))
    assert (core.gate.state, bus.dead) == (RiskState.HALTED, "")
    assert gateway.take() == [(CancelOrder, "k-1")]
    assert len(errors) == 1


@pytest.mark.fault("A14")
@pytest.mark.parametrize("what", [SystemExit(3), GeneratorExit(), RecursionError()], ids=lambda e: type(e).__name__)
def test_no_error_of_user_code_leaves_the_bus(what: BaseException) -> None:
    """Errors that are no ``Exception`` too: that strategy is quarantined, the other one trades on."""

    def raises(*_):
        raise what

    bus, core, _, gateway, errors = keeping(
        Scripted("bad", on_quote=raises), Scripted("good", on_quote=lambda *_: [intent(strategy="good")])
    )
    bus.publish(quote(S))
    assert [slot.alive for slot in core.slots] == [False, True]
    assert gateway.take() == [(NewOrder, "k-1")]
    assert (core.gate.state, errors) == (RiskState.ACTIVE, [])


def test_the_operators_interrupt_is_not_the_strategys() -> None:
    """Ctrl-C that arrives inside user code goes on, and the bus can be used again."""

    def interrupted(*_):
        raise KeyboardInterrupt

    bus, core, _, _, _ = keeping(Scripted(on_quote=interrupted))
    with pytest.raises(KeyboardInterrupt):
        bus.publish(quote(S))
    core.slots[0].strategy.answers = {}
    bus.publish(quote(S + 1))
    assert core.slots[0].alive
    assert core.counters.quotes == 2


@pytest.mark.fault("D8")
@pytest.mark.fault("A12")
def test_a_burst_beyond_what_may_wait_costs_quotes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one order is being sent a hundred quotes, trades, rates and refusals come, and room is for ten: every trade
    and every fact of the account is handled, once and in its order; quotes are dropped, and counted."""
    monkeypatch.setattr("engine.bus.WAITING_MAX", 10)
    burst: list[e.InputEvent] = []
    for at in range(100, 200):
        burst += [
            quote(at),
            e.Trade(at, at, BTC, 100.0, 1.0, 1, f"p-{at}"),
            e.RateReported(at, at, "EUR", Decimal(at)),
            e.CancelRejected(at, at, "coinbase", f"k-{at}", "x"),
        ]
    account = Account()
    kept = len(account.records)

    def submit(order: NewOrder) -> None:
        for event in burst:
            account.bus.publish(event)
        assert account.bus.waiting >= 300

    monkeypatch.setattr(account.venue, "submit", submit)
    account.wish(intent())
    handled = [record for record in account.records[kept:] if record in burst]
    dropped = account.bus.waiting_dropped
    assert (dropped > 50, account.bus.waiting, account.errors) == (True, 0, [])
    assert [one for one in handled if not isinstance(one, e.Quote)] == [
        one for one in burst if not isinstance(one, e.Quote)
    ]
    assert len(handled) + dropped == len(burst)
    assert sorted(handled, key=burst.index) == handled
