"""What losses keep from entering, for how long, and what lets it go on."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from engine.commands import RiskState
from engine.events import Resumed
from engine.ports import Tally
from engine.stakes import GUARDIAN
from risk.gate import Gate
from tests.support.fake_view import FakeView
from tests.support.gate import SECOND_NS, check_of, held, leave, order, send
from tests.support.limits import NAME, make_limits

D = Decimal
DAY = {"strategy_limits": {"s": {"max_daily_loss": 50}, "*": {"max_daily_loss": 80}}}
ROW = {"max_consecutive_losses": 3, "loss_cooldown_ns": 60 * SECOND_NS}


def tallied(**tallies: Tally) -> FakeView:
    view = held()
    view.tally_of = dict(tallies)
    return view


@pytest.mark.fault("F6")
def test_a_strategy_that_lost_its_day_enters_no_more_and_leaves() -> None:
    """At its limit, not below; another strategy has another limit; the account stays active."""
    gate, view = Gate(make_limits(**DAY)), tallied(s=Tally(day=D("-49.99")), t=Tally(day=D(-60)))
    assert check_of(gate.review(order(), view)) == ""
    view.tally_of["s"].day = D(-50)
    assert check_of(gate.review(order(), view)) == "strategy_daily_loss"
    assert check_of(gate.review(leave(), view)) == ""
    assert check_of(gate.review(order(strategy="t"), view)) == ""
    assert gate.breach(view) is None
    assert gate.state is RiskState.ACTIVE


@pytest.mark.fault("F6")
def test_a_twin_has_the_limit_of_its_strategy_and_ends_with_it() -> None:
    """50 of both together, not the 80 of every other, whoever asks; a look latches it for both."""
    limits = make_limits(**DAY)
    for own, twin, check in ((-50, 0, True), (0, -50, True), (-25, -25, True), (-80, 31, False), (-24, -25, False)):
        view = tallied(**{"s": Tally(day=D(own)), "s.canary": Tally(day=D(twin))})
        for strategy in ("s", "s.canary"):
            expected = "strategy_daily_loss" if check else ""
            assert check_of(Gate(limits).review(order(strategy=strategy), view)) == expected
    gate, view = Gate(limits), tallied(**{"s": Tally(day=D(-25)), "s.canary": Tally(day=D(-25))})
    gate.breach(view)
    view.tally_of["s.canary"].day = D(25)
    for strategy in ("s", "s.canary"):
        assert check_of(gate.review(order(strategy=strategy), view)) == "strategy_daily_loss"


def test_losses_in_a_row_of_a_strategy_pause_its_twin_and_not_the_other_way() -> None:
    """A canary that loses is the canary's affair."""
    for loser, paused in (("s", {"s", "s.canary"}), ("s.canary", {"s.canary"})):
        gate, view = Gate(make_limits(**ROW)), tallied(**{loser: Tally(losses=3, lost_ns=held().now_ns, day=D(0))})
        found = {one for one in ("s", "s.canary") if check_of(gate.review(order(strategy=one), view))}
        assert found == paused


@pytest.mark.fault("F6")
def test_a_lost_day_is_latched_until_an_operator_resumes() -> None:
    """A look (a timer) sees the loss; the strategy wins it back: still refused.  Resumed: it enters, until it loses."""
    gate, view = Gate(make_limits(**DAY)), tallied(s=Tally(day=D(-50)))
    gate.breach(view)
    view.tally_of["s"].day = D(10)
    assert check_of(gate.review(order(), view)) == "strategy_daily_loss"
    gate.apply(Resumed(1, 1, "cli", "looked at it"))
    assert check_of(gate.review(order(), view)) == ""
    view.tally_of["s"].day = D(-51)
    gate.breach(view)
    assert check_of(gate.review(order(), view)) == "strategy_daily_loss"


@pytest.mark.fault("F6")
def test_a_lost_day_is_known_to_the_next_session() -> None:
    """A new gate is told what the old one had latched, and the day has recovered since; not after a resume."""
    gate, view = Gate(make_limits(**DAY)), tallied(s=Tally(day=D(-55)))
    gate.breach(view)
    view.tally_of["s"].day = D(10)
    after = Gate(make_limits(**DAY))
    after.restore(gate.carried())
    after.breach(view)
    assert check_of(after.review(order(), view)) == "strategy_daily_loss"
    assert after.carried() == gate.carried() != ""
    after.apply(Resumed(1, 1, "cli", "looked at it"))
    assert (after.carried(), check_of(after.review(order(), view))) == ("", "")
    with pytest.raises(msgspec.MsgspecError):
        after.restore("{}")


@pytest.mark.fault("F6")
def test_an_unknown_result_counts_as_a_breach_while_it_lasts() -> None:
    """No valuation, nothing latched: with a valuation it enters again."""
    gate, view = Gate(make_limits(**DAY)), tallied(s=Tally(day=None))
    gate.breach(view)
    assert check_of(gate.review(order(), view)) == "strategy_result_unknown"
    view.tally_of["s"].day = D(0)
    assert check_of(gate.review(order(), view)) == ""


def test_losses_in_a_row_stop_a_strategy_for_a_time() -> None:
    """Two losses pass, the third stops for a minute from when it was made, to the nanosecond; the next loss again."""
    gate, view = Gate(make_limits(**ROW)), tallied(s=Tally(losses=2))
    view.tally_of["s"].lost_ns = view.now_ns
    assert check_of(gate.review(order(), view)) == ""
    view.tally_of["s"].losses = 3
    assert check_of(gate.review(order(), view)) == "loss_cooldown"
    view.now_ns += 60 * SECOND_NS - 1
    view.quote(NAME, 99.99, 100.01)
    assert check_of(gate.review(order(), view)) == "loss_cooldown"
    view.now_ns += 1
    assert check_of(gate.review(order(), view)) == ""
    view.tally_of["s"].losses, view.tally_of["s"].lost_ns = 4, view.now_ns
    assert check_of(gate.review(order(), view)) == "loss_cooldown"
    assert check_of(gate.review(leave(), view)) == ""


def test_after_the_guardian_nothing_is_entered_there_for_a_time() -> None:
    """Its order cools the instrument down for everybody; another strategy's exit does not."""
    gate = Gate(make_limits(guardian={"stop_bps": 100, "cooldown_s": 10}))
    view = held("2")
    assert send(gate, view, leave()) == ""
    view.now_ns += 2
    assert send(gate, view, order()) == ""
    assert send(gate, view, leave(strategy=GUARDIAN)) == ""
    assert check_of(gate.review(order(), view)) == "guardian_cooldown"
    after = Gate(gate.limits)
    after.restore(gate.carried())
    assert check_of(after.review(order(), view)) == "guardian_cooldown"
    view.now_ns += 10 * SECOND_NS
    view.quote(NAME, 99.99, 100.01)
    assert check_of(gate.review(order(), view)) == ""
