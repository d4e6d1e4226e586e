"""OANDA's two streams kept alive: dial, read, notice silence, dial again; what the account's stream missed is read.

Owns connections and when what is missing is asked for.  Does not read lines (``protocol``, ``account_protocol``) and
sends no orders.

A stream is one chunked HTTP answer that never ends.  It is given up when it ends, breaks, or says nothing for ten
seconds (two heartbeats), and dialled again after a capped, jittered pause.  The account's stream counts as up when what
happened since the last transaction that was taken in has been read from REST, which is done after each dial, and again
whenever a gap shows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlencode

import aiohttp

from connectors.oanda import requests, wire
from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.protocol import SILENCE_NS, PriceProtocol
from connectors.oanda.requests import Request
from connectors.reconnect import Backoff
from connectors.rest import Gets, make_connector
from connectors.route import Route
from connectors.ws import default_ssl
from engine.errors import VenueError
from engine.events import FeedDown, FeedUp, InputEvent
from engine.ports import Publish

_log = logging.getLogger(__name__)
READ_AGAIN_S = 0.25
"""After an answer that had nothing new: what is written is not readable at once."""
_MAX_REFUSAL_BYTES = 400


class _Reader(Protocol):
    """What bytes are given to."""

    venue: str

    def reset(self, now_ns: int) -> None: ...

    def receive_frame(self, frame: bytes, recv_ns: int) -> Sequence[InputEvent]: ...


class LineStream:
    """One stream and the task that keeps it connected.

    ``url`` with its query; ``authorize`` makes the headers of each dial, ``deliver`` takes the events of a read, and
    ``opened`` and ``closed`` hear of the connection.  ``backoff`` starts at half a second or more: the venue takes two
    new connections a second.
    """

    def __init__(
        self,
        url: str,
        reader: _Reader,
        *,
        authorize: Callable[[], dict[str, str]],
        deliver: Callable[[Sequence[InputEvent]], None],
        opened: Callable[[], None],
        closed: Callable[[str], None],
        now_ns: Callable[[], int],
        backoff: Backoff,
        route: Route | None = None,
        silence_s: float = SILENCE_NS / wire.NS_PER_S,
        dial_timeout_s: float = 10.0,
    ) -> None:
        self.url = url
        self.connections = 0
        self.last_error = ""
        self._reader = reader
        self._authorize = authorize
        self._deliver = deliver
        self._opened = opened
        self._closed = closed
        self._now_ns = now_ns
        self._backoff = backoff
        self._route = route or Route()
        self._silence_s = silence_s
        self._dial_timeout_s = dial_timeout_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name=f"stream of {self.url.partition('?')[0]}")

    async def stop(self) -> None:
        """Safe to call twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        connector = make_connector(self.url, self._route, default_ssl(self.url, None, self._route))
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._dial_timeout_s)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            while True:
                try:
                    self.last_error = await self._once(session)
                except (aiohttp.ClientError, OSError, VenueError) as error:  # OSError: TimeoutError is one
                    self.last_error = str(error) or type(error).__name__
                except Exception as error:
                    self.last_error = f"{type(error).__name__}: {error}"
                    _log.exception("stream of %s failed; it is dialled again", self.url.partition("?")[0])
                self._closed(self.last_error)
                await asyncio.sleep(self._backoff.next_delay_s(loop.time()))

    async def _once(self, session: aiohttp.ClientSession) -> str:
        """One connection from its dial to its end; why it ended."""
        async with asyncio.timeout(self._dial_timeout_s):
            answer = await session.get(self.url, headers=self._authorize(), allow_redirects=False)
        async with answer:
            if answer.status != 200:
                async with asyncio.timeout(self._dial_timeout_s):
                    said = await answer.content.read(_MAX_REFUSAL_BYTES)
                text = " ".join(said.decode("utf-8", "replace").split())
                raise VenueError(f"stream answered {answer.status}: {text}", expected="200")
            self.connections += 1
            self._reader.reset(self._now_ns())
            self._opened()
            while True:
                try:
                    async with asyncio.timeout(self._silence_s):
                        data = await answer.content.readany()
                except TimeoutError:
                    return f"silent for {self._silence_s:g} s"
                if not data:
                    return "ended by the venue"
                self._backoff.succeeded()
                self._deliver(self._reader.receive_frame(data, self._now_ns()))


class PriceFeed:
    """The prices of some instruments: events of ``protocol`` to ``publish``, and ``FeedDown`` when they stop."""

    def __init__(
        self,
        base_url: str,
        account: str,
        protocol: PriceProtocol,
        *,
        instruments: Sequence[str],
        authorize: Callable[[], dict[str, str]],
        publish: Publish,
        now_ns: Callable[[], int],
        backoff: Backoff,
        route: Route | None = None,
        silence_s: float = SILENCE_NS / wire.NS_PER_S,
    ) -> None:
        self._protocol = protocol
        self._publish = publish
        self._now_ns = now_ns
        self._is_up = asyncio.Event()
        self.stream = LineStream(
            _url(base_url, requests.price_stream(account, instruments)),
            protocol,
            authorize=authorize,
            deliver=self._on_events,
            opened=lambda: None,
            closed=self._on_closed,
            now_ns=now_ns,
            backoff=backoff,
            route=route,
            silence_s=silence_s,
        )

    async def wait_up(self, timeout_s: float) -> None:
        """Raises ``VenueError`` when not every instrument has told a price in this time."""
        await _wait_up(self._is_up, self.stream, timeout_s, f"the prices of {self._protocol.venue}")

    def _on_events(self, events: Sequence[InputEvent]) -> None:
        for event in events:
            self._publish(event)
        if self._protocol.up:
            self._is_up.set()

    def _on_closed(self, reason: str) -> None:
        if self._protocol.up:
            now_ns = self._now_ns()
            self._protocol.up = False
            self._publish(FeedDown(now_ns, now_ns, self._protocol.venue, "market", reason))


