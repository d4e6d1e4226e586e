"""Order of records, re-entrance, and what happens when the journal or the core fails."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine import events as e
from engine.bus import EventBus
from engine.commands import NewOrder, RiskState, RiskStateChanged
from engine.core import NullProbe
from engine.router import OrderRouter
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
