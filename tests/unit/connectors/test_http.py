"""The order channel against real loopback servers: answers, losses, reconnection, warm-up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from connectors.http import OrderChannel
from connectors.reconnect import Backoff
from connectors.route import Route
from engine.errors import VenueError
from tests.support.proxies import running_proxy
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def quick_backoff() -> Backoff:
    return Backoff(random.Random(1), base_s=0.01, cap_s=0.05, budget_per_minute=1000)


@asynccontextmanager
async def channel_to(talk: Talk, **options: object) -> AsyncIterator[OrderChannel]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(
        lambda r, w: tasks.add(asyncio.get_running_loop().create_task(serve(r, w))), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    channel = OrderChannel("127.0.0.1", port, backoff=quick_backoff, **{"connections": 1, **options})
    await channel.start()
    try:
        yield channel
    finally:
        await channel.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()


class Outcome:
    """The two callbacks of one request."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def done(self, status: int, body: bytes) -> None:
        self.seen.append((status, body))

    def lost(self, reason: str) -> None:
        self.seen.append((reason,))


def send(channel: OrderChannel, request: bytes = REQUEST) -> Outcome:
    outcome = Outcome()
    assert channel.try_send(request, outcome.done, outcome.lost)
    return outcome


async def always_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)


def test_an_order_leaves_in_the_callers_own_callback() -> None:
    """On uvloop, which by itself keeps the bytes until the end of the loop's turn: nothing waits after the send."""
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        async with channel_to(always_ok) as channel:
            outcome = send(channel)
            assert channel.back_pressure == 0
            await until(lambda: outcome.seen)
            assert outcome.seen == [(200, b"ok")]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


async def test_one_request_in_flight_per_connection_and_none_free_is_refused() -> None:
    """Two connections, a server that waits: the third request is refused and nothing of it is written."""
    release = asyncio.Event()
    requests = 0

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while True:
            await reader.readuntil(b"\r\n\r\n")
            requests += 1
            await release.wait()
            writer.write(OK)

    async with channel_to(waits, connections=2) as channel:
        first, second = send(channel), send(channel)
        third = Outcome()
        assert not channel.try_send(REQUEST, third.done, third.lost)
        release.set()
        await until(lambda: first.seen and second.seen)
        assert (first.seen, second.seen, third.seen) == ([(200, b"ok")], [(200, b"ok")], [])
        assert (channel.sent, channel.refused, channel.free, requests) == (2, 1, 2, 2)


async def test_an_answer_in_single_bytes_and_chunked_is_one_answer() -> None:
    """A 100 Continue, then a chunked body, one byte per segment."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        answer = (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        for index in range(len(answer)):
            writer.write(answer[index : index + 1])
            await writer.drain()
        await reader.read()

    async with channel_to(drip) as channel:
        outcome = send(channel)
        await until(lambda: outcome.seen)
        assert outcome.seen == [(201, b"abcde")]


@pytest.mark.fault("B14")
async def test_no_answer_in_time_is_lost_and_the_connection_is_replaced() -> None:
    """The first connection never answers; after the timeout the next request is answered by a new one."""
    opened = 0

    async def first_mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        if opened == 1:
            await reader.read()
        await always_ok(reader, writer)

    async with channel_to(first_mute, timeout_s=0.1) as channel:
        outcome = send(channel)
        await until(lambda: outcome.seen)
        assert outcome.seen == [("timeout",)]
        await until(lambda: channel.free == 1)
        channel._timeout_s = 30.0
        again = send(channel)
        await until(lambda: again.seen)
        assert again.seen == [(200, b"ok")]
        assert (channel.lost, channel.reconnects) == (1, 1)


@pytest.mark.fault("B14")
async def test_a_reset_before_the_answer_is_lost_exactly_once() -> None:
    """The server drops the socket after reading the request, half an answer sent."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:-1])
        await writer.drain()
        writer.transport.abort()

    async with channel_to(half) as channel:
        outcome = send(channel)
        await until(lambda: outcome.seen)
        await asyncio.sleep(0.02)
        assert outcome.seen == [("reset",)]


@pytest.mark.fault("B14")
@pytest.mark.parametrize("answer", [b"\x00\x01garbage\r\n\r\n", OK + OK])
async def test_an_answer_that_is_not_one_http_answer_is_lost(answer: bytes) -> None:
    """Garbage, and two answers to one request in one segment."""

    async def bad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    async with channel_to(bad) as channel:
        outcome = send(channel)
        await until(lambda: outcome.seen)
        assert outcome.seen == [("bad_answer",)]


