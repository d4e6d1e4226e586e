"""WebSocket transport over the ``websockets`` library's sans-I/O protocol; the port that all transports share.

Owns a TCP connection, its handshake, control frames, reassembly of fragmented messages and the detection of a dead
peer.  Does not reconnect and does not know what a frame means.  ``picows_ws`` is the same port over another library.

Contract of the port (``connect``):

- ``sink.on_open()`` once, then ``sink.on_frames`` any number of times, then ``sink.on_close(reason)`` once.  A
  connection that never opened raises ``VenueError`` from ``connect`` and calls nothing.
- One ``on_frames`` per socket read, synchronously, with every complete message of that read and one ``recv_ns`` that
  was taken before any parsing.
- Frames may be valid only during the call.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

import msgspec
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import CLOSED, OPEN
from websockets.uri import parse_uri

from connectors.route import Route, destination
from engine.errors import ConfigError, VenueError
from engine.ports import Clock, FrameSink

SILENT = logging.getLogger("kestrel.ws.library")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
"""The library logs frames, tokens in subscriptions included, at DEBUG: it never gets a logger that prints."""


class WsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one connection, and the way to it.  ``silence_timeout_s`` must exceed ``ping_interval_s``: a live peer
    answers pings."""

    open_timeout_s: float = 10.0
    ping_interval_s: float = 5.0
    silence_timeout_s: float = 15.0
    close_timeout_s: float = 2.0
    max_message_bytes: int = 16 * 1024 * 1024
    compression: bool = True
    route: Route = Route()


class WsHandle(Protocol):
    """An open connection."""

    bytes_in: int
    bytes_out: int
    frames_in: int

    @property
    def is_open(self) -> bool: ...

    def send(self, data: bytes | str) -> None:
        """Write one text message now.  Does nothing when closing or closed: ``on_close`` tells."""
        ...

    def close(self, reason: str = "closed by us") -> None:
        """Start the closing handshake; the socket is dropped after ``close_timeout_s`` at the latest."""
        ...

    async def wait_closed(self) -> None:
        """Return after ``sink.on_close``."""
        ...


Connect = Callable[..., Awaitable[WsHandle]]
"""``connect(url, sink, clock, *, headers, ssl, options) -> WsHandle``."""


_AT_ONCE_S = 1e-3
"""Timers may fire a little early."""


