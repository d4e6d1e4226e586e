"""OANDA's past for storage: candles of any span.  Trades of others are told by no dealer.

Owns the paging of the candle endpoint and which candles are whole and sound.  Storing is ``connectors.download``.

Prices are the middle of bid and ask; ``volume`` counts quotes, as everywhere in this market: nobody knows what was
traded.  Longer candles are asked for on the grid of UTC days, not on the venue's own, which begin at 17:00 New York.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec
import pyarrow as pa

from connectors.history import Page
from connectors.oanda import requests, wire
from connectors.oanda.candles import GRANULARITIES, PAGE_BARS, Candle, Candles, granularity, is_sound
from connectors.oanda.orders import define
from connectors.oanda.requests import Request
from connectors.paced import PacedRest
from connectors.rest import RestClient
from connectors.route import Route
from engine.errors import ConfigError, VenueError
from engine.instruments import Instrument
from engine.venues import INVENTED

NS = wire.NS_PER_S
REST_PER_S = 60.0
"""Half of what the venue allows, so that a session beside a download keeps its share."""
SETTLE_NS = 2 * NS

_T = TypeVar("_T")


class OandaHistory:
    """``connectors.history.VenueHistory`` of an OANDA account: the venue tells nothing without a token.

    ``account`` empty takes the token's first.  ``pace`` wraps the client that is made here.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        account: str = "",
        venue: str = "oanda",
        pace: Callable[[RestClient], PacedRest],
        route: Route | None = None,
        timeout_s: float = 10.0,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._venue = venue
        self._account = account
        headers = {"Authorization": f"Bearer {token}"}
        self._client = RestClient(base_url, authorize=lambda _method, _path: headers, timeout_s=timeout_s, route=route)
        self._rest = pace(self._client)
        self._monotonic_ns = monotonic_ns
        self._rows: dict[str, wire.InstrumentRow] = {}
        self._venue_now_ns = 0
        self._asked_at_ns = 0
        self._ending = ""

    @property
    def name(self) -> str:
        """After ``start``: another one for the sandbox, whose prices are nobody's past."""
        return self._venue + self._ending

    @property
    def requests(self) -> int:
        return self._rest.requests

    @property
    def intervals_ns(self) -> tuple[int, ...]:
        return tuple(seconds * NS for seconds in GRANULARITIES)

    async def start(self) -> None:
        """Find the account, its instruments and the venue's clock (ours may be off: nothing is decided by it)."""
        await self._client.start()
        accounts = (await self._get(requests.ACCOUNTS, wire.Accounts)).accounts
        mine = [account for account in accounts if self._account in ("", account.id)]
        if not mine:
            raise VenueError(f"{self._venue} has no account {self._account or 'for this token'}", do="check the token")
        self._account = mine[0].id
        self._ending = INVENTED if wire.SANDBOX_TAG in mine[0].tags else ""
        rows = (await self._get(requests.instruments(self._account), wire.Instruments)).instruments
        self._rows = {row.name: row for row in rows}
        if not rows:
            raise VenueError(f"account {self._account} may trade nothing", expected="instruments")
        told = await self._get(requests.pricing(self._account, [rows[0].name]), wire.Pricing)
        self._asked_at_ns = self._monotonic_ns()
        self._venue_now_ns = wire.TimeParser()(told.time)
        if not self._venue_now_ns:
            raise VenueError(f"{self._venue} tells its time as {told.time[:40]!r}", expected="RFC 3339")

    async def stop(self) -> None:
        await self._client.stop()

    async def instrument(self, symbol: str) -> Instrument:
        row = self._rows.get(symbol.replace("/", "_").replace("-", "_"))
        if row is None:
            near = difflib.get_close_matches(symbol, [name.replace("_", "/") for name in self._rows], 3, 0.4)
            hint = f"the nearest are {', '.join(near)}" if near else f"it has {len(self._rows)} instruments"
            raise ConfigError(f"{self.name} has no instrument {symbol}", do=hint)
        return define(row, self.name)

    def settled_ns(self, interval_ns: int) -> int:
        now_ns = self._venue_now_ns + self._monotonic_ns() - self._asked_at_ns - SETTLE_NS
        return now_ns // (interval_ns or NS) * (interval_ns or NS)

    async def bars(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        name = granularity(interval_ns)
        if not name:
            raise ConfigError(f"{self.name} makes no bars of {interval_ns / NS:g} s")
        at_ns = start_ns
        while at_ns < end_ns:
            first_ns = -(-at_ns // interval_ns) * interval_ns  # the first bar that begins at or after at_ns
            until_ns = min(first_ns + PAGE_BARS * interval_ns, end_ns)
            answer: list[Candle] = []
            if first_ns < until_ns:
                span = ("from", wire.format_time(first_ns)), ("to", wire.format_time(until_ns))
                request = requests.candles(instrument.venue_symbol, ("granularity", name), *span)
                answer = (await self._get(request, Candles)).candles
            yield _page(answer, at_ns, until_ns, interval_ns)
            at_ns = until_ns

    async def trades(self, instrument: Instrument, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        """There are none: raises ``ConfigError``."""
        raise ConfigError(f"{self.name} tells no trades of others in {instrument.id}", do="fetch bars")
        yield Page(start_ns, end_ns, _table([], 0))  # makes this the generator that the port asks for

    async def _get(self, request: Request, kind: type[_T]) -> _T:
        body = await self._rest.get(request.path, request.params)
        try:
            return msgspec.json.decode(body, type=kind, strict=False)
        except wire.UNREADABLE as error:
            raise VenueError(
                f"GET {request.path} answered something else: {str(error)[:100]}", expected=kind.__name__
            ) from None


def _page(answer: list[Candle], start_ns: int, end_ns: int, interval_ns: int) -> Page:
    """The sound and finished candles of one answer that begin in ``[start_ns, end_ns)``, in order of time."""
    parse = wire.TimeParser()
    kept: dict[int, Candle] = {}
    dropped = conflicts = 0
    for candle in answer:
        ts_ns = parse(candle.time)
        if ts_ns and not start_ns <= ts_ns < end_ns:
            continue  # the venue rounds the ends of a question as it likes
        if not candle.complete:
            continue
        if not is_sound(ts_ns, candle, interval_ns):
            dropped += 1
        elif kept.setdefault(ts_ns, candle) != candle:
            conflicts += 1
    return Page(start_ns, end_ns, _table(sorted(kept.items()), interval_ns), dropped, conflicts)


def _table(rows: list[tuple[int, Candle]], interval_ns: int) -> pa.Table:
    mids = [candle.mid for _, candle in rows if candle.mid is not None]
    return pa.table(
        {
            "ts_ns": pa.array([ts_ns for ts_ns, _ in rows], pa.int64()),
            "interval_ns": pa.array([interval_ns] * len(rows), pa.int64()),
            "open": pa.array([mid.o for mid in mids], pa.float64()),
            "high": pa.array([mid.h for mid in mids], pa.float64()),
            "low": pa.array([mid.l for mid in mids], pa.float64()),
            "close": pa.array([mid.c for mid in mids], pa.float64()),
            "volume": pa.array([float(candle.volume) for _, candle in rows], pa.float64()),
        }
    )
