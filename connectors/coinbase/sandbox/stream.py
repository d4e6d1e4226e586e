"""WebSocket side of the sandbox: connections, subscriptions, fan-out.

Owns connections and their bounded queues.  What is in a message is ``messages``; the state behind it is ``exchange``.

Policy of the queues: messages are never dropped or merged for one reader, because ``sequence_num`` promises that.  A
reader that falls more than ``outbound_queue`` messages behind is disconnected and counted (``slow_consumers``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from aiohttp import WSCloseCode, WSMsgType, web

from connectors.coinbase.sandbox import listings, messages, wire
from connectors.coinbase.sandbox.auth import AuthError, Verifier
from connectors.coinbase.sandbox.exchange import Exchange, Updates
from connectors.coinbase.sandbox.limits import PerSecond
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.coinbase.sandbox.times import at

_log = logging.getLogger(__name__)
_MAX_MESSAGE_BYTES = 1 << 20
_TICKER_BATCH_S = 5


class Connection:
    """One client.  ``subscriptions`` maps a channel to its products; an empty set means all."""

    def __init__(
        self, ws: web.WebSocketResponse, request: web.Request, *, address: str, opened_ns: int, queue: int
    ) -> None:
        self.ws = ws
        self.transport: asyncio.Transport | None = request.transport
        self.address = address
        self.user_host = request.path.rstrip("/").endswith("/ws-user")
        self.opened_ns = opened_ns
        self.last_update_ns = opened_ns
        self.subscriptions: dict[str, frozenset[str]] = {}
        self.ever_subscribed = False
        self.heartbeats = 0
        self.closing = False
        self._sequence = 0
        self.queue: asyncio.Queue[str] = asyncio.Queue(maxsize=queue)

    def wants(self, channel: str, product_id: str) -> bool:
        products = self.subscriptions.get(channel)
        return products is not None and (not products or product_id in products)

    def text(self, channel: str, timestamp: str, events: str) -> str:
        """The next message of this connection: numbers count over all its channels, from 0."""
        made = messages.envelope(messages.WIRE_NAMES.get(channel, channel), self._sequence, timestamp, events)
        self._sequence += 1
        return made

    def lose_message(self) -> None:
        """A number that never arrives."""
        self._sequence += 1


class Hub:
    """All connections.  Everything but ``serve`` is synchronous: an update is queued in the call that caused it."""

    def __init__(
        self, settings: SandboxSettings, exchange: Exchange, verifier: Verifier, now_ns: Callable[[], int]
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._verifier = verifier
        self._now_ns = now_ns
        self._started_ns = now_ns()
        self._tasks: set[asyncio.Task[object]] = set()
        self._seconds = 0
        self._batch_seen: dict[str, wire.Json] = {}
        self._summary_seen: wire.Json = {}
        self._candles_seen: dict[str, list[wire.Json]] = {}
        limits = settings.rate_limits
        self._dials = None if limits is None else PerSecond(limits.ws_connections_per_s)
        self._unauthenticated = None if limits is None else PerSecond(limits.ws_messages_per_s)
        self.connections: dict[Connection, None] = {}  # in the order of their opening, the same on each run
        self.slow_consumers = 0
        self.is_told_twice = False
        """Each change of an order comes in two messages of their own."""

    # --- connections ------------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection from its handshake to its end."""
        settings = self._settings
        now_ns = self._now_ns()
        address = request.remote or ""
        ws = web.WebSocketResponse(max_msg_size=_MAX_MESSAGE_BYTES, compress=True)
        await ws.prepare(request)
        if self._dials is not None and not self._dials.take(address, now_ns)[0]:
            await ws.send_str(messages.error("rate limit exceeded"))
            await ws.close(code=WSCloseCode.POLICY_VIOLATION)
            return ws
        connection = Connection(ws, request, address=address, opened_ns=now_ns, queue=settings.outbound_queue)
        self.connections[connection] = None
        loop = asyncio.get_running_loop()
        writer = asyncio.create_task(self._write(connection))
        deadline = loop.call_later(settings.subscribe_timeout_s, self._check_subscribed, connection)
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    self.receive(connection, message.data)
                elif message.type is WSMsgType.BINARY:
                    self._send(connection, messages.error("binary messages are not supported"))
        finally:
            deadline.cancel()
            self.connections.pop(connection, None)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return ws

    async def _write(self, connection: Connection) -> None:
        queue, ws = connection.queue, connection.ws
        try:
            while True:
                await ws.send_str(await queue.get())
        except (ConnectionError, RuntimeError):
            return  # The peer is gone; the reading side ends the connection.

    def _check_subscribed(self, connection: Connection) -> None:
        if not connection.ever_subscribed:
            self.disconnect(connection, WSCloseCode.POLICY_VIOLATION, "no subscribe message")

    def disconnect(self, connection: Connection, code: int, reason: str) -> None:
        """Close from our side; the reading loop of the connection then ends."""
        if connection.closing:
            return
        connection.closing = True
        self.connections.pop(connection, None)
        task: asyncio.Task[object] = asyncio.create_task(connection.ws.close(code=code, message=reason.encode()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def disconnect_all(self, code: int) -> None:
        """Streams end with this code; 1006 is no close frame, only the end of the line."""
        for connection in list(self.connections):
            if code == WSCloseCode.ABNORMAL_CLOSURE:
                self._abort(connection)
            else:
                self.disconnect(connection, code, "")

    def lose_message(self) -> None:
        for connection in self.connections:
            connection.lose_message()

    def mute(self) -> None:
        """The lines stay open and nothing comes over them any more, not even the answer to a ping."""
        for connection in list(self.connections):
            connection.closing = True
            self.connections.pop(connection)
            if connection.transport is not None:
                connection.transport.pause_reading()

    async def close(self) -> None:
        """End all connections, as a server that goes away does."""
        for connection in list(self.connections):
            self.disconnect(connection, WSCloseCode.GOING_AWAY, "server shutdown")
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=2.0)

    # --- what clients say -------------------------------------------------------------------------------------------

    def receive(self, connection: Connection, text: str) -> None:
        """One client message: change the subscriptions, answer with the complete set and snapshots."""
        try:
            message = messages.parse_message(text)
            self._admit(connection, message)
            products = messages.products_of(message, self._exchange)
        except messages.BadMessage as problem:
            self._send(connection, messages.error(str(problem)))
            return
        connection.ever_subscribed = True
        # What happened before this subscription must not follow its snapshot.
        self.pump()
        channel = message.channel
        subscriptions = connection.subscriptions
        known = subscriptions.get(channel)
        if message.type == "unsubscribe":
            left = frozenset() if known is None or not products else known - products
            if left:
                subscriptions[channel] = left
            else:
                subscriptions.pop(channel, None)
        elif known is None or not products:
            subscriptions[channel] = products
        elif known:
            subscriptions[channel] = known | products
        self._acknowledge(connection)
        if message.type == "subscribe":
            for events in messages.snapshots(self._exchange, channel, products):
                self._send_events(connection, channel, messages.events_json(events))

    def _admit(self, connection: Connection, message: messages.ClientMessage) -> None:
        """Raises ``BadMessage`` for a bad token, a channel of the other host or too many messages."""
        now_ns = self._now_ns()
        if message.jwt:
            try:
                key = self._verifier.message(message.jwt, now_ns / 1e9)
            except AuthError as failure:
                _log.info("stream token refused: %s", failure)
                raise messages.BadMessage("authentication failure") from None
            if not key.can_view:
                raise messages.BadMessage("authentication failure")
        else:
            if message.channel in messages.PRIVATE_CHANNELS and message.type == "subscribe":
                raise messages.BadMessage("authentication failure")
            if self._unauthenticated is not None and not self._unauthenticated.take(connection.address, now_ns)[0]:
                raise messages.BadMessage("rate limit exceeded")
        if connection.user_host and message.channel not in messages.USER_HOST_CHANNELS:
            raise messages.BadMessage(f"channel {message.channel} is not served on the user endpoint")

    def _acknowledge(self, connection: Connection) -> None:
        current = {}
        for channel, products in connection.subscriptions.items():
            if channel == "heartbeats":
                current[channel] = ["heartbeats"]
            elif channel in messages.PRIVATE_CHANNELS and not products:
                current[channel] = [self._exchange.user_id]
            elif products:
                current[channel] = sorted(products)
            else:
                current[channel] = list(self._exchange.markets)
        events = messages.events_json([{"subscriptions": current}])
        self._send_events(connection, "subscriptions", events)

    # --- what the venue says ----------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Tell everybody what the exchange did since the last call."""
        updates = self._exchange.drain()
        if not self.connections:
            return
        for order in updates.orders:
            if listeners := self._listeners("user", order["product_id"]):
                for _ in range(1 + self.is_told_twice):
                    self._deliver(listeners, "user", [messages.user_event(self._exchange, "update", [order])])
        self._market_updates(updates)

    def _market_updates(self, updates: Updates) -> None:
        timestamp = at(self._now_ns())
        for product_id, changes in updates.changes.items():
            if listeners := self._listeners("level2", product_id):
                levels = [wire.level_change(side, px, qty, timestamp) for side, px, qty in changes]
                self._deliver(listeners, "level2", [{"type": "update", "product_id": product_id, "updates": levels}])
        for product_id, trades in updates.trades.items():
            if listeners := self._listeners("market_trades", product_id):
                made = [wire.trade(product_id, trade) for trade in reversed(trades)]
                self._deliver(listeners, "market_trades", [{"type": "update", "trades": made}])
        moved = set(updates.trades)
        if self._settings.quote_tickers:
            moved |= updates.quotes
        for product_id in sorted(moved):
            if listeners := self._listeners("ticker", product_id):
                ticker = wire.ticker(self._exchange.markets[product_id])
                self._deliver(listeners, "ticker", [{"type": "update", "tickers": [ticker]}])

    def tell_status(self, product_id: str) -> None:
        """The status channel has news of a product."""
        if listeners := self._listeners("status", product_id):
            products = [listings.status(self._exchange.markets[product_id])]
            self._deliver(listeners, "status", [{"type": "update", "products": products}])

    def every_second(self) -> None:
        """Heartbeats, candles, five-second tickers and silent connections."""
        now_ns = self._now_ns()
        self._seconds += 1
        uptime_s = (now_ns - self._started_ns) / 1e9
        for product_id in self._exchange.markets:
            self._second_of(product_id)
        if listeners := self._listeners("futures_balance_summary", ""):
            summary = messages.futures_event(self._exchange)
            if summary != self._summary_seen:
                self._summary_seen = summary
                self._deliver(listeners, "futures_balance_summary", [summary])
        idle_ns = int(self._settings.idle_timeout_s * 1e9)
        for connection in list(self.connections):
            if "heartbeats" in connection.subscriptions:
                connection.heartbeats += 1
                beat = messages.heartbeat(now_ns, connection.heartbeats, uptime_s)
                self._send_events(connection, "heartbeats", beat)
            elif now_ns - connection.last_update_ns > idle_ns:
                self.disconnect(connection, WSCloseCode.GOING_AWAY, "no updates")

    def _second_of(self, product_id: str) -> None:
        if listeners := self._listeners("candles", product_id):
            newest = messages.candles(self._exchange, product_id, 1)
            if newest and newest != self._candles_seen.get(product_id):
                self._candles_seen[product_id] = newest
                self._deliver(listeners, "candles", [{"type": "update", "candles": newest}])
        if self._seconds % _TICKER_BATCH_S == 0 and (listeners := self._listeners("ticker_batch", product_id)):
            ticker = wire.ticker(self._exchange.markets[product_id], with_quote=False)
            if ticker != self._batch_seen.get(product_id):
                self._batch_seen[product_id] = ticker
                self._deliver(listeners, "ticker_batch", [{"type": "update", "tickers": [ticker]}])

    def _listeners(self, channel: str, product_id: str) -> list[Connection]:
        return [connection for connection in self.connections if connection.wants(channel, product_id)]

    def _deliver(self, listeners: list[Connection], channel: str, events: list[wire.Json]) -> None:
        """Encoded once for all listeners; only the envelope differs."""
        text = messages.events_json(events)
        for connection in listeners:
            self._send_events(connection, channel, text)

    def _send_events(self, connection: Connection, channel: str, events: str) -> None:
        now_ns = self._now_ns()
        connection.last_update_ns = now_ns
        self._send(connection, connection.text(channel, at(now_ns), events))

    def _send(self, connection: Connection, text: str) -> None:
        if connection.closing:
            return
        try:
            connection.queue.put_nowait(text)
        except asyncio.QueueFull:
            self.slow_consumers += 1
            _log.warning(
                "slow consumer %s disconnected, %d messages behind", connection.address, connection.queue.maxsize
            )
            self._abort(connection)

    def _abort(self, connection: Connection) -> None:
        """Cut the line: a close frame would wait behind everything that the reader does not take."""
        connection.closing = True
        self.connections.pop(connection, None)
        if connection.transport is not None:
            connection.transport.abort()
