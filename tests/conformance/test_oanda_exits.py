"""Exits that OANDA holds, from a strategy's wish to the venue's books: the core with its risk gate, over sockets.

What the venue links is left to it; what it cannot hold is watched by the core, and nothing is closed twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectors.oanda.sandbox.settings import AccountSettings, SandboxInstrument
from engine.commands import CancelIntent, GroupIntent, OrderIntent, OrderType, TimeInForce
from engine.events import FeedDown, OrderCancelled, OrderFilled, OrderOutcomeUnknown, OrderRejected, Side
from tests.support.venues.oanda import NAME, TICK, D, OandaRig
from tests.support.venues.rig import Session, session
from tests.support.venues.wire import TOO_MANY, Plan


class GuaranteeingRig(OandaRig):
    """Guaranteed stop-losses ten ticks from the market and farther."""

    changes: ClassVar[dict[str, Any]] = {
        "instruments": (
            SandboxInstrument(
                NAME, D("1.08402"), guaranteed="ALLOWED", guaranteed_distance=10 * TICK, guaranteed_premium=TICK
            ),
        )
    }


class HedgingRig(OandaRig):
    changes: ClassVar[dict[str, Any]] = {"accounts": (AccountSettings(hedging=True, fifo=False),)}


@pytest.fixture
async def rig(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[OandaRig]:
    async with getattr(request, "param", OandaRig)(tmp_path).running() as rig:
        assert isinstance(rig, OandaRig)
        yield rig


def leave(s: Session, kind: OrderType, **fields: Any) -> OrderIntent:
    """A sell order that closes what is held, or a part of it."""
    return s.intent(Side.SELL, order_type=kind, reduce_only=True, **fields)


def target(s: Session, ticks: int = 200, **fields: Any) -> OrderIntent:
    return leave(s, OrderType.LIMIT, limit_px=s.rig.best()[1] + ticks * TICK, **fields)


def stop(s: Session, ticks: int = 200, **fields: Any) -> OrderIntent:
    return leave(s, OrderType.STOP, trigger_px=s.rig.best()[0] - ticks * TICK, **fields)


async def hold(s: Session, times: int = 1) -> None:
    """So many trades of the rig's size."""
    for _ in range(times):
        client = s.order(order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC)
        await s.heard(client, OrderFilled)


async def rests(s: Session, rig: OandaRig, *kinds: str) -> None:
    """Just these are open at the venue, and the core has nothing under way."""
    await s.until(lambda: rig.resting() == list(kinds), f"{kinds} rest")
    await s.until(
        lambda: all(one.state == "accepted" for one in s.core.view.open_orders(rig.instrument)), "all is accepted"
    )


async def closed(s: Session, rig: OandaRig) -> None:
    """Nothing held, nothing open, nothing watched, on either side; the books are the venue's."""
    await s.until(lambda: rig.position() == 0 == s.position, "all is closed")
    await s.until(lambda: not s.core.view.groups(), "the group has ended")
    await s.until(lambda: not rig.resting(), "nothing is open")
    await s.settled()
    assert not s.core.view.open_orders(rig.instrument)
    assert not s.errors


@pytest.mark.parametrize("steps", [-250, 250])
async def test_a_bracket_rests_as_the_exits_of_its_trade(rig: OandaRig, steps: int) -> None:
    """Both are at the venue at once; whichever is reached closes the trade, and the venue takes the other one away."""
    async with session(rig) as s:
        await hold(s)
        s.wish(GroupIntent(s.intent().ts_ns, "contract", (target(s), stop(s))))
        await rests(s, rig, "TAKE_PROFIT", "STOP_LOSS")
        (order,) = s.core.view.open_orders(rig.instrument)
        await rig.move(steps)
        await closed(s, rig)
        assert [type(event) for event in s.of(order.client_order_id)][-1] is OrderFilled
        assert OrderCancelled not in s.kinds(order.client_order_id)


