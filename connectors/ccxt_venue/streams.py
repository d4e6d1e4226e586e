"""One object of the library and its loops: every symbol's prices, trades and book, streamed or polled.

Owns one connection's life, from its first question to its close, and says which symbols are alive.  Each loop calls and
calls again: the library restores nothing by itself, and what comes while nobody waits is only in its caches, which are
therefore read after each call.  Whether the market counts as up, and when another object takes over, is ``feed``'s.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from connectors.ccxt_venue.capabilities import MAKERS_SIDE, Needs
from connectors.ccxt_venue.errors import words
from connectors.ccxt_venue.exact import mapping, nanoseconds
from connectors.ccxt_venue.library import Handle
from connectors.ccxt_venue.prices import PriceReader
from connectors.ccxt_venue.settings import CcxtSettings
from connectors.reconnect import Backoff
from engine.errors import VenueError
from engine.events import InputEvent
from engine.ports import Clock

QUIET_S: Final = 1.0
"""At the start: a stream that has said nothing so long is of a quiet market, if its price stands where it stood."""
SKEW_NS: Final = 5_000_000_000
"""Some exchanges tell the time in whole seconds: less than this is no difference."""
SETTLE_S: Final = 1.0
"""How long a stream may be behind a question for the same price."""
_CACHES: Final = {"watchBidsAsks": "bidsasks", "watchTicker": "tickers", "watchOrderBook": "orderbooks"}
_METHODS: Final = {
    "watchBidsAsks": "watch_bids_asks", "watchTicker": "watch_ticker", "watchOrderBook": "watch_order_book",
    "watchTrades": "watch_trades", "fetchBidsAsks": "fetch_bids_asks", "fetchTicker": "fetch_ticker",
    "fetchOrderBook": "fetch_order_book", "fetchTrades": "fetch_trades",
}  # fmt: skip
_LISTED: Final = frozenset({"watchBidsAsks", "fetchBidsAsks"})
"""Take a list of symbols and answer by symbol."""

_log = logging.getLogger(__name__)


class Streams:
    """``publish`` gets events in the engine's own context; ``changed`` hears that a symbol came alive or was lost."""

    def __init__(
        self,
        handle: Handle,
        settings: CcxtSettings,
        needs: Needs,
        *,
        publish: Callable[[list[InputEvent]], None],
        changed: Callable[[Streams], None],
        clock: Clock,
        rng: random.Random,
        since_ns: int,
        offset_ns: int = 0,
    ) -> None:
        """``since_ns``: older trades are history.  ``offset_ns``: the exchange's clock minus ours."""
        self.handle = handle
        self.needs = needs
        self.readers: dict[str, PriceReader] = {}
        self.lost: dict[str, str] = {}
        """Symbols without news, and why."""
        self.errors = 0
        self.failed = ""
        """Why another object is wanted although prices come."""
        self._settings = settings
        self._publish = publish
        self._changed = changed
        self._clock = clock
        self._rng = rng
        self._since_ns = since_ns
        self._outside = contextvars.copy_context()
        self._news_s: dict[str, float] = {}
        self._traded_s: dict[str, float] = {}
        self._begun_ns = clock.now_ns() + offset_ns
        self._tasks: list[asyncio.Task[None]] = []
        for symbol in settings.symbols:
            levels = settings.depth_levels if settings.depth else 0
            self.readers[symbol] = PriceReader(
                settings.name,
                f"{symbol}@{settings.name}",
                levels=levels,
                has_sizes=needs.has_sizes,
                makers_side=settings.exchange in MAKERS_SIDE,
                cached=int(handle.ex.options["tradesLimit"]),
            )
            if abs(offset_ns) > SKEW_NS:
                self.readers[symbol].offset_ns = offset_ns
            self.lost[symbol] = "nothing told yet"

    @property
    def is_alive(self) -> bool:
        return not self.lost

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The object is open, its markets loaded."""
        for symbol in self.readers:
            ways = [self.needs.quotes]
            if self._settings.depth and self.needs.book != self.needs.quotes:
                ways.append(self.needs.book)
            if self._settings.trades:
                ways.append(self.needs.trades)
            for way in ways:
                if way:
                    self._begin(self._follow(way, symbol), f"{way}-{symbol}")
        self._begin(self._watch_silence(), "silence")
        if self._settings.trades and self.needs.trades == "watchTrades" and self.handle.has.get("fetchTrades") is True:
            self._begin(self._watch_trades(), "trades")

    def _begin(self, work: Any, name: str) -> None:
        context = self.handle.context()
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(work, name=f"ccxt-{self.handle.exchange}-{name}", context=context))

    def mute(self) -> None:
        """Another one tells from now on."""
        self._publish = lambda _events: None

    async def stop(self) -> None:
        """The loops first: a watch that waits while its object closes is an error that nobody asked for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.handle.close()

    # --- loops ------------------------------------------------------------------------------------------------------

    async def _follow(self, way: str, symbol: str) -> None:
        """For ever.  Runs in the library's context."""
        backoff = Backoff(
            self._rng,
            base_s=self._settings.backoff_base_s,
            cap_s=self._settings.backoff_cap_s,
            budget_per_minute=20,
        )
        loop = asyncio.get_running_loop()
        reader = self.readers[symbol]
        is_stream = way.startswith("watch")
        method = getattr(self.handle.ex, _METHODS[way])
        while True:
            try:
                # In one step from the answer to the next call: nothing can come in between.
                found = await method([symbol] if way in _LISTED else symbol)
                self._outside.run(self._take, way, symbol, found)
                backoff.succeeded()
                if not is_stream:
                    await asyncio.sleep(self._settings.poll_s)
                continue
            except Exception as error:
                self.errors += 1
                said = words(error)
                reader.restart()
                if way == self.needs.quotes:
                    self._outside.run(self._lose, symbol, f"{way} of {symbol}: {said}")
                _log.warning("%s %s of %s: %s", self._settings.name, way, symbol, said)
            await asyncio.sleep(backoff.next_delay_s(loop.time()))

    def _take(self, way: str, symbol: str, found: Any) -> None:
        recv_ns = self._clock.now_ns()
        reader = self.readers[symbol]
        if way == "watchTrades":
            for name, rows in _by_symbol(found, symbol).items():
                if name in self.readers:
                    self._traded_s[name] = asyncio.get_running_loop().time()
                    self._publish(self.readers[name].updates(rows, recv_ns, since_ns=self._since_ns))
            return
        if way == "fetchTrades":
            self._publish(reader.trades(found, recv_ns, since_ns=self._since_ns))
            return
        if way in _CACHES:
            found = _newest(getattr(self.handle.ex, _CACHES[way], None), symbol, found)
        elif way in _LISTED:
            found = found.get(symbol) if isinstance(found, Mapping) else None
        events = reader.book(found, recv_ns) if "OrderBook" in way else reader.ticker(found, recv_ns)
        self._publish(events)
        if way == self.needs.quotes and (events or reader.best is not None):
            self._news(symbol)

    # --- who is alive -----------------------------------------------------------------------------------------------

    def _news(self, symbol: str) -> None:
        self._news_s[symbol] = asyncio.get_running_loop().time()
        if self.lost.pop(symbol, None) is not None:
            self._changed(self)

    def _lose(self, symbol: str, reason: str) -> None:
        known = self.lost.get(symbol)
        self.lost[symbol] = reason
        if known is None or not self._news_s:
            self._changed(self)

    async def _watch_silence(self) -> None:
        """A symbol that nothing is told of: is its market quiet, or its stream mute?  Asked, not assumed."""
        loop = asyncio.get_running_loop()
        asked_s: dict[str, float] = {}
        limit_s = self._settings.silence_s
        began_s = loop.time() - max(limit_s - QUIET_S, 0.0)
        while True:
            await asyncio.sleep(min(limit_s / 4, QUIET_S / 4))
            for symbol in self.readers:
                last_s = max(self._news_s.get(symbol, began_s), asked_s.get(symbol, began_s))
                if loop.time() - last_s < limit_s:
                    continue
                asked_s[symbol] = loop.time()
                try:
                    await self._is_quiet(symbol)
                except VenueError as error:
                    self._outside.run(self._lose, symbol, f"silent, and {error.seen}")

    async def _is_quiet(self, symbol: str) -> None:
        before_s = self._news_s.get(symbol, 0.0)
        px = await self._asked_px(symbol)
        if px is None or self._news_s.get(symbol, 0.0) > before_s:
            return
        best = self.readers[symbol].best
        if best is not None and (best[0], best[2]) == px:
            if symbol in self.lost and "silent" not in self.lost[symbol] and "nothing told" not in self.lost[symbol]:
                return  # its stream has failed: that its price stands still does not mend it
            self._outside.run(self._news, symbol)
            return
        await asyncio.sleep(SETTLE_S)
        if self._news_s.get(symbol, 0.0) > before_s:
            return
        self.readers[symbol].restart()
        self._outside.run(self._lose, symbol, f"{symbol} is silent while its price moves: its stream is mute")

    async def _watch_trades(self) -> None:
        """Trades that do not come: does nobody trade, or is their stream mute?  Of one symbol at a time, the one that
        was silent longest: questions are few."""
        loop = asyncio.get_running_loop()
        limit_s = self._settings.trades_silence_s
        asked_s = dict.fromkeys(self.readers, loop.time())
        while not self.failed:
            await asyncio.sleep(limit_s / 4)
            last_s, symbol = min((max(at_s, self._traded_s.get(one, 0.0)), one) for one, at_s in asked_s.items())
            if loop.time() - last_s < limit_s:
                continue
            asked_s[symbol] = loop.time()
            try:
                if await self._has_traded(symbol, self.readers[symbol]):
                    self.failed = f"trades of {symbol} are listed and not told: their stream is mute"
            except VenueError as error:
                _log.info("%s: trades of %s: %s", self._settings.name, symbol, error)

    async def _has_traded(self, symbol: str, reader: PriceReader) -> bool:
        """Whether a listing has trades that the stream should have told by now."""
        before_s = self._traded_s.get(symbol)
        rows = await self.handle.ask("fetch_trades", symbol)
        times = [nanoseconds(mapping(row).get("timestamp"), 0) for row in (rows if isinstance(rows, list) else [])]
        if max(times, default=0) <= max(reader.traded_ns, self._begun_ns) + SKEW_NS:
            return False
        await asyncio.sleep(SETTLE_S)
        return self._traded_s.get(symbol) == before_s

    async def _asked_px(self, symbol: str) -> tuple[float, float] | None:
        """Best prices by a question; None where they are not told."""
        recv_ns = self._clock.now_ns()
        reader = PriceReader("", "")
        for name, read in (("fetchTicker", reader.ticker), ("fetchOrderBook", reader.book)):
            if self.handle.has.get(name) is True:
                read(await self.handle.ask(_METHODS[name], symbol), recv_ns)
                if reader.best is not None:
                    return reader.best[0], reader.best[2]
        return None

    async def prime(self) -> None:
        """First prices by a question: a quiet market's stream may say nothing for long.  Raises ``VenueError``."""
        for symbol, reader in self.readers.items():
            for name in ("fetchOrderBook", "fetchTicker"):  # a ticker may have no sizes
                if self.handle.has.get(name) is True and reader.best is None:
                    found = await self.handle.ask(_METHODS[name], symbol)
                    recv_ns = self._clock.now_ns()
                    quick = PriceReader(reader.venue, reader.instrument, has_sizes=self.needs.has_sizes)
                    quick.offset_ns = reader.offset_ns
                    read: Callable[[Any, int], list[InputEvent]] = quick.ticker if name == "fetchTicker" else quick.book
                    events = read(found, recv_ns)
                    reader.best = quick.best
                    self._publish(events)


def _by_symbol(found: Any, symbol: str) -> dict[str, list[Any]]:
    """A class may file all trades of a message under the symbol of the first one."""
    rows: dict[str, list[Any]] = {}
    for row in found if isinstance(found, list) else []:
        name = row.get("symbol") if isinstance(row, dict) else None
        rows.setdefault(name if isinstance(name, str) else symbol, []).append(row)
    return rows


def _newest(cache: Any, symbol: str, found: Any) -> Any:
    """What the library's cache has of a symbol: several messages of one read resolve a call with the first of them."""
    try:
        newest = cache[symbol]
    except (TypeError, KeyError, LookupError):
        newest = None
    if newest is not None:
        return newest
    return found.get(symbol, found) if isinstance(found, Mapping) and symbol in found else found
