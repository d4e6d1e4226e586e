"""One market or account stream kept alive: connect, subscribe, confirm, deliver, notice trouble, reconnect.

Owns the connection's life, the load rule of a batch and the counts of both.  Does not read messages (the venue's
``protocol``) and does not know what a venue wants besides: a venue's own feed says so in ``_tend``.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as ssl_module
from collections.abc import Callable, Sequence
from typing import Protocol

from connectors.endpoints import Endpoints
from connectors.reconnect import Backoff
from connectors.ws import Connect, WsHandle, WsOptions
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp, InputEvent, Quote
from engine.ports import Clock, Publish

_log = logging.getLogger(__name__)

LOOK_S = 2.5
"""At most this long between two looks at a stream."""
OVERLAP_S = 0.5
"""How long the old connection goes on beside the new one once that tells everything: one may be behind the other."""
RENEW_AGAIN_S = 60.0
"""After a second connection that did not come up; the first is kept meanwhile."""


OnFrames = Callable[[Sequence[bytes | bytearray | memoryview], int], None]


class StreamReader(Protocol):
    """What bytes are given to: a venue's pure protocol.  ``up``: every subscription is confirmed."""

    venue: str
    stream: str
    up: bool
    last_error: str

    def reset(self) -> None:
        """A new connection."""
        ...

    def receive_frame(self, frame: bytes | bytearray | memoryview, recv_ns: int) -> Sequence[InputEvent]: ...


def conflate(events: list[InputEvent]) -> tuple[list[InputEvent], int]:
    """Drop each quote that a later quote of the same instrument in the batch supersedes; the rest keeps its order.

    Returns the remaining events and the number dropped.  Trades, books and account events are never dropped.
    """
    seen: set[str] = set()
    kept: list[InputEvent] = []
    for event in reversed(events):
        if type(event) is Quote:
            if event.instrument in seen:
                continue
            seen.add(event.instrument)
        kept.append(event)
    kept.reverse()
    return kept, len(events) - len(kept)


class _Line:
    """The sink of one connection: it is heard until it is retired, its end is told while it is the feed's own."""

    def __init__(self, feed: StreamFeed, *, second: bool) -> None:
        self.on_frames: OnFrames = feed.on_frames
        """The feed's own, without a call between: this is the way of every tick."""
        self._feed = feed
        self._second = second

    def retire(self) -> None:
        self.on_frames = _unheard

    def on_open(self) -> None:
        self._feed.connections += 1
        if not self._second:
            self._feed.on_open()

    def on_close(self, reason: str) -> None:
        if self._feed.line is self:
            self._feed.on_close(reason)


def _unheard(_frames: Sequence[bytes | bytearray | memoryview], _recv_ns: int) -> None:
    """What a connection tells that another one has taken over from."""