@pytest.mark.parametrize("rig", [OandaRig, HedgingRig], indirect=True)
async def test_a_position_of_several_trades_has_a_stop_of_its_own(rig: OandaRig) -> None:
    """No exit of one trade would close it: the first exit of the list rests as an order that reduces, the target is
    watched here; the trades go in their order."""
    async with session(rig) as s:
        await hold(s, 2)
        qty = 2 * rig.qty
        s.wish(GroupIntent(s.intent().ts_ns, "contract", (stop(s, qty=qty), target(s, qty=qty))))
        await rests(s, rig, "STOP")
        await rig.move(-250)
        await closed(s, rig)
        numbers = [int(trade.id) for trade in rig.account.trades.values() if trade.state == "CLOSED"]
        assert len(numbers) == 2
        assert [s.kinds(one.client_order_id).count(OrderRejected) for one in s.orders[-2:]] == [1, 0]


async def test_a_touched_target_waits_at_the_venue(rig: OandaRig) -> None:
    """Market-if-touched: it rests, and sells at market once the bid has come up to it."""
    async with session(rig) as s:
        await hold(s)
        s.wish(leave(s, OrderType.MARKET_IF_TOUCHED, trigger_px=rig.best()[1] + 100 * TICK))
        await rests(s, rig, "MARKET_IF_TOUCHED")
        await rig.move(150)
        await closed(s, rig)


async def test_a_trailing_stop_follows_at_the_venue(rig: OandaRig) -> None:
    """It hangs on the trade; up with the price, and executed where it then stands, above where it began."""
    async with session(rig) as s:
        await hold(s)
        s.wish(leave(s, OrderType.STOP, trailing_px=100 * TICK))
        await rig.move(1)
        await rests(s, rig, "TRAILING_STOP_LOSS")
        await rig.move(300)
        await rig.move(-150)
        await closed(s, rig)
        assert [event.px for event in s.log if type(event) is OrderFilled][-1] > D("1.08400")


async def test_a_trailing_stop_nearer_than_the_venue_allows_is_watched_here(rig: OandaRig) -> None:
    """The venue refuses its distance: the target rests in its place, and the stop goes by the prices that are seen."""
    async with session(rig) as s:
        await hold(s)
        s.wish(GroupIntent(s.intent().ts_ns, "contract", (leave(s, OrderType.STOP, trailing_px=20 * TICK), target(s))))
        await rig.move(1)
        await rests(s, rig, "LIMIT")
        await rig.move(-40)
        await closed(s, rig)


@pytest.mark.parametrize("rig", [GuaranteeingRig], indirect=True)
async def test_a_guaranteed_stop_is_executed_at_its_price_for_a_premium(rig: OandaRig) -> None:
    """The price jumps far past it; the books have the premium as a fee, as the venue has."""
    async with session(rig, venue__guaranteed_stops=True) as s:
        await hold(s)
        wish = stop(s)
        s.wish(wish)
        await rests(s, rig, "GUARANTEED_STOP_LOSS")
        await rig.move(-900)
        await closed(s, rig)
        fill = [event for event in s.log if type(event) is OrderFilled][-1]
        assert (fill.px, fill.fee) == (wish.trigger_px, D("0.0010"))


@pytest.mark.parametrize("rig", [GuaranteeingRig], indirect=True)
async def test_a_guarantee_that_is_refused_leaves_a_plain_stop(rig: OandaRig) -> None:
    """Too near for the venue to guarantee it: the next one is a stop that reduces."""
    async with session(rig, venue__guaranteed_stops=True) as s:
        await hold(s)
        s.wish(stop(s, ticks=2))
        await rests(s, rig, "STOP")
        assert [s.kinds(one.client_order_id).count(OrderRejected) for one in s.orders[-2:]] == [1, 0]


