"""Binance's public market as one object: start it, and facts are published.  No key, no orders.

Owns the order of a start and of a stop, which streams share a connection, the clocks, and what is read again while it
runs.  Connections are ``feed``'s, books' snapshots ``snapshots``'; orders go through the connector for many exchanges,
or are matched in this process (``connectors.paper``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from typing import Final

import msgspec

from connectors import picows_ws, ws
from connectors.binance import klines
from connectors.binance.directory import read_directory
from connectors.binance.feed import BinanceFeed
from connectors.binance.protocol import BinanceMarketProtocol
from connectors.binance.rest import INFO_WEIGHT, KLINES_MAX, KLINES_WEIGHT, BinanceRest
from connectors.binance.settings import REST_URLS, WS_URLS, BinanceSettings
from connectors.binance.snapshots import Snapshots
from connectors.binance.streams import SPOT, STREAMS_MAX
from connectors.endpoints import Endpoints
from connectors.joined_streams import JoinedStreams
from connectors.lag import LoopLag
from connectors.market_stream import UNREADABLE
from connectors.reconnect import Backoff
from connectors.rest import RestError
from engine.errors import VenueError
from engine.events import Bar, InputEvent, InstrumentDefined, InstrumentStatus, TradingStatus
from engine.instruments import Instrument
from engine.ports import Clock, FeedCounts, Publish

_log = logging.getLogger(__name__)

SKEW_EVERY_S: Final = 300.0
MINUTE_NS: Final = 60_000_000_000
LOOK_BACK_BARS: Final = 5
"""Of a minute; a market that does not trade has candles all the same, at its last price."""
CONNECTIONS_PER_MINUTE: Final = 30
"""Attempts of all connections together; the venue grants an address 300 in five minutes."""
RENEW_APART_S: Final = 60.0
"""Between the planned ends of two connections: they never go together."""


class _ServerTime(msgspec.Struct):
    serverTime: int  # noqa: N815 -- the venue's spelling


class BinanceVenue:
    """The connector.  ``publish`` receives every fact; ``start`` returns when every stream is confirmed.

    ``history(instrument)`` is asked once the instrument is defined: bar length (ns) and number of finished candles that
    its features want from the past; ``(0, 0)`` for none.  ``lag_ns`` tells how late the event loop is (default: a timer
    of its own).  ``rng`` jitters reconnections.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        publish: Publish,
        clock: Clock,
        *,
        lag_ns: Callable[[], int] | None = None,
        rng: random.Random | None = None,
        history: Callable[[str], tuple[int, int]] = lambda _instrument: (0, 0),
    ) -> None:
        """Raises ``ConfigError`` for settings that cannot work."""
        settings.check()
        self.settings = settings
        self.instruments: dict[str, Instrument] = {}
        """By canonical id; filled by ``start``."""
        self.offset_ns = 0
        """The venue's clock minus ours."""
        self.feeds: list[BinanceFeed] = []
        self._publish = publish
        self._clock = clock
        self._lag_ns = lag_ns
        self._own_lag: LoopLag | None = None
        self._rng = rng or random.Random()
        self._history = history
        self._products: dict[str, tuple[str, ...]] = {}
        self._statuses: dict[str, TradingStatus] = {}
        urls = settings.rest_urls or REST_URLS[settings.venue]
        self.rest = BinanceRest(settings.venue, urls, clock, timeout_s=settings.rest_timeout_s, route=settings.route)
        self.snapshots = Snapshots(self.rest, clock)
        self._housekeeper: asyncio.Task[None] | None = None
        self._clock_doubtful = asyncio.Event()

    @property
    def name(self) -> str:
        return self.settings.venue

    @property
    def gateway(self) -> None:
        """It takes no orders."""
        return None

    # --- start and stop -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Clock, instruments, candles of the past, streams; returns when every stream is confirmed.

        Raises ``VenueError`` with one clear line, and leaves nothing open, when any of them cannot be had.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        settings = self.settings
        if self._lag_ns is None:
            self._own_lag = LoopLag(asyncio.get_running_loop())
        await self.rest.start()
        self.offset_ns = await self._clock_offset_ns(limited=True)
        for event in await self._read_directory():
            self._publish(event)
        await self._warm_up()
        self.snapshots.start()
        self._make_feeds()
        for feed in self.feeds:
            feed.start()
        timeout_s = settings.open_timeout_s + settings.confirm_timeout_s
        for feed in self.feeds:
            await feed.wait_up(timeout_s)
        self._housekeeper = asyncio.get_running_loop().create_task(self._keep_house(), name=f"{self.name}-house")

    async def stop(self) -> None:
        """Close everything, streams first; safe to call twice and after a failed start."""
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
            self._housekeeper = None
        await asyncio.gather(*(feed.stop() for feed in self.feeds))
        await self.snapshots.stop()
        await self.rest.stop()
        if self._own_lag is not None:
            self._own_lag.stop()
            self._own_lag = None

    def _make_feeds(self) -> None:
        settings = self.settings
        lag_ns = self._lag_ns or self._own_lag
        assert lag_ns is not None
        groups = settings.connections(STREAMS_MAX[settings.venue])
        joined = JoinedStreams(self._publish, len(groups), self._on_lost)
        urls = settings.ws_urls or WS_URLS[settings.venue]
        for number, (path, names) in enumerate(groups):
            protocol = BinanceMarketProtocol(settings.venue, self._products, names, quotes=not settings.has_depth)
            self.feeds.append(
                BinanceFeed(
                    Endpoints([f"{url.rstrip('/')}{path}/stream" for url in urls], failures_max=1),
                    protocol,
                    ask_books=self.snapshots.ask,
                    publish=joined.publish_of(number),
                    clock=self._clock,
                    connect=picows_ws.connect if settings.transport == "picows" else ws.connect,
                    backoff=Backoff(
                        self._rng,
                        base_s=settings.backoff_base_s,
                        cap_s=settings.backoff_cap_s,
                        budget_per_minute=max(2, CONNECTIONS_PER_MINUTE // len(groups)),
                    ),
                    lag_ns=lag_ns,
                    options=ws.WsOptions(open_timeout_s=settings.open_timeout_s, route=settings.route),
                    conflate_lag_ns=int(settings.conflate_lag_ms * 1e6),
                    confirm_timeout_s=settings.confirm_timeout_s,
                    silence_timeout_s=settings.silence_timeout_s,
                    renew_after_s=max(settings.renew_after_s - number * RENEW_APART_S, RENEW_APART_S),
                )
            )

    def _on_lost(self, number: int) -> None:
        """One connection is down, so the market is: whoever keeps books has dropped those of all connections."""
        for other, feed in enumerate(self.feeds):
            if other != number:
                feed.protocol.forget_books()

    # --- what a session asks --------------------------------------------------------------------------------------

    def renew(self, instrument: str, attempt: int) -> None:
        """Have the book of an instrument told anew: by another snapshot, from the second ``attempt`` on by another
        connection (D2)."""
        symbols = [symbol for symbol, ids in self._products.items() if instrument in ids]
        for feed in self.feeds:
            for symbol in symbols:
                if not feed.protocol.keeps_book(symbol):
                    continue
                _log.warning("%s: the book of %s makes no sense, asked for anew (%d)", self.name, instrument, attempt)
                if attempt > 1 and feed.handle is not None:
                    feed.handle.close(f"the book of {instrument} made no sense")
                else:
                    feed.publish_all(feed.protocol.forget_book(symbol, self._clock.now_ns()))

    def confirm(self) -> None:
        """A clock may have stepped: have the clocks compared soon."""
        self._clock_doubtful.set()

    def shadow(self) -> None:
        """No order entry, so no shadow ticks."""

    def counts(self) -> FeedCounts:
        return FeedCounts(
            conflated=sum(feed.conflated for feed in self.feeds),
            reconnects=sum(max(feed.connections - 1, 0) for feed in self.feeds),
        )

    def queue_depths(self) -> dict[str, int]:
        """Books that are asked for and have not come."""
        return {"books": self.snapshots.pending}

    # --- what is read -----------------------------------------------------------------------------------------------

    async def _clock_offset_ns(self, *, limited: bool) -> int:
        """The venue's clock minus ours, measured against the middle of the round trip."""
        before_ns = self._clock.now_ns()
        body = await self.rest.get("/time", weight=1)
        after_ns = self._clock.now_ns()
        try:
            told_ms = msgspec.json.decode(body, type=_ServerTime).serverTime
        except UNREADABLE as error:
            raise RestError(
                f"GET /time of {self.name}: unreadable answer: {str(error).splitlines()[0]}",
                expected="the venue's time",
                do="check the address",
            ) from error
        offset_ns = told_ms * 1_000_000 - (before_ns + after_ns) // 2
        if limited and abs(offset_ns) > self.settings.skew_limit_s * 1e9:
            raise VenueError(
                f"this machine's clock is {-offset_ns / 1e9:+.1f} s off the clock of {self.name}",
                expected=f"at most {self.settings.skew_limit_s:g} s",
                do="synchronise the clock (NTP)",
            )
        return offset_ns

    async def _read_directory(self) -> list[InputEvent]:
        """What the venue lists for our symbols, as far as it is new.  Raises ``VenueError``."""
        settings = self.settings
        wanted = list(settings.venue_symbols().values())
        params: list[tuple[str, str]] = []
        if settings.venue == SPOT:
            params = [("showPermissionSets", "false"), ("symbols", json.dumps(wanted, separators=(",", ":")))]
        try:
            body = await self.rest.get("/exchangeInfo", params, weight=INFO_WEIGHT[settings.venue])
        except RestError as error:
            if error.status != 400 or not params:
                raise
            # A symbol is unknown: the whole list says which, and what is near.
            body = await self.rest.get("/exchangeInfo", params[:1], weight=INFO_WEIGHT[settings.venue])
        products, events = read_directory(
            settings.venue,
            body,
            wanted,
            self._clock.now_ns(),
            has_depth=settings.has_depth,
            has_trades=settings.has_trades,
            known=self._products,
        )
        self._products.update(products)
        return [event for event in events if self._is_news(event)]

    def _is_news(self, event: InputEvent) -> bool:
        if isinstance(event, InstrumentDefined):
            known = self.instruments.get(event.definition.id)
            self.instruments[event.definition.id] = event.definition
            return known != event.definition
        if isinstance(event, InstrumentStatus):
            before = self._statuses.get(event.instrument)
            self._statuses[event.instrument] = event.status
            return before != event.status
        return True

    async def _warm_up(self) -> None:
        """Candles of the past for instruments whose features want them; of every other the newest of a minute, by which
        the first price is judged."""
        for instrument in self.instruments.values():
            interval_ns, bars = self._history(instrument.id)
            if bars > 0 and klines.interval_name(self.name, interval_ns):
                for bar in await self._past(instrument, interval_ns, bars):
                    self._publish(bar)
                continue
            try:
                newest = await self._past(instrument, MINUTE_NS, LOOK_BACK_BARS)
            except VenueError as error:
                _log.warning("%s: no candle to judge the first price by: %s", instrument.id, error)
                continue
            for bar in newest[-1:]:
                self._publish(bar)

    async def _past(self, instrument: Instrument, interval_ns: int, bars: int) -> list[Bar]:
        """The last finished candles, oldest first.  Raises ``VenueError``."""
        name = klines.interval_name(self.name, interval_ns)
        venue_now_ns = self._clock.now_ns() + self.offset_ns
        end_ms = venue_now_ns // interval_ns * interval_ns // klines.NS_PER_MS  # what begins here is not finished
        found: list[klines.PastCandle] = []
        while bars > 0:
            count = min(bars, KLINES_MAX)
            start_ms = end_ms - count * interval_ns // klines.NS_PER_MS
            found += await self._candles(instrument, name, start_ms, end_ms - 1, count)
            bars, end_ms = bars - count, start_ms
        return klines.bars_of(found, instrument.id, interval_ns, self._clock.now_ns())

    async def _candles(
        self, instrument: Instrument, name: str, start_ms: int, last_ms: int, count: int
    ) -> list[klines.PastCandle]:
        params = [
            *(("symbol", instrument.venue_symbol), ("interval", name)),
            *(("startTime", str(start_ms)), ("endTime", str(last_ms)), ("limit", str(count))),
        ]
        body = await self.rest.get("/klines", params, weight=KLINES_WEIGHT[self.name])
        try:
            return [each for each in klines.decode_candles(body) if start_ms <= each.first <= last_ms]
        except UNREADABLE as error:
            raise RestError(
                f"GET /klines of {self.name}: unreadable answer: {str(error).splitlines()[0]}", expected="candles"
            ) from error

    async def _keep_house(self) -> None:
        """The clock offset every few minutes, rules and states of the symbols more often.  A failed question keeps the
        last answer."""
        loop = asyncio.get_running_loop()
        every_s = self.settings.products_s or float("inf")
        next_skew_s, next_look_s = loop.time() + SKEW_EVERY_S, loop.time() + every_s
        while True:
            try:
                async with asyncio.timeout(max(min(next_skew_s, next_look_s) - loop.time(), 0.0)):
                    await self._clock_doubtful.wait()
                next_skew_s = 0.0
            except TimeoutError:
                pass
            self._clock_doubtful.clear()
            try:
                if loop.time() >= next_skew_s:
                    next_skew_s = loop.time() + SKEW_EVERY_S
                    self.offset_ns = await self._clock_offset_ns(limited=False)
                if loop.time() >= next_look_s:
                    next_look_s = loop.time() + every_s
                    for event in await self._read_directory():
                        self._publish(event)
            except VenueError as error:
                _log.warning("%s: %s", self.name, error)
            except Exception:
                _log.exception("%s: housekeeping failed; it goes on", self.name)
