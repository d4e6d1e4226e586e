"""Orders changed in place at the Coinbase sandbox, over real sockets: what is told, and what proves it when answers
get lost.  The market stands still."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from connectors.coinbase import order_checks
from connectors.coinbase.sandbox import editing
from engine.commands import ReplaceOrder
from engine.events import (
    AccountSettled,
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderReplaced,
    ReplaceOutcomeUnknown,
    ReplaceRejected,
)
from tests.support.coinbase import BTC
from tests.support.coinbase_account import GRACE_S, D, Hand, One, session, still_exchange
from tests.support.waiting import until

QTY, PX = D("0.01"), D("1000.00")


@pytest.fixture(autouse=True)
def looks_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between two look-ups; their grace is ``tests.support.coinbase_account.GRACE_S``."""
    monkeypatch.setattr(order_checks, "CHECK_AGAIN_S", 0.1)


async def rests(one: One, client: str, **fields: Any) -> None:
    one.submit(client, **{"qty": QTY, "limit_px": PX, **fields})
    await one.accepted(client)


def change(one: One, client: str, qty: str, px: str) -> ReplaceOrder:
    """Asked of the venue; the order is as it was sent."""
    old = one.sent[client].intent
    assert old.limit_px is not None
    made = ReplaceOrder(
        time.time_ns(), client, "coinbase", one.of(client)[0].venue_order_id, BTC, D(qty), D(px), old.qty, old.limit_px
    )  # fmt: skip
    assert one.venue.gateway is not None
    one.venue.gateway.replace(made)
    return made


def version(hand: Hand, client: str) -> tuple[Any, ...]:
    spec = hand.exchange.orders[hand.order_id(client)].spec
    return (spec.base_size, spec.limit_px)


def shown(one: One, client: str) -> list[tuple[Any, ...]]:
    """Versions and refusals that were told."""
    told = [event for event in one.of(client) if type(event) in (OrderReplaced, ReplaceRejected)]
    return [(one.qty, one.limit_px) if type(one) is OrderReplaced else (one.reason,) for one in told]


async def goes_wrong(hand: Hand, **fault: Any) -> None:
    """The next change's request or answer."""
    act = {"act": "answer", "path": "/orders/edit", "method": "POST", **fault}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{hand.sandbox.rest_url}/sandbox/operator", json=act) as answer,
    ):
        assert answer.status == 200


@pytest.mark.fault("B13")
async def test_an_order_becomes_another_under_its_ids_and_its_fills_are_the_one_orders(tmp_path: Path) -> None:
    """Twice, with a fill in between; the venue holds that version, and refusals change nothing."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        await rests(one, "a", limit_px=hand.best()[0] + D("0.04"))
        near = str(hand.best()[0] + D("0.01"))
        change(one, "a", "0.02", near)
        await until(lambda: shown(one, "a") == [(D("0.02"), D(near))])
        hand.fill("a", "0.005")
        await until(lambda: OrderFilled in one.kinds("a"))
        change(one, "a", "0.004", near)
        await until(lambda: len(shown(one, "a")) == 2)
        assert shown(one, "a")[1] == ("invalid_qty",), "less than has filled"
        change(one, "a", "0.015", near)
        await until(lambda: len(shown(one, "a")) == 3)
        assert version(hand, "a") == (D("0.015"), D(near)) == shown(one, "a")[2]
        hand.fill("a", "0.01")
        await until(lambda: one.kinds("a").count(OrderFilled) == 2)
        assert sum(event.qty for event in one.log.of(OrderFilled)) == D("0.015")
        assert one.kinds("a").count(OrderAccepted) == 1
        change(one, "a", "0.03", near)
        await until(lambda: shown(one, "a")[3:] == [("unknown_order",)])


@pytest.mark.fault("B14")
@pytest.mark.parametrize(
    ("fault", "done"),
    [
        ({"status": 0, "apply": "before"}, True),
        ({"status": 503, "apply": "before"}, True),
        ({"status": 200, "apply": "before", "body": "<html>"}, True),
        ({"status": 502, "apply": "after", "delay_s": 0.15}, True),
        ({"status": 503}, False),
        ({"status": 0}, False),
    ],
    ids=lambda value: "" if isinstance(value, bool) else "-".join(map(str, value.values())),
)
async def test_what_became_of_a_change_without_an_answer_is_found_out(
    fault: dict[str, Any], done: bool, tmp_path: Path
) -> None:
    """Done or not, at once or later: told as unknown, then as what the venue shows; asked for once.  The stream is
    deaf, so that a look-up has to say it."""

    async with still_exchange(tmp_path) as hand, session(hand) as one:
        await rests(one, "a")
        assert one.venue.trading is not None
        one.venue.trading.gateway._tracker.versions.told = lambda *_: []  # type: ignore[method-assign]
        await goes_wrong(hand, **fault)
        change(one, "a", "0.02", "1001")
        await until(lambda: shown(one, "a"))
        assert one.kinds("a")[1] is ReplaceOutcomeUnknown
        assert version(hand, "a") == ((D("0.02"), D(1001)) if done else (QTY, PX))
        assert shown(one, "a") == [(D("0.02"), D(1001)) if done else ("never_arrived",)]
        assert len(hand.exchange.orders[hand.order_id("a")].edits) == done


@pytest.mark.fault("C18")
async def test_a_change_by_hand_of_an_order_that_was_changed_before_is_told_at_once(tmp_path: Path) -> None:
    """The stream shows it, a look-up is the proof: nobody waits for the account's next confirmation."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        await rests(one, "a")
        change(one, "a", "0.02", "1001")
        await until(lambda: shown(one, "a"))
        done_ns = one.log.of(OrderReplaced)[0].ts_recv_ns
        await until(lambda: time.time_ns() - done_ns > GRACE_S * 1e9)
        body = {"order_id": hand.order_id("a"), "price": "1002", "size": "0.03"}
        assert editing.edit(hand.exchange, body, time.time_ns())["success"]
        hand.sandbox.hub.pump()
        await until(lambda: len(shown(one, "a")) == 2)
        assert shown(one, "a")[1] == (D("0.03"), D(1002))


