"""Connections in memory: whole, in order, cut, reset and silent."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from connectors.simulation.network import FairWeather, MemoryNetwork
from engine.runtime.simulation.loop import SimulatedProcess, VirtualLoop, running_process

PORT = 7


class Ear(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.end: object = "open"
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, error: Exception | None) -> None:
        self.end = error


class Cutting(FairWeather):
    """Cuts what begins with X after three bytes."""

    def cut_at(self, port: int, to_server: bool, data: bytes) -> int | None:
        return 3 if data.startswith(b"X") else None


class Setting:
    def __init__(self, weather: FairWeather | None = None) -> None:
        self.network = MemoryNetwork(weather or FairWeather(), running_process)
        self.loop = VirtualLoop(self.network)
        self.network.loop = self.loop
        self.server = Ear()
        self.there = SimulatedProcess("server")
        self.here = SimulatedProcess("client")

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        self.loop.within(self.there).run(self.network.listen, PORT, lambda: self.server)
        self.loop.run_until_complete(self.loop.spawn(self.here, main))
        self.loop.die()

    async def dial(self) -> Ear:
        _, protocol = await self.loop.create_connection(Ear, "127.0.0.1", PORT)
        assert isinstance(protocol, Ear)
        return protocol


def test_bytes_arrive_in_order_and_then_the_end() -> None:
    setting = Setting()

    async def main() -> None:
        client = await setting.dial()
        for number in range(100):
            client.transport.write(b"%d," % number)
        client.transport.close()
        await asyncio.sleep(1.0)
        assert setting.server.heard == b"".join(b"%d," % number for number in range(100))
        assert setting.server.end is None
        assert client.end is None

    setting.run(main())


def test_a_cut_delivers_a_part_and_resets_both_ends() -> None:
    setting = Setting(Cutting())

    async def main() -> None:
        client = await setting.dial()
        client.transport.write(b"whole ")
        client.transport.write(b"X is cut")
        client.transport.write(b"never")
        await asyncio.sleep(1.0)
        assert setting.server.heard == b"whole X i"
        assert isinstance(setting.server.end, ConnectionResetError)
        assert isinstance(client.end, ConnectionResetError)

    setting.run(main())


def test_a_stalled_connection_says_nothing_until_it_is_found_out() -> None:
    setting = Setting()

    async def main() -> None:
        client = await setting.dial()
        setting.network.stall(frozenset((PORT,)), 30.0)
        client.transport.write(b"lost")
        await asyncio.sleep(29.0)
        assert (setting.server.heard, client.end) == (b"", "open")
        await asyncio.sleep(2.0)
        assert isinstance(client.end, ConnectionResetError)

    setting.run(main())


def test_a_vanished_server_resets_and_refuses() -> None:
    setting = Setting()

    async def main() -> None:
        client = await setting.dial()
        setting.loop.kill(setting.there)
        await asyncio.sleep(1.0)
        assert isinstance(client.end, ConnectionResetError)
        with pytest.raises(ConnectionRefusedError):
            await setting.dial()

    setting.run(main())


def test_a_connection_that_breaks_while_it_opens_is_an_error_of_the_opening() -> None:
    """Reset between the server's accepting and the client's learning of it."""
    setting = Setting()

    async def main() -> None:
        opening = asyncio.create_task(setting.dial())
        await asyncio.sleep(0.0007)
        assert setting.network.break_all(frozenset((PORT,))) == 1
        with pytest.raises(ConnectionResetError):
            await opening
        await asyncio.sleep(1.0)
        assert isinstance(setting.server.end, ConnectionResetError)
        assert not setting.loop.errors

    setting.run(main())
