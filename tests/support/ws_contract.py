"""The contract of the WebSocket transport port, run against every implementation on real loopback sockets."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from connectors.certificates import AUTHORITY, server_context
from connectors.fakes import FakeClock, RecordingSink
from connectors.route import Route
from connectors.ws import Connect, WsOptions
from engine.errors import VenueError
from tests.support.proxies import running_proxy
from tests.support.waiting import until

FAST = WsOptions(open_timeout_s=2.0, ping_interval_s=0.05, silence_timeout_s=0.25, close_timeout_s=0.5)


@asynccontextmanager
async def running(handler: Callable[[ServerConnection], Awaitable[None]], **kwargs: object) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **kwargs) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """An unmasked server frame."""
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    head += bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big")
    return head + payload


@asynccontextmanager
async def raw_server(
    after: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that answers the handshake by hand and then does exactly what ``after`` says, byte by byte."""
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(
            x.split(b":", 1)[1].strip() for x in request.split(b"\r\n") if x.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        try:
            await after(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(talk(reader, writer))
        tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()


class TransportContract:
    """Subclass and set ``connect``."""

    connect: Connect

    async def test_frames_of_one_read_arrive_in_one_batch_with_one_stamp(self) -> None:
        """Three frames in one TCP segment, the clock moving at each look: one call, one time."""

        class TickingClock(FakeClock):
            def now_ns(self) -> int:
                self.advance(1)
                return super().now_ns()

        async def after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)  # the client speaks first: the handshake is over
            writer.write(frame(1, b"one") + frame(1, b"two") + frame(1, b"three"))
            await reader.read(100)

        sink = RecordingSink()
        async with raw_server(after) as url:
            handle = await type(self).connect(url, sink, TickingClock(), options=WsOptions(compression=False))
            handle.send("go")
            await until(lambda: sink.frames)
            handle.close()
            await handle.wait_closed()
        assert [batch for batch, _ in sink.batches] == [[b"one", b"two", b"three"]]

    async def test_fragments_and_controls_between_them_make_one_message(self) -> None:
        """A message in three fragments with a ping inside and a split in the middle of a header."""

        async def after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            data = frame(1, b"ab", fin=False) + frame(9, b"p") + frame(0, b"cd", fin=False) + frame(0, b"ef")
            for index in range(len(data)):
                writer.write(data[index : index + 1])
                await writer.drain()
                await asyncio.sleep(0.001)
            await reader.read(1000)
            await reader.read(1000)

        sink = RecordingSink()
        async with raw_server(after) as url:
            handle = await type(self).connect(url, sink, FakeClock(), options=WsOptions(compression=False))
            await until(lambda: sink.frames)
            handle.close()
            await handle.wait_closed()
        assert sink.frames == [b"abcdef"]

    async def test_text_goes_both_ways_large_and_compressible(self) -> None:
        """An echo server with compression offered: what comes back is what was sent, 300 kB included."""

        async def echo(ws: ServerConnection) -> None:
            async for message in ws:
                await ws.send(message)

        sink = RecordingSink()
        texts = ["", "grüße", "x" * 300_000]
        async with running(echo) as url:
            handle = await type(self).connect(url, sink, FakeClock())
            for text in texts:
                handle.send(text)
            await until(lambda: len(sink.frames) == 3)
            handle.close()
            await handle.wait_closed()
        assert sink.frames == [text.encode() for text in texts]
        assert (sink.opened, len(sink.closed)) == (1, 1)
        assert handle.bytes_in > 0
        assert handle.bytes_out > 0
        assert handle.frames_in == 3
        assert not handle.is_open

    async def test_headers_reach_the_server(self) -> None:
        """The server tells the header it saw."""

        async def tell(ws: ServerConnection) -> None:
            await ws.send(ws.request.headers["X-Kestrel"])
            await ws.wait_closed()

        sink = RecordingSink()
        async with running(tell) as url:
            handle = await type(self).connect(url, sink, FakeClock(), headers={"X-Kestrel": "yes"})
            await until(lambda: sink.frames)
            handle.close()
            await handle.wait_closed()
        assert sink.frames == [b"yes"]

    async def test_a_close_by_the_peer_is_told_once_with_its_code(self) -> None:
        """The server closes with 1001 and a reason."""

        async def bye(ws: ServerConnection) -> None:
            await ws.close(1001, "deploy")

        sink = RecordingSink()
        async with running(bye) as url:
            handle = await type(self).connect(url, sink, FakeClock())
            await handle.wait_closed()
        assert sink.closed == ["closed by peer: 1001 deploy"]

    async def test_a_reset_by_the_peer_is_told_once(self) -> None:
        """The server drops the socket without a closing frame."""

        async def drop(ws: ServerConnection) -> None:
            ws.transport.abort()

        sink = RecordingSink()
        async with running(drop) as url:
            handle = await type(self).connect(url, sink, FakeClock())
            await handle.wait_closed()
            handle.send("into the void")
        assert len(sink.closed) == 1

    @pytest.mark.fault("C1")
    async def test_a_half_open_peer_is_noticed_by_its_silence(self) -> None:
        """The server reads everything and answers nothing, pings included."""

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1000):
                pass

        sink = RecordingSink()
        async with raw_server(mute) as url:
            handle = await type(self).connect(url, sink, FakeClock(), options=FAST)
            await until(lambda: sink.closed)
            assert "silent" in sink.closed[0]
            assert not handle.is_open

    async def test_a_quiet_peer_that_answers_pings_is_kept(self) -> None:
        """A time of silence passes without a message, with pings in it; the connection still works."""

        async def quiet(ws: ServerConnection) -> None:
            async for message in ws:
                await ws.send(message)

        sink = RecordingSink()
        async with running(quiet) as url:
            patient = msgspec.structs.replace(FAST, silence_timeout_s=1.0)
            handle = await type(self).connect(url, sink, FakeClock(), options=patient)
            await asyncio.sleep(1.5 * patient.silence_timeout_s)
            handle.send("still there")
            await until(lambda: sink.frames or sink.closed)
            handle.close()
            await handle.wait_closed()
        assert sink.frames == [b"still there"]

    async def test_a_peer_that_never_finishes_the_close_is_dropped(self) -> None:
        """We close; the server ignores it; wait_closed returns all the same."""

        async def stubborn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(30)

        sink = RecordingSink()
        async with raw_server(stubborn) as url:
            handle = await type(self).connect(url, sink, FakeClock(), options=FAST)
            handle.close("enough")
            async with asyncio.timeout(30):
                await handle.wait_closed()
        assert sink.closed == ["enough"]

    @pytest.mark.fault("C12")
    async def test_a_message_over_the_limit_closes_the_connection(self) -> None:
        """5 kB against a limit of 1 kB: nothing is delivered, the close is told."""

        async def huge(ws: ServerConnection) -> None:
            await ws.send("x" * 5000)
            await ws.wait_closed()

        sink = RecordingSink()
        async with running(huge, compression=None) as url:
            handle = await type(self).connect(url, sink, FakeClock(), options=WsOptions(max_message_bytes=1000))
            async with asyncio.timeout(30):
                await handle.wait_closed()
        assert [len(frame) for frame in sink.frames] == []
        assert len(sink.closed) == 1

    @pytest.mark.fault("C11")
    async def test_a_refused_connection_is_one_clear_error(self) -> None:
        """A port that was just closed: VenueError with the address, nothing told to the sink."""
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        sink = RecordingSink()
        with pytest.raises(VenueError, match=rf"cannot open ws://127.0.0.1:{port}/") as caught:
            await type(self).connect(f"ws://127.0.0.1:{port}/", sink, FakeClock())
        assert "\n" not in str(caught.value)
        assert (sink.opened, sink.closed) == (0, [])

    async def test_a_server_that_is_no_websocket_is_one_clear_error(self) -> None:
        """A plain HTTP 404 to the handshake."""

        async def no(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(no, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        sink = RecordingSink()
        with pytest.raises(VenueError, match="404"):
            await type(self).connect(url, sink, FakeClock())
        server.close()
        assert (sink.opened, sink.closed) == (0, [])

    @pytest.mark.fault("C11")
    async def test_a_server_that_never_answers_times_out(self) -> None:
        """TCP opens, the handshake is never answered."""

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(VenueError, match="cannot open"):
            await type(self).connect(url, RecordingSink(), FakeClock(), options=WsOptions(open_timeout_s=0.1))
        server.close()

    @pytest.mark.parametrize("scheme", ["http", "socks5"])
    async def test_a_proxy_is_gone_through_and_resolves_the_name(self, scheme: str) -> None:
        """A host that only the proxy knows, with user and password for HTTP: the echo comes back."""

        async def echo(ws: ServerConnection) -> None:
            async for message in ws:
                await ws.send(message)

        sink = RecordingSink()
        user = "user:p%40ss" if scheme == "http" else ""
        async with running(echo) as url, running_proxy(scheme, user.replace("%40", "@")) as proxy:
            port = url.rpartition(":")[2].partition("/")[0]
            route = Route(proxy=f"{scheme}://{user + '@' if user else ''}127.0.0.1:{proxy.port}")
            handle = await type(self).connect(
                f"ws://venue.test:{port}/ws", sink, FakeClock(), options=WsOptions(route=route)
            )
            handle.send("through")
            await until(lambda: sink.frames)
            handle.close()
            await handle.wait_closed()
            assert proxy.asked == [f"venue.test:{port}"]
        assert sink.frames == [b"through"]

    @pytest.mark.fault("C11")
    async def test_a_proxy_that_refuses_is_one_line_without_its_password(self) -> None:
        """The wrong password, and a proxy that is not there."""
        async with running_proxy("http", "user:right") as proxy:
            for where in (proxy.port, 9):
                route = Route(proxy=f"http://user:hunter2@127.0.0.1:{where}")
                with pytest.raises(VenueError, match=r"cannot open ws://venue\.test/: proxy http://127") as caught:
                    await type(self).connect("ws://venue.test/", RecordingSink(), FakeClock(),
                                             options=WsOptions(route=route))  # fmt: skip
                assert "\n" not in str(caught.value)
                assert "hunter2" not in str(caught.value)

    async def test_certificates_of_a_file_are_believed_instead_of_the_systems(self, tmp_path: Path) -> None:
        """Our own authority, through a proxy as well; without the file it is refused."""

        async def greet(ws: ServerConnection) -> None:
            await ws.send("hello")
            await ws.wait_closed()

        context = server_context(tmp_path, datetime.datetime.now(datetime.UTC))
        async with running(greet, ssl=context) as plain, running_proxy("http") as proxy:
            url = plain.replace("ws://127.0.0.1", "wss://localhost")
            with pytest.raises(VenueError, match="certificate"):
                await type(self).connect(url, RecordingSink(), FakeClock())
            for way in ("", proxy.url):
                sink = RecordingSink()
                route = Route(proxy=way, ca_file=str(tmp_path / AUTHORITY))
                handle = await type(self).connect(url, sink, FakeClock(), options=WsOptions(route=route))
                await until(lambda sink=sink: sink.frames)
                handle.close()
                await handle.wait_closed()
            assert len(proxy.asked) == 1
            with pytest.raises(VenueError, match=r"none\.pem' cannot be read"):
                await type(self).connect(url, RecordingSink(), FakeClock(),
                                         options=WsOptions(route=Route(ca_file="none.pem")))  # fmt: skip
