"""Orders that belong together: begun, ended, taken over by the next session, and refused where they cannot be."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.commands import (
    CancelIntent,
    GroupIntent,
    OrderType,
    Rejected,
    ReplaceIntent,
    StrategyQuarantined,
    TimeInForce,
)
from engine.group_course import RETRY_NS
from engine.grouping import GROUPS_MAX
from tests.support.core import intent
from tests.support.groups import (
    SECOND_NS,
    D,
    Trader,
    bracket,
    entries,
    exit_of,
    holding,
    restarted,
    settle,
    stop,
    stopped,
    target,
)

# --- one excludes the other -------------------------------------------------------------------------------------------


def test_two_entries_of_which_one_is_to_fill() -> None:
    """Buy below or buy the breakout: the limit order rests, the stop waits, and takes over without both being out."""
    low = intent(qty="1", limit_px=D(95), time_in_force=TimeInForce.GTC)
    breakout = intent(qty="1", order_type=OrderType.STOP, limit_px=None, trigger_px=D(105),
                      time_in_force=TimeInForce.GTC)  # fmt: skip
    trader = Trader()
    trader.wish(entries(low, breakout))
    rests = trader.last
    assert rests.intent.limit_px == D(95)
    trader.accept(rests)
    trader.price(105.0)
    assert (trader.venue.cancelled, trader.last) == ([rests.client_order_id], rests)
    trader.end(rests, e.OrderCancelled)
    assert trader.last.intent.order_type is OrderType.MARKET
    trader.fill(trader.last, "1", "105", "t1")
    assert trader.ended == ["nothing is left to close"]


def test_entries_that_wait_end_when_no_risk_may_be_added() -> None:
    """A halt and what only reduces are two things: the waiting entry must not come back with a resume."""
    trader = Trader()
    trader.wish(intent(qty="1", order_type=OrderType.STOP, limit_px=None, trigger_px=D(105),
                       time_in_force=TimeInForce.GTC))  # fmt: skip
    at = trader.now_ns + 1
    trader.publish(e.Reduced(at, at, "test", "test"))
    trader.wait(SECOND_NS)
    assert trader.ended == ["risk is reducing"]


# --- ends -------------------------------------------------------------------------------------------------------------


def test_cancelling_the_group_or_its_exit_ends_it() -> None:
    """By the id of the group, and by that of the order that is out: nothing takes its place."""
    for which in ("group", "exit"):
        trader, rests = holding()
        trader.accept(rests)
        name = rests.intent.parent_id if which == "group" else rests.client_order_id
        trader.wish(CancelIntent(trader.now_ns, "s", name, "enough"))
        assert trader.venue.cancelled == [rests.client_order_id]
        trader.end(rests, e.OrderCancelled)
        trader.price(50.0)
        assert (trader.ended, trader.last) == (["enough"], rests)


def test_another_strategys_group_cannot_be_cancelled() -> None:
    """Its name in the intent counts, as for orders."""
    trader, _ = holding()
    (group,) = trader.core.view.groups()
    assert not trader.core.desk.groups.cancel(group.group_id, "other", "")
    assert trader.core.view.groups()


def test_an_exit_cannot_be_replaced_under_its_group() -> None:
    """Its size is what is left to close: refused on record, the exit stays."""
    trader, rests = holding()
    trader.accept(rests)
    trader.wish(ReplaceIntent(trader.now_ns, "s", rests.client_order_id, D(1), D(120)))
    assert (trader.venue.cancelled, trader.of(Rejected)[-1].check) == ([], "group")


def test_an_entry_that_is_replaced_keeps_its_exits() -> None:
    """The new version fills for the same group."""
    trader = Trader()
    trader.wish(bracket())
    entry = trader.last
    trader.accept(entry)
    trader.wish(ReplaceIntent(trader.now_ns, "s", entry.client_order_id, D(2), D(101)))
    trader.end(entry, e.OrderCancelled)
    newer = trader.last
    assert newer.intent.limit_px == D(101)
    trader.fill(newer, "2", "101", "t1")
    assert (trader.last.intent.limit_px, trader.last.intent.qty) == (D(110), D(2))


def test_a_position_that_somebody_else_closes_ends_the_group() -> None:
    """The strategy sells by itself: the exit shrinks to what is held, then goes."""
    trader, rests = holding()
    trader.accept(rests)
    sold = trader.place(e.Side.SELL, "2")
    trader.fill(sold, "2", "100", "t5")
    trader.wait(SECOND_NS)
    assert trader.venue.cancelled == [rests.client_order_id]
    trader.end(rests, e.OrderCancelled)
    assert trader.ended == ["nothing is left to close"]


def test_a_group_that_expires_takes_its_exits_along() -> None:
    """Good till a date: the order at the venue is cancelled, nothing is watched any more."""
    ends = {"time_in_force": TimeInForce.GTD, "expire_ns": 5 * SECOND_NS}
    trader, rests = holding(bracket(target(**ends), stop(**ends)))
    assert rests.intent.time_in_force is TimeInForce.GTC
    trader.wait(6 * SECOND_NS)
    trader.end(rests, e.OrderCancelled)
    assert trader.ended == ["expired"]


@pytest.mark.fault("A14")
def test_the_exits_of_a_broken_strategy_go_on() -> None:
    """It is not asked any more and its entry is cancelled; stop and target stay, and the stop still fires."""
    trader, rests = holding()
    trader.accept(rests)
    other = trader.place(qty="1")
    trader.accept(other)
    trader.wish(intent(strategy="somebody else"))
    assert trader.of(StrategyQuarantined)
    assert trader.venue.cancelled == [other.client_order_id]
    trader.price(89.0)
    assert trader.venue.cancelled == [other.client_order_id, rests.client_order_id]
    trader.end(rests, e.OrderCancelled)
    assert trader.last.intent.order_type is OrderType.MARKET


def test_a_halt_takes_the_resting_exit_and_the_prices_are_still_watched() -> None:
    """Nothing rests while halted; what closes at once may leave."""
    trader, rests = holding()
    trader.accept(rests)
    at = trader.now_ns + 1
    trader.publish(e.Halted(at, at, "test", "test"))
    trader.end(rests, e.OrderCancelled)
    trader.wait(SECOND_NS)
    assert trader.last is rests
    trader.price(89.0)
    assert (trader.last.intent.order_type, trader.last.intent.qty) == (OrderType.MARKET, D(2))


def test_a_resting_exit_that_the_venue_ends_comes_back_with_pauses() -> None:
    """Refused again and again: sent again later and later, while the stop is watched here."""
    trader, _ = holding()
    sent = []
    for _ in range(60):
        if trader.last is not (sent[-1] if sent else None):
            sent.append(trader.last)
            trader.end(trader.last, e.OrderRejected)
        trader.wait(RETRY_NS)
    assert 5 <= len(sent) <= 8


# --- from one session to the next -------------------------------------------------------------------------------------


@pytest.mark.fault("A4")
@pytest.mark.parametrize("how", ["kept", "killed"])
def test_a_group_goes_on_where_it_was(how: str) -> None:
    """Entry and exit filled in part, a stop still waiting: the next session knows the rest, and waits for the venue."""
    before, rests = holding()
    before.accept(rests)
    before.fill(rests, "0.5", "110", "t2")
    told = before.core.view.groups()
    after = restarted(before, how)
    assert after.core.view.groups() == told
    after.price(89.0)
    assert after.venue.orders == after.venue.cancelled == []
    settle(after, D("1.5"), rests.client_order_id)
    after.price(89.0)
    after.wait(SECOND_NS)
    assert after.venue.cancelled == [rests.client_order_id]
    after.end(rests, e.OrderCancelled)
    assert (after.last.intent.qty, after.last.intent.order_type) == (D("1.5"), OrderType.MARKET)


@pytest.mark.parametrize("how", ["kept", "killed"])
def test_an_exit_that_filled_between_two_sessions_counts(how: str) -> None:
    """The venue tells the fill before it confirms the account: nothing is left, and nothing is sent."""
    before, rests = holding()
    before.accept(rests)
    after = restarted(before, how)
    after.fill(rests, "2", "110", "t2")
    settle(after, D(0))
    after.wait(SECOND_NS)
    after.price(50.0)
    assert (after.ended, after.venue.orders) == (["nothing is left to close"], [])


@pytest.mark.parametrize("how", ["kept", "killed"])
def test_a_trailing_level_is_not_forgotten(how: str) -> None:
    """What was reached before counts, though the price has fallen since: to a tenth of the distance after a kill."""
    before = stopped(exit_of(OrderType.STOP, trailing_px=D(5)))
    before.price(120.0)
    before.price(117.0)
    after = restarted(before, how)
    assert after.core.view.groups()[0].levels_px == (D(115),)


@pytest.mark.fault("A2")
@pytest.mark.parametrize("how", ["kept", "killed"])
def test_a_group_that_was_cancelled_is_not_taken_up_again(how: str) -> None:
    """Killed between the cancel and the end of its order: the next session cancels that, and sends nothing after it."""
    before, rests = holding()
    before.accept(rests)
    before.wish(CancelIntent(before.now_ns, "s", rests.intent.parent_id, "enough"))
    after = restarted(before, how)
    settle(after, D(2), rests.client_order_id)
    after.wait(SECOND_NS)
    assert after.venue.cancelled == [rests.client_order_id]
    after.end(rests, e.OrderCancelled)
    after.price(50.0)
    after.wait(SECOND_NS)
    assert (after.venue.orders, after.core.view.groups()) == ([], ())


@pytest.mark.parametrize("how", ["kept", "killed"])
def test_a_group_that_ended_stays_ended(how: str) -> None:
    """Nothing is watched again."""
    before, rests = holding()
    before.fill(rests, "2", "110", "t2")
    assert restarted(before, how).core.view.groups() == ()


# --- what cannot be carried out ---------------------------------------------------------------------------------------

_WRONG = [
    (entries(), "quarantined"),
    (GroupIntent(1, "s", tuple(stop() for _ in range(9))), "9 exits"),
    (GroupIntent(1, "s", (target(), stop(qty="1"))), "exits that differ"),
    (GroupIntent(1, "s", (target(), stop("90.001"))), "price 90.001"),
    (GroupIntent(1, "s", (target(time_in_force=TimeInForce.IOC),)), "an exit with ioc"),
    (GroupIntent(1, "s", (exit_of(OrderType.MARKET),)), "an exit of type market"),
    (GroupIntent(1, "s", (exit_of(OrderType.STOP),)), "an exit of type stop"),
    (GroupIntent(1, "s", (exit_of(OrderType.STOP, trailing_px=D(-1)),)), "trailing_px -1"),
    (GroupIntent(1, "s", (target(expire_ns=5),)), "an exit with gtc and expire_ns 5"),
    (GroupIntent(1, "s", (target(reduce_only=False),), intent(qty="2")), "exits of an entry that may do more"),
    (GroupIntent(1, "s", (target(),), intent(qty="1")), "an entry that its exits do not close"),
    (GroupIntent(1, "s", (target(),), intent(qty="2", order_type=OrderType.BRACKET)), "an entry of type bracket"),
]


@pytest.mark.parametrize(("wish", "seen"), _WRONG)
def test_a_wish_that_could_not_be_carried_out_is_refused_at_once(wish: GroupIntent, seen: str) -> None:
    """Said when it is asked for, not when the stop is needed; nothing is sent and nothing is watched."""
    trader = Trader()
    trader.wish(wish)
    assert (trader.venue.orders, trader.core.view.groups()) == ([], ())
    if seen == "quarantined":
        assert trader.of(StrategyQuarantined)
    else:
        (refused,) = trader.of(Rejected)
        assert (refused.check, refused.seen[: len(seen)]) == ("group", seen)


def test_groups_are_bounded() -> None:
    """One more than the bound is refused by name."""
    trader = Trader()
    waits = intent(qty="1", order_type=OrderType.STOP, limit_px=None, trigger_px=D(105), time_in_force=TimeInForce.GTC)
    trader.wish(*[waits] * (GROUPS_MAX + 1))
    assert len(trader.core.view.groups()) == GROUPS_MAX
    assert trader.of(Rejected)[-1].check == "groups"


def test_prices_that_are_to_be_watched_need_an_instrument() -> None:
    """A name that was never defined is refused like any order's."""
    trader = Trader()
    trader.wish(stop(instrument="ETH/USD@coinbase"))
    assert trader.of(Rejected)[-1].check == "instrument"


@pytest.mark.fault("B5")
@pytest.mark.parametrize("how", ["kept", "killed"])
@pytest.mark.parametrize("when", ["before it is confirmed", "after"])
def test_a_late_fill_of_an_entry_has_its_exits_in_the_next_session_too(how: str, when: str) -> None:
    """It expired with nothing filled, and its group ended with it: what it has bought is not left alone."""
    before = Trader()
    before.wish(bracket())
    entry = before.last
    before.end(entry, e.OrderExpired)
    assert before.ended == ["nothing is left to close"]
    after = restarted(before, how)
    if when == "after":
        settle(after, D(0))
    after.fill(entry, "2", "100", "late")
    if when != "after":
        settle(after, D(2))
    for _ in range(3):
        after.wait(SECOND_NS)
    assert (after.last.intent.limit_px, after.last.intent.qty) == (D(110), D(2))
    after.accept(after.last)
    assert len(after.core.view.groups()) == 1
