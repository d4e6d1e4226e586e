"""Kraken's WebSocket v2 as events: best prices, trades, books, finished candles.

Owns the meaning of the messages.  Books of this version prove themselves by a checksum over decimals that only the
instrument channel tells: it is not checked here, so a loss shows only when the venue says so.  Messages of the account
(executions, balances, answers to orders) are known and not read: orders go through another connector.  Source: Kraken
WebSocket API v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from connectors.kraken.answers import is_good_answer
from connectors.market_stream import CalendarTime, MarketStream, datetime_ns
from engine.events import InputEvent, Trade

_QUIET: Final = frozenset({"status", "heartbeat", "instrument", "level3", "ohlc", "executions", "balances"})
"""Channels without an event of ours: an interval's candle is told while it grows, and never as finished."""
_SIDES: Final = {"buy": 1, "sell": -1}


class Message(msgspec.Struct, gc=False):
    """``{"channel":"trade","type":"update","data":[...]}`` or ``{"method":"subscribe","success":true,...}``."""

    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw()
    method: str = ""
    success: bool | None = None
    error: str = ""


class Ticker(msgspec.Struct, gc=False):
    symbol: str
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float
    timestamp: CalendarTime | None = None


class PublicTrade(msgspec.Struct, gc=False):
    symbol: str
    side: str
    price: float
    qty: float
    trade_id: int
    timestamp: CalendarTime


class Level(msgspec.Struct, gc=False):
    price: float
    qty: float


class Book(msgspec.Struct, gc=False):
    symbol: str
    bids: list[Level] = []
    asks: list[Level] = []
    timestamp: CalendarTime | None = None


_decode = msgspec.json.Decoder(Message, strict=False).decode
_decode_tickers = msgspec.json.Decoder(list[Ticker], strict=False).decode
_decode_trades = msgspec.json.Decoder(list[PublicTrade], strict=False).decode
_decode_books = msgspec.json.Decoder(list[Book], strict=False).decode


class KrakenV2Protocol(MarketStream):
    """See the module's docstring."""

    def __init__(
        self, venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool = True, books: bool = True
    ) -> None:
        super().__init__(venue, products, quotes=quotes, books=books)
        self._ready: set[str] = set()

    def reset(self) -> None:
        super().reset()
        self._ready.clear()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = _decode(frame)
        channel = message.channel
        if channel == "ticker":
            if self.quotes:
                for t in _decode_tickers(message.data):
                    prices = (t.bid, t.bid_qty, t.ask, t.ask_qty)
                    self._quote(_time(t.timestamp, recv_ns), recv_ns, t.symbol, prices, events)
        elif channel == "trade":
            self._trades(message, recv_ns, events)
        elif channel == "book":
            if self.books:
                for book in _decode_books(message.data):
                    self._book(book, message.type, recv_ns, events)
        elif message.method:
            if message.success is False:
                self._refused(f"{message.method}: {message.error}")
        elif channel not in _QUIET:
            self._unknown(frame)

    def _answer(self, url: str, body: bytes, recv_ns: int, events: list[InputEvent]) -> None:  # noqa: ARG002
        if not is_good_answer(url, body):
            self._unknown(body)

    def _trades(self, message: Message, recv_ns: int, events: list[InputEvent]) -> None:
        for t in _decode_trades(message.data):
            instruments, trade_id = self._instruments(t.symbol), str(t.trade_id)
            if not instruments or not self._is_new(t.symbol, trade_id):
                continue
            if message.type == "snapshot":
                self.counters.snapshot_trades += 1  # from before we listened
                continue
            side, ts_ns = _SIDES.get(t.side, 0), datetime_ns(t.timestamp)
            events.extend(Trade(ts_ns, recv_ns, each, t.price, t.qty, side, trade_id) for each in instruments)

    def _book(self, book: Book, kind: str, recv_ns: int, events: list[InputEvent]) -> None:
        ts_ns = _time(book.timestamp, recv_ns)
        if kind == "snapshot":
            self._ready.add(book.symbol)
            bids, asks = ([(level.price, level.qty) for level in side] for side in (book.bids, book.asks))
            self._snapshot(ts_ns, recv_ns, book.symbol, bids, asks, events)
        elif book.symbol in self._ready:
            changes = [(1, level.price, level.qty) for level in book.bids]
            changes += [(-1, level.price, level.qty) for level in book.asks]
            self._delta(ts_ns, recv_ns, book.symbol, changes, events)
        else:
            self.counters.book_not_ready += 1


def _time(time: CalendarTime | None, recv_ns: int) -> int:
    return recv_ns if time is None else datetime_ns(time)