class Keepalive:
    """Pings a peer that has been silent for an interval, and says when it was for too long (a half-open socket, C1).

    Any received byte proves life, so a busy stream costs a time stamp per read and a timer, and no ping.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: WsOptions,
        send_ping: Callable[[], None],
        on_dead: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._interval_s = options.ping_interval_s
        self._timeout_s = options.silence_timeout_s
        self._send_ping = send_ping
        self._on_dead = on_dead
        self.last_s = loop.time()
        self._timer: asyncio.TimerHandle | None = loop.call_later(self._interval_s, self._tick)

    def _tick(self) -> None:
        silent_s = self._loop.time() - self.last_s
        if silent_s >= self._timeout_s:
            self._timer = None
            self._on_dead(f"peer silent for {silent_s:.1f} s")
            return
        left_s = self._interval_s - silent_s
        if left_s < _AT_ONCE_S:
            self._send_ping()
            left_s = self._interval_s
        self._timer = self._loop.call_later(left_s, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class WebsocketsConnection(asyncio.Protocol):
    """One client connection: bytes in, messages to the sink, all in the socket's own callback."""

    def __init__(self, protocol: ClientProtocol, sink: FrameSink, clock: Clock, options: WsOptions) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.frames_in = 0
        self._ws = protocol
        self._sink = sink
        self._clock = clock
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._keepalive: Keepalive | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._was_open = False
        self._parts: list[bytes | bytearray | memoryview] = []
        self._reason = ""
        self._close_timer: asyncio.TimerHandle | None = None

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        recv_ns = self._clock.now_ns()
        self.bytes_in += len(data)
        if self._keepalive is not None:
            self._keepalive.last_s = self._loop.time()
        ws = self._ws
        ws.receive_data(data)
        batch: list[bytes | bytearray | memoryview] = []
        for event in ws.events_received():
            if isinstance(event, Frame):
                self._take(event, batch)
            else:
                self._on_response()
        if ws.writes:
            self._flush()
        if batch:
            self.frames_in += len(batch)
            self._sink.on_frames(batch, recv_ns)
        if ws.close_expected():
            self._expect_close()

    def _take(self, frame: Frame, batch: list[bytes | bytearray | memoryview]) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                batch.append(frame.data)
            else:
                self._parts = [frame.data]
        elif opcode is Opcode.CONT:
            self._parts.append(frame.data)
            if frame.fin:
                batch.append(b"".join(self._parts))
                self._parts = []
        elif opcode is Opcode.CLOSE and not self._reason:
            close = self._ws.close_rcvd
            self._reason = f"closed by peer: {close.code} {close.reason}".rstrip() if close else "closed by peer"

    def eof_received(self) -> bool:
        self._ws.receive_eof()
        self._flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ws.receive_eof()
        if self._keepalive is not None:
            self._keepalive.stop()
        if self._close_timer is not None:
            self._close_timer.cancel()
        cause = self._ws.handshake_exc or self._ws.parser_exc
        if isinstance(cause, EOFError):
            # End of file is how every loss looks to the parser; the socket's own error says more.
            cause = None
        reason = self._reason or (str(cause) if cause else "") or (str(exc) if exc else "") or "connection lost"
        if not self._opened.done():
            self._opened.set_exception(ConnectionError(self._refusal() or reason))
        if self._was_open:
            self._sink.on_close(reason)
        if not self._closed.done():
            self._closed.set_result(None)

    # --- our side -----------------------------------------------------------------------------------------------

    def _on_response(self) -> None:
        # Not the state: a close in the same read as the answer has moved that on already.
        if self._ws.handshake_exc is None and not self._was_open:
            self._was_open = True
            self._keepalive = Keepalive(self._loop, self._options, self._ping, self.abort)
            self._sink.on_open()
            if not self._opened.done():
                self._opened.set_result(None)
        elif not self._opened.done():
            self._opened.set_exception(ConnectionError(self._refusal() or "handshake refused"))

    def _refusal(self) -> str:
        cause = self._ws.handshake_exc
        if isinstance(cause, InvalidStatus):
            return f"handshake refused with HTTP {cause.response.status_code}"
        return str(cause) if cause is not None else ""

    async def open(self, headers: Mapping[str, str]) -> None:
        request = self._ws.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._ws.send_request(request)
        self._flush()
        await self._opened

    def send(self, data: bytes | str) -> None:
        if self._ws.state is OPEN:
            self._ws.send_text(data.encode() if isinstance(data, str) else data)
            self._flush()

    def close(self, reason: str = "closed by us") -> None:
        self._reason = self._reason or reason
        if self._ws.state is OPEN:
            self._ws.send_close(1000)
            self._flush()
            self._expect_close()
        elif self._ws.state is not CLOSED:
            self._expect_close()

    def abort(self, reason: str) -> None:
        """Drop the socket without a closing handshake."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        return self._ws.state is OPEN

    async def wait_closed(self) -> None:
        await asyncio.shield(self._closed)

    def _ping(self) -> None:
        if self._ws.state is OPEN:
            self._ws.send_ping(b"")
            self._flush()

    def _flush(self) -> None:
        transport = self._transport
        if transport is None:
            return
        for data in self._ws.data_to_send():
            if data:
                if not transport.is_closing():
                    self.bytes_out += len(data)
                    transport.write(data)
            elif transport.can_write_eof() and not transport.is_closing():
                transport.write_eof()
            else:
                transport.close()

    def _expect_close(self) -> None:
        if self._close_timer is None and self._transport is not None:
            self._close_timer = self._loop.call_later(self._options.close_timeout_s, self._transport.abort)


def default_ssl(
    url: str, ssl: ssl_module.SSLContext | None, route: Route | None = None
) -> ssl_module.SSLContext | None:
    """``ssl``, else a verifying context, for ``wss``/``https`` addresses; nothing for plain ones.

    Raises ``ConfigError`` when the route's certificates cannot be read.
    """
    if url.startswith(("wss://", "https://")):
        return ssl if ssl is not None else (route or Route()).ssl(url)
    return None


async def way_to(
    url: str, ssl: ssl_module.SSLContext | None, route: Route
) -> tuple[socket.socket | None, ssl_module.SSLContext | None]:
    """What a WebSocket library needs to dial ``url``: the socket of a proxy, None for none, and the context for TLS.

    Raises ``OSError`` for a proxy that does not let us through, ``VenueError`` for certificates that cannot be read.
    """
    try:
        context = default_ssl(url, ssl, route)
    except ConfigError as error:
        raise VenueError(error.seen, expected=error.expected, do=error.do) from error
    return await route.tunnel(url), context


async def connect(
    url: str,
    sink: FrameSink,
    clock: Clock,
    *,
    headers: Mapping[str, str] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    options: WsOptions | None = None,
) -> WebsocketsConnection:
    """Open ``url`` (``ws://`` or ``wss://``).  Raises ``VenueError`` when it cannot be opened in ``open_timeout_s``."""
    options = options or WsOptions()
    try:
        uri = parse_uri(url)
    except InvalidURI as error:
        raise VenueError(f"WebSocket address {url!r}", expected="ws://HOST[:PORT]/PATH or wss://...") from error
    protocol = ClientProtocol(
        uri,
        extensions=[ClientPerMessageDeflateFactory()] if options.compression else None,
        max_size=options.max_message_bytes,
        logger=SILENT,
    )
    loop = asyncio.get_running_loop()
    connection: WebsocketsConnection | None = None
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(options.open_timeout_s):
            sock, context = await way_to(url, ssl, options.route)
            _, connection = await loop.create_connection(
                lambda: WebsocketsConnection(protocol, sink, clock, options),
                **destination(sock, uri.host, uri.port),
                ssl=context,
                server_hostname=uri.host if uri.secure else None,
            )
            await connection.open(headers or {})
    except (OSError, TimeoutError) as error:
        _give_up(connection, sock, "handshake failed")
        why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
        raise VenueError(
            f"cannot open {url}: {why}", expected="a WebSocket server", do="check the address and the network"
        ) from error
    except asyncio.CancelledError:
        _give_up(connection, sock, "cancelled")
        raise
    return connection


def _give_up(connection: WebsocketsConnection | None, sock: socket.socket | None, reason: str) -> None:
    if connection is not None:
        connection.abort(reason)
    elif sock is not None:
        sock.close()
