"""WebSocket connections of a local venue: each with a bounded queue of what it is told, cut, muted and ended from here.

Owns sockets and their ends.  What is said on them, and what clients say, is each venue's own (``hear``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from aiohttp import WSCloseCode, WSMsgType, web

_log = logging.getLogger(__name__)
_MAX_MESSAGE_BYTES = 1 << 20


class Line:
    """One connection.  ``address`` is the client's, ``path`` what it asked for."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request, queue: int) -> None:
        self.ws = ws
        self.path = request.path
        self.address = request.remote or ""
        self.transport: asyncio.Transport | None = request.transport
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=queue)
        self.closing = False


class Lines:
    """All connections, in the order of their opening.  Everything but ``serve`` and ``close`` is synchronous: what is
    told is queued in the call that caused it."""

    def __init__(self, queue: int, *, ping_s: float | None = None, compress: bool = False) -> None:
        self._queue = queue
        self._ping_s = ping_s
        self._compress = compress
        self._lines: dict[Line, None] = {}
        self._closing: set[asyncio.Task[object]] = set()
        self._muted: list[asyncio.Transport] = []
        self.slow_readers = 0
        self.opened = 0

    def __iter__(self) -> Iterator[Line]:
        return iter(list(self._lines))

    def __len__(self) -> int:
        return len(self._lines)

    async def serve(
        self,
        request: web.Request,
        hear: Callable[[Line, str], None],
        *,
        opened: Callable[[Line], None] | None = None,
        closed: Callable[[Line], None] | None = None,
    ) -> web.StreamResponse:
        """One connection from its handshake to its end."""
        ws = web.WebSocketResponse(max_msg_size=_MAX_MESSAGE_BYTES, compress=self._compress, heartbeat=self._ping_s)
        await ws.prepare(request)
        line = Line(ws, request, self._queue)
        self._lines[line] = None
        self.opened += 1
        writer = asyncio.create_task(self._write(line))
        try:
            if opened is not None:
                opened(line)
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    hear(line, message.data)
        finally:
            self._lines.pop(line, None)
            if closed is not None:
                closed(line)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return ws

    async def _write(self, line: Line) -> None:
        queue, ws = line.queue, line.ws
        try:
            while True:
                await ws.send_frame(await queue.get(), WSMsgType.TEXT)
        except (ConnectionError, RuntimeError):
            return  # The peer is gone; the reading side ends the connection.

    def say(self, line: Line, text: bytes) -> None:
        if line.closing:
            return
        try:
            line.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.slow_readers += 1
            _log.warning("slow reader %s cut off, %d messages behind", line.address, line.queue.maxsize)
            self.cut(line)

    def end(self, line: Line, code: int, reason: str = "") -> None:
        """Close from our side; 1006 is no close frame, only the end of the line."""
        if line.closing:
            return
        if code == WSCloseCode.ABNORMAL_CLOSURE:
            self.cut(line)
            return
        line.closing = True
        self._lines.pop(line, None)
        task: asyncio.Task[object] = asyncio.create_task(line.ws.close(code=code, message=reason.encode()))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def cut(self, line: Line) -> None:
        """A close frame would wait behind everything that the reader does not take."""
        line.closing = True
        self._lines.pop(line, None)
        if line.transport is not None:
            line.transport.abort()

    def end_all(self, code: int) -> None:
        for line in self:
            self.end(line, code)

    def mute_all(self) -> None:
        """The lines stay open and nothing comes over them any more, not even the answer to a ping."""
        for line in self:
            line.closing = True
            self._lines.pop(line, None)
            if line.transport is not None:
                line.transport.pause_reading()
                self._muted.append(line.transport)

    async def close(self) -> None:
        """End all, as a server that goes away does."""
        for transport in self._muted:
            transport.abort()
        self._muted.clear()
        self.end_all(WSCloseCode.GOING_AWAY)
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=2.0)
