"""Commands in, bytes out; answers in, events out.  The channel is scripted, everything else is real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.coinbase.auth import Key, TokenPool
from connectors.coinbase.gateway import CANCEL_TRIES, MAX_WAITING_CANCELS, CoinbaseGateway
from connectors.coinbase.orders import MAX_CANCELS
from connectors.coinbase.tracker import OrderTracker
from connectors.fakes import EventLog, FakeClock, ScriptedOrderChannel
from connectors.ratelimit import TokenBucket
from engine.commands import CancelOrder, OrderType, TimeInForce
from engine.events import CancelRejected, OrderAccepted, OrderOutcomeUnknown, OrderRejected
from tests.support.coinbase import BTC, TS_NS, accepted_answer, new_order, refused_answer

PEM = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class NotedQuestions:
    """Stands where the settler stands and notes what it is asked."""

    def __init__(self) -> None:
        self.resolving: list[str] = []
        self.later: list[str] = []
        self.now: list[str] = []

    def resolve(self, client_order_id: str, *_: Any) -> None:
        self.resolving.append(client_order_id)

    def check_later(self, client_order_id: str) -> None:
        self.later.append(client_order_id)

    def check_now(self, client_order_id: str) -> None:
        self.now.append(client_order_id)


class Bench:
    def __init__(self, free: int = 4, burst: int = 100, reserve: int = 0) -> None:
        self.clock = FakeClock(TS_NS)
        self.log = EventLog()
        self.channel = ScriptedOrderChannel(free)
        self.settler = NotedQuestions()
        self.tracker = OrderTracker("coinbase", {"BTC-USD": BTC})
        self.nonces = 0
        self.tokens = TokenPool(Key("k", PEM), "h:1", venue_now_ns=self.clock.now_ns, nonce=self.nonce)
        self.gateway = CoinbaseGateway(
            "coinbase",
            host="h:1",
            products={BTC: "BTC-USD"},
            publish=self.log,
            clock=self.clock,
            writer=self.channel,
            tokens=self.tokens,
            tracker=self.tracker,
            settler=self.settler,  # type: ignore[arg-type]
            bucket=TokenBucket(1.0, burst, reserve=reserve, now_ns=TS_NS),
        )

    def nonce(self) -> str:
        self.nonces += 1
        return str(self.nonces)

    def cancel(self, client: str, venue_id: str = "") -> None:
        self.gateway.cancel(CancelOrder(TS_NS, client, "coinbase", venue_id, BTC))

    def accept(self, client: str, venue_id: str) -> None:
        self.gateway.submit(new_order(client))
        self.channel.answer(200, accepted_answer(venue_id, client))
        self.log.clear()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def test_submit_writes_one_complete_request_in_the_same_call_without_signing() -> None:
    """Head, token made ahead, length and body as an HTTP server reads them; two orders, no new signature."""
    b = Bench()
    signed = b.nonces
    b.gateway.submit(new_order("c1"))
    b.gateway.submit(new_order("c2"))
    head, _, body = b.channel.requests[0][0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert lines[0] == "POST /api/v3/brokerage/orders HTTP/1.1"
    assert headers["Host"] == "h:1"
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Authorization"].startswith("Bearer ey")
    assert json.loads(body)["client_order_id"] == "c1"
    assert (b.nonces, len(b.channel.requests), b.log) == (signed, 2, [])


def test_an_accepted_order_is_accepted_and_an_immediate_one_is_looked_after() -> None:
    """A resting order needs no look; an IOC must end soon."""
    b = Bench()
    b.gateway.submit(new_order("rest"))
    b.gateway.submit(new_order("ioc", time_in_force=TimeInForce.IOC))
    b.channel.answer(200, accepted_answer("v1", "rest"))
    b.channel.answer(200, accepted_answer("v2", "ioc"))
    assert [(e.client_order_id, e.venue_order_id) for e in b.log.of(OrderAccepted)] == [("rest", "v1"), ("ioc", "v2")]
    assert b.settler.later == ["ioc"]


def test_a_business_refusal_is_a_rejection() -> None:
    """HTTP 200, success false."""
    b = Bench()
    b.gateway.submit(new_order())
    b.channel.answer(200, refused_answer("INSUFFICIENT_FUND", message="not enough USD"))
    (event,) = b.log
    assert (type(event), event.reason, event.text) == (OrderRejected, "insufficient_funds", "not enough USD")
    assert b.tracker.open_orders() == []


def test_what_cannot_leave_is_rejected_without_a_byte() -> None:
    """No connection, unknown instrument, unsupported kind, no budget: each with its reason, nothing raised."""
    b = Bench(free=0)
    b.gateway.submit(new_order("a"))
    assert [(type(e), e.reason) for e in b.log] == [(OrderRejected, "no_connection")]
    b = Bench(burst=1)
    b.gateway.submit(new_order("a", instrument="DOGE/USD@coinbase"))
    b.gateway.submit(new_order("b", order_type=OrderType.STOP_LIMIT))
    b.gateway.submit(new_order("c"))
    b.gateway.submit(new_order("d"))
    assert [e.reason for e in b.log] == ["unknown_instrument", "unsupported", "rate_limited"]
    assert len(b.channel.requests) == 1
    assert [o.client_order_id for o in b.tracker.open_orders()] == ["c"]


@pytest.mark.fault("B14")
@pytest.mark.parametrize("outcome", ["timeout", "reset", 500, 502, "garbage"])
def test_no_trustworthy_answer_is_an_unknown_outcome_that_will_be_resolved(outcome: Any) -> None:
    """It stays open: its risk is held."""
    b = Bench()
    b.gateway.submit(new_order())
    if isinstance(outcome, int):
        b.channel.answer(outcome, b"<html>")
    elif outcome == "garbage":
        b.channel.answer(200, b"\x00")
    else:
        b.channel.lose(outcome)
    (event,) = b.log
    assert type(event) is OrderOutcomeUnknown
    assert b.settler.resolving == ["c1"]
    assert len(b.tracker.open_orders()) == 1
    assert b.channel.requests == []  # never sent again


@pytest.mark.fault("B17")
def test_an_answer_lost_after_the_stream_told_the_order_is_no_unknown() -> None:
    """The user stream was first; evidence stands, the order is looked up."""
    b = Bench()
    b.gateway.submit(new_order())
    b.tracker.accepted("c1", "v1", 5)
    b.channel.lose("reset")
    assert b.log == []
    assert (b.settler.resolving, b.settler.now) == ([], ["c1"])


def test_a_refusal_that_contradicts_the_stream_is_not_believed() -> None:
    """The order is looked up instead."""
    b = Bench()
    b.gateway.submit(new_order())
    b.tracker.accepted("c1", "v1", 5)
    b.channel.answer(200, refused_answer("INVALID_REQUEST"))
    assert b.log == []
    assert b.settler.now == ["c1"]


@pytest.mark.fault("C8")
def test_a_401_is_a_rejection_and_the_tokens_are_made_anew() -> None:
    """The order did not happen; the next one carries another token."""
    b = Bench()
    b.gateway.submit(new_order("c1"))
    first = b.channel.requests[0][0]
    b.channel.answer(401, b"Unauthorized")
    assert [(type(e), e.reason) for e in b.log] == [(OrderRejected, "unauthorized")]
    b.gateway.submit(new_order("c1"))
    assert b.channel.requests[0][0] != first


@pytest.mark.fault("C7")
def test_a_429_stops_orders_for_a_second_and_not_cancels() -> None:
    """By the venue's word."""
    b = Bench(reserve=2)
    b.accept("old", "v0")
    b.gateway.submit(new_order("c1"))
    b.channel.answer(429, b"{}")
    b.gateway.submit(new_order("c2"))
    assert [e.reason for e in b.log] == ["rate_limited", "rate_limited"]
    b.cancel("old")
    assert json.loads(b.channel.requests[0][0].partition(b"\r\n\r\n")[2]) == {"order_ids": ["v0"]}
    b.clock.advance(1_000_000_001)
    b.gateway.submit(new_order("c3"))
    assert len(b.channel.requests) == 2


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


