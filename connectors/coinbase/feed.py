"""One Coinbase stream kept alive: connect, subscribe, confirm, deliver, notice trouble, reconnect.

Owns the connection's life and the load rule of a batch.  Does not read messages (``protocol``) and does not know
orders: the user stream is the same feed with another protocol and another list of subscriptions.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as ssl_module
from collections.abc import Callable, Sequence

from connectors.coinbase.protocol import StreamProtocol
from connectors.coinbase.wire import encode_json
from connectors.reconnect import Backoff
from connectors.ws import Connect, WsHandle, WsOptions
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp, InputEvent, Quote
from engine.ports import Clock, Publish

_log = logging.getLogger(__name__)

RESYNC_EVERY_S = 5.0
"""A new snapshot is asked for at most this often: a stream that gaps all the time must not be hammered as well."""


def subscription(kind: str, channel: str, products: Sequence[str], token: str = "") -> bytes:
    """``{"type":"subscribe","channel":"level2","product_ids":["BTC-USD"],"jwt":"..."}``: one channel per message."""
    message: dict[str, object] = {"type": kind, "channel": channel}
    if products:
        message["product_ids"] = list(products)
    if token:
        message["jwt"] = token
    return encode_json(message)


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


class CoinbaseFeed:
    """``FrameSink`` of one stream and the task that keeps it connected.

    ``subscriptions`` makes the messages to send after each opening (with fresh tokens).  ``after_batch`` is called when
    all events of a read are published.  ``lag_ns`` tells the loop's lateness.
    """

    def __init__(
        self,
        url: str,
        protocol: StreamProtocol,
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
        resync: Callable[[WsHandle], None] | None = None,
        after_batch: Callable[[], None] | None = None,
    ) -> None:
        self.url = url
        self.protocol = protocol
        self.conflated = 0
        self.connections = 0
        self.batches = 0
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
        self._resync = resync
        self._after_batch = after_batch
        self._handle: WsHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._first_up: asyncio.Event = asyncio.Event()
        self._last_frame_s = 0.0
        self._last_resync_s = float("-inf")
        self._stopping = False

    # --- FrameSink ----------------------------------------------------------------------------------------------

    def on_open(self) -> None:
        self.protocol.reset()
        self.connections += 1

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
                self._first_up.set()
                self._backoff.succeeded()
        if self._after_batch is not None:
            self._after_batch()
        self._last_frame_s = asyncio.get_running_loop().time()
        if self.protocol.resync_wanted and self._handle is not None:
            self._resync_if_due(self._handle)
        if self.protocol.last_error:
            self._on_venue_error()

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
        if self._handle is not None and not self.protocol.up:
            self._handle.close(self.protocol.last_error)

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"feed-{self.protocol.stream}")

    async def wait_up(self, timeout_s: float) -> None:
        """Return when the stream was up once.  Raises ``VenueError`` with what is known after ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._first_up.wait()
        except TimeoutError:
            missing = sorted({channel for channel, _ in self.protocol.wanted - self.protocol.confirmed})
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
                await asyncio.sleep(self._backoff.next_delay_s(loop.time()))

    async def _serve_once(self) -> None:
        """One connection from opening to end."""
        loop = asyncio.get_running_loop()
        handle = await self._connect(self.url, self, self._clock, headers=None, ssl=self._ssl, options=self._options)
        self._handle = handle
        self._last_frame_s = loop.time()
        for message in self._subscriptions():
            handle.send(message)
        await self._watch(handle, loop.time())

    async def _watch(self, handle: WsHandle, opened_s: float) -> None:
        """Until the connection is closed: give it up when it is not confirmed in time or has gone mute (C2, C4)."""
        loop = asyncio.get_running_loop()
        closed = loop.create_task(handle.wait_closed(), name=f"closed-{self.protocol.stream}")
        step_s = min(1.0, self._silence_timeout_s / 4, self._confirm_timeout_s / 4)
        try:
            while not closed.done():
                await asyncio.wait([closed], timeout=step_s)
                now_s = loop.time()
                if not self.protocol.up and now_s - opened_s > self._confirm_timeout_s:
                    handle.close(f"subscriptions not confirmed in {self._confirm_timeout_s:g} s")
                elif now_s - self._last_frame_s > self._silence_timeout_s:
                    handle.close(f"no message for {self._silence_timeout_s:g} s")
                elif self.protocol.resync_wanted:
                    self._resync_if_due(handle)
        finally:
            closed.cancel()

    def _resync_if_due(self, handle: WsHandle) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._resync is not None and now_s - self._last_resync_s > RESYNC_EVERY_S:
            self._last_resync_s = now_s
            self.protocol.resync_wanted = False
            self._resync(handle)
