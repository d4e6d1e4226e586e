"""Two small proxies on loopback, HTTP CONNECT and SOCKS 5: they note whom they were asked for and hand bytes on."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Greet = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[tuple[str, int] | None]]


class Proxy:
    """``asked`` lists ``host:port`` in order; names in ``hosts`` are known to the proxy alone."""

    def __init__(self, scheme: str, user: str = "") -> None:
        self.scheme = scheme
        self.asked: list[str] = []
        self.hosts = {"venue.test": "127.0.0.1"}
        self.port = 0
        self._user = user

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self._user + '@' if self._user else ''}127.0.0.1:{self.port}"

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        """Whom the client wants; None when it was refused."""
        return await (self._greet_http if self.scheme == "http" else self._greet_socks)(reader, writer)

    async def _greet_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, where, _ = head.split("\r\n")[0].split(" ")
        proof = base64.b64encode(self._user.encode()).decode()
        if method != "CONNECT" or (self._user and f"Basic {proof}" not in head):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return None
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, _, port = where.rpartition(":")
        return host, int(port)

    async def _greet_socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        *_, kind = await reader.readexactly(4)
        if kind == 1:
            host = ".".join(str(part) for part in await reader.readexactly(4))
        else:
            (size,) = await reader.readexactly(1)
            host = (await reader.readexactly(size)).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        return host, port


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def running_proxy(scheme: str, user: str = "") -> AsyncIterator[Proxy]:
    proxy = Proxy(scheme, user)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            wanted = await proxy.greet(reader, writer)
            if wanted is None:
                return
            proxy.asked.append(f"{wanted[0]}:{wanted[1]}")
            there = await asyncio.open_connection(proxy.hosts.get(wanted[0], wanted[0]), wanted[1])
            await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(
        lambda r, w: tasks.add(asyncio.get_running_loop().create_task(serve(r, w))), "127.0.0.1", 0
    )
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.close()