class StreamFeed:
    """One stream and the task that keeps it connected.

    ``url`` is one address, or several that stand in for each other; one whose stream did not come up has failed.
    ``subscriptions`` makes the messages to send after each opening (with fresh tokens), ``send_gap_s`` apart where the
    venue reads only so many.  ``after_batch`` is called when all events of a read are published.  ``lag_ns`` tells the
    loop's lateness.  ``probe`` is sent when half of ``silence_timeout_s`` passed without a message, to a venue that is
    silent when nothing happens: any answer counts.  ``renew_after_s``: at that age the connection is made anew, where
    the venue would end it a little later, at a moment of its own: beside the old one where the protocol can tell what
    came twice (``_begin_overlap``), so that nothing is missed, else after it.
    """

    def __init__(
        self,
        url: str | Endpoints,
        protocol: StreamReader,
        *,
        subscriptions: Callable[[], Sequence[bytes]],
        publish: Publish,
        clock: Clock,
        connect: Connect,
        backoff: Backoff,
        lag_ns: Callable[[], int],
        options: WsOptions,
        ssl: ssl_module.SSLContext | None = None,
        conflate_lag_ns: int = 5_000_000,
        confirm_timeout_s: float = 10.0,
        silence_timeout_s: float = 10.0,
        send_gap_s: float = 0.0,
        renew_after_s: float | None = None,
        probe: Callable[[], bytes] | None = None,
        after_batch: Callable[[], None] | None = None,
    ) -> None:
        self.endpoints = url if isinstance(url, Endpoints) else Endpoints((url,))
        self.url = self.endpoints.urls[0]
        """The address of the last attempt."""
        self.protocol = protocol
        self.conflated = 0
        self.connections = 0
        self.batches = 0
        self.handovers = 0
        """Connections that took over from one that was still open."""
        self.last_error = ""
        self._subscriptions = subscriptions
        self._publish = publish
        self._clock = clock
        self._connect = connect
        self._backoff = backoff
        self._lag_ns = lag_ns
        self._conflate_lag_ns = conflate_lag_ns
        self._options = options
        self._ssl = ssl
        self._confirm_timeout_s = confirm_timeout_s
        self._silence_timeout_s = silence_timeout_s
        self._send_gap_s = send_gap_s
        self._renew_after_s = renew_after_s
        self._probe = probe
        self._after_batch = after_batch
        self._handle: WsHandle | None = None
        self.line = _Line(self, second=False)
        """What the connection is heard by."""
        self._task: asyncio.Task[None] | None = None
        self._first_up: asyncio.Event = asyncio.Event()
        self._last_frame_s = 0.0
        self._probed_s = 0.0
        self._renew_at_s = float("inf")
        self._was_up = False
        self._stopping = False

    # --- what a connection tells ------------------------------------------------------------------------------------

    def on_open(self) -> None:
        self.protocol.reset()

    def on_frames(self, frames: Sequence[bytes | bytearray | memoryview], recv_ns: int) -> None:
        self.batches += 1
        receive = self.protocol.receive_frame
        if len(frames) == 1:
            events = receive(frames[0], recv_ns)
        else:
            # All of the read first: only then it is known which quotes are already superseded.
            parsed: list[InputEvent] = []
            for frame in frames:
                parsed.extend(receive(frame, recv_ns))
            if len(parsed) > 1 and self._lag_ns() > self._conflate_lag_ns:
                parsed, dropped = conflate(parsed)
                self.conflated += dropped
            events = parsed
        for event in events:
            self._publish(event)
            if type(event) is FeedUp:
                self._on_up()
        if self._after_batch is not None:
            self._after_batch()
        self._last_frame_s = asyncio.get_running_loop().time()
        if self._handle is not None:
            self._tend(self._handle)
        if self.protocol.last_error:
            self._on_venue_error()

    def _on_up(self) -> None:
        self._was_up = True
        self._first_up.set()
        self._backoff.succeeded()
        self.endpoints.succeeded()

    def on_close(self, reason: str) -> None:
        self._handle = None
        now_ns = self._clock.now_ns()
        why = self.protocol.last_error or reason
        self.last_error = why
        # Also when it was never up: the core starts from "down", and saying why costs nothing.
        self.protocol.up = False
        self._publish(FeedDown(now_ns, now_ns, self.protocol.venue, self.protocol.stream, why))

    def _on_venue_error(self) -> None:
        """The venue refused something we asked for: this connection will not become complete, try anew."""
        if self._handle is not None and (not self.protocol.up or self._is_fatal(self.protocol.last_error)):
            self._handle.close(self.protocol.last_error)

    def publish_all(self, events: Sequence[InputEvent]) -> None:
        """Facts that no frame told, in their place among those that frames tell."""
        for event in events:
            self._publish(event)

    @property
    def handle(self) -> WsHandle | None:
        """The connection; None between two."""
        return self._handle

    # --- for a venue's own feed ---------------------------------------------------------------------------------

    def _tend(self, handle: WsHandle) -> None:
        """After each read and at each look: do what the state of the stream asks for."""

    def _tend_due_s(self) -> float:
        """When to look again for the sake of ``_tend``; infinite when only a message can change anything."""
        return float("inf")

    def _is_fatal(self, error: str) -> bool:  # noqa: ARG002
        """Whether an error ends a stream that is up: it will not tell everything any more."""
        return False

    def _begin_overlap(self) -> bool:
        """A second connection begins beside the first, into the same protocol: it must tell what comes twice.  False
        where it cannot."""
        return False

    def _is_overlap_complete(self) -> bool:
        """Whether every subscription of the second connection is confirmed."""
        return True

    def _end_overlap(self) -> None:
        """One connection is left."""

    def _missing(self) -> Sequence[str]:
        """What is not confirmed yet, in words."""
        return ()

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"feed-{self.protocol.stream}")

    async def wait_up(self, timeout_s: float) -> None:
        """Return when the stream was up once.  Raises ``VenueError`` with what is known after ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._first_up.wait()
        except TimeoutError:
            missing = self._missing()
            raise VenueError(
                f"{self.protocol.venue} {self.protocol.stream} stream at {self.url} is not up after {timeout_s:g} s: "
                f"{self.last_error or ('not confirmed: ' + ', '.join(missing) if missing else 'no snapshot')}",
                expected="every subscription confirmed",
                do="check the address, the key and the venue's status",
            ) from None

    async def stop(self) -> None:
        """Close the connection in order; the last ``FeedDown`` is published before this returns."""
        self._stopping = True
        handle = self._handle
        if handle is not None:
            handle.close("stopped")
            try:
                async with asyncio.timeout(self._options.close_timeout_s + 1.0):
                    await handle.wait_closed()
            except TimeoutError:
                pass
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            self._was_up = False
            try:
                await self._serve_once()
            except VenueError as error:
                self.last_error = error.seen
            except Exception as error:
                # A defect must not leave the stream down for ever without a word.
                self.last_error = f"{type(error).__name__}: {error}"
                _log.exception("%s %s stream failed; it is opened again", self.protocol.venue, self.protocol.stream)
                if self._handle is not None:
                    self._handle.close(self.last_error)
            if not self._stopping:
                if not self._was_up and self.endpoints.failed(loop.time()):
                    _log.warning("%s %s stream: another address is used from now on; %s gave none (%s)",
                                 self.protocol.venue, self.protocol.stream, self.url, self.last_error)  # fmt: skip
                await asyncio.sleep(self._backoff.next_delay_s(loop.time()))

    async def _serve_once(self) -> None:
        """One connection from opening to end, with those that took over from it."""
        loop = asyncio.get_running_loop()
        self.url = self.endpoints.current(loop.time())
        self.line = _Line(self, second=False)
        handle = await self._open(self.line)
        self._handle = handle
        opened_s = self._last_frame_s = self._probed_s = loop.time()
        await self._subscribe(handle)
        await self._watch(handle, opened_s, loop.time())

    async def _open(self, line: _Line) -> WsHandle:
        return await self._connect(self.url, line, self._clock, headers=None, ssl=self._ssl, options=self._options)

    async def _subscribe(self, handle: WsHandle) -> None:
        for number, message in enumerate(self._subscriptions()):
            if number and self._send_gap_s:
                await asyncio.sleep(self._send_gap_s)
            handle.send(message)

    async def _watch(self, handle: WsHandle, opened_s: float, asked_s: float) -> None:
        """Until the connection is closed: give it up when it is not confirmed in time or has gone mute (C2, C4)."""
        loop = asyncio.get_running_loop()
        self._renew_at_s = opened_s + (float("inf") if self._renew_after_s is None else self._renew_after_s)
        closed = loop.create_task(handle.wait_closed(), name=f"closed-{self.protocol.stream}")
        try:
            while not closed.done():
                await asyncio.wait([closed], timeout=self._pause_s(loop.time(), asked_s))
                now_s = loop.time()
                if not self.protocol.up and now_s - asked_s > self._confirm_timeout_s:
                    handle.close(f"subscriptions not confirmed in {self._confirm_timeout_s:g} s")
                elif now_s - self._last_frame_s > self._silence_timeout_s:
                    handle.close(f"no message for {self._silence_timeout_s:g} s")
                elif now_s > self._renew_at_s and self.protocol.up:
                    fresh = await self._renew(handle)
                    if fresh is not handle:
                        closed.cancel()
                        handle = fresh
                        closed = loop.create_task(handle.wait_closed(), name=f"closed-{self.protocol.stream}")
                else:
                    self._ask_for_life(handle, now_s)
                    self._tend(handle)
        finally:
            closed.cancel()

    async def _renew(self, handle: WsHandle) -> WsHandle:
        """Another connection before the venue ends this one; the one that is to be watched from now on."""
        loop = asyncio.get_running_loop()
        if not self._begin_overlap():
            handle.close("renewed before the venue ends it")
            return handle
        line = _Line(self, second=True)
        fresh: WsHandle | None = None
        try:
            fresh = await self._open(line)
            await self._subscribe(fresh)
            until_s = loop.time() + self._confirm_timeout_s
            while handle.is_open and fresh.is_open and loop.time() < until_s:
                if self._is_overlap_complete():
                    await asyncio.sleep(OVERLAP_S)
                    if not (handle.is_open and fresh.is_open):
                        break
                    self.line.retire()
                    self.line, self._handle = line, fresh
                    handle.close("handed over")
                    self._renew_at_s = loop.time() + (self._renew_after_s or float("inf"))
                    self.handovers += 1
                    return fresh
                await asyncio.sleep(0.02)
        except VenueError as error:
            _log.warning("%s %s stream: no second connection: %s", self.protocol.venue, self.protocol.stream, error)
        finally:
            self._end_overlap()
            if fresh is not None and fresh is not self._handle:
                line.retire()
                fresh.close("not taken over")
        self._renew_at_s = loop.time() + RENEW_AGAIN_S
        return handle

    def _ask_for_life(self, handle: WsHandle, now_s: float) -> None:
        silent_since_s = max(self._last_frame_s, self._probed_s)
        if self._probe is not None and now_s - silent_since_s > 0.5 * self._silence_timeout_s:
            self._probed_s = now_s
            handle.send(self._probe())

    def _pause_s(self, now_s: float, asked_s: float) -> float:
        """Until there could be something to see."""
        due_s = min(self._last_frame_s + self._silence_timeout_s, self._tend_due_s(), self._renew_at_s)
        if not self.protocol.up:
            due_s = min(due_s, asked_s + self._confirm_timeout_s)
        if self._probe is not None:
            due_s = min(due_s, max(self._last_frame_s, self._probed_s) + 0.5 * self._silence_timeout_s)
        return min(max(due_s - now_s, 0.0) + 0.01, LOOK_S)
