"""Byte streams between an event loop's processes: TCP as its two ends see it, without sockets.

Owns delivery: order, delay, ends and losses of connections.  What goes wrong and when is asked of a ``Weather``; the
protocols on both ends run unmodified, HTTP parsers and WebSocket frames included.

A connection delivers every byte in order until it ends, as TCP does.  It ends by a close (the peer reads everything,
then end of file) or by a reset (what is under way is lost, in the middle of a message if it comes to that).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Protocol, cast

Factory = Callable[[], asyncio.BaseProtocol]


class Weather(Protocol):
    """What the network does to its connections.  Asked once for each thing that happens."""

    def opening(self, port: int) -> str:
        """For a connection attempt: empty to let it through, ``refused`` or ``lost`` (no answer ever)."""
        ...

    def delay_s(self, port: int) -> float:
        """One way, of a piece of data or of an end."""
        ...

    def cut_at(self, port: int, to_server: bool, data: bytes) -> int | None:
        """The connection breaks after so many bytes of ``data``; None: it does not."""
        ...


class FairWeather:
    """Half a millisecond each way, no trouble."""

    def opening(self, port: int) -> str:  # noqa: ARG002
        return ""

    def delay_s(self, port: int) -> float:  # noqa: ARG002
        return 0.0005

    def cut_at(self, port: int, to_server: bool, data: bytes) -> int | None:  # noqa: ARG002
        return None


class MemoryTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: MemoryNetwork, link: _Link, *, is_server: bool, owner: object) -> None:
        super().__init__()
        self.owner = owner
        self.is_server = is_server
        self.context: Context = copy_context()
        self.peer: MemoryTransport
        self.link = link
        self._network = network
        self._protocol: asyncio.Protocol
        self._met = False
        self._closing = False
        self._gone = False
        self._paused = False
        self._held: list[bytes | None] = []
        self.arrives_s = 0.0
        """When the last thing sent to this end arrives: nothing overtakes it."""

    # --- the protocol's side ------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and data:
            self._network.carry(self, bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._network.end(self, reset=False)
            self._lose_soon(None)

    def abort(self) -> None:
        if not self._gone:
            self._closing = True
            self._network.end(self, reset=True)
            self._lose_soon(None)

    def is_closing(self) -> bool:
        return self._closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.close()

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (0, 0)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer: what is written is under way."""

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        held, self._held = self._held, []
        for data in held:
            self.arrive(data)

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name in ("peername", "sockname"):
            at_server = self.is_server == (name == "sockname")
            return ("127.0.0.1", self.link.port if at_server else self.link.client_port)
        return default

    # --- the network's side -------------------------------------------------------------------------------------

    def connected(self, protocol: asyncio.BaseProtocol) -> None:
        self.set_protocol(protocol)
        self._met = True
        protocol.connection_made(self)

    def arrive(self, data: bytes | None) -> None:
        """Data, or None for its end."""
        if self._gone:
            return
        if self._paused:
            self._held.append(data)
        elif data is None:
            if not self._protocol.eof_received():
                self.close()
        elif not self._closing:
            self._protocol.data_received(data)

    def reset(self) -> None:
        """The connection broke."""
        if not self._gone:
            self._closing = True
            self._lose(ConnectionResetError("connection reset by peer"))

    def _lose_soon(self, error: Exception | None) -> None:
        self._network.loop.call_soon(self._lose, error, context=self.context)

    def _lose(self, error: Exception | None) -> None:
        if not self._gone:
            self._gone = True
            self._held.clear()
            self._network.forget(self)
            if self._met:  # else it broke before its end was told of it, and opening it fails
                self._protocol.connection_lost(error)


class _Link:
    """A connection: both of its ends."""

    def __init__(self, port: int, client_port: int) -> None:
        self.port = port
        self.client_port = client_port
        self.client: MemoryTransport
        self.server: MemoryTransport
        self.broken = False
        """Nothing is carried any more."""
        self.lost = False
        """One end's process is gone."""