@pytest.mark.fault("A12")
@pytest.mark.parametrize("body_bytes", [1_000, 1_001])
async def test_an_answer_that_never_ends_is_dropped_at_its_bound(
    body_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces, up to the bound and one byte beyond it: then the outcome is unknown, as after any broken answer."""
    monkeypatch.setattr("connectors.http.MAX_ANSWER_BYTES", 1_000)

    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % body_bytes)
        for at in range(0, body_bytes, 100):
            writer.write(b"x" * min(100, body_bytes - at))
            await writer.drain()
        await reader.read()

    async with channel_to(long) as channel:
        outcome = send(channel)
        await until(lambda: outcome.seen)
        assert (outcome.seen == [("bad_answer",)]) is (body_bytes > 1_000)


async def test_connection_close_is_obeyed_and_the_connection_replaced() -> None:
    """Each answer says Connection: close; three requests in a row are all answered."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async with channel_to(once) as channel:
        seen: list[tuple[object, ...]] = []
        for count in (1, 2, 3):
            await until(lambda: channel.free == 1)
            assert channel.try_send(REQUEST, lambda *answer: seen.append(answer), lambda *why: seen.append(why))
            await until(lambda count=count: len(seen) == count)
        assert seen == [(200, b"ok")] * 3


async def test_an_idle_connection_closed_by_the_peer_is_not_used() -> None:
    """The server closes while idle; the channel refuses rather than writing into the void, then reconnects."""
    opened = 0

    async def first_leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        if opened > 1:
            await always_ok(reader, writer)

    async with channel_to(first_leaves) as channel:
        await until(lambda: opened == 2 and channel.free == 1)
        outcome = send(channel)
        await until(lambda: outcome.seen)
        assert outcome.seen == [(200, b"ok")]
        assert channel.lost == 0


async def test_an_unasked_answer_drops_the_connection() -> None:
    """A 408 on an idle connection: the next request must not take it for its own answer."""
    opened = 0

    async def nags(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        if opened == 1:
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await always_ok(reader, writer)

    async with channel_to(nags) as channel:
        await until(lambda: opened == 2 and channel.free == 1)
        outcome = send(channel)
        await until(lambda: outcome.seen)
        assert outcome.seen == [(200, b"ok")]


async def test_idle_connections_are_kept_warm_one_at_a_time() -> None:
    """Warm requests arrive on both connections while orders still find a free one."""
    warmed: set[int] = set()

    async def counts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if request.startswith(b"GET /time"):
                warmed.add(id(writer))
            writer.write(OK)

    warm = b"GET /time HTTP/1.1\r\nHost: x\r\n\r\n"
    async with channel_to(counts, connections=2, warm_request=warm, warm_after_s=0.02) as channel:
        await until(lambda: len(warmed) == 2)
        await until(lambda: channel.free)
        outcome = send(channel)
        await until(lambda: outcome.seen)
        assert outcome.seen == [(200, b"ok")]


@pytest.mark.fault("B14")
async def test_stopping_tells_what_was_in_flight() -> None:
    """A request without answer at the stop is lost with that reason: its outcome is not known."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with channel_to(mute) as channel:
        outcome = send(channel)
        await channel.stop()
        assert outcome.seen == [("stopped",)]
        refused = Outcome()
        assert not channel.try_send(REQUEST, refused.done, refused.lost)


async def test_a_write_that_the_socket_does_not_take_is_counted_as_back_pressure() -> None:
    """64 MB into a server that does not read."""

    async def sleeps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asyncio.sleep(30)

    async with channel_to(sleeps) as channel:
        send(channel, REQUEST + b"x" * 64_000_000)
        assert channel.back_pressure == 1


async def test_an_unreachable_host_is_one_clear_error() -> None:
    """A port that was just closed."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    channel = OrderChannel("127.0.0.1", port, backoff=quick_backoff)
    with pytest.raises(VenueError, match=f"cannot reach 127.0.0.1:{port} for orders"):
        await channel.start()
    await channel.stop()


async def test_a_freed_connection_is_announced_after_its_answer() -> None:
    """The hook that lets waiting cancels go runs once the answer's callback is through."""
    order: list[str] = []
    async with channel_to(always_ok, on_free=lambda: order.append("free")) as channel:
        await asyncio.sleep(0)
        order.clear()
        assert channel.try_send(REQUEST, lambda *_: order.append("done"), lambda *_: order.append("lost"))
        await until(lambda: len(order) == 2)
    assert order == ["done", "free"]


@pytest.mark.parametrize(
    ("header", "told_s"),
    [
        (b"", 0),
        (b"Retry-After: 7\r\n", 7),
        (b"retry-after:  30 \r\n", 30),
        (b"Retry-After: Fri, 20 Nov 2026 14:03:07 GMT\r\n", 0),
        (b"Retry-After: -5\r\n", 0),
        (b"Retry-After: " + b"9" * 5000 + b"\r\n", 0),
        (b"X-Retry-After: 7\r\n", 0),
    ],
)
async def test_every_answer_is_told_with_the_wait_that_the_peer_asks_for(header: bytes, told_s: int) -> None:
    """Before the request's own callback hears of it; the next answer of the connection has a wait of its own."""
    answers = [b"HTTP/1.1 429 Too Many Requests\r\n" + header + b"Content-Length: 0\r\n\r\n", OK]

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await reader.read()

    told: list[object] = []
    async with channel_to(talk, on_answer=lambda status, wait_s: told.append((status, wait_s))) as channel:
        for count in (1, 2):
            await until(lambda: channel.free == 1)
            assert channel.try_send(REQUEST, lambda status, _body: told.append(status), lambda why: told.append(why))
            await until(lambda count=count: len(told) == 2 * count)
    assert told == [(429, told_s), 429, (200, 0), 200]


async def test_the_answer_to_a_warm_up_is_told_to_nobody() -> None:
    """A public request says nothing about the limit of orders: one connection warmed twice, so answered once."""
    warmed = 0
    told: list[int] = []

    async def counts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal warmed
        while True:
            await reader.readuntil(b"\r\n\r\n")
            warmed += 1
            writer.write(OK)

    warm = b"GET /time HTTP/1.1\r\nHost: x\r\n\r\n"
    async with channel_to(
        counts, warm_request=warm, warm_after_s=0.01, on_answer=lambda status, _wait_s: told.append(status)
    ):
        await until(lambda: warmed >= 2)
    assert told == []


async def test_orders_go_through_a_proxy_where_one_is_set() -> None:
    """The connection is the proxy's, what is written reaches the venue."""
    async with running_proxy("socks5") as proxy, channel_to(always_ok, route=Route(proxy=proxy.url)) as channel:
        outcome = send(channel)
        await until(lambda: outcome.seen)
        assert outcome.seen == [(200, b"ok")]
        assert proxy.asked == [f"127.0.0.1:{channel.port}"]
