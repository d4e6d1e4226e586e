"""The shared stream shell, over a scripted transport: addresses, messages sent apart, life asked for, age."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from connectors import stream_feed
from connectors.endpoints import Endpoints
from connectors.fakes import EventLog, FakeClock, ScriptedConnection, ScriptedTransport
from connectors.reconnect import Backoff
from connectors.stream_feed import StreamFeed
from connectors.ws import WsOptions
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp, InputEvent
from tests.support.waiting import until


class Reader:
    """Up with the message ``up``; any other is life."""

    venue, stream = "v", "market"

    def __init__(self) -> None:
        self.up = False
        self.last_error = ""

    def reset(self) -> None:
        self.up = False

    def receive_frame(self, frame: bytes | bytearray | memoryview, recv_ns: int) -> Sequence[InputEvent]:
        self.up = self.up or frame == b"up"
        return [FeedUp(recv_ns, recv_ns, self.venue, self.stream)] if frame == b"up" else []


class Transport(ScriptedTransport):
    """Refuses every attempt at an address of ``dead``."""

    def __init__(self, *dead: str) -> None:
        super().__init__()
        self.dead = set(dead)
        self.urls: list[str] = []

    async def __call__(self, url: str, *rest: Any, **options: Any) -> ScriptedConnection:
        self.urls.append(url)
        if url in self.dead:
            raise VenueError(f"cannot open {url}: refused by the script")
        return await super().__call__(url, *rest, **options)


def feed(
    transport: Transport, log: EventLog, *urls: str, made: type[StreamFeed] = StreamFeed, **options: Any
) -> StreamFeed:
    given: dict[str, Any] = {"subscriptions": lambda: [b"one", b"two"], "options": WsOptions()} | options
    return made(
        Endpoints(urls or ("ws://a",), failures_max=2, back_after_s=0.2),
        Reader(),
        publish=log,
        clock=FakeClock(),
        connect=transport,
        backoff=Backoff(random.Random(1), base_s=0.002, cap_s=0.004, budget_per_minute=100_000),
        lag_ns=lambda: 0,
        **given,
    )


@pytest.mark.fault("C3")
async def test_another_address_is_used_after_failures_and_the_first_again_later() -> None:
    """The first refuses twice; the second serves until it drops after 0.2 s, when the first is tried again."""
    transport, log = Transport("ws://a"), EventLog()
    one = feed(transport, log, "ws://a", "ws://b")
    one.start()
    await until(lambda: transport.connections)
    assert transport.urls == ["ws://a", "ws://a", "ws://b"]
    transport.connections[0].deliver(b"up")
    transport.dead.clear()
    await asyncio.sleep(0.2)
    transport.connections[0].drop("deploy")
    await until(lambda: len(transport.connections) == 2)
    assert (transport.urls[3:], one.url) == (["ws://a"], "ws://a")
    await one.stop()


async def test_an_address_that_opens_and_never_confirms_has_failed_too() -> None:
    transport, log = Transport(), EventLog()
    one = feed(transport, log, "ws://a", "ws://b", confirm_timeout_s=0.01)
    one.start()
    await until(lambda: "ws://b" in transport.urls)
    assert transport.urls[:3] == ["ws://a", "ws://a", "ws://b"]
    assert "not confirmed" in log.of(FeedDown)[0].reason
    await one.stop()


async def test_messages_leave_apart_and_confirmation_is_waited_for_after_the_last() -> None:
    """Two messages 0.4 s apart with a time-out of 0.3 s: the connection is not given up between them."""
    transport, log = Transport(), EventLog()
    one = feed(transport, log, send_gap_s=0.4, confirm_timeout_s=0.3)
    one.start()
    await until(lambda: transport.connections and transport.connections[0].sent)
    (connection,) = transport.connections
    assert connection.sent == ["one"]
    await until(lambda: len(connection.sent) == 2)
    connection.deliver(b"up")
    await asyncio.sleep(0.02)
    assert connection.is_open
    await one.stop()


@pytest.mark.fault("C2")
async def test_life_is_asked_for_once_in_half_the_silence_and_any_answer_is_life() -> None:
    transport, log = Transport(), EventLog()
    one = feed(transport, log, silence_timeout_s=0.5, probe=lambda: b"alive?")
    one.start()
    await until(lambda: transport.connections)
    (connection,) = transport.connections
    connection.deliver(b"up")
    for _ in range(2):
        connection.sent.clear()
        await until(lambda: connection.sent)
        connection.deliver(b"yes")
    assert connection.sent == ["alive?"]
    await until(lambda: not connection.is_open)
    assert connection.sent == ["alive?"] * 2
    assert "no message for 0.5 s" in log.of(FeedDown)[0].reason
    await one.stop()


async def test_a_connection_of_age_is_made_anew() -> None:
    transport, log = Transport(), EventLog()
    one = feed(transport, log, renew_after_s=0.05)
    one.start()
    await until(lambda: transport.connections)
    transport.connections[0].deliver(b"up")
    await until(lambda: len(transport.connections) == 2)
    assert log.of(FeedDown)[0].reason == "renewed before the venue ends it"
    await one.stop()


class Overlapping(StreamFeed):
    """Complete with the message ``complete`` of the second connection."""

    overlaps = 0

    def _begin_overlap(self) -> bool:
        self.overlaps += 1
        self.complete = False
        return True

    def _is_overlap_complete(self) -> bool:
        return self.complete

    def _end_overlap(self) -> None:
        self.overlaps -= 1


async def overlapping(monkeypatch: pytest.MonkeyPatch) -> tuple[Transport, EventLog, Overlapping]:
    """A feed whose second connection is open beside the first."""
    monkeypatch.setattr(stream_feed, "OVERLAP_S", 0.1)
    monkeypatch.setattr(stream_feed, "RENEW_AGAIN_S", 0.05)
    transport, log = Transport(), EventLog()
    one = feed(transport, log, made=Overlapping, renew_after_s=0.05, confirm_timeout_s=0.5)
    assert isinstance(one, Overlapping)
    one.start()
    await until(lambda: transport.connections)
    transport.connections[0].deliver(b"up")
    await until(lambda: len(transport.connections) == 2 and len(transport.connections[1].sent) == 2)
    assert one.overlaps == 1
    return transport, log, one


async def test_another_connection_takes_over_and_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are heard while they overlap; then the first is closed, which nobody is told; the next one follows it."""
    transport, log, one = await overlapping(monkeypatch)
    first, second = transport.connections
    batches = one.batches
    first.deliver(b"x")
    second.deliver(b"y")
    assert (one.batches - batches, one.handle) == (2, first)
    one.complete = True
    await until(lambda: not first.is_open)
    assert (one.handle, one.handovers, one.overlaps, one.connections) == (second, 1, 0, 2)
    await until(lambda: len(transport.connections) == 3)
    assert log.of(FeedDown) == []
    await one.stop()
    assert [event.reason for event in log.of(FeedDown)] == ["stopped"]
    assert not any(each.is_open for each in transport.connections)


async def test_a_second_connection_that_is_not_confirmed_or_ends_leaves_the_first_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that ends at once, then one that is never confirmed, each tried again later; the first serves all along."""
    transport, log, one = await overlapping(monkeypatch)
    first, second = transport.connections
    second.drop("no")
    await until(lambda: len(transport.connections) == 3)
    await until(lambda: len(transport.connections) == 4)
    assert not transport.connections[2].is_open
    assert (one.handle, first.is_open, one.handovers, log.of(FeedDown)) == (first, True, 0, [])
    await one.stop()


@pytest.mark.fault("C3")
@pytest.mark.parametrize("complete", [False, True])
async def test_a_first_connection_that_ends_while_the_second_is_made_is_a_loss_as_any(
    complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the second one is confirmed, and while both are heard."""
    transport, log, one = await overlapping(monkeypatch)
    first, second = transport.connections
    one.complete = complete
    await asyncio.sleep(0.05)
    first.drop("reset")
    await until(lambda: len(transport.connections) == 3)
    assert [event.reason for event in log.of(FeedDown)] == ["reset"]
    assert not second.is_open
    assert one.overlaps == 0
    await one.stop()