class MemoryNetwork:
    """One host, ``127.0.0.1``.  ``owner()`` names the running process: its connections break when it vanishes."""

    def __init__(self, weather: Weather, owner: Callable[[], object]) -> None:
        self.weather = weather
        self.loop: asyncio.AbstractEventLoop
        self.on_write: Callable[[int, bytes], None] | None = None
        """``(port, data)`` of everything that a client writes, as it writes it."""
        self.on_dial: Callable[[object, int], None] = lambda _owner, _port: None
        """``(process, port)`` of every connection that is asked for."""
        self._owner = owner
        self._listening: dict[int, tuple[Factory, Context, object]] = {}
        self._ends: dict[MemoryTransport, None] = {}
        self._next_port = 40_000

    def listen(self, port: int, factory: Factory) -> None:
        """Connections to ``port`` are served by the running process from now on."""
        self._listening[port] = (factory, copy_context(), self._owner())

    def close(self, port: int) -> None:
        """Nobody listens there any more; connections that are open stay."""
        self._listening.pop(port, None)

    async def connect(self, host: str, port: int, factory: Factory) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        loop, weather = self.loop, self.weather
        owner = self._owner()
        self.on_dial(owner, port)
        fate = weather.opening(port)
        if fate == "lost":
            await loop.create_future()
        await asyncio.sleep(weather.delay_s(port))
        listener = self._listening.get(port)
        if listener is None or fate:
            await asyncio.sleep(weather.delay_s(port))
            raise ConnectionRefusedError(111, f"Connect call failed ('{host}', {port})")
        serve, context, server_owner = listener
        self._next_port = 40_000 + (self._next_port - 39_999) % 20_000
        link = _Link(port, self._next_port)
        link.client = client = MemoryTransport(self, link, is_server=False, owner=owner)
        link.server = server = MemoryTransport(self, link, is_server=True, owner=server_owner)
        client.peer, server.peer = server, client
        server.context = context.copy()
        self._ends[client] = self._ends[server] = None
        loop.call_soon(lambda: server.connected(serve()), context=server.context)
        await asyncio.sleep(weather.delay_s(port))
        if link.broken:
            raise ConnectionResetError(104, "connection reset by peer")
        protocol = factory()
        client.connected(protocol)
        return client, protocol

    def carry(self, sender: MemoryTransport, data: bytes) -> None:
        to_server, link = not sender.is_server, sender.link
        if link.lost:
            return
        if to_server and self.on_write is not None:
            self.on_write(link.port, data)
        if link.broken:
            return
        at = self.weather.cut_at(link.port, to_server, data)
        if at is not None:
            link.broken = True
            if at:
                self._deliver(sender.peer, sender.peer.arrive, data[:at])
            self._deliver(sender.peer, sender.peer.reset)
            self._deliver(sender, sender.reset)
            return
        self._deliver(sender.peer, sender.peer.arrive, data)

    def end(self, sender: MemoryTransport, *, reset: bool) -> None:
        """The sender closes, or drops, its end."""
        link = sender.link
        if link.broken:
            return
        if reset:
            link.broken = True
            self._deliver(sender.peer, sender.peer.reset)
        else:
            self._deliver(sender.peer, sender.peer.arrive, None)

    def _deliver(self, end: MemoryTransport, call: Callable[..., None], *arguments: Any) -> None:
        at_s = self.loop.time() + self.weather.delay_s(end.link.port)
        end.arrives_s = at_s = max(at_s, end.arrives_s + 1e-9)
        self.loop.call_at(at_s, call, *arguments, context=end.context)

    def forget(self, end: MemoryTransport) -> None:
        self._ends.pop(end, None)

    def break_all(self, ports: frozenset[int]) -> int:
        """Reset every connection to these ports, both ends; how many there were."""
        links = {end.link: None for end in self._ends if end.link.port in ports and not end.link.broken}
        for link in links:
            link.broken = True
            self._deliver(link.client, link.client.reset)
            self._deliver(link.server, link.server.reset)
        return len(links)

    def stall(self, ports: frozenset[int], seconds: float) -> None:
        """Connections to these ports deliver nothing any more, and after ``seconds`` their ends find out."""
        links = {end.link: None for end in self._ends if end.link.port in ports and not end.link.broken}
        for link in links:
            link.broken = True
        self.loop.call_later(seconds, self._reset_all, list(links))

    def _reset_all(self, links: list[_Link]) -> None:
        for link in links:
            for end in (link.client, link.server):
                if end in self._ends:
                    self._deliver(end, end.reset)

    def vanish(self, process: object) -> None:
        """A process died: the system closes its connections, and nobody listens where it did."""
        for end in [end for end in self._ends if end.owner is process]:
            self._ends.pop(end)
            end.link.lost = True
            if not end.link.broken:
                end.link.broken = True
                self._deliver(end.peer, end.peer.reset)
        for port in [port for port, (_, _, owner) in self._listening.items() if owner is process]:
            del self._listening[port]
