"""Cancels: what leaves when, what is repeated when, and that none ends in silence.  The channel is scripted."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from connectors.coinbase import cancels
from connectors.coinbase.cancels import CANCEL_TRIES, MAX_WAITING_CANCELS
from connectors.coinbase.orders import MAX_CANCELS
from connectors.http import OrderChannel
from connectors.ratelimit import FIRST_PAUSE_NS
from connectors.reconnect import Backoff
from engine.events import CancelRejected, OrderRejected
from tests.support.coinbase import accepted_answer, new_order, refused_answer
from tests.support.coinbase_gateway import Bench, cancelled_ids, refusals
from tests.support.waiting import until


def test_a_cancel_by_venue_id_leaves_at_once_and_success_tells_nothing_yet() -> None:
    """The acknowledgement is not the end; the order is looked at later."""
    b = Bench()
    b.accept("c1", "v1")
    b.cancel("c1")
    assert b.channel.requests[0][0].startswith(b"POST /api/v3/brokerage/orders/batch_cancel HTTP/1.1\r\n")
    b.channel.answer(200, b'{"results":[{"success":true,"failure_reason":"","order_id":"v1"}]}')
    assert b.log == []
    assert b.settler.later == ["c1"]


def test_a_cancel_of_an_order_from_before_the_session_uses_the_given_id() -> None:
    """The tracker does not know it; the command does."""
    b = Bench()
    b.cancel("earlier", "v7")
    assert b"v7" in b.channel.requests[0][0]


@pytest.mark.fault("B6")
@pytest.mark.parametrize("bad", ["timeout", 500, 401, "garbage", "replaced"])
async def test_a_cancel_without_answer_is_repeated_a_few_times(bad: Any) -> None:
    """Repeating a cancel is harmless; after CANCEL_TRIES it is told and the order is looked up.  So is one that meets a
    change of its order which is under way: nobody else would ask for it again."""
    b = Bench()
    b.accept("c1", "v1")
    b.cancel("c1")
    for _ in range(CANCEL_TRIES):
        await until(lambda: b.channel.requests)
        if bad == "timeout":
            b.channel.lose(bad)
        elif bad == "garbage":
            b.channel.answer(200, b"{")
        elif bad == "replaced":
            refusal = b'{"success":false,"failure_reason":"ORDER_IS_BEING_REPLACED","order_id":"v1"}'
            b.channel.answer(200, b'{"results":[%b]}' % refusal)
        else:
            b.channel.answer(bad, b"")
    assert [type(e) for e in b.log] == [CancelRejected]
    assert b.settler.now == ["c1"]
    assert len(b.gateway.cancels) == 0


@pytest.mark.fault("C7")
async def test_a_429_to_a_cancel_stops_every_request_for_a_pause_and_cancels_leave_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No new cancel and no order leaves during the pause; after it both cancels do, and orders still wait; the third
    refusal is told, and the pauses have grown."""
    monkeypatch.setattr(cancels, "RETRY_DELAY_S", 0.01)
    b = Bench(reserve=2)
    b.accept("c1", "v1")
    b.accept("c2", "v2")
    b.cancel("c1")

    def left() -> list[str]:
        b.gateway.cancels.flush()
        return [order_id for request, _, _ in b.channel.requests for order_id in cancelled_ids(request)]

    for pause_ns in (FIRST_PAUSE_NS, 2 * FIRST_PAUSE_NS):
        b.channel.answer(429, b"{}")
        b.clock.advance(pause_ns - 1)
        b.cancel("c2")
        b.gateway.submit(new_order("early"))
        await until(lambda: not b.gateway.cancels._failed)  # what failed has waited its time
        assert left() == []
        b.clock.advance(1)
        b.gateway.submit(new_order("still early"))
        await until(lambda: set(left()) == {"v1", "v2"})
        assert len(b.channel.requests) == 1
    assert [e.reason for e in b.log] == ["rate_limited"] * 4
    b.channel.answer(429, b"{}")
    assert refusals(b) == [("c1", "http_429")]
    assert b.settler.now == ["c1"]
    b.gateway.stop()


def test_a_cancel_before_the_order_id_is_known_waits_for_it() -> None:
    """There is no cancel by client id."""
    b = Bench()
    b.gateway.submit(new_order())
    b.cancel("c1")
    assert len(b.channel.requests) == 1
    b.channel.answer(200, accepted_answer())
    assert b"batch_cancel" in b.channel.requests[0][0]
    assert len(b.gateway.cancels) == 0


def test_a_cancel_waiting_for_an_order_that_is_rejected_is_answered() -> None:
    """Nothing is left waiting."""
    b = Bench()
    b.gateway.submit(new_order())
    b.cancel("c1")
    b.channel.answer(200, refused_answer("INVALID_REQUEST"))
    assert [type(e) for e in b.log] == [OrderRejected, CancelRejected]
    assert len(b.gateway.cancels) == 0


def test_cancels_of_unknown_and_of_ended_orders_are_refused() -> None:
    """At once, without a byte."""
    b = Bench()
    b.cancel("never")
    b.tracker.sent("gone", 1)
    b.tracker.not_sent("gone")
    b.cancel("gone")
    assert [e.reason for e in b.log] == ["unknown_order", "order_closed"]
    assert b.channel.requests == []


@pytest.mark.fault("B18")
async def test_cancels_without_a_connection_wait_and_leave_together() -> None:
    """150 cancels while all connections are busy: none is lost, 100 and 50 leave when one is free."""
    b = Bench(free=0)
    for index in range(150):
        b.cancel(f"c{index}", f"v{index}")
    assert (len(b.gateway.cancels), b.log) == (150, [])
    b.channel.free = 2
    b.gateway.cancels.flush()
    sizes = [len(cancelled_ids(r[0])) for r in b.channel.requests]
    assert sizes == [MAX_CANCELS, 50]
    b.gateway.stop()