async def test_an_answer_that_comes_twice_is_no_refusal(tmp_path: Path) -> None:
    """The network delivers the request two times: the second answer says that the order is like that already."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        await rests(one, "a")
        await goes_wrong(hand, twice=True)
        change(one, "a", "0.02", "1001")
        await until(lambda: shown(one, "a"))
        assert shown(one, "a") == [(D("0.02"), D(1001))]


async def test_a_change_of_an_order_that_is_cancelled_meanwhile_ends_with_it(tmp_path: Path) -> None:
    """Cancelled by hand before the request arrives: its end is told, and nothing is under way any more."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        await rests(one, "a")
        await goes_wrong(hand, late=True, delay_s=0.2)
        change(one, "a", "0.02", "1001")
        hand.cancel("a")
        await until(lambda: OrderCancelled in one.kinds("a"))
        assert one.venue.trading is not None
        versions = one.venue.trading.gateway._tracker.versions
        await until(lambda: not one.venue.queue_depths()["requests"])
        assert (versions.is_pending(hand.order_id("a")), OrderReplaced in one.kinds("a")) == (False, False)


@pytest.mark.fault("A1")
@pytest.mark.fault("A2")
@pytest.mark.fault("B13")
@pytest.mark.parametrize("done", [True, False])
async def test_the_next_session_finds_out_which_version_lives_before_the_account_is_told(
    done: bool, tmp_path: Path
) -> None:
    """The first one died with a change under way, which had arrived or not."""
    async with still_exchange(tmp_path) as hand:
        async with session(hand) as first:
            await rests(first, "a")
            if done:
                made = change(first, "a", "0.02", "1001")
                await until(lambda: version(hand, "a") == (D("0.02"), D(1001)))
            else:
                made = ReplaceOrder(
                    time.time_ns(), "a", "coinbase", hand.order_id("a"), BTC, D("0.02"), D(1001), QTY, PX
                )  # fmt: skip
        carried = msgspec.structs.replace(first.carries("a"), edit=made)
        async with session(hand, [carried]) as second:
            kinds = [type(event) for event in second.log]
            told = OrderReplaced if done else ReplaceRejected
            assert kinds.index(told) < kinds.index(AccountSettled)
            assert shown(second, "a") == [(D("0.02"), D(1001)) if done else ("never_arrived",)]
            assert second.settled()[0].unresolved == ()


