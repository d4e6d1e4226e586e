"""Kept-alive HTTP/1.1 connections for orders: prebuilt bytes straight to the socket, in the caller's own call.

Owns n raw connections to one host, each with at most one request in flight, and their reconnection.  Does not build
requests, know venues, retry or resend: a request whose answer did not come is reported lost, once, and what that
means is the caller's business.
"""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from connectors.reconnect import Backoff
from connectors.route import Route, destination
from engine.errors import VenueError

OnDone = Callable[[int, bytes], None]
"""``on_done(status, body)``: a complete answer."""
OnLost = Callable[[str], None]
"""``on_lost(reason)``: bytes left, no complete answer came (``timeout``, ``reset``, ``bad_answer``, ``stopped``)."""
OnAnswer = Callable[[int, int], None]
"""``on_answer(status, retry_after_s)``: any complete answer; 0 when the peer does not ask to wait so many seconds."""


class OrderWriter(Protocol):
    """What sends orders: an ``OrderChannel``, or what stands in its place."""

    def try_send(self, request: bytes, on_done: OnDone, on_lost: OnLost) -> bool: ...


MAX_ANSWER_BYTES = 4 * 1024 * 1024


class _Connection(asyncio.Protocol):
    """One socket.  Idle, or busy with exactly one request."""

    def __init__(self, channel: OrderChannel) -> None:
        self._channel = channel
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._answer: tuple[int, bytes] | None = None
        self._keep_alive = False
        self._retry_after_s = 0
        self.on_done: OnDone | None = None
        self.on_lost: OnLost | None = None
        self.deadline_s = 0.0
        self.last_used_s = 0.0
        self.last_error = ""

    @property
    def busy(self) -> bool:
        return self.on_done is not None

    def send(self, request: bytes, on_done: OnDone, on_lost: OnLost, now_s: float, timeout_s: float) -> int:
        """Write and return the bytes that the socket did not take at once (0 without back-pressure)."""
        transport = self._transport
        assert transport is not None
        self.on_done = on_done
        self.on_lost = on_lost
        self.deadline_s = now_s + timeout_s
        self.last_used_s = now_s
        transport.write(request)
        return transport.get_write_buffer_size()

    def drop(self, reason: str) -> None:
        """Close the socket now and tell the owner of the request in flight why."""
        lost, self.on_done, self.on_lost = self.on_lost, None, None
        if self._transport is not None:
            self._transport.abort()
        if lost is not None:
            self._channel.lost += 1
            lost(reason)

    def is_writable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # uvloop otherwise keeps every write until the end of the loop's turn: an order would leave after its callback,
        # and each one would look like back-pressure.
        self._transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        if self.on_done is None:
            # An answer nobody asked for (408 on an idle connection): whatever comes next could not be told apart.
            self.drop("reset")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.drop("bad_answer")
            return
        if self._answer is not None:
            self._finish(*self._answer)

    def _finish(self, status: int, body: bytes) -> None:
        """Hand the answer over outside the parser, which would swallow what the callback raises."""
        done, self.on_done, self.on_lost, self._answer = self.on_done, None, None, None
        if self._keep_alive:
            self._channel._on_free(self)
        elif self._transport is not None:
            self._transport.close()
        if done is not None:
            on_answer = self._channel.on_answer
            if on_answer is not None and done is not _ignore_answer:
                on_answer(status, self._retry_after_s)
            done(status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.last_error = str(exc) if exc else "closed by peer"
        lost, self.on_done, self.on_lost = self.on_lost, None, None
        self._channel._on_gone(self)
        if lost is not None:
            self._channel.lost += 1
            lost("reset")

    # --- httptools callbacks ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._body = []
        self._body_bytes = 0
        self._retry_after_s = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 11 and name.lower() == b"retry-after":
            value = value.strip()
            # A date is not read: what it means depends on whose clock is right.
            self._retry_after_s = int(value) if value.isdigit() and len(value) < 10 else 0

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > MAX_ANSWER_BYTES:
            raise ValueError("answer too large")
        self._body.append(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue and its like announce the answer, they are not it
            return
        if self._answer is not None:
            raise ValueError("two answers to one request")
        # Here and not later: once the message is over the parser has forgotten it.
        self._keep_alive = self._parser.should_keep_alive()
        self._answer = (status, b"".join(self._body))


class OrderChannel:
    """``connections`` warm sockets to ``host:port``.

    ``try_send`` is the fast path: it takes the most recently used free connection (its caches are warm), writes and
    returns.  Callbacks run in the loop, synchronously with the read that completed the answer.

    ``warm_request`` (full HTTP request bytes, idempotent, cheap) is sent on a connection idle for ``warm_after_s``,
    one connection at a time, so that neither side's idle timeout closes what the next order needs.

    ``on_answer`` hears of every answer but those to warm-ups, before the request's own callback does.  Of ``route``
    the proxy counts; whose certificates are believed is in ``ssl``.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        backoff: Callable[[], Backoff],
        ssl: ssl_module.SSLContext | None = None,
        connections: int = 4,
        timeout_s: float = 5.0,
        open_timeout_s: float = 10.0,
        warm_request: bytes | None = None,
        warm_after_s: float = 20.0,
        on_free: Callable[[], None] | None = None,
        on_answer: OnAnswer | None = None,
        route: Route | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._ssl = ssl
        self._count = connections
        self._timeout_s = timeout_s
        self._open_timeout_s = open_timeout_s
        self._backoff = backoff
        self._warm_request = warm_request
        self._warm_after_s = warm_after_s
        self._on_free_hook = on_free
        self.on_answer = on_answer
        self._route = route or Route()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free: list[_Connection] = []
        self._all: dict[_Connection, None] = {}  # a set's order would differ from run to run
        self._keepers: list[asyncio.Task[None]] = []
        self._gone: dict[_Connection, asyncio.Future[None]] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._stopping = False
        self.sent = 0
        self.lost = 0
        self.back_pressure = 0
        self.refused = 0
        self.reconnects = 0

    @property
    def free(self) -> int:
        """Connections that could take a request now."""
        return len(self._free)

    @property
    def open(self) -> int:
        """Connections that are established, busy ones included."""
        return len(self._all)

    async def start(self) -> None:
        """Open all connections.  Raises ``VenueError`` when the first one cannot be opened."""
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        try:
            first = await self._open()
        except (OSError, TimeoutError) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise VenueError(
                f"cannot reach {self.host}:{self.port} for orders: {why}",
                expected="an HTTP server",
                do="check the address and the network",
            ) from error
        for index in range(self._count):
            keeper = self._keep(first if index == 0 else None)
            self._keepers.append(self._loop.create_task(keeper, name=f"order-connection-{index}"))
        for _ in range(200):
            if len(self._all) >= self._count:
                break
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Close everything.  Requests in flight are reported lost with reason ``stopped``."""
        self._stopping = True
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers.clear()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        for connection in list(self._all):
            connection.drop("stopped")
        self._all.clear()
        self._free.clear()

    def try_send(self, request: bytes, on_done: OnDone, on_lost: OnLost) -> bool:
        """Write ``request`` now on a free connection.  False, and nothing was written, when there is none.

        After True exactly one of the callbacks is called, later.
        """
        loop = self._loop
        free = self._free
        while free and loop is not None:
            connection = free.pop()
            if not connection.is_writable():
                continue
            self.sent += 1
            if connection.send(request, on_done, on_lost, loop.time(), self._timeout_s):
                self.back_pressure += 1
            if self._sweep_timer is None:
                self._sweep_timer = loop.call_later(self._timeout_s / 8, self._sweep)
            return True
        self.refused += 1
        return False

    # --- called by the connections -------------------------------------------------------------------------------

    def _on_free(self, connection: _Connection) -> None:
        if connection in self._all:
            self._free.append(connection)
            if self._on_free_hook is not None and self._loop is not None:
                # Not now: the answer that freed it is told first.
                self._loop.call_soon(self._on_free_hook)

    def _on_gone(self, connection: _Connection) -> None:
        self._all.pop(connection, None)
        if connection in self._free:
            self._free.remove(connection)
        gone = self._gone.pop(connection, None)
        if gone is not None and not gone.done():
            gone.set_result(None)

    # --- background ---------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Drop what is overdue.  One timer for all requests: arming one per order would cost more than the write."""
        assert self._loop is not None
        self._sweep_timer = None
        now_s = self._loop.time()
        for connection in [c for c in self._all if c.busy and c.deadline_s <= now_s]:
            connection.drop("timeout")
        if any(c.busy for c in self._all):
            self._sweep_timer = self._loop.call_later(self._timeout_s / 8, self._sweep)

    async def _open(self) -> _Connection:
        assert self._loop is not None
        host = f"[{self.host}]" if ":" in self.host else self.host
        async with asyncio.timeout(self._open_timeout_s):
            sock = await self._route.tunnel(f"{'https' if self._ssl else 'http'}://{host}:{self.port}")
            try:
                _, connection = await self._loop.create_connection(
                    lambda: _Connection(self),
                    **destination(sock, self.host, self.port),
                    ssl=self._ssl,
                    server_hostname=self.host if self._ssl else None,
                )
            except BaseException:
                if sock is not None:
                    sock.close()
                raise
        connection.last_used_s = self._loop.time()
        return connection

    async def _keep(self, connection: _Connection | None) -> None:
        """Hold one slot open for ever: open, warm, wait until it is gone, wait the back-off, open again."""
        assert self._loop is not None
        backoff = self._backoff()
        while not self._stopping:
            if connection is None:
                try:
                    connection = await self._open()
                except (OSError, TimeoutError):
                    await asyncio.sleep(backoff.next_delay_s(self._loop.time()))
                    continue
            gone: asyncio.Future[None] = self._loop.create_future()
            if not connection.is_writable():
                gone.set_result(None)
            else:
                self._gone[connection] = gone
                self._all[connection] = None
                self._on_free(connection)
            opened_s = self._loop.time()
            await self._warm_until(connection, gone)
            # A connection that served for a while was healthy: its end (idle timeout, deploy) is not a failure.
            if self._loop.time() - opened_s > self._warm_after_s:
                backoff.succeeded()
            self.reconnects += 1
            connection = None
            await asyncio.sleep(backoff.next_delay_s(self._loop.time()))

    async def _warm_until(self, connection: _Connection, gone: asyncio.Future[None]) -> None:
        assert self._loop is not None
        while not gone.done():
            idle_s = self._loop.time() - connection.last_used_s
            if self._warm_request is None or idle_s < self._warm_after_s:
                wait_s = None if self._warm_request is None else self._warm_after_s - idle_s
                await asyncio.wait([gone], timeout=wait_s)
            elif connection in self._free and (len(self._free) > 1 or self._count == 1):
                # Only while another connection stays free: warming never costs an order its connection.
                self._free.remove(connection)
                now_s = self._loop.time()
                connection.send(self._warm_request, _ignore_answer, _ignore_loss, now_s, self._timeout_s)
                if self._sweep_timer is None:
                    self._sweep_timer = self._loop.call_later(self._timeout_s / 8, self._sweep)
            else:
                await asyncio.wait([gone], timeout=1.0)


def _ignore_answer(_status: int, _body: bytes) -> None:
    """A warm-up's answer carries nothing; that it came is the point."""


def _ignore_loss(_reason: str) -> None:
    """The keeper sees the lost connection by itself."""
