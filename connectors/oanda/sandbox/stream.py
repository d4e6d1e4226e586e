"""Streams of the sandbox: one line of JSON each, over chunked HTTP, heartbeats in between.

Owns open streams and what each is still to be told.  Prices: the newest of each window of a stream, none in between is
kept.  Transactions: all, in order, through a bounded queue; a reader that falls too far behind is cut off and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.errors import ApiError, Json
from connectors.oanda.sandbox.log import Entry
from connectors.oanda.sandbox.market import Market
from connectors.oanda.sandbox.settings import SandboxSettings
from connectors.oanda.sandbox.times import as_unix, at
from connectors.oanda.sandbox.views import price_json

_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode


class Line:
    """One open stream.  ``muted``: it stays open and nothing comes any more, heartbeats included."""

    def __init__(self, kind: str, transport: asyncio.Transport | None) -> None:
        self.kind = kind
        self.transport = transport
        self.wake = asyncio.Event()
        self.ending = False
        self.muted = False
        self.doubled = False


class Hub:
    """All streams.  ``serve_prices`` and ``serve_transactions`` live as long as their connection does."""

    def __init__(self, settings: SandboxSettings, now_ns: Callable[[], int]) -> None:
        self._settings = settings
        self._now_ns = now_ns
        self._torn: list[str] = []
        self.lines: dict[Line, None] = {}
        self.slow_readers = 0

    # --- streams ------------------------------------------------------------------------------------------------------

    async def serve_prices(
        self, request: web.Request, markets: Sequence[Market], *, snapshot: bool, unix: bool
    ) -> web.StreamResponse:
        """PRICE lines: all of ``markets`` first when ``snapshot``, then changes, at most one each window."""
        line, response = await self._open("prices", request)
        told = {market.rules.name: -1 if snapshot else market.version for market in markets}
        beat_ns = self._now_ns() + int(self._settings.heartbeat_s * 1e9)
        window_ns = 0
        try:
            while not line.ending:
                now_ns = self._now_ns()
                rows: list[Json] = []
                if now_ns >= window_ns:
                    window_ns = now_ns + int(self._settings.price_window_s * 1e9)
                    for market in markets:
                        if market.quote is not None and told[market.rules.name] != market.version:
                            told[market.rules.name] = market.version
                            rows.append(price_json(market, market.quote))
                if now_ns >= beat_ns:
                    beat_ns = now_ns + int(self._settings.heartbeat_s * 1e9)
                    rows.append({"type": "HEARTBEAT", "time": at(now_ns)})
                await self._write(line, response, rows, unix=unix)
                await _wait(line.wake, max(0.001, (min(beat_ns, window_ns) - self._now_ns()) / 1e9))
        finally:
            self.lines.pop(line, None)
        return response

    async def serve_transactions(self, request: web.Request, account: Account, *, unix: bool) -> web.StreamResponse:
        """Every transaction from here on, nothing of the past."""
        line, response = await self._open("transactions", request)
        queue: deque[Entry] = deque()

        def hear(entry: Entry) -> None:
            if len(queue) >= self._settings.outbound_queue:
                self.slow_readers += 1
                _log.warning("slow reader of the transactions of %s cut off, %d behind", account.id, len(queue))
                queue.clear()
                _abort(line)
                return
            queue.append(entry)
            line.wake.set()

        account.log.listeners.append(hear)
        beat_ns = self._now_ns() + int(self._settings.heartbeat_s * 1e9)
        try:
            while not line.ending:
                line.wake.clear()
                now_ns = self._now_ns()
                rows: list[Json] = [entry.body for entry in queue]
                queue.clear()
                if now_ns >= beat_ns:
                    beat_ns = now_ns + int(self._settings.heartbeat_s * 1e9)
                    rows.append({"type": "HEARTBEAT", "lastTransactionID": str(account.log.last), "time": at(now_ns)})
                await self._write(line, response, rows, unix=unix)
                await _wait(line.wake, max(0.0, (beat_ns - self._now_ns()) / 1e9))
        finally:
            account.log.listeners.remove(hear)
            self.lines.pop(line, None)
        return response

    async def _open(self, kind: str, request: web.Request) -> tuple[Line, web.StreamResponse]:
        """Raises ``ApiError`` 429 for one stream too many."""
        limits = self._settings.rate_limits
        if limits is not None and len(self.lines) >= limits.streams:
            raise ApiError(429, f"Too many streams: at most {limits.streams} may be open")
        line = Line(kind, request.transport)
        self.lines[line] = None
        response = web.StreamResponse(headers={"Content-Type": self._settings.switches.stream_content_type})
        response.enable_chunked_encoding()
        await response.prepare(request)
        return line, response

    async def _write(self, line: Line, response: web.StreamResponse, rows: list[Json], *, unix: bool) -> None:
        if not rows or line.muted:
            return
        made = [_encode(as_unix(row) if unix else row) + b"\n" for row in rows]
        if line.doubled:
            made = [text for text in made for _ in (0, 1)]
        if self._torn:
            made = [*made, *(text.encode() + b"\n" for text in self._torn)]
            self._torn = []
        await response.write(b"".join(made))

    # --- an operator's hand -------------------------------------------------------------------------------------------

    def end(self, kind: str = "") -> None:
        """Streams end as they should: the last chunk is sent."""
        for line in self._of(kind):
            line.ending = True
            line.wake.set()

    def cut(self, kind: str = "") -> None:
        """Connections go without a word."""
        for line in self._of(kind):
            _abort(line)

    def mute(self, kind: str = "", *, muted: bool = True) -> None:
        for line in self._of(kind):
            line.muted = muted

    def double(self, kind: str = "", *, doubled: bool = True) -> None:
        """Every line comes twice."""
        for line in self._of(kind):
            line.doubled = doubled

    def say(self, text: str) -> None:
        """The next stream that writes says this as well."""
        self._torn = [*self._torn[-99:], text]

    def _of(self, kind: str) -> list[Line]:
        return [line for line in self.lines if kind in ("", line.kind)]

    async def close(self) -> None:
        """All streams end, as those of a server that goes away do."""
        self.end()
        await asyncio.sleep(0)


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass


def _abort(line: Line) -> None:
    line.ending = True
    line.wake.set()
    if line.transport is not None:
        line.transport.abort()