@pytest.mark.fault("A12")
async def test_waiting_cancels_are_bounded() -> None:
    """One more than the bound is refused with that reason."""
    b = Bench(free=0)
    for index in range(MAX_WAITING_CANCELS + 1):
        b.cancel(f"c{index}", f"v{index}")
    assert [e.reason for e in b.log] == ["too_many_waiting"]
    b.gateway.stop()


@pytest.mark.fault("B18")
async def test_a_failed_cancel_waits_its_time_although_its_own_connection_is_free_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real sockets, a venue that answers 503, a pause of an hour: two cancels fail, each was sent exactly once."""
    monkeypatch.setattr(cancels, "RETRY_DELAY_S", 3600.0)
    arrived: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                sizes = [int(li.split(b":")[1]) for li in head.split(b"\r\n") if li.lower().startswith(b"content-len")]
                arrived.append(await reader.readexactly(sizes[0]))
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    b = Bench()
    b.accept("c1", "v1")
    b.accept("c2", "v2")
    channel = OrderChannel(
        "127.0.0.1",
        server.sockets[0].getsockname()[1],
        backoff=lambda: Backoff(random.Random(1), base_s=0.1, cap_s=1),
        connections=2,
        on_free=b.gateway.cancels.flush,
    )
    await channel.start()
    b.gateway.cancels._writer = channel
    for number, name in enumerate(("1", "2"), 1):
        b.cancel(f"c{name}", f"v{name}")
        await until(lambda number=number: b.gateway.cancels.counters.retries == number and channel.free == 2)
    assert arrived == [b'{"order_ids":["v1"]}', b'{"order_ids":["v2"]}']
    assert (len(b.gateway.cancels), b.log) == (2, [])
    b.gateway.stop()
    await channel.stop()
    server.close()


async def test_a_new_cancel_does_not_wait_for_one_that_failed() -> None:
    """While one waits its time another leaves at once, alone; asking again for the first sends nothing more."""
    b = Bench()
    b.accept("c1", "v1")
    b.accept("c2", "v2")
    b.cancel("c1")
    b.channel.answer(503, b"")
    b.cancel("c2")
    b.cancel("c1")
    (request,) = b.channel.requests
    assert cancelled_ids(request[0]) == ["v2"]
    assert len(b.gateway.cancels) == 1
    b.gateway.stop()


async def test_a_failed_cancel_of_an_order_that_has_ended_meanwhile_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One ended before the answer failed, one while it waited: neither is sent again or refused."""
    monkeypatch.setattr(cancels, "RETRY_DELAY_S", 0.01)
    b = Bench()
    b.accept("c1", "v1")
    b.accept("c2", "v2")
    b.cancel("c1")
    b.cancel("c2")
    b.end("c1", "v1")
    b.channel.answer(503, b"")
    assert len(b.gateway.cancels) == 0
    b.channel.answer(503, b"")
    assert len(b.gateway.cancels) == 1
    b.end("c2", "v2")
    await until(lambda: len(b.gateway.cancels) == 0)
    assert b.channel.requests == []
    assert b.log.of(CancelRejected) == []


async def test_a_cancel_that_failed_twice_at_the_same_time_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asked for twice before the first answer, both fail, the second together with another order's cancel: when their
    time has come both orders' cancels leave again."""
    monkeypatch.setattr(cancels, "RETRY_DELAY_S", 0.01)
    b = Bench()
    b.accept("c1", "v1")
    b.accept("c2", "v2")
    b.cancel("c1")
    b.channel.free = 0
    b.cancel("c1")
    b.cancel("c2")
    b.channel.free = 1
    b.gateway.cancels.flush()
    b.channel.answer(503, b"")
    b.channel.answer(503, b"")
    await until(lambda: len(b.gateway.cancels) == 0)
    again = [order_id for request, _, _ in b.channel.requests for order_id in cancelled_ids(request)]
    assert set(again) == {"v1", "v2"}


async def test_a_write_that_raises_is_a_failure_like_any_other() -> None:
    """The next try goes through."""
    b = Bench()
    b.accept("c1", "v1")
    b.channel.error = OSError("broken")
    b.cancel("c1")
    assert (len(b.gateway.cancels), b.log) == (1, [])
    await until(lambda: b.channel.requests)
    assert len(b.gateway.cancels) == 0


def test_one_id_without_bytes_does_not_hold_the_others_back() -> None:
    """It is refused alone; the other leaves."""
    b = Bench(free=0)
    b.gateway.cancels._waiting["\ud800"] = ("odd", 0)
    b.channel.free = 1
    b.cancel("good", "v1")
    assert [(e.client_order_id, e.reason) for e in b.log.of(CancelRejected)] == [("odd", "unencodable")]
    assert b"v1" in b.channel.requests[0][0]


async def test_no_cancel_is_forgotten_at_the_end() -> None:
    """One waiting for its order's id, one for its time, one in flight, one asked later: all are refused."""
    b = Bench()
    b.accept("late", "v1")
    b.cancel("late")
    b.channel.answer(503, b"")
    b.accept("sent", "v2")
    b.cancel("sent")
    in_flight = b.channel.requests.pop()
    b.gateway.submit(new_order("young"))
    b.cancel("young")
    b.gateway.stop()
    in_flight[2]("stopped")
    b.cancel("sent")
    assert [(e.client_order_id, e.reason) for e in b.log.of(CancelRejected)] == [
        ("late", "stopped"),
        ("young", "stopped"),
        ("sent", "outcome_unknown_stopped"),
        ("sent", "stopped"),
    ]
