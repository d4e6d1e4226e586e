"""WebSocket transport over ``picows``: the port of ``ws`` with a frame cost of 0.3 us instead of 3.4 us.

Owns the adaptation of picows' callbacks (one per frame) to ``FrameSink`` (one per socket read) and the reassembly of
fragmented messages.  Offers no compression, so a peer that compresses anyway breaks the protocol and is dropped.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Mapping
from typing import Any

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from connectors.ws import SILENT, Keepalive, WsOptions, way_to
from engine.errors import VenueError
from engine.ports import Clock, FrameSink

_TEXT = WSMsgType.TEXT
_BINARY = WSMsgType.BINARY
_CONTINUATION = WSMsgType.CONTINUATION
_CLOSE = WSMsgType.CLOSE


class PicowsConnection(WSListener):  # type: ignore[misc]
    """One client connection; ``WsHandle`` towards the feed, ``WSListener`` towards picows."""

    def __init__(self, sink: FrameSink, clock: Clock, options: WsOptions) -> None:
        super().__init__()
        self.bytes_in = 0
        self.bytes_out = 0
        self.frames_in = 0
        self._sink = sink
        self._clock = clock
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._keepalive: Keepalive | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._batch: list[bytes | bytearray | memoryview] = []
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._recv_ns = 0
        self._reason = ""
        self._close_timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Task[None] | None = None

    # --- picows callbacks ---------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._waiter = self._loop.create_task(self._watch_end(transport), name="picows-end")
        self._keepalive = Keepalive(self._loop, self._options, self._ping, self.abort)
        self._sink.on_open()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._recv_ns == 0:
            self._recv_ns = self._clock.now_ns()
            if self._keepalive is not None:
                self._keepalive.last_s = self._loop.time()
        self.bytes_in += frame.payload_size
        if transport.is_close_frame_sent and self._close_timer is None:
            # picows found a protocol error, sent a close frame and goes on parsing: what follows is not trusted.
            self.abort("protocol error")
            return
        kind = frame.msg_type
        if frame.rsv1:
            self.abort("peer compressed a message although no compression was offered")
        elif kind is _TEXT or kind is _BINARY:
            if frame.fin:
                self._batch.append(frame.get_payload_as_bytes())
            else:
                self._parts = [frame.get_payload_as_bytes()]
                self._parts_bytes = frame.payload_size
        elif kind is _CONTINUATION:
            self._continue(frame)
        elif kind is _CLOSE and not self._reason:
            code = frame.get_close_code()
            number = code.value if isinstance(code, WSCloseCode) else code
            self._reason = f"closed by peer: {number} {frame.get_close_reason() or ''}".rstrip()
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        if frame.last_in_buffer:
            self._deliver()

    def _continue(self, frame: WSFrame) -> None:
        self._parts_bytes += frame.payload_size
        if self._parts_bytes > self._options.max_message_bytes:
            self.abort(f"message larger than {self._options.max_message_bytes} bytes")
            return
        self._parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            self._batch.append(b"".join(self._parts))
            self._parts = []
            self._parts_bytes = 0

    def _deliver(self) -> None:
        batch, recv_ns = self._batch, self._recv_ns
        self._recv_ns = 0
        if batch:
            self._batch = []
            self.frames_in += len(batch)
            self._sink.on_frames(batch, recv_ns)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 -- picows' signature
        if self._keepalive is not None:
            self._keepalive.stop()
        if self._close_timer is not None:
            self._close_timer.cancel()
        # A read that ended in a protocol error has no last frame: what was complete before it still counts.
        self._deliver()
        self._sink.on_close(self._reason or "connection lost")
        if not self._closed.done():
            self._closed.set_result(None)

    async def _watch_end(self, transport: WSTransport) -> None:
        """Take what ended the connection: the peer's mistakes were told as a close, ours go to the loop's handler."""
        try:
            await transport.wait_disconnected()
        except (WSError, OSError):
            return
        except Exception as error:
            self._loop.call_exception_handler({"message": "a frame sink raised", "exception": error})

    # --- WsHandle -----------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        transport = self._transport
        return transport is not None and not transport.is_disconnected and not transport.is_close_frame_sent

    def send(self, data: bytes | str) -> None:
        if self.is_open:
            payload = data.encode() if isinstance(data, str) else data
            self.bytes_out += len(payload)
            self._transport.send(_TEXT, payload)

    def close(self, reason: str = "closed by us") -> None:
        self._reason = self._reason or reason
        if self.is_open:
            self._transport.send_close(WSCloseCode.OK)
            self._close_timer = self._loop.call_later(
                self._options.close_timeout_s, lambda: self._transport.disconnect(False)
            )

    def abort(self, reason: str) -> None:
        """Drop the socket without a closing handshake."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.disconnect(False)

    async def wait_closed(self) -> None:
        await asyncio.shield(self._closed)

    def _ping(self) -> None:
        if self.is_open:
            self._transport.send_ping()


async def connect(
    url: str,
    sink: FrameSink,
    clock: Clock,
    *,
    headers: Mapping[str, str] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    options: WsOptions | None = None,
) -> PicowsConnection:
    """Open ``url`` (``ws://`` or ``wss://``).  Raises ``VenueError`` when it cannot be opened in ``open_timeout_s``."""
    options = options or WsOptions()
    sock: socket.socket | None = None
    try:
        async with asyncio.timeout(options.open_timeout_s):
            sock, context = await way_to(url, ssl, options.route)
            _, connection = await ws_connect(
                lambda: PicowsConnection(sink, clock, options),
                url,
                ssl_context=context,
                socket_factory=None if sock is None else lambda _url: sock,
                websocket_handshake_timeout=options.open_timeout_s,
                max_frame_size=options.max_message_bytes,
                extra_headers=dict(headers) if headers else None,
                max_redirects=0,
                logger_name=SILENT,
            )
    except (OSError, TimeoutError, WSError, ValueError) as error:
        if sock is not None:
            sock.close()
        why = "no answer in time" if isinstance(error, TimeoutError) else (str(error) or type(error).__name__)
        raise VenueError(
            f"cannot open {url}: {why}", expected="a WebSocket server", do="check the address and the network"
        ) from error
    assert isinstance(connection, PicowsConnection)
    return connection
