"""The line between a connector and a server: what is said on it may be cut, held up, lost or answered by nobody.

Knows HTTP as far as it must to tell one request from the next; whatever follows an upgrade, and answers without end,
pass as bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import msgspec

TOO_MANY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
BROKEN = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"


class Plan(msgspec.Struct, frozen=True):
    """What becomes of a request for an order: it is (not) ``forwarded``; its answer is ``answer`` instead of the
    server's, none at all when that is empty (the line is cut), or the server's own after ``hold_s``."""

    forwarded: bool
    answer: bytes | None = b""
    hold_s: float = 0.0


class Wire:
    """Listens on a port of its own; ``orders`` counts requests that begin with ``order_request``, ``held`` answers that
    were held up and have been passed on."""

    def __init__(self, host: str, port: int, order_request: bytes | tuple[bytes, ...]) -> None:
        self.orders = 0
        self.held = 0
        self._target = (host, port)
        self._order_request = order_request
        self._plans: deque[Plan] = deque()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], bool] = {}
        self._streaming = asyncio.Event()
        self._streaming.set()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._end(list(self._open))

    def plan(self, plan: Plan, times: int = 1) -> None:
        self._plans.extend([plan] * times)

    async def cut_streams(self) -> None:
        """Every line that has become a stream ends in the middle of whatever it says."""
        await self._end([task for task, is_stream in self._open.items() if is_stream])

    def told(self, chunk: bytes) -> bytes:
        """What the connector gets to read of some bytes of the server's: as many."""
        return chunk

    def hold_streams(self) -> None:
        """What streams say stays on the line until ``release_streams``."""
        self._streaming.clear()

    def release_streams(self) -> None:
        self._streaming.set()

    @staticmethod
    async def _end(tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = False
        upstream: asyncio.StreamWriter | None = None
        try:
            answers, upstream = await asyncio.open_connection(*self._target)
            line = _Line(self, answers, writer, self._streaming)
            back = asyncio.create_task(line.carry())
            try:
                await self._forward(task, reader, upstream, writer, line)
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            del self._open[task]
            for one in (writer, upstream):
                if one is not None and one.transport is not None:
                    one.transport.abort()

    async def _forward(
        self,
        task: asyncio.Task[None],
        reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        line: _Line,
    ) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            body = b""
            if b"content-length:" in lower:
                body = await reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
            if head.startswith(self._order_request):
                self.orders += 1
                plan = self._plans.popleft() if self._plans else None
                if plan is not None and plan.forwarded:
                    line.hold_s, line.is_cut = plan.hold_s, plan.answer == b""
                elif plan is not None:
                    if not plan.answer:
                        return
                    writer.write(plan.answer)
                    continue
            upstream.write(head + body)
            if b"upgrade: websocket" in lower or b"/stream" in head.split(b"\r\n")[0]:
                self._open[task] = line.is_stream = True
                while chunk := await reader.read(1 << 16):
                    upstream.write(chunk)
                return


class _Line:
    """What comes back, on one connection."""

    def __init__(
        self, wire: Wire, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, streaming: asyncio.Event
    ) -> None:
        self._wire = wire
        self.hold_s = 0.0
        self.is_cut = False
        self.is_stream = False
        self._streaming = streaming
        self._answers = answers
        self._writer = writer

    async def carry(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self._answers.read(1 << 16):
                if self.is_cut:
                    break
                if self.is_stream:
                    await self._streaming.wait()
                hold_s, self.hold_s = self.hold_s, 0.0
                if hold_s:
                    await asyncio.sleep(hold_s)
                self._writer.write(self._wire.told(chunk))
                self._wire.held += hold_s > 0
        self._writer.transport.abort()