@pytest.mark.parametrize("bad", ["timeout", 500, 401, 429, "garbage"])
async def test_a_cancel_without_answer_is_repeated_a_few_times(bad: Any) -> None:
    """Repeating a cancel is harmless; after CANCEL_TRIES it is told and the order is looked up."""
    b = Bench()
    b.accept("c1", "v1")
    b.cancel("c1")
    for _ in range(CANCEL_TRIES):
        await until(lambda: b.channel.requests)
        if bad == "timeout":
            b.channel.lose(bad)
        elif bad == "garbage":
            b.channel.answer(200, b"{")
        else:
            b.channel.answer(bad, b"")
    assert [type(e) for e in b.log] == [CancelRejected]
    assert b.settler.now == ["c1"]
    assert b.gateway.waiting_cancels == 0


def test_a_cancel_before_the_order_id_is_known_waits_for_it() -> None:
    """There is no cancel by client id."""
    b = Bench()
    b.gateway.submit(new_order())
    b.cancel("c1")
    assert len(b.channel.requests) == 1
    b.channel.answer(200, accepted_answer())
    assert b"batch_cancel" in b.channel.requests[0][0]
    assert b.gateway.waiting_cancels == 0


def test_a_cancel_waiting_for_an_order_that_is_rejected_is_answered() -> None:
    """Nothing is left waiting."""
    b = Bench()
    b.gateway.submit(new_order())
    b.cancel("c1")
    b.channel.answer(200, refused_answer("INVALID_REQUEST"))
    assert [type(e) for e in b.log] == [OrderRejected, CancelRejected]
    assert b.gateway.waiting_cancels == 0


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
    assert (b.gateway.waiting_cancels, b.log) == (150, [])
    b.channel.free = 2
    b.gateway.flush_cancels()
    sizes = [len(json.loads(r[0].partition(b"\r\n\r\n")[2])["order_ids"]) for r in b.channel.requests]
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
