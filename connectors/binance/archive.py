"""Binance's past for storage: candles and aggregate trades of any span, by the public endpoints, without a key.

Owns the paging rules of both endpoints and which rows are whole and sound.  Storing is ``connectors.download``; the few
candles that warm a live session up are ``venue``'s.

Trades are aggregates: what one order took at one price, with ids of their own (``a`` and a number, as on the stream).
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa

from connectors.binance import klines
from connectors.binance.directory import instrument_of, read_rows
from connectors.binance.klines import NS_PER_MS, PastCandle, PastTrade
from connectors.binance.rest import PREFIX
from connectors.binance.settings import REST_URLS, BinanceSettings
from connectors.binance.streams import SPOT
from connectors.endpoints import Endpoints
from connectors.history import Page
from connectors.market_stream import UNREADABLE
from connectors.paced import PacedRest
from connectors.rest import RestClient, RestError
from connectors.route import is_this_machine
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.venues import INVENTED

PUBLIC_PER_S: Final = 10.0
"""Requests a second: with the weights of candles and trades, less than half of what the venue grants an address."""
PAGE: Final = 1000
"""Rows of an answer, of both endpoints."""
WINDOW_MS: Final = 3_600_000
"""Of trades in one page: the venue refuses a longer span where both ends are named."""
SETTLE_MS: Final = 2_000
_DAY_MS: Final = 86_400_000


class _ServerTime(msgspec.Struct):
    serverTime: int  # noqa: N815 -- the venue's spelling


class BinanceHistory:
    """``connectors.history.VenueHistory`` of Binance spot or USD-M futures."""

    def __init__(
        self,
        settings: BinanceSettings,
        *,
        pace: Callable[[RestClient], PacedRest],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """``pace`` wraps the client that is made here.  Raises ``ConfigError`` for an address that cannot work."""
        settings.check()
        self._venue = settings.venue
        urls = settings.rest_urls or REST_URLS[self._venue]
        self._client = RestClient(
            Endpoints([url.rstrip("/") + PREFIX[self._venue] for url in urls], failures_max=1),
            timeout_s=settings.rest_timeout_s,
            route=settings.route,
        )
        self._rest = pace(self._client)
        # The venue does not listen on this machine: whoever does makes its prices up.
        self._ending = INVENTED if any(is_this_machine(urlsplit(url).hostname or "") for url in urls) else ""
        self._monotonic_ns = monotonic_ns
        self._venue_now_ms = 0
        self._asked_at_ns = 0

    @property
    def name(self) -> str:
        """Another one for a server on this machine, whose prices are nobody's past."""
        return self._venue + self._ending

    @property
    def requests(self) -> int:
        return self._rest.requests

    @property
    def intervals_ns(self) -> tuple[int, ...]:
        return klines.intervals_ns(self._venue)

    async def start(self) -> None:
        """Open the session and read the venue's clock (ours may be off: nothing is decided by it)."""
        await self._client.start()
        body = await self._rest.get("/time", (), auth=False)
        try:
            self._venue_now_ms = msgspec.json.decode(body, type=_ServerTime).serverTime
        except UNREADABLE as error:
            raise _unreadable("/time", error) from error
        self._asked_at_ns = self._monotonic_ns()

    async def stop(self) -> None:
        await self._client.stop()

    async def instrument(self, symbol: str) -> Instrument:
        base, _, quote = symbol.partition("/")
        name = base if "_" in base else base + quote
        params = [("symbols", json.dumps([name])), ("showPermissionSets", "false")] if self._venue == SPOT else []
        try:
            body = await self._rest.get("/exchangeInfo", params, auth=False)
        except RestError as error:
            if error.status != 400:
                raise
            # Unknown: the whole list tells the nearest.
            body = await self._rest.get("/exchangeInfo", params[1:], auth=False)
        found = instrument_of(self._venue, read_rows(body, {name})[name])
        return msgspec.structs.replace(found, id=f"{found.id}{self._ending}", venue=self.name)

    def settled_ns(self, interval_ns: int) -> int:
        now_ms = self._venue_now_ms + (self._monotonic_ns() - self._asked_at_ns) // NS_PER_MS - SETTLE_MS
        step_ns = interval_ns or NS_PER_MS
        return now_ms * NS_PER_MS // step_ns * step_ns

    # --- bars ---------------------------------------------------------------------------------------------------

    async def bars(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        name = klines.interval_name(self._venue, interval_ns)
        if not name:
            raise ConfigError(f"{self.name} makes no candles of {interval_ns / 1e9:g} s")
        at_ns = start_ns
        while at_ns < end_ns:
            first_ms = -(-at_ns // interval_ns) * (interval_ns // NS_PER_MS)
            until_ns = min((first_ms + PAGE * (interval_ns // NS_PER_MS)) * NS_PER_MS, end_ns)
            last_ms = (until_ns - 1) // NS_PER_MS
            answer = await self._candles(instrument, name, first_ms, last_ms) if first_ms <= last_ms else []
            if not answer:
                # Nothing here: years before a symbol was listed cost one request, not one a page.
                until_ns = await self._next_ns(instrument, name, until_ns, end_ns)
            yield _bar_page(answer, at_ns, until_ns, interval_ns)
            at_ns = until_ns

    async def _candles(self, instrument: Instrument, name: str, start_ms: int, end_ms: int) -> list[PastCandle]:
        params = [("startTime", str(start_ms)), ("endTime", str(end_ms))]
        body = await self._get("/klines", instrument, [("interval", name), *params])
        try:
            return klines.decode_candles(body)
        except UNREADABLE as error:
            raise _unreadable("/klines", error) from error

    async def _next_ns(self, instrument: Instrument, name: str, at_ns: int, end_ns: int) -> int:
        """The first candle from ``at_ns`` on, ``end_ns`` where there is none before that."""
        if at_ns >= end_ns:
            return end_ns
        params = [("interval", name), ("startTime", str(-(-at_ns // NS_PER_MS))), ("limit", "1")]
        body = await self._rest.get("/klines", [("symbol", instrument.venue_symbol), *params], auth=False)
        try:
            found = klines.decode_candles(body)
        except UNREADABLE as error:
            raise _unreadable("/klines", error) from error
        return max(at_ns, min([end_ns, *(candle.first * NS_PER_MS for candle in found)]))

    # --- trades -------------------------------------------------------------------------------------------------

    async def trades(self, instrument: Instrument, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        at_ns = start_ns
        if end_ns - start_ns > _DAY_MS * NS_PER_MS:
            at_ns = await self._next_ns(
                instrument, "1d", start_ns // (_DAY_MS * NS_PER_MS) * _DAY_MS * NS_PER_MS, end_ns
            )
            at_ns = max(at_ns, start_ns)
            if at_ns > start_ns:
                yield Page(start_ns, at_ns, _trade_table([]))
        while at_ns < end_ns:
            until_ns = min((at_ns // NS_PER_MS + WINDOW_MS) * NS_PER_MS, end_ns)
            yield await self._window(instrument, at_ns, until_ns)
            at_ns = until_ns

    async def _window(self, instrument: Instrument, start_ns: int, end_ns: int) -> Page:
        """All trades of ``[start_ns, end_ns)``: the first answer by time, the others by the id that comes next."""
        start_ms, last_ms = -(-start_ns // NS_PER_MS), (end_ns - 1) // NS_PER_MS
        found: dict[int, PastTrade] = {}
        dropped = conflicts = 0
        where = [("startTime", str(start_ms)), ("endTime", str(last_ms))]
        newest = -1
        while start_ms <= last_ms:
            answer = await self._trades(instrument, where)
            for trade in answer:
                if not (0.0 < trade.p < float("inf") and 0.0 < trade.q < float("inf")):
                    dropped += 1
                elif start_ms <= trade.T <= last_ms and found.setdefault(trade.a, trade) != trade:
                    conflicts += 1
            if len(answer) < PAGE or last_ms < answer[-1].T:
                break
            if newest >= max(trade.a for trade in answer):
                raise RestError("GET /aggTrades: the same trades again", expected=f"those from id {newest + 1} on")
            newest = max(trade.a for trade in answer)
            where = [("fromId", str(newest + 1))]
        rows = [found[number] for number in sorted(found)]
        return Page(start_ns, end_ns, _trade_table(rows), dropped, conflicts)

    async def _trades(self, instrument: Instrument, where: Sequence[tuple[str, str]]) -> list[PastTrade]:
        body = await self._get("/aggTrades", instrument, where)
        try:
            return klines.decode_trades(body)
        except UNREADABLE as error:
            raise _unreadable("/aggTrades", error) from error

    async def _get(self, path: str, instrument: Instrument, params: Sequence[tuple[str, str]]) -> bytes:
        whole = [("symbol", instrument.venue_symbol), *params, ("limit", str(PAGE))]
        return await self._rest.get(path, whole, auth=False)


def _unreadable(path: str, error: Exception) -> RestError:
    return RestError(
        f"GET {path}: unreadable answer: {str(error).splitlines()[0]}", expected="market data", do="check the address"
    )


def _bar_page(answer: list[PastCandle], start_ns: int, end_ns: int, interval_ns: int) -> Page:
    """The sound candles of one answer that begin in ``[start_ns, end_ns)``, in order of time."""
    kept: dict[int, PastCandle] = {}
    dropped = conflicts = 0
    for candle in answer:
        if not start_ns <= candle.first * NS_PER_MS < end_ns:
            continue
        if not klines.is_sound(candle, interval_ns // NS_PER_MS):
            dropped += 1
        elif kept.setdefault(candle.first, candle) != candle:
            conflicts += 1
    rows = [kept[first] for first in sorted(kept)]
    table = pa.table(
        {
            "ts_ns": pa.array([c.first * NS_PER_MS for c in rows], pa.int64()),
            "interval_ns": pa.array([interval_ns] * len(rows), pa.int64()),
            "open": pa.array([c.open_px for c in rows], pa.float64()),
            "high": pa.array([c.high_px for c in rows], pa.float64()),
            "low": pa.array([c.low_px for c in rows], pa.float64()),
            "close": pa.array([c.close_px for c in rows], pa.float64()),
            "volume": pa.array([c.volume_qty for c in rows], pa.float64()),
            "volume_quote": pa.array([c.quote_volume for c in rows], pa.float64()),
            "trades": pa.array([c.trades for c in rows], pa.int64()),
        }
    )
    return Page(start_ns, end_ns, table, dropped, conflicts)


def _trade_table(rows: list[PastTrade]) -> pa.Table:
    return pa.table(
        {
            "ts_ns": pa.array([trade.T * NS_PER_MS for trade in rows], pa.int64()),
            "price": pa.array([trade.p for trade in rows], pa.float64()),
            "size": pa.array([trade.q for trade in rows], pa.float64()),
            "side": pa.array(["sell" if trade.m else "buy" for trade in rows], pa.string()),
            "trade_id": pa.array([f"a{trade.a}" for trade in rows], pa.string()),
        }
    )
