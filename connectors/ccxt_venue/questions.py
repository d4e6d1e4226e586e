"""What is asked about orders and the account, in the library's methods, read into values.

Owns paging and which listing answers what.  Every question raises ``VenueError`` in one line where it has no answer:
what was not read is not nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from connectors.ccxt_venue.answers import (
    SeenBalance,
    SeenFill,
    SeenOrder,
    read_balances,
    read_fills,
    read_order,
    read_orders,
)
from connectors.ccxt_venue.capabilities import Needs
from connectors.ccxt_venue.errors import Verdict, is_gone, is_key, verdict, words
from connectors.ccxt_venue.exact import MS_NS, mapping
from connectors.ccxt_venue.library import Handle
from engine.errors import KestrelError, VenueError
from engine.ports import Clock

PAGES_MAX: Final = 20
FULL_PAGE: Final = 50
"""A listing with so many rows may have more, where the library does not say how many fit in one page."""
BALANCE_PARAMS: Final[dict[str, dict[str, Any]]] = {
    "coinbase": {"v3": True},  # the other one says that nothing is held for orders
}
_METHODS: Final = {
    "fetchClosedOrders": "fetch_closed_orders",
    "fetchCanceledOrders": "fetch_canceled_orders",
    "fetchCanceledAndClosedOrders": "fetch_canceled_and_closed_orders",
    "fetchOrders": "fetch_orders",
    "fetchMyTrades": "fetch_my_trades",
}
T = TypeVar("T")
OPEN_WHOLE: Final = frozenset({"binance", "binanceus", "kraken"})
"""Exchanges that list all open orders of a symbol at once, however many there are."""
OPEN_PAGES: Final = {"coinbase": 100}
"""How many the library asks for where its ``features`` do not say it."""
OFFSETS: Final = {"kraken": "ofs"}
"""Listings that are paged by how many rows were read already: there, times do not tell pages apart."""


class Listing(list[T]):
    """What one question lists.  Where it is not ``complete``, what is not in it is not absent."""

    complete: bool = True


class UnansweredError(VenueError):
    """An error that says neither that there is such an order nor that there is none, and does not pass."""


class _RefusedError(UnansweredError):
    """The exchange takes no such question."""


class Questions:
    """``handle`` gives the object that is in use."""

    def __init__(self, handle: Callable[[], Handle], needs: Needs, clock: Clock) -> None:
        self._handle = handle
        self._needs = needs
        self._clock = clock
        self.unreadable_rows = 0
        """Rows of listings that made no sense."""

    @property
    def shows_ended(self) -> bool:
        """Whether orders that have ended can be listed."""
        return bool(self._needs.listing)

    @property
    def shows_orders(self) -> bool:
        """Whether a single order can be asked about."""
        return bool(self._needs.order_state)

    async def order(self, venue_order_id: str, symbol: str) -> SeenOrder | None:
        """None where the exchange does not show it (yet): no evidence of anything."""
        if self._needs.order_state:
            try:
                return await self._fetched(venue_order_id, symbol, {})
            except UnansweredError as error:
                if isinstance(error, _RefusedError):
                    raise
                # Some classes say "no such order" in no words of their own: the listings know.
        for listed in await self.open_orders(symbol):
            if listed.venue_order_id == venue_order_id:
                return listed
        for listed in await self.ended_orders(symbol, None):
            if listed.venue_order_id == venue_order_id:
                return listed
        return None

    async def order_named(self, question: Mapping[str, str], symbol: str) -> SeenOrder | None:
        """By the client's name of it; None where the exchange says that it has none of that name.

        Raises ``UnansweredError`` where it says something else instead of an order.
        """
        return await self._fetched(None, symbol, dict(question))

    async def _fetched(self, venue_order_id: str | None, symbol: str, params: dict[str, str]) -> SeenOrder | None:
        handle = self._handle()
        try:
            found = await handle.call("fetch_order", venue_order_id, symbol, params)
        except KestrelError:
            raise
        except Exception as error:
            if is_gone(error):
                return None
            kind: type[VenueError] = VenueError
            if type(error).__name__ == "ExchangeError":
                kind = UnansweredError
            elif verdict(error) is Verdict.REFUSED and not is_key(error):
                kind = _RefusedError
            raise kind(f"{handle.exchange} fetch_order: {words(error)}") from None
        seen = read_order(found, self._clock.now_ns())
        if seen is None:
            raise UnansweredError(f"{handle.exchange} fetch_order: an order without an id")
        return seen

    async def open_orders(self, symbol: str) -> Listing[SeenOrder]:
        """Not complete where there may be more: this listing is not paged."""
        handle = self._handle()
        rows = _rows(await handle.ask("fetch_open_orders", symbol), handle.exchange, "fetch_open_orders")
        read = read_orders(rows, self._clock.now_ns())
        self.unreadable_rows += len(rows) - len(read)
        page = OPEN_PAGES.get(handle.exchange) or page_limit(getattr(handle.ex, "features", None), "fetchOpenOrders")
        is_full = handle.exchange not in OPEN_WHOLE and len(rows) >= (page or FULL_PAGE)
        return _listing(read, complete=not is_full and len(read) == len(rows))

    async def ended_orders(self, symbol: str, since_ns: int | None) -> Listing[SeenOrder]:
        """Those the exchange lists as ended (and others, where it has one listing for all)."""
        handle, found = self._handle(), Listing[SeenOrder]()
        ways = [self._needs.listing] if self._needs.listing else []
        if ways == ["fetchClosedOrders"] and handle.has.get("fetchCanceledOrders") is True:
            ways.append("fetchCanceledOrders")
        for way in ways:
            listed = await self._pages(
                way,
                symbol,
                since_ns,
                lambda rows: read_orders(rows, self._clock.now_ns()),
                lambda order: order.venue_order_id,
                lambda order: order.created_ns,
            )
            found.extend(listed)
            found.complete = found.complete and listed.complete
        return found

    async def fills(self, symbol: str, since_ns: int) -> Listing[SeenFill]:
        """Every execution of the account in it since then, oldest first."""
        found = await self._pages(
            "fetchMyTrades",
            symbol,
            since_ns,
            lambda rows: read_fills(rows, self._clock.now_ns())[0],
            lambda fill: fill.trade_id,
            lambda fill: fill.ts_event_ns,
        )
        found.sort(key=lambda fill: fill.ts_event_ns)
        return found

    async def _pages(
        self,
        way: str,
        symbol: str,
        since_ns: int | None,
        read: Callable[[list[Any]], list[T]],
        key: Callable[[T], str],
        time_ns: Callable[[T], int],
    ) -> Listing[T]:
        """A listing page by page.

        Some exchanges answer with the newest of a span and some with the oldest: a full page is followed towards the
        past, and then towards the present, until a page brings nothing new.  How full it is goes by its rows, whether
        they can be read or not.
        """
        handle = self._handle()
        found: dict[str, T] = {}
        times: list[int] = []
        rows_read, all_readable = 0, True
        start = None if since_ns is None else since_ns // MS_NS
        since, until = start, None
        offset = OFFSETS.get(handle.exchange, "")
        limit = None if offset else page_limit(getattr(handle.ex, "features", None), way)
        for _ in range(PAGES_MAX):
            params: dict[str, int] = {} if until is None else {"until": until}
            if offset and rows_read:
                params[offset] = rows_read
            method = _METHODS[way]
            rows = _rows(await handle.ask(method, symbol, since, limit, params), handle.exchange, method)
            page = read(rows)
            rows_read += len(rows)
            if len(page) < len(rows):
                self.unreadable_rows += len(rows) - len(page)
                all_readable = False
            news = [one for one in page if key(one) not in found]
            found.update((key(one), one) for one in news)
            times += [at // MS_NS for one in news if (at := time_ns(one)) > 0]
            is_full = len(rows) >= (limit or FULL_PAGE)
            if offset and is_full and news:
                continue
            if not is_full and (offset or until is None):
                return _listing(found.values(), complete=all_readable)  # the last of all, or the last of the present
            if start is None or not times or offset:
                break
            if since == start and news and is_full and min(times) > start:
                until = min(times) + 1
            elif since == start and (until is not None or min(times) <= start):
                since, until = max(times), None  # the past is read
            elif news:
                since = max(times)
            elif min(times) < start:
                return _listing(found.values(), complete=all_readable)  # it tells everything each time
            else:
                break
        return _listing(found.values(), complete=False)

    async def balances(self) -> list[SeenBalance]:
        handle = self._handle()
        params = BALANCE_PARAMS.get(handle.exchange, {})
        read = read_balances(await handle.ask("fetch_balance", dict(params)))
        if read is None:
            raise VenueError(f"{handle.exchange} fetch_balance: a balance without a total", expected="numbers")
        return read

    async def clock_offset_ns(self) -> int:
        """The exchange's clock minus ours; 0 where it does not tell the time."""
        if not self._needs.server_time:
            return 0
        before_ns = self._clock.now_ns()
        told = await self._handle().ask("fetch_time")
        after_ns = self._clock.now_ns()
        if not isinstance(told, int | float) or isinstance(told, bool):
            raise VenueError(f"{self._handle().exchange} fetch_time: no time")
        return int(told) * MS_NS - (before_ns + after_ns) // 2


def _listing(found: Iterable[T], *, complete: bool) -> Listing[T]:
    made = Listing(found)
    made.complete = complete
    return made


def _rows(found: object, exchange: str, method: str) -> list[Any]:
    """Raises ``VenueError`` for an answer that lists nothing: that is not an empty list."""
    if not isinstance(found, list):
        raise VenueError(f"{exchange} {method}: no list")
    return found


def page_limit(features: object, way: str) -> int | None:
    """How many rows fit in one answer of a listing, as the library's ``features`` say; None where they do not."""
    told = mapping(mapping(mapping(features).get("spot")).get(way)).get("limit")
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 < told <= 10_000 else None
