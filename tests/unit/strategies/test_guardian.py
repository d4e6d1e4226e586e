"""The guardian: when it leaves, with what, whose position it was, and that it needs nobody."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine import events as e
from engine.commands import (
    CancelIntent,
    CancelOrder,
    NewOrder,
    OrderIntent,
    OrderType,
    Rejected,
    RiskState,
    StrategyQuarantined,
    TimeInForce,
)
from engine.core import TradingCore
from engine.ports import Stake
from engine.stakes import EVERYONE, GUARDIAN, OPERATOR
from risk.gate import Gate
from strategies.guardian import Guardian, GuardianParams
from tests.support.core import BTC, MemoryRecorder, Scripted, build_core, fill, intent, open_market, perpetual, quote
from tests.support.fake_view import FakeView
from tests.support.gate import order
from tests.support.limits import NAME, make_limits

D = Decimal
S = 1_000_000_000
RULES: dict[str, Any] = {"stop_bps": 100.0, "take_profit_bps": 200.0, "max_age_ns": 60 * S}


def make(**changes: Any) -> Guardian:
    return Guardian(GUARDIAN, [NAME], GuardianParams(**{**RULES, **changes}))


def holding(qty: str = "1", avg_px: str = "100", strategy: str = "s") -> FakeView:
    """A strategy's position since now."""
    view = FakeView()
    view.hold(NAME, D(qty), D(avg_px), strategy=strategy)
    view.stakes[EVERYONE, NAME] = Stake(qty=D(qty), avg_px=D(avg_px), since_ns=view.now_ns)
    return view


def reason(guardian: Guardian, view: FakeView) -> str:
    """Of the order that it sends at these prices; empty when it sends none."""
    orders = [one for one in guardian.on_quote(NAME, view) if isinstance(one, OrderIntent)]
    assert all(one.reduce_only and one.strategy == GUARDIAN for one in orders)
    return orders[0].reason if orders else ""


@pytest.mark.parametrize(
    ("qty", "bid", "ask", "expected"),
    [
        ("1", 99.01, 99.03, ""),
        ("1", 99.00, 99.02, "guardian stop"),
        ("1", 101.99, 102.01, ""),
        ("1", 102.00, 102.02, "guardian take_profit"),
        ("-1", 100.97, 100.99, ""),
        ("-1", 100.98, 101.00, "guardian stop"),
        ("-1", 97.98, 98.00, "guardian take_profit"),
    ],
)
def test_it_leaves_at_the_price_the_position_could_be_closed_at(
    qty: str, bid: float, ask: float, expected: str
) -> None:
    """100 bps of loss and 200 of gain against 100: a long by the bid, a short by the ask."""
    view = holding(qty)
    view.quote(NAME, bid, ask)
    assert reason(make(), view) == expected


def test_each_rule_can_be_off() -> None:
    """Without a stop nothing stops; a rule that is below zero or no number is refused."""
    view = holding()
    view.quote(NAME, 50.0, 50.02)
    assert reason(make(stop_bps=0.0), view) == ""
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="stop_bps"):
            make(stop_bps=wrong)


def test_age_needs_no_quote() -> None:
    """A minute after the position left flat, on a timer, with no readable book: at market."""
    view, guardian = holding(), make()
    view.now_ns += 60 * S - 1
    view.tops = {}
    timer = e.Timer(view.now_ns, view.now_ns, "heartbeat")
    assert list(guardian.on_timer(timer, view)) == []
    view.now_ns += 1
    (wish,) = guardian.on_timer(timer, view)
    assert isinstance(wish, OrderIntent)
    assert (wish.reason, wish.order_type) == ("guardian max_age", OrderType.MARKET)


def test_a_suspect_price_is_judged_and_left_at_market() -> None:
    """Prices of which the time alone is refused (0018): a limit order on them would be refused, the stop is not."""
    view = holding()
    view.quote(NAME, 98.0, 98.02, suspect=True)
    (wish,) = make().on_quote(NAME, view)
    assert isinstance(wish, OrderIntent)
    assert wish.order_type is OrderType.MARKET
    crossed = holding()
    crossed.quote(NAME, 98.0, 97.0, crossed=True)
    assert reason(make(), crossed) == ""


