"""What a cancel has done: an acknowledgement without effect, one that was not granted, ends that come by themselves."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.coinbase import cancels
from connectors.coinbase.cancels import CANCEL_TRIES, CHECK_AFTER_NS
from engine.commands import OrderType, TimeInForce
from engine.events import CancelRejected
from tests.support.coinbase import TS_NS, accepted_answer, new_order
from tests.support.coinbase_gateway import Bench, cancelled_ids, refusals
from tests.support.waiting import until

GRANTED = b'{"results":[{"success":true,"failure_reason":"UNKNOWN_CANCEL_FAILURE_REASON","order_id":"v1"}]}'
LATER_NS = 2 * TS_NS


def acknowledged() -> Bench:
    """One order whose cancel was acknowledged just now."""
    b = Bench()
    b.accept("c1", "v1")
    b.cancel("c1")
    b.channel.answer(200, GRANTED)
    return b


def test_a_cancel_that_was_acknowledged_without_effect_is_said_once() -> None:
    """Look-ups that show the order: one asked too early, one in time, one more; the last two are one refusal."""
    b = acknowledged()
    b.gateway.cancels.still_open("c1", TS_NS + CHECK_AFTER_NS - 1)
    assert refusals(b) == []
    b.gateway.cancels.still_open("c1", TS_NS + CHECK_AFTER_NS)
    b.gateway.cancels.still_open("c1", LATER_NS)
    assert refusals(b) == [("c1", "not_effective")]


def test_a_cancel_that_is_asked_again_after_no_effect_has_its_own_time() -> None:
    """The second request leaves, and its acknowledgement is measured from its own answer."""
    b = acknowledged()
    b.gateway.cancels.still_open("c1", TS_NS + CHECK_AFTER_NS)
    b.clock.advance(CHECK_AFTER_NS)
    b.cancel("c1")
    assert cancelled_ids(b.channel.requests[0][0]) == ["v1"]
    b.channel.answer(200, GRANTED)
    b.gateway.cancels.still_open("c1", TS_NS + 2 * CHECK_AFTER_NS - 1)
    assert len(refusals(b)) == 1
    b.gateway.cancels.still_open("c1", TS_NS + 2 * CHECK_AFTER_NS)
    assert refusals(b) == [("c1", "not_effective")] * 2


async def test_a_cancel_that_is_under_way_again_is_not_said_to_have_no_effect() -> None:
    """Asked for again and unanswered, then failed and waiting: its own end will be told."""
    b = acknowledged()
    b.cancel("c1")
    b.gateway.cancels.still_open("c1", LATER_NS)
    b.channel.answer(503, b"")
    b.gateway.cancels.still_open("c1", LATER_NS)
    assert refusals(b) == []
    b.gateway.stop()


def test_an_order_that_has_ended_or_was_never_asked_to_go_has_no_cancel_without_effect() -> None:
    """A look-up that lags behind the stream's end, one of an order without a cancel, one of an unknown order."""
    b = acknowledged()
    b.accept("c2", "v2")
    b.end("c1", "v1")
    for client_id in ("c1", "c2", "never"):
        b.gateway.cancels.still_open(client_id, LATER_NS)
    assert refusals(b) == []


def test_an_end_whose_fills_are_awaited_is_an_effect() -> None:
    """The stream told CANCELLED with 0.4 filled, the fill is not read yet; the look-up lags."""
    b = acknowledged()
    b.end("c1", "v1", filled="0.4")
    assert [o.client_order_id for o in b.tracker.open_orders()] == ["c1"]
    b.gateway.cancels.still_open("c1", LATER_NS)
    assert refusals(b) == []


@pytest.mark.fault("B6")
@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b'{"results":[{"success":false,"failure_reason":"ORDER_IS_FULLY_FILLED","order_id":"v1"}]}',
         "order_is_fully_filled"),
        (200, b'{"results":[]}', "not_answered"),
        (400, b'{"error":"INVALID_ARGUMENT"}', "http_400"),
    ],
)  # fmt: skip
def test_a_cancel_that_was_not_granted_is_told_and_the_order_is_looked_up(
    status: int, body: bytes, reason: str
) -> None:
    """State comes from evidence, not from the error."""
    b = Bench()
    b.accept("c1", "v1")
    b.cancel("c1")
    b.channel.answer(status, body)
    assert [(type(e), e.reason) for e in b.log] == [(CancelRejected, reason)]
    assert b.settler.now == ["c1"]


@pytest.mark.fault("B5")
async def test_an_end_that_no_cancel_of_ours_can_have_made_waits_for_a_reading_of_its_fills(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One whose cancel has not left yet, and one whose cancel was given up; of a third it has left."""
    monkeypatch.setattr(cancels, "RETRY_DELAY_S", 0.01)
    b = Bench()
    for number in (1, 2, 3):
        b.accept(f"c{number}", f"v{number}")
    b.cancel("c1")
    for _ in range(CANCEL_TRIES):
        await until(lambda: b.channel.requests)
        b.channel.lose("timeout")
    b.cancel("c2")
    b.channel.free = 0
    b.cancel("c3")
    for number in (1, 2, 3):
        b.end(f"c{number}", f"v{number}")
    assert [b.tracker.hides_fills(venue_id) for venue_id in ("v1", "v2", "v3")] == [True, False, True]
    b.gateway.stop()


@pytest.mark.fault("B5")
@pytest.mark.parametrize(
    ("wish", "waits"),
    [
        ({}, False),
        ({"time_in_force": TimeInForce.IOC}, True),
        ({"order_type": OrderType.MARKET, "limit_px": None}, True),
    ],
)
def test_an_end_that_comes_by_itself_waits_for_its_fills_whatever_we_have_asked(
    wish: dict[str, Any], waits: bool
) -> None:
    """A halt cancels an exit that is under way; what the venue ended comes in one step with what it has filled.  Told
    early and empty, the next exit would close as much again."""
    b = Bench()
    b.gateway.submit(new_order("c1", **wish))
    b.channel.answer(200, accepted_answer("v1", "c1"))
    b.cancel("c1")
    b.end("c1", "v1")
    assert b.tracker.hides_fills("v1") is waits
