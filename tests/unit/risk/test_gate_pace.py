"""The gate's memory of what was sent: rates, duplicates, runaway loops, orders that are judged again."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import RiskState
from engine.events import Resumed
from engine.stakes import GUARDIAN, OPERATOR
from risk.gate import Gate
from tests.support.fake_view import FakeView, make_instrument
from tests.support.gate import OTHER, SECOND_NS, check_of, held, leave, leave_at_market, order, send
from tests.support.limits import NAME, make_limits

D = Decimal


@pytest.mark.fault("F4")
def test_rates_hold_in_any_second() -> None:
    """Three at once, the fourth is early until the first is one second old."""
    view, gate = FakeView(), Gate(make_limits(max_orders_per_s=3))
    assert [send(gate, view, order()) for _ in range(2)] == ["", "duplicate"]
    view.now_ns += 10
    assert send(gate, view, order()) == ""
    view.now_ns += 10
    assert send(gate, view, order()) == ""
    view.now_ns += 10
    assert send(gate, view, order()) == "order_rate"
    view.now_ns += SECOND_NS - 31
    assert send(gate, view, order()) == "order_rate"
    view.now_ns += 1
    assert send(gate, view, order()) == ""


@pytest.mark.fault("F4")
def test_rates_hold_for_each_instrument() -> None:
    """One a second each: the other instrument still has its own."""
    view = FakeView(make_instrument(), make_instrument(OTHER))
    gate = Gate(make_limits(max_orders_per_s_instrument=1, allowed_instruments=[NAME, OTHER]))
    assert send(gate, view, order()) == ""
    assert send(gate, view, order(qty=D(2))) == "order_rate_instrument"
    assert send(gate, view, order(instrument=OTHER)) == ""


@pytest.mark.fault("F3")
@pytest.mark.parametrize("limit", ["max_orders_per_s", "max_orders_per_s_instrument"])
def test_exits_without_end_of_one_strategy_keep_neither_guardian_nor_operator_in(limit: str) -> None:
    """It sends as many as a second takes, all of them at a price that fills nothing."""
    view, gate = held("2"), Gate(make_limits(**{limit: 3}))
    sent = []
    for _ in range(4):
        view.now_ns += 10
        sent.append(send(gate, view, leave(limit_px=D("100.50"))))
    assert sent[:3] == ["", "", ""]
    assert sent[3].startswith("order_rate")
    assert send(gate, view, leave(strategy=GUARDIAN)) == ""
    assert send(gate, view, leave_at_market(strategy=OPERATOR)) == ""
    assert send(gate, view, leave(strategy=OPERATOR)) == ""
    assert send(gate, view, leave(strategy=GUARDIAN)) == sent[3]  # they have the same limit, together


@pytest.mark.fault("F7")
@pytest.mark.parametrize(("closer", "halts"), [(OPERATOR, False), (GUARDIAN, False), ("s", True)])
def test_closing_everything_is_no_runaway(closer: str, halts: bool) -> None:
    """40 positions at once, 10 orders a second: what has to wait a second does not halt, which would cancel the exits
    that are out.  A strategy that asks so often does."""
    names = [f"C{number}/USD@coinbase" for number in range(40)]
    view, gate = FakeView(*map(make_instrument, names)), Gate(make_limits(max_orders_per_s=10, max_rejections_per_s=20))
    for name in names:
        view.hold(name, D(1), strategy="s")
    sent = [send(gate, view, leave_at_market(instrument=name, strategy=closer)) for name in names]
    assert sent == [""] * 10 + ["order_rate"] * 30
    assert (gate.breach(view) is not None) is halts


@pytest.mark.fault("F3")
def test_entries_by_hand_without_end_are_a_runaway() -> None:
    """A program that asks as the operator does; what it closes is never one."""
    view, gate = FakeView(), Gate(make_limits(max_orders_per_s=10, max_rejections_per_s=20))
    sent = [send(gate, view, order(strategy=OPERATOR, qty=D(number) / 100)) for number in range(1, 31)]
    assert sent == [""] * 10 + ["order_rate"] * 20
    breach = gate.breach(view)
    assert breach is not None
    assert breach[0] is RiskState.HALTED


@pytest.mark.fault("F3")
def test_the_same_wish_within_the_window_is_a_duplicate() -> None:
    """Same strategy, instrument, side, quantity and price; any one of them changed is another wish."""
    view, gate = FakeView(), Gate(make_limits(duplicate_window_ns=SECOND_NS))
    assert send(gate, view, order()) == ""
    assert send(gate, view, order(reason="again", ts_ns=2)) == "duplicate"
    assert send(gate, view, order(qty=D(2))) == ""
    assert send(gate, view, order(limit_px=D("100.01"))) == ""
    assert send(gate, view, order(strategy="t")) == ""
    view.now_ns += SECOND_NS
    view.quote(NAME, 99.99, 100.01)
    assert send(gate, view, order()) == ""


@pytest.mark.fault("F3")
def test_a_runaway_loop_halts() -> None:
    """The same wish over and over: after ten refusals entries stop and the breaker asks for HALTED, until a resume."""
    view, gate = FakeView(), Gate(make_limits(duplicate_window_ns=SECOND_NS, max_rejections_per_s=10))
    found = [send(gate, view, order()) for _ in range(12)]
    assert found == [""] + ["duplicate"] * 10 + ["runaway"]
    breach = gate.breach(view)
    assert breach is not None
    assert breach[0] is RiskState.HALTED
    assert "runaway" in breach[1]
    gate.apply(Resumed(1, 1, "cli", "fixed"))
    assert gate.breach(view) is None
    assert send(gate, view, order(qty=D(2))) == ""


def test_refusals_spread_over_time_are_no_runaway() -> None:
    """One a second for a while."""
    view, gate = FakeView(), Gate(make_limits(duplicate_window_ns=1000 * SECOND_NS, max_rejections_per_s=3))
    send(gate, view, order())
    for _ in range(10):
        view.now_ns += SECOND_NS
        view.quote(NAME, 99.99, 100.01)
        assert send(gate, view, order()) == "duplicate"
    assert gate.breach(view) is None


def test_an_order_judged_again_is_not_counted_twice() -> None:
    """It waited: rate and duplicate are skipped, everything else is not."""
    view, gate = FakeView(), Gate(make_limits(max_orders_per_s=1, duplicate_window_ns=SECOND_NS))
    intent = order()
    assert send(gate, view, intent) == ""
    assert check_of(gate.review_again(intent, view)) == ""
    assert check_of(gate.review(intent, view)) == "order_rate"
    view.now_ns += 2 * SECOND_NS
    assert check_of(gate.review_again(intent, view)) == "stale_quote"
