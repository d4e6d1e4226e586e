"""What lies between the core and a venue: commands out, facts in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from engine.commands import CancelOrder, Command, NewOrder, ReplaceOrder
from engine.events import InputEvent

Publish = Callable[[InputEvent], None]
"""How adapters hand facts to the bus.  Safe to call while the bus is busy: the event waits its turn."""


class Router(Protocol):
    def send(self, command: Command) -> None: ...


class VenueGateway(Protocol):
    """Encodes and writes.  Calls never block; answers arrive as events.

    ``submit`` and ``cancel`` raise nothing: what fails before a byte left is an ``OrderRejected`` event; what fails
    after is an ``OrderOutcomeUnknown`` event.
    """

    @property
    def venue(self) -> str: ...

    def submit(self, order: NewOrder) -> None: ...

    def cancel(self, cancel: CancelOrder) -> None: ...


@runtime_checkable
class EditingGateway(Protocol):
    """What a gateway has besides where its venue changes orders in place (``engine.offers.Offer.edits``).

    ``replace`` raises nothing.  Each call ends in one of three events: ``OrderReplaced`` when the venue has shown the
    new version, ``ReplaceRejected`` when the order is and stays as it was, or the order's own end.  Meanwhile it may
    tell ``ReplaceOutcomeUnknown``.
    """

    def replace(self, replace: ReplaceOrder) -> None: ...


@runtime_checkable
class VenueProtocol(Protocol):
    """Bytes in, events out; commands in, bytes out.  No clock, no socket, no await."""

    def receive_frame(self, frame: bytes | bytearray | memoryview, recv_ns: int) -> Sequence[InputEvent]:
        """Events of one text frame.  A malformed frame yields nothing and is counted; never raises."""
        ...


class FrameSink(Protocol):
    """What a transport calls, synchronously: all frames of one socket read, stamped once."""

    def on_frames(self, frames: Sequence[bytes | bytearray | memoryview], recv_ns: int) -> None: ...

    def on_open(self) -> None: ...

    def on_close(self, reason: str) -> None: ...


class FeedCounts(msgspec.Struct, frozen=True):
    """``conflated``: superseded quotes dropped before they got a ``seq``; ``reconnects``: connections made again;
    ``duplicate_fills``: executions that were told or listed again and went no further."""

    conflated: int = 0
    reconnects: int = 0
    duplicate_fills: int = 0


class Venue(Protocol):
    """A connected venue as the supervisor drives it."""

    @property
    def name(self) -> str: ...

    @property
    def gateways(self) -> Sequence[VenueGateway]:
        """Order entry; a recording of several venues has several.  May be empty until the venue is being started."""
        ...

    async def start(self) -> None:
        """Publish instruments, balances and ``FeedUp``; returns when every stream is confirmed.

        Raises ``VenueError`` (one line) when that cannot be had.
        """
        ...

    async def finished(self) -> None:
        """Returns when the feed has ended by itself (a recording); a live feed never does."""
        ...

    def settle(self) -> None:
        """Called on each timer: let an in-process exchange handle what is due.  Nothing to do for a real venue."""
        ...

    def confirm(self) -> None:
        """Something may have hidden facts (a clock that stepped, a suspended machine): have the account confirmed soon,
        which ends with ``AccountSettled``.  Nothing to do where the account is in this process."""
        ...

    def counts(self) -> FeedCounts:
        """What the feed did out of the core's sight."""
        ...

    async def stop(self) -> None:
        """Close every connection.  Safe to call twice."""
        ...