def test_it_goes_up_the_ladder_and_sends_no_second_order_at_once() -> None:
    """Limits thrice, each after its wait, then market; a stop that fired does not un-fire when the price returns."""
    view, guardian = holding(), make()
    view.quote(NAME, 98.0, 98.02)
    kinds = []
    for _ in range(5):
        (wish,) = guardian.on_quote(NAME, view)
        assert isinstance(wish, OrderIntent)
        kinds.append(wish.order_type)
        assert reason(guardian, view) == ""
        view.now_ns += S
        view.quote(NAME, 100.0, 100.02)
    assert kinds == [OrderType.LIMIT] * 3 + [OrderType.MARKET] * 2


def test_orders_that_hold_the_position_back_are_cancelled_first() -> None:
    """A take-profit of the strategy covers all of it: the guardian asks for its cancel, then leaves; not for orders of
    people, which are none of a strategy's."""
    view, guardian = holding(), make()
    mine = view.open(order(side=e.Side.SELL, limit_px=D(110), reduce_only=True))
    view.open(order(side=e.Side.BUY, limit_px=D(90), strategy=""))
    view.quote(NAME, 98.0, 98.02)
    (cancel,) = guardian.on_quote(NAME, view)
    assert isinstance(cancel, CancelIntent)
    assert (cancel.client_order_id, cancel.strategy) == (mine.client_order_id, GUARDIAN)
    assert list(guardian.on_quote(NAME, view)) == []
    view.close(mine.client_order_id)
    assert reason(guardian, view) == "guardian stop"


def test_it_leaves_a_close_by_hand_that_is_out_alone() -> None:
    """At market, which a slow venue has not filled yet: cancelled, it would be sent again, and so on.  An order by hand
    that waits for a better price goes."""
    view, guardian = holding(), make()
    view.open(order(side=e.Side.SELL, limit_px=None, order_type=OrderType.MARKET, strategy=OPERATOR, reduce_only=True))
    view.quote(NAME, 98.0, 98.02)
    assert list(guardian.on_quote(NAME, view)) == []
    waits = order(side=e.Side.SELL, limit_px=D(120), strategy=OPERATOR, reduce_only=True)
    opened = view.open(msgspec.structs.replace(waits, time_in_force=TimeInForce.GTC))
    (cancel,) = guardian.on_quote(NAME, view)
    assert isinstance(cancel, CancelIntent)
    assert cancel.client_order_id == opened.client_order_id


def test_what_no_strategy_bought_is_left_alone() -> None:
    """The account holds 5 of its owner's own and has lost half of it: no business of the guardian's."""
    view = FakeView()
    view.hold(NAME, D(5), D(200))
    assert reason(make(), view) == ""
    mixed = holding("1")
    mixed.hold(NAME, D(6), D(100), strategy="s")
    mixed.quote(NAME, 98.0, 98.02)
    (wish,) = make().on_quote(NAME, mixed)
    assert isinstance(wish, OrderIntent)
    assert wish.qty == 1


def test_it_sends_nothing_beside_an_exit_that_is_not_gone_yet() -> None:
    """The account holds 5 of its owner's own beside the strategy's 1: the strategy's exit and the guardian's would both
    be carried out, and one of them sell what is the owner's."""
    view, guardian = holding(), make()
    view.hold(NAME, D(6), D(100), strategy="s")
    mine = view.open(order(side=e.Side.SELL, limit_px=D(110), reduce_only=True))
    view.quote(NAME, 98.0, 98.02)
    (cancel,) = guardian.on_quote(NAME, view)
    assert isinstance(cancel, CancelIntent)
    view.close(mine.client_order_id)
    assert reason(guardian, view) == "guardian stop"


def test_another_position_of_the_same_size_is_not_left_for_the_old_ones_reason() -> None:
    """The stop fired, the strategy got out by itself and entered anew between two looks: it starts from nothing."""
    view, guardian = holding(), make()
    view.quote(NAME, 98.0, 98.02)
    assert reason(guardian, view) == "guardian stop"
    view.now_ns += S
    view.stakes[EVERYONE, NAME] = Stake(qty=D(1), avg_px=D(98), since_ns=view.now_ns)
    view.quote(NAME, 98.0, 98.02)
    assert reason(guardian, view) == ""


