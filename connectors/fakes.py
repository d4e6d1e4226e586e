"""Doubles of the ports, for tests of everyone: a clock that is set, a sink that records, a scripted transport.

Shipped with the ports so that all tests share the same doubles.  Nothing in the live process imports this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from connectors.http import OnDone, OnLost
from engine.errors import VenueError
from engine.events import InputEvent
from engine.ports import Clock, FrameSink


class FakeClock:
    """Time that moves only when told.  ``now_ns`` and ``wall_ns`` start equal; ``step_wall`` sets the wall apart."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = start_ns
        self._wall_offset_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def wall_ns(self) -> int:
        return self._now_ns + self._wall_offset_ns

    def advance(self, delta_ns: int) -> None:
        self._now_ns += delta_ns

    def step_wall(self, delta_ns: int) -> None:
        self._wall_offset_ns += delta_ns


class RecordingSink:
    """A ``FrameSink`` that keeps what it was told: ``batches`` of ``(frames, recv_ns)``, flattened in ``frames``."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed: list[str] = []
        self.batches: list[tuple[list[bytes], int]] = []

    @property
    def frames(self) -> list[bytes]:
        return [frame for batch, _ in self.batches for frame in batch]

    def on_open(self) -> None:
        self.opened += 1

    def on_frames(self, frames: Sequence[bytes | bytearray | memoryview], recv_ns: int) -> None:
        self.batches.append(([bytes(frame) for frame in frames], recv_ns))

    def on_close(self, reason: str) -> None:
        self.closed.append(reason)


class EventLog(list[InputEvent]):
    """A ``Publish`` callable that is also the list of what was published."""

    def __call__(self, event: InputEvent) -> None:
        self.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


class ScriptedConnection:
    """A ``WsHandle`` driven by the test: ``deliver`` frames, read ``sent``, ``drop`` it."""

    def __init__(self, url: str, sink: FrameSink, clock: Clock) -> None:
        self.url = url
        self.sent: list[str] = []
        self.bytes_in = 0
        self.bytes_out = 0
        self.frames_in = 0
        self.is_open = True
        self._sink = sink
        self._clock = clock
        self._on_closed: list[Any] = []

    def deliver(self, *frames: bytes) -> None:
        self.frames_in += len(frames)
        self._sink.on_frames(frames, self._clock.now_ns())

    def send(self, data: bytes | str) -> None:
        if self.is_open:
            self.sent.append(data if isinstance(data, str) else data.decode())

    def close(self, reason: str = "closed by us") -> None:
        self.drop(reason)

    def drop(self, reason: str) -> None:
        if self.is_open:
            self.is_open = False
            self._sink.on_close(reason)
            for future in self._on_closed:
                if not future.done():
                    future.set_result(None)

    async def wait_closed(self) -> None:
        import asyncio

        if self.is_open:
            future = asyncio.get_running_loop().create_future()
            self._on_closed.append(future)
            await future


class ScriptedTransport:
    """A ``Connect`` callable: refuses the first ``refusals`` attempts, then opens ``ScriptedConnection``s."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.attempts = 0
        self.connections: list[ScriptedConnection] = []
        self.options: list[dict[str, Any]] = []

    async def __call__(
        self, url: str, sink: FrameSink, clock: Clock, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> ScriptedConnection:
        self.attempts += 1
        self.options.append({"headers": headers, **options})
        if self.attempts <= self.refusals:
            raise VenueError(f"cannot open {url}: refused by the script")
        connection = ScriptedConnection(url, sink, clock)
        self.connections.append(connection)
        sink.on_open()
        return connection


class ScriptedOrderChannel:
    """An order channel without sockets: ``requests`` holds what was written; the test answers or loses each."""

    def __init__(self, free: int = 4) -> None:
        self.free = free
        self.error: Exception | None = None
        """Raised by the next ``try_send``."""
        self.requests: list[tuple[bytes, OnDone, OnLost]] = []

    def try_send(self, request: bytes, on_done: OnDone, on_lost: OnLost) -> bool:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.free <= 0:
            return False
        self.free -= 1
        self.requests.append((request, on_done, on_lost))
        return True

    def answer(self, status: int, body: bytes) -> None:
        """Answer the oldest request in flight."""
        _, done, _ = self.requests.pop(0)
        self.free += 1
        done(status, body)

    def lose(self, reason: str) -> None:
        """Lose the oldest request in flight."""
        _, _, lost = self.requests.pop(0)
        self.free += 1
        lost(reason)