@pytest.mark.parametrize("rig", [GuaranteeingRig], indirect=True)
@pytest.mark.parametrize("first", ["stop", "target", "trailing"])
async def test_a_guarantee_that_is_refused_leaves_the_same_exits_without_it(rig: OandaRig, first: str) -> None:
    """With a target the pair of them hangs on the trade, in a longer list the stop rests that stands first: nothing
    else takes the place of what only lacks its guarantee."""
    async with session(rig, venue__guaranteed_stops=True) as s:
        await hold(s)
        near, far = stop(s, ticks=2), target(s)
        exits = {"stop": (near, far), "target": (far, near), "trailing": (near, far, stop(s, ticks=300))}[first]
        s.wish(GroupIntent(s.intent().ts_ns, "contract", exits))
        await rests(s, rig, *(["STOP"] if first == "trailing" else ["TAKE_PROFIT", "STOP_LOSS"]))
        refused = [event.reason for event in s.log if type(event) is OrderRejected]
        assert refused == ["guarantee_refused"]
        await rig.move(-250)
        await closed(s, rig)


@pytest.mark.parametrize("rig", [GuaranteeingRig], indirect=True)
async def test_a_refusal_that_says_nothing_of_guarantees_takes_none_away(rig: OandaRig) -> None:
    """One request too many: the stop is asked for again, and guaranteed."""
    async with session(rig, venue__guaranteed_stops=True) as s:
        await hold(s)
        rig.wire.plan(Plan(forwarded=False, answer=TOO_MANY))
        s.wish(stop(s))
        await rests(s, rig, "GUARANTEED_STOP_LOSS")
        assert [s.kinds(one.client_order_id).count(OrderRejected) for one in s.orders[-2:]] == [1, 0]


async def test_a_bound_that_is_passed_over_leaves_the_limit_order(rig: OandaRig) -> None:
    """The venue gives its bounded stop up; what was asked for rests at its limit, until it is crossed for."""
    async with session(rig) as s:
        await hold(s)
        bid = rig.best()[0]
        s.wish(leave(s, OrderType.STOP_LIMIT, trigger_px=bid - 100 * TICK, limit_px=bid - 110 * TICK))
        await rests(s, rig, "STOP")
        await rig.move(-400)
        bounded = s.orders[-1].client_order_id
        await s.heard(bounded, OrderCancelled)
        assert s.of(bounded)[-1].reason == "BOUNDS_VIOLATION"
        await rests(s, rig, "LIMIT")
        await closed(s, rig)


async def test_an_entry_stop_opens_and_has_its_exits(rig: OandaRig) -> None:
    """It rests at the venue, opens a trade when its price comes, and the trade has target and stop."""
    async with session(rig) as s:
        px = rig.best()[1] + 50 * TICK
        entry = s.intent(order_type=OrderType.STOP, trigger_px=px)
        s.wish(GroupIntent(entry.ts_ns, "contract", (target(s, 400), stop(s, 400)), entry))
        await rests(s, rig, "STOP")
        await rig.move(60)
        await s.until(lambda: s.position == rig.qty, "it has entered")
        await rests(s, rig, "TAKE_PROFIT", "STOP_LOSS")
        await rig.move(-600)
        await closed(s, rig)


