"""The session's own check: silent on healthy state, and each breach that is planted by hand is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import CapturingLogger

from engine import events as e
from engine.bus import EventBus
from engine.commands import Approved, NewOrder, OrderIntent, RiskState, Verdict
from engine.continuity import take
from engine.core import NullProbe
from engine.instruments import Instrument
from engine.order_states import OrderState
from engine.ports import View
from engine.replay import ReplayRecorder, replay
from engine.router import OrderRouter
from engine.runtime.own_books import OwnBooks
from engine.runtime.self_check import HALTING, INVARIANTS, OBSERVED, ORDERS_PER_LOOK, SelfCheck
from tests.support.core import (
    BTC,
    MemoryJournal,
    OpenGate,
    Scripted,
    build_core,
    fill,
    intent,
    perpetual,
    quote,
    spot,
)
from tests.support.exchange import Exchange
from tests.support.supervised import Session

D = Decimal
S = OrderState


class LooseGate(OpenGate):
    """Lets everything through where ``is_loose``."""

    is_loose = False

    def review(self, wish: OrderIntent, view: View) -> Verdict:
        return Approved(wish, D(0)) if self.is_loose else super().review(wish, view)


class Checked:
    """A core behind a bus, and its check, told as a session tells it.  A quote opens one order."""

    def __init__(self, rules: Instrument | None = None, **wish: Any) -> None:
        self.journal, self.log, self.venue = MemoryJournal(), CapturingLogger(), Exchange()
        self.wish, self.gate = wish, LooseGate()
        self.bus = EventBus(self.journal, NullProbe(), lambda text, error: pytest.fail(f"{text}: {error}"))
        strategy = Scripted(on_quote=lambda *_: [intent(**self.wish)])
        self.core = build_core(self.bus, strategy, gate=self.gate, features=lambda: None)
        self.bus.attach(self.core, OrderRouter(self.bus.publish, lambda: self.venue.gateways))
        self.venue.publish = self.publish
        self.check = SelfCheck(self.core, self.bus, self.log)
        definition = rules or spot()
        for event in (
            e.SessionStarted(1, 1, "s", "config", "code", (), ()),
            e.InstrumentDefined(1, 1, definition),
            e.BalanceReported(1, 1, definition.venue, "USD", D(1000), D(1000)),
            e.FeedUp(1, 1, definition.venue, "market"),
            e.FeedUp(1, 1, definition.venue, "user"),
        ):
            self.publish(event)
        self.now_ns = 10

    def publish(self, event: Any) -> None:
        self.bus.publish(event)
        if type(event) in OBSERVED:
            self.check.observe(event)

    def order(self) -> NewOrder:
        self.now_ns += 1
        self.publish(quote(self.now_ns))
        return self.core.orders.open_orders()[-1].new

    def managed(self) -> Any:
        return self.core.orders.open_orders()[-1]

    def seen(self) -> set[str]:
        """Invariants that one look finds broken."""
        before = dict(self.check.counts)
        self.check.look()
        return {name for name, count in self.check.counts.items() if count > before[name]}


def test_a_healthy_session_passes() -> None:
    """Orders that fill in parts, whole and not at all, looked at after each event."""
    run = Checked()
    for number in range(5):
        new = run.order()
        assert run.check.look() == ""
        run.publish(fill(new, "0.25", "100", f"t{number}", fee="0.01"))
        assert run.check.look() == ""
        if number % 2:
            run.publish(fill(new, "0.75", "100", f"u{number}"))
        else:
            run.publish(e.OrderCancelled(20, 20, "coinbase", new.client_order_id, "v", "asked"))
        assert run.check.look() == ""
        run.publish(fill(new, "0.25", "100", f"t{number}", fee="0.01"))  # told twice, booked once
        assert run.check.look() == ""
    assert set(run.check.counts.values()) == {0}
    assert run.log.calls == []


def resize(run: Checked) -> None:
    run.managed().intent = msgspec.structs.replace(run.managed().intent, qty=1.5)


def forget(run: Checked) -> None:
    del run.core.orders._open[run.managed().client_order_id]


def rename(run: Checked) -> None:
    run.managed().new = msgspec.structs.replace(run.managed().new, client_order_id="k-7")


def go_back(run: Checked) -> None:
    run.managed().filled_qty = D("0.1")


def count_twice(run: Checked) -> None:
    run.managed().trade_ids += ("t",)


def stay_open(run: Checked) -> None:
    run.managed().state = S.CANCELLED


def hold_nothing(run: Checked) -> None:
    run.managed().reserved.clear()


def lose_coins(run: Checked) -> None:
    run.core.portfolio._holdings.listed[BTC].qty -= D("0.01")


def lose_cash(run: Checked) -> None:
    run.core.portfolio._balances.cash["coinbase", "USD"] -= D("0.00000001")


def book_inexactly(run: Checked) -> None:
    run.managed().filled_qty = 0.25


def keep_waiting(run: Checked) -> None:
    run.bus._waiting.append(quote(99))


def break_a_guard(run: Checked) -> None:
    run.core.orders._open = None  # type: ignore[assignment]


PLANTED: dict[str, tuple[Callable[[Checked], None], set[str]]] = {
    "an order of another size than is held": (resize, {"I8", "I12"}),
    "an open order that is forgotten": (forget, {"I3", "I6"}),
    "an order under another id": (rename, {"I5"}),
    "a filled quantity that shrank": (go_back, {"I6", "I3"}),
    "an execution that counts twice in its order": (count_twice, {"I1"}),
    "an ended order among the open ones": (stay_open, {"I6"}),
    "an open order that holds nothing": (hold_nothing, {"I3"}),
    "coins that are gone": (lose_coins, {"I1"}),
    "money that is gone": (lose_cash, {"I1"}),
    "a quantity in binary": (book_inexactly, {"I8", "I12"}),
    "an event that nobody handles": (keep_waiting, {"I11"}),
    "a check that cannot look": (break_a_guard, {"I12"}),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_breach_is_told(what: str) -> None:
    """Named in one log line each, counted, and a reason to halt but for what leaves the books right."""
    plant, expected = PLANTED[what]
    run = Checked()
    run.publish(fill(run.order(), "0.25", "100", "t"))
    assert run.seen() == set()
    plant(run)
    why = run.check.look()
    assert {name for name, count in run.check.counts.items() if count} == expected
    assert {call.kwargs["invariant"] for call in run.log.calls} == expected
    assert bool(why) is bool(expected & HALTING)
    assert set(run.check.counts) == set(INVARIANTS)


@pytest.mark.parametrize("rules", [spot(), perpetual()], ids=["spot", "margined"])
def test_an_execution_that_is_booked_twice_is_told(rules: Instrument) -> None:
    """By the position, of whatever kind, although the order counts it once."""
    run = Checked(rules)
    new = run.order()
    assert run.seen() == set()
    once = fill(new, "0.25", "100", "t")
    run.publish(once)
    run.core.portfolio.apply_fill(once, "s")
    assert run.seen() == {"I1"}
    assert "0.50, executions make 0.25" in run.check.told[0][1]
    assert run.seen() == set()  # told once


def test_what_moves_money_without_an_execution_is_no_breach() -> None:
    """Funding, a first report, an adjustment, a correction: each leaves the books as it says."""
    run = Checked()
    new = run.order()
    run.publish(fill(new, "0.25", "100", "t"))
    assert run.seen() == set()
    run.publish(e.FundingSettled(20, 20, "coinbase", "f", BTC, "USD", D("-0.5")))
    assert run.seen() == set()
    run.publish(e.BalanceReported(21, 21, "coinbase", "BTC", D(3), D(3)))
    assert run.seen() == set()
    run.publish(e.AccountSettled(22, 22, "coinbase", (("USD", D(2000)), ("BTC", D(3))), ()))
    assert run.core.counters.adjustments
    assert run.seen() == set()
    run.publish(
        e.FillCorrected(
            23, 23, "coinbase", new.client_order_id, "v", "t", BTC, e.Side.BUY,
            D("0.25"), D(100), D(0), "USD", D("0.2"), D(100), D(0),
        )
    )  # fmt: skip
    assert run.core.counters.corrections == 1
    assert run.seen() == set()
    assert set(run.check.counts.values()) == {0}


def test_an_execution_of_the_session_before_counts_no_second_time() -> None:
    """Told again at the start, as venues do."""
    run = Checked()
    books = OwnBooks(run.core)
    new = run.order()
    first = fill(new, "0.25", "100", "t")
    run.publish(first)
    books.go_on_from(take(run.core, ""))
    assert books.look() == []
    books.take(first)
    assert books.look() == []


def test_an_entry_that_is_made_while_halted_is_told() -> None:
    """By a gate that lets everything through: what its strategy holds grew.  What was made before is no breach."""
    run = Checked()
    run.publish(fill(run.order(), "1", "100", "t"))
    run.publish(e.Halted(20, 20, "operator", "stop"))
    assert run.seen() == set()
    run.gate.is_loose = True
    run.publish(quote(30))
    assert run.core.orders.opened_count == 2
    assert run.seen() == {"I4"}


def test_what_was_made_between_two_halts_is_no_breach() -> None:
    """Somebody resumed in between, and no look fell there."""
    run = Checked()
    run.publish(fill(run.order(), "1", "100", "t"))
    run.publish(e.Halted(20, 20, "operator", "stop"))
    assert run.seen() == set()
    run.publish(e.Resumed(21, 21, "operator", "go"))
    run.publish(fill(run.order(), "1", "100", "u"))
    run.publish(e.Halted(40, 40, "operator", "stop"))
    assert run.seen() == set()


def test_a_session_without_hashes_is_told() -> None:
    run = Checked()
    run.check.observe(e.SessionStarted(1, 1, "s", "", "", (), ()))
    run.order()
    assert run.seen() == {"I9"}


def test_many_orders_are_looked_at_in_turns() -> None:
    """More than a look takes: a breach in the last instrument is found within as many looks as there are slices."""
    run = Checked()
    names = [f"C{number}/USD@coinbase" for number in range(8)]
    for number, name in enumerate(names):
        rules = {"id": name, "venue_symbol": f"C{number}-USD", "base": f"C{number}"}
        run.publish(e.InstrumentDefined(2, 2, spot(**rules)))
        run.wish = {"instrument": name}
        for _ in range(ORDERS_PER_LOOK // 3):
            run.order()
    assert run.core.orders.open_count > 2 * ORDERS_PER_LOOK
    assert all(run.check.look() == "" for _ in range(12))
    run.core.orders._buys[names[-1]] = D(0)
    found = [run.check.look() for _ in range(8)]
    assert any(why.startswith("I3") for why in found)
    assert "" in found


async def test_a_session_that_breaks_an_invariant_is_halted_and_replays_the_same(tmp_path: Path) -> None:
    """The halt is an input on record: a replay, which has no check and no defect, halts at the same place."""
    session = Session(tmp_path)
    for event in (
        e.InstrumentDefined(1, 1, spot()),
        e.FeedUp(1, 1, "coinbase", "market"),
        e.FeedUp(1, 1, "coinbase", "user"),
        quote(10),
    ):
        session.bus.publish(event)
    check = SelfCheck(session.core, session.bus, CapturingLogger())
    session.supervisor._self_check, session.supervisor._to_self_check_s = check.look, 1

    async def script() -> None:
        session.core.orders._buys[BTC] = D(7)
        session.supervisor._to_self_check_s = 1
        while session.core.gate.state is not RiskState.HALTED:
            await asyncio.sleep(0.02)

    await session.during(script)
    (halted,) = session.of(e.Halted)
    assert halted.source == "self-check"
    assert halted.reason == f"I3: limits count 7 open to buy in {BTC}, open orders make 1"
    assert session.states() == [RiskState.HALTED]
    recorder = ReplayRecorder()
    again = build_core(recorder, Scripted(on_quote=lambda *_: [intent()]), gate=OpenGate(), features=lambda: None)
    result = replay(session.journal.written, recorder, again)
    assert result.identical, result.first_difference
    assert again.gate.state is RiskState.HALTED