async def test_an_order_that_rests_again_is_not_looked_up_for_ever(tmp_path: Path, monkeypatch: Any) -> None:
    """Once it is known which version lives, nobody asks any more."""
    asked: list[str] = []

    async with still_exchange(tmp_path) as hand, session(hand) as one:
        await rests(one, "a")
        assert one.venue.trading is not None
        checks = one.venue.trading.settler.checks
        observe: Callable[..., None] = checks._observe

        def note(order: Any, *more: Any) -> None:
            asked.append(order.order_id)
            observe(order, *more)

        monkeypatch.setattr(checks, "_observe", note)
        await goes_wrong(hand, status=503)
        change(one, "a", "0.02", "1001")
        await until(lambda: shown(one, "a") == [("never_arrived",)])
        await until(lambda: not checks.is_busy)
        assert set(asked) == {hand.order_id("a")}


def pass_time(hand: Hand) -> None:
    """What was taken before is carried out."""
    hand.exchange.expire(time.time_ns() + 601 * 10**9)
    hand.sandbox.hub.pump()


async def taken(hand: Hand, one: One, qty: str, px: str) -> ReplaceOrder:
    """A change that the venue has taken and not carried out."""
    made = change(one, "a", qty, px)
    await until(lambda: hand.exchange.orders[hand.order_id("a")].is_being_replaced)
    return made


@pytest.mark.fault("B13")
async def test_fills_of_the_old_version_come_between_a_change_and_its_being_done(tmp_path: Path) -> None:
    """One that becomes larger has what was filled in it; one to less than that is not carried out, which two look-ups
    say; one of an order that has filled whole by then neither."""
    async with still_exchange(tmp_path, edit_lag_s=600.0) as hand, session(hand) as one:
        near = str(hand.best()[0] + D("0.01"))
        await rests(one, "a", limit_px=D(near))
        await taken(hand, one, "0.02", near)
        hand.fill("a", "0.005")
        await until(lambda: OrderFilled in one.kinds("a"))
        assert shown(one, "a") == []
        pass_time(hand)
        await until(lambda: shown(one, "a") == [(D("0.02"), D(near))])
        one.sent["a"] = msgspec.structs.replace(
            one.sent["a"], intent=msgspec.structs.replace(one.sent["a"].intent, qty=D("0.02"))
        )
        await taken(hand, one, "0.006", near)
        hand.fill("a", "0.01")
        pass_time(hand)
        await until(lambda: len(shown(one, "a")) == 2)
        (refused,) = one.log.of(ReplaceRejected)
        assert (refused.reason, version(hand, "a")) == ("never_arrived", (D("0.02"), D(near)))
        assert refused.text.startswith("the venue took it")
        await taken(hand, one, "0.03", near)
        hand.fill("a", "0.005")
        await until(lambda: len(shown(one, "a")) == 3)
        pass_time(hand)
        assert shown(one, "a")[2] == ("unknown_order",)
        assert sum(event.qty for event in one.log.of(OrderFilled)) == D("0.02")


@pytest.mark.fault("B6")
async def test_a_cancel_that_meets_a_change_is_carried_out_after_it(tmp_path: Path) -> None:
    """The venue refuses it while the change is under way; it is asked for again without anybody's doing."""
    async with still_exchange(tmp_path, edit_lag_s=600.0) as hand, session(hand) as one:
        await rests(one, "a")
        await taken(hand, one, "0.02", "1001")
        one.cancel("a")
        assert one.venue.gateway is not None
        counters = one.venue.gateway.cancels.counters
        await until(lambda: counters.retries)
        pass_time(hand)
        await until(lambda: OrderCancelled in one.kinds("a"))
        assert (CancelRejected in one.kinds("a"), hand.exchange.open_orders) == (False, {})


@pytest.mark.fault("A2")
@pytest.mark.fault("B16")
async def test_a_change_that_is_carried_out_after_its_session_died_is_told_by_the_next_one(tmp_path: Path) -> None:
    """It was taken, the daemon died, and the account is not told as settled before it is known which version lives."""
    async with still_exchange(tmp_path, edit_lag_s=600.0) as hand:
        async with session(hand) as first:
            await rests(first, "a")
            made = await taken(hand, first, "0.02", "1001")
        carried = msgspec.structs.replace(first.carries("a"), edit=made)
        pass_time(hand)
        async with session(hand, [carried]) as second:
            kinds = [type(event) for event in second.log]
            assert kinds.index(OrderReplaced) < kinds.index(AccountSettled)
            assert shown(second, "a") == [(D("0.02"), D(1001))]