@pytest.mark.fault("B14")
@pytest.mark.parametrize("forwarded", [True, False])
@pytest.mark.parametrize("kind", ["stop", "touch", "bracket", "trailing"])
async def test_an_exit_without_an_answer_is_found_or_sent_again(rig: OandaRig, kind: str, forwarded: bool) -> None:
    """Its answer is lost, and the stream says nothing meanwhile: the account's transactions tell what became of it,
    and there is one at the venue in the end."""
    async with session(rig) as s:
        await hold(s)
        rig.wire.plan(Plan(forwarded=forwarded))
        rig.wire.hold_streams()
        wishes: dict[str, Any] = {
            "stop": stop(s),
            "touch": leave(s, OrderType.MARKET_IF_TOUCHED, trigger_px=rig.best()[1] + 100 * TICK),
            "bracket": GroupIntent(s.intent().ts_ns, "contract", (target(s), stop(s))),
            "trailing": leave(s, OrderType.STOP, trailing_px=100 * TICK),
        }
        s.wish(wishes[kind])
        await s.until(lambda: any(type(event) is OrderOutcomeUnknown for event in s.log), "its outcome is unknown")
        rig.wire.release_streams()
        kinds = {
            "stop": ["STOP"],
            "touch": ["MARKET_IF_TOUCHED"],
            "bracket": ["TAKE_PROFIT", "STOP_LOSS"],
            "trailing": ["TRAILING_STOP_LOSS"],
        }
        await rests(s, rig, *kinds[kind])
        await rig.move(250 if kind == "touch" else -250)
        await closed(s, rig)


@pytest.mark.fault("B9")
async def test_a_bracket_that_acts_while_nobody_listens_is_booked_once(rig: OandaRig) -> None:
    """All streams are cut, the stop is reached, the streams come back: one execution, and the group has ended."""
    async with session(rig) as s:
        await hold(s)
        s.wish(GroupIntent(s.intent().ts_ns, "contract", (target(s), stop(s))))
        await rests(s, rig, "TAKE_PROFIT", "STOP_LOSS")
        order = s.orders[-1].client_order_id
        await rig.wire.cut_streams()
        await rig.move(-250)
        await s.until(lambda: any(type(event) is FeedDown for event in s.log), "the stream is down")
        await closed(s, rig)
        assert s.filled(order) == rig.qty


@pytest.mark.parametrize("first", ["cancel", "price"])
async def test_a_cancel_and_a_price_that_meet_close_at_most_once(rig: OandaRig, first: str) -> None:
    """Whichever was first at the venue: either both orders are gone and the position is there, or it is closed."""
    async with session(rig) as s:
        await hold(s)
        s.wish(GroupIntent(s.intent().ts_ns, "contract", (target(s), stop(s))))
        await rests(s, rig, "TAKE_PROFIT", "STOP_LOSS")
        (group,) = s.core.view.groups()
        away = CancelIntent(s.intent().ts_ns, "contract", group.group_id)
        if first == "cancel":
            s.wish(away)
            await rig.move(-250)
        else:
            await rig.move(-250)
            s.wish(away)
        await s.until(lambda: not s.core.view.groups(), "the group has ended")
        await s.until(lambda: not rig.resting(), "nothing is open")
        await s.settled()
        assert s.position == rig.position() in (0, rig.qty)


async def test_what_somebody_else_does_to_half_a_bracket_is_made_good(rig: OandaRig) -> None:
    """The stop-loss is cancelled by hand: the take-profit goes as well, and both come back."""
    async with session(rig) as s:
        await hold(s)
        s.wish(GroupIntent(s.intent().ts_ns, "contract", (target(s), stop(s))))
        await rests(s, rig, "TAKE_PROFIT", "STOP_LOSS")
        before = list(rig.account.pending)
        rig.cancel(before[1])
        await s.until(lambda: len(s.orders) == 3, "another bracket is sent")
        await rests(s, rig, "TAKE_PROFIT", "STOP_LOSS")
        assert not set(before) & set(rig.account.pending)


async def test_exits_of_somebody_else_stay_where_they_are(rig: OandaRig) -> None:
    """A stop-loss by hand hangs on the trade: ours takes no place of it, and rests as an order of its own."""
    async with session(rig) as s:
        await hold(s)
        (trade,) = rig.account.open_trades.values()
        rig.place("STOP_LOSS", tradeID=trade.id, price="1.05000")
        await s.settled()
        s.wish(GroupIntent(s.intent().ts_ns, "contract", (stop(s), target(s))))
        await rests(s, rig, "STOP_LOSS", "STOP")
        await rig.move(-250)
        await closed(s, rig)