def test_it_goes_on_in_the_next_session() -> None:
    """A latched stop is restored with its attempts, and an age counts from the stake."""
    view, guardian = holding(), make()
    view.quote(NAME, 98.0, 98.02)
    assert reason(guardian, view) == "guardian stop"
    again = make()
    again.restore(guardian.state())
    view.now_ns += S
    view.quote(NAME, 100.0, 100.02)
    assert reason(again, view) == "guardian stop"


# --- in the core --------------------------------------------------------------------------------------------------


def trading(*strategies: Any, **params: Any) -> tuple[TradingCore, MemoryRecorder]:
    """A real core and gate on a perpetual with what the guardian needs beside the strategies."""
    recorder = MemoryRecorder()
    gate = Gate(make_limits(allowed_instruments=[BTC], guardian={"stop_bps": 100, "cooldown_s": 10}))
    guardian = Guardian(GUARDIAN, [BTC], GuardianParams(**{**RULES, **params}))
    core = build_core(recorder, *strategies, guardian, gate=gate)  # type: ignore[arg-type]
    open_market(core, perpetual(), cash="10000")
    core.on_event(e.Timer(S, S, "heartbeat"))
    return core, recorder


def sent(core: TradingCore, event: Any) -> list[Any]:
    return list(core.on_event(event))


@pytest.mark.fault("A14")
@pytest.mark.fault("B19")
def test_a_dead_strategys_position_is_still_stopped() -> None:
    """It buys, then raises: quarantined.  The price falls through the guardian's stop; its order closes the position,
    which is booked to the dead strategy, and nothing is entered for the cool-down."""
    strategy = Scripted("s", on_quote=lambda *_: [intent(limit_px=D("100.01"))])
    core, recorder = trading(strategy)
    (bought,) = sent(core, quote(2 * S))
    strategy.answers = {"on_quote": lambda *_: 1 / 0}  # type: ignore[dict-item,return-value]
    core.on_event(fill(bought, "1", "100.01", "t1", ts_ns=3 * S))
    core.on_event(quote(4 * S))
    assert [one.strategy for one in recorder.of(StrategyQuarantined)] == ["s"]
    assert sent(core, quote(5 * S, 99.5, 99.51)) == []
    (left,) = sent(core, quote(6 * S, 98.9, 98.91))
    assert isinstance(left, NewOrder)
    assert (left.intent.strategy, left.intent.reason, left.intent.qty) == (GUARDIAN, "guardian stop", 1)
    core.on_event(fill(left, "1", "98.88", "t2", ts_ns=7 * S))
    assert core.view.strategy_qty("s", BTC) == 0
    assert core.view.strategy_qty(GUARDIAN, BTC) == 0
    assert core.view.tallies()["s"].losses == 1
    assert sent(core, quote(8 * S, 98.9, 98.91)) == []
    assert core.view.position(BTC).qty == 0


@pytest.mark.fault("B19")
def test_it_leaves_in_every_state_of_risk() -> None:
    """HALTED: orders are cancelled, entries refused; the guardian still gets out, at market in the end."""
    strategy = Scripted("s", on_quote=lambda *_: [intent(limit_px=D("100.01"))])
    core, _ = trading(strategy)
    (bought,) = sent(core, quote(2 * S))
    strategy.answers = {}
    core.on_event(fill(bought, "1", "100.01", "t1", ts_ns=3 * S))
    core.on_event(e.Halted(4 * S, 4 * S, "test", "stop"))
    assert core.gate.state is RiskState.HALTED
    kinds = []
    for number in range(4):
        now_ns = (5 + number) * S
        (left,) = sent(core, quote(now_ns, 98.9, 98.91))
        kinds.append(left.intent.order_type)
        core.on_event(e.OrderCancelled(now_ns + 1, now_ns + 1, "coinbase", left.client_order_id, "v"))
    assert kinds == [OrderType.LIMIT] * 3 + [OrderType.MARKET]


