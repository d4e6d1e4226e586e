"""The venue's past for storage: bars of regular sessions, as far back as it keeps them.  It tells no trades of others.

Owns which of the venue's spans answers a question and which bars are whole and sound.  Storing is
``connectors.download``; the client is in its worker here too, and asks for a login.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.history import Page
from connectors.robin_stocks import wire
from connectors.robin_stocks.directory import Directory
from connectors.robin_stocks.history import INTERVALS, MINUTE_NS
from connectors.robin_stocks.login_file import read_login
from connectors.robin_stocks.messages import Told
from connectors.robin_stocks.orders import option_name
from connectors.robin_stocks.settings import PLAY_NICKNAME, RobinStocksSettings
from connectors.robin_stocks.supervisor import Supervisor
from engine.errors import ConfigError, VenueError
from engine.instruments import Instrument
from engine.venues import INVENTED

_DAY_NS = 1_440 * MINUTE_NS
SPAN_DAYS = {"week": 4, "month": 28, "3month": 90, "year": 364, "5year": 1_820}
"""At least so far back: a week is five sessions, of which one may have just begun.  A longer span costs no more."""
SETTLE_NS = 60 * wire.NS_PER_S
_COLUMNS = ("open", "high", "low", "close", "volume")


class RobinStocksHistory:
    """``connectors.history.VenueHistory`` of a customer: the venue tells bars to nobody without a login."""

    def __init__(self, settings: RobinStocksSettings, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        """Raises ``ConfigError`` for settings or a key file that cannot work."""
        settings.check()
        self._settings = settings
        self._now_ns = now_ns
        self._login = read_login(Path(settings.key_file))
        self._worker: Supervisor | None = None
        self._directory = Directory(settings, self._call)
        self._ending = ""
        self.requests = 0

    @property
    def name(self) -> str:
        """After ``start``: another one for the sandbox, whose prices are nobody's past."""
        return self._settings.name + self._ending

    @property
    def intervals_ns(self) -> tuple[int, ...]:
        return tuple(INTERVALS)

    async def start(self) -> None:
        self._worker = Supervisor(
            self._settings,
            self._login,
            now_ns=time.monotonic_ns,
            rng=random.Random(),
            up=lambda: None,
            down=lambda _reason: None,
        )
        await self._worker.start()
        row = await self._directory.one("account", {"account": self._login.account}, wire.AccountRow, "account")
        self._ending = INVENTED if row.nickname == PLAY_NICKNAME else ""

    async def stop(self) -> None:
        if self._worker is not None:
            await self._worker.stop()

    async def _call(self, call: str, given: dict[str, Any]) -> Told:
        assert self._worker is not None
        self.requests += 1
        return await self._worker.call(call, dict(given))

    async def instrument(self, symbol: str) -> Instrument:
        if option_name(symbol) is not None or not symbol.endswith("/USD"):
            raise ConfigError(f"{self.name} tells no bars of {symbol}", expected="a stock or fund, such as AAPL/USD")
        settings = RobinStocksSettings(name=self.name, symbols=(symbol,), key_file=self._settings.key_file)
        found = await Directory(settings, self._call).listings()
        return next(iter(found.values())).instrument

    def settled_ns(self, interval_ns: int) -> int:
        now_ns = self._now_ns() - SETTLE_NS
        return now_ns // (interval_ns or wire.NS_PER_S) * (interval_ns or wire.NS_PER_S)

    async def bars(self, instrument: Instrument, interval_ns: int, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        """One page: the venue answers a whole span at once, and nothing of what is older than its longest."""
        if interval_ns not in INTERVALS:
            raise ConfigError(f"{self.name} makes no bars of {interval_ns / wire.NS_PER_S:g} s")
        name, spans = INTERVALS[interval_ns]
        age_ns = self._now_ns() - start_ns
        reaching = (span for span, _ in spans if SPAN_DAYS[span] * _DAY_NS >= age_ns)
        span = next(reaching, spans[-1][0])
        given = {"symbol": instrument.venue_symbol, "interval": name, "span": span}
        told = await self._directory.ask("bars", given, f"bars of {instrument.id}")
        try:
            rows, broken = wire.read_rows(told.body, wire.BarRow)
        except wire.UNREADABLE as error:
            raise VenueError(f"{self.name}: bars of {instrument.id} cannot be read: {error}") from None
        yield _page(rows, broken, start_ns, end_ns, interval_ns)

    async def trades(self, instrument: Instrument, start_ns: int, end_ns: int) -> AsyncIterator[Page]:
        """There are none: raises ``ConfigError``."""
        raise ConfigError(f"{self.name} tells no trades of others in {instrument.id}", do="fetch bars")
        yield _page([], 0, start_ns, end_ns, 0)  # makes this the generator that the port asks for


def _page(rows: list[wire.BarRow], dropped: int, start_ns: int, end_ns: int, interval_ns: int) -> Page:
    """The sound and finished bars that begin in ``[start_ns, end_ns)``, in order of time."""
    kept: dict[int, wire.BarRow] = {}
    conflicts = 0
    for row in rows:
        ts_ns = wire.parse_time(row.begins_at)
        if ts_ns and not start_ns <= ts_ns < end_ns:
            continue
        if not ts_ns or not _is_sound(row):
            dropped += 1
        elif kept.setdefault(ts_ns, row) != row:
            conflicts += 1
    ordered = sorted(kept.items())
    columns: dict[str, pa.Array] = {
        "ts_ns": pa.array([ts_ns for ts_ns, _ in ordered], pa.int64()),
        "interval_ns": pa.array([interval_ns] * len(ordered), pa.int64()),
    }
    for column in _COLUMNS:
        member = column if column == "volume" else f"{column}_price"
        columns[column] = pa.array([getattr(row, member) for _, row in ordered], pa.float64())
    return Page(start_ns, end_ns, pa.table(columns), dropped, conflicts)


def _is_sound(row: wire.BarRow) -> bool:
    prices = (row.low_price, row.open_price, row.close_price, row.high_price)
    if not all(isfinite(px) and px > 0 for px in prices) or not isfinite(row.volume) or row.volume < 0:
        return False
    return row.low_price <= min(prices) and row.high_price >= max(prices)