class AccountFeed:
    """The transactions of an account, complete: the stream, and what ``rest`` says of what it missed.

    ``look`` asks ``rest`` at once: an order's outcome is unknown, or an answer told of a transaction that the stream
    has not.  ``looks`` counts the complete answers; ``protocol.start`` comes before ``start``.  ``on_read`` is called
    after whatever was told.
    """

    def __init__(
        self,
        base_url: str,
        account: str,
        protocol: AccountProtocol,
        *,
        rest: Gets,
        authorize: Callable[[], dict[str, str]],
        publish: Publish,
        now_ns: Callable[[], int],
        backoff: Backoff,
        rest_backoff: Callable[[], Backoff],
        on_read: Callable[[], None] = lambda: None,
        route: Route | None = None,
        silence_s: float = SILENCE_NS / wire.NS_PER_S,
    ) -> None:
        self.looks = 0
        self.up = False
        self._account = account
        self._protocol = protocol
        self._rest = rest
        self._publish = publish
        self._now_ns = now_ns
        self._rest_backoff = rest_backoff
        self._on_read = on_read
        self._is_up = asyncio.Event()
        self._connected = False
        self._wanted = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self.stream = LineStream(
            _url(base_url, requests.transaction_stream(account)),
            protocol,
            authorize=authorize,
            deliver=self._on_events,
            opened=self._on_opened,
            closed=self._on_closed,
            now_ns=now_ns,
            backoff=backoff,
            route=route,
            silence_s=silence_s,
        )

    def start(self) -> None:
        self._reading = asyncio.create_task(self._read_what_is_missing(), name="missing transactions")
        self._reading.add_done_callback(_log_defect)
        self.stream.start()

    async def stop(self) -> None:
        """Safe to call twice."""
        await self.stream.stop()
        task, self._reading = self._reading, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def look(self) -> None:
        self._wanted.set()

    def _on_opened(self) -> None:
        self._connected = True
        self.look()

    def _on_closed(self, reason: str) -> None:
        self._connected = False
        if self.up:
            self.up = False
            now_ns = self._now_ns()
            self._publish(FeedDown(now_ns, now_ns, self._protocol.venue, "user", reason))

    def _on_events(self, events: Sequence[InputEvent]) -> None:
        for event in events:
            self._publish(event)
        if self._protocol.missing_since is not None:
            self.look()
        self._on_read()

    async def wait_up(self, timeout_s: float) -> None:
        """Raises ``VenueError`` when the account's stream is not complete in this time."""
        await _wait_up(self._is_up, self.stream, timeout_s, f"the account of {self._protocol.venue}")

    async def _read_what_is_missing(self) -> None:
        """Whenever it is wanted: ask until nothing is missing any more."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            dialled = self.stream.connections  # what a later connection has missed, the next question tells
            backoff = self._rest_backoff()
            last_id = self._protocol.last_id
            while not await self._asked():
                if self._protocol.last_id == last_id:
                    await asyncio.sleep(max(READ_AGAIN_S, backoff.next_delay_s(loop.time())))
                else:  # a page of many
                    last_id, backoff = self._protocol.last_id, self._rest_backoff()
            self.looks += 1
            if self._connected and not self.up and self.stream.connections == dialled:
                self.up = True
                self._is_up.set()
                now_ns = self._now_ns()
                self._publish(FeedUp(now_ns, now_ns, self._protocol.venue, "user"))

    async def _asked(self) -> bool:
        """``_ask``, whatever goes wrong: without this task nobody would hear of the account again."""
        try:
            return await self._ask()
        except Exception:
            _log.exception("transactions since %d: reading them failed; they are asked again", self._protocol.last_id)
            return False

    async def _ask(self) -> bool:
        """One question; True when nothing is missing after it."""
        try:
            asked = requests.transactions_since(self._account, self._protocol.last_id)
            body = await self._rest.get(asked.path, asked.params)
            answer = wire.decode_transactions(body)
        except VenueError as error:
            _log.warning("transactions since %d cannot be read: %s", self._protocol.last_id, error)
            return False
        except wire.UNREADABLE:
            _log.warning("transactions since %d: the answer cannot be read", self._protocol.last_id)
            return False
        passed, last_id = self._protocol.holes.passed, self._protocol.last_id
        for event in self._protocol.receive_since(answer, self._now_ns()):
            self._publish(event)
        if self._protocol.holes.passed > passed:
            _log.error("%s: transaction %d is told by nobody; the account is confirmed without it",
                       self._protocol.venue, last_id + 1)  # fmt: skip
        self._on_read()
        return self._protocol.missing_since is None


def _url(base_url: str, request: Request) -> str:
    query = urlencode(request.params, safe=",")
    return f"{base_url}{request.path}" + (f"?{query}" if query else "")


async def _wait_up(is_up: asyncio.Event, stream: LineStream, timeout_s: float, what: str) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await is_up.wait()
    except TimeoutError:
        raise VenueError(
            f"{what}: no stream in {timeout_s:g} s ({stream.last_error or 'it says nothing'})",
            expected="a stream that is up",
            do="check venue.stream_url, the token and the venue's status",
        ) from None


def _log_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("%s stopped", task.get_name(), exc_info=task.exception())