def test_it_has_a_resting_exit_of_a_strategy_cancelled() -> None:
    """The core carries out the guardian's cancel of another strategy's order; no strategy can cancel another's."""
    strategy = Scripted("s", on_quote=lambda *_: [intent(limit_px=D("100.01"))])
    other = Scripted("t")
    core, _ = trading(strategy, other)
    (bought,) = sent(core, quote(2 * S))
    core.on_event(fill(bought, "1", "100.01", "t1", ts_ns=3 * S))
    strategy.answers = {
        "on_quote": lambda *_: [intent(e.Side.SELL, limit_px=D("105"), reduce_only=True, time_in_force=TimeInForce.GTC)]
    }
    (resting,) = sent(core, quote(4 * S))
    strategy.answers = {}
    other.answers = {"on_quote": lambda *_: [CancelIntent(1, "t", resting.client_order_id)]}
    assert sent(core, quote(5 * S)) == []
    (cancel,) = sent(core, quote(6 * S, 98.9, 98.91))
    assert isinstance(cancel, CancelOrder)
    assert cancel.client_order_id == resting.client_order_id
    core.on_event(e.OrderCancelled(7 * S, 7 * S, "coinbase", resting.client_order_id, "v"))
    (left,) = sent(core, quote(8 * S, 98.9, 98.91))
    assert left.intent.strategy == GUARDIAN


@pytest.mark.fault("F12")
@pytest.mark.parametrize("leaver", ["s", GUARDIAN])
def test_an_exit_has_a_bid_of_another_strategy_cancelled_before_it_would_trade_with_it(leaver: str) -> None:
    """The other's bid rests where the exit sells, a strategy's or the guardian's: its cancel leaves alone, and the exit
    once it is confirmed; where that never comes, a second later."""
    strategy, other = Scripted("s", on_quote=lambda *_: [intent(limit_px=D("100.01"))]), Scripted("t")
    core, recorder = trading(strategy, other, stop_bps=100.0 if leaver == GUARDIAN else 0.0)
    (bought,) = sent(core, quote(2 * S))
    core.on_event(fill(bought, "1", "100.01", "t1", ts_ns=3 * S))
    bid = intent(strategy="t", limit_px=D("98.90"), time_in_force=TimeInForce.GTC)
    strategy.answers, other.answers = {}, {"on_quote": lambda *_: [bid]}
    (resting,) = sent(core, quote(4 * S, 99.1, 99.11))
    other.answers = {}
    leave = intent(e.Side.SELL, limit_px=D("98.88"), reduce_only=True)
    if leaver == "s":
        strategy.answers = {"on_quote": lambda *_: [leave]}
    (cancel,) = sent(core, quote(5 * S, 98.9, 98.91))
    assert isinstance(cancel, CancelOrder)
    assert cancel.client_order_id == resting.client_order_id
    assert [(one.check, one.intent.strategy) for one in recorder.of(Rejected)] == [("in_the_way", leaver)]
    if leaver == "s":
        core.on_event(e.OrderCancelled(5 * S + 1, 5 * S + 1, "coinbase", resting.client_order_id, "v"))
        now_ns = 5 * S + 2
    else:
        assert sent(core, quote(6 * S - 1, 98.9, 98.91)) == []
        now_ns = 7 * S
    (left,) = sent(core, quote(now_ns, 98.9, 98.91))
    assert isinstance(left, NewOrder)
    assert left.intent.strategy == leaver


@pytest.mark.fault("A14")
def test_a_guardian_that_fails_stops_new_risk() -> None:
    """A defect of ours in it: quarantined like any strategy, and risk is reducing, since its stops are gone."""
    core, recorder = trading(Scripted("s"))
    (guardian,) = [slot for slot in core.slots if slot.name == GUARDIAN]
    guardian.on_timer = lambda *_: 1 / 0
    core.on_event(e.Timer(9 * S, 9 * S, "heartbeat"))
    assert [one.strategy for one in recorder.of(StrategyQuarantined)] == [GUARDIAN]
    assert (core.gate.state, "guardian failed" in core.desk.latch.reason) == (RiskState.REDUCING, True)


def test_what_is_carried_over_and_not_defined_yet_does_not_end_it() -> None:
    """A stake of an earlier session in an instrument whose definition comes later: looked at from then on."""
    view, guardian = holding(), make()
    defined = view.defined
    view.defined, view.now_ns = {}, view.now_ns + 60 * S
    timer = e.Timer(view.now_ns, view.now_ns, "heartbeat")
    assert list(guardian.on_timer(timer, view)) == []
    view.defined = defined
    assert len(list(guardian.on_timer(timer, view))) == 1
