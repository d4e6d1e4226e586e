"""BitMEX's public tables as events: books by price id, best prices, trades.

Owns the meaning of the messages and the prices that ids stand for.  Sizes are contracts, as the venue counts them.

A table begins with ``partial`` and goes on with ``insert``, ``update`` and ``delete``.  What comes before the partial
is to be ignored; a change of an id that nobody has inserted since means that something was lost.  Source: BitMEX
WebSocket API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from connectors.market_stream import CalendarTime, MarketStream, datetime_ns
from engine.data.instruments import split_symbol
from engine.events import InputEvent, Trade

_DATED: Final = re.compile(r"([A-Z]{3,})[FGHJKMNQUVXZ]\d\d")
_PAIR: Final = re.compile(r"([A-Z]+)(USDT|USD|XBT|ETH|EUR)")
_BOOKS: Final = frozenset({"orderBookL2", "orderBookL2_25"})
_QUIET: Final = frozenset({"instrument", "funding", "liquidation", "settlement", "insurance", "announcement"})
"""Tables that say nothing which the engine takes."""


def split_contract(symbol: str) -> tuple[str, str]:
    """``XBTUSD`` as (XBT, USD); a dated future such as ``XRPU21`` is itself what is bought, quoted in XBT or, where
    that is what it is about, in USD."""
    if dated := _DATED.fullmatch(symbol):
        return symbol, "USD" if dated[1] == "XBT" else "XBT"
    if pair := _PAIR.fullmatch(symbol):  # not the longest of all currencies: XBTUSD is no XB in TUSD
        return pair[1], pair[2]
    return split_symbol("bitmex", symbol)


class Row(msgspec.Struct, gc=False):
    """A row of any table; which of them are there says the table."""

    symbol: str
    timestamp: CalendarTime | None = None
    id: int = -1
    side: str = ""
    size: float | None = None
    price: float | None = None
    bid_size: float | None = msgspec.field(name="bidSize", default=None)
    bid_price: float | None = msgspec.field(name="bidPrice", default=None)
    ask_size: float | None = msgspec.field(name="askSize", default=None)
    ask_price: float | None = msgspec.field(name="askPrice", default=None)
    trade_id: str = msgspec.field(name="trdMatchID", default="")


class Filter(msgspec.Struct, gc=False):
    symbol: str = ""


class Message(msgspec.Struct, gc=False):
    """``{"table":"quote","action":"insert","data":[...]}``, ``{"success":true,"subscribe":"quote:XBTUSD",...}``,
    ``{"info":"Welcome...","version":...}`` or ``{"status":400,"error":"...","request":{...}}``."""

    table: str = ""
    action: str = ""
    data: msgspec.Raw = msgspec.Raw()
    filter: Filter | None = None
    success: bool | None = None
    subscribe: str = ""
    info: str = ""
    error: str = ""


_decode = msgspec.json.Decoder(Message, strict=False).decode
_decode_rows = msgspec.json.Decoder(list[Row], strict=False).decode


class BitmexProtocol(MarketStream):
    """See the module's docstring."""

    def __init__(
        self, venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool = True, books: bool = True
    ) -> None:
        super().__init__(venue, products, quotes=quotes, books=books)
        self._prices: dict[str, dict[int, tuple[int, float]]] = {}
        """Of each book that has begun: side and price of its ids."""

    def reset(self) -> None:
        super().reset()
        self._prices.clear()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = _decode(frame)
        table = message.table
        if table in _BOOKS:
            if self.books:
                self._book(message, recv_ns, events)
        elif table == "quote":
            if self.quotes:
                self._quotes(message, recv_ns, events)
        elif table == "trade":
            self._trades(message, recv_ns, events)
        elif message.error:
            self._refused(message.error)
        elif not (table in _QUIET or message.success or message.info or frame == b"pong"):
            self._unknown(frame)

    def _answer(self, url: str, body: bytes, recv_ns: int, events: list[InputEvent]) -> None:  # noqa: ARG002
        """The list of instruments: read, and nothing of it is needed here."""
        if "/instrument" in url:
            _decode_rows(body)
        else:
            self._unknown(body)

    def _quotes(self, message: Message, recv_ns: int, events: list[InputEvent]) -> None:
        for row in _decode_rows(message.data):
            prices = (row.bid_price or 0.0, row.bid_size or 0.0, row.ask_price or 0.0, row.ask_size or 0.0)
            self._quote(_time(row, recv_ns), recv_ns, row.symbol, prices, events)

    def _trades(self, message: Message, recv_ns: int, events: list[InputEvent]) -> None:
        for row in _decode_rows(message.data):
            instruments = self._instruments(row.symbol)
            if not instruments or row.price is None or row.size is None or not self._is_new(row.symbol, row.trade_id):
                continue
            if message.action == "partial":
                self.counters.snapshot_trades += 1  # from before we listened
                continue
            side = _side(row)
            events.extend(
                Trade(_time(row, recv_ns), recv_ns, each, row.price, row.size, side, row.trade_id)
                for each in instruments
            )

    def _book(self, message: Message, recv_ns: int, events: list[InputEvent]) -> None:
        rows = _decode_rows(message.data)
        if message.action == "partial":
            self._partial(message, rows, recv_ns, events)
            return
        changes: dict[str, list[tuple[int, float, float]]] = {}
        ts_ns = recv_ns
        for row in rows:
            known = self._prices.get(row.symbol)
            if known is None:
                self.counters.book_not_ready += 1
                continue
            ts_ns = _time(row, recv_ns)
            if message.action == "insert" and row.price is not None and row.size is not None:
                known[row.id] = (_side(row), row.price)
                changes.setdefault(row.symbol, []).append((_side(row), row.price, row.size))
                continue
            level = known.get(row.id)
            if level is None or message.action not in ("update", "delete"):
                del self._prices[row.symbol]
                changes.pop(row.symbol, None)
                self._gap(row.symbol, recv_ns, 0, row.id, events)
                continue
            if message.action == "delete":
                del known[row.id]
            changes.setdefault(row.symbol, []).append(
                (*level, 0.0 if message.action == "delete" or row.size is None else row.size)
            )
        for symbol, made in changes.items():
            self._delta(ts_ns, recv_ns, symbol, made, events)

    def _partial(self, message: Message, rows: list[Row], recv_ns: int, events: list[InputEvent]) -> None:
        """The whole book of one symbol: named by the filter, as it may be empty."""
        symbol = message.filter.symbol if message.filter and message.filter.symbol else rows[0].symbol if rows else ""
        if not symbol or not self._instruments(symbol):
            return
        full = [row for row in rows if row.symbol == symbol and row.price is not None and row.size is not None]
        self._prices[symbol] = {row.id: (_side(row), row.price or 0.0) for row in full}
        sides = {side: [(row.price or 0.0, row.size or 0.0) for row in full if _side(row) == side] for side in (1, -1)}
        ts_ns = max((_time(row, recv_ns) for row in full), default=recv_ns)
        self._snapshot(ts_ns, recv_ns, symbol, sides[1], sides[-1], events)


def _side(row: Row) -> int:
    return 1 if row.side == "Buy" else -1 if row.side == "Sell" else 0


def _time(row: Row, recv_ns: int) -> int:
    return recv_ns if row.timestamp is None else datetime_ns(row.timestamp)
