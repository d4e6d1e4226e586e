"""Bitstamp's WebSocket v2 as events: differences of the book, whole books of a hundred levels, trades.

Owns the meaning of the messages and where a book's snapshot and its differences meet: by the venue's microsecond
stamps, which is all that orders them.  A difference that was lost cannot be noticed on this stream.  Source: Bitstamp
WebSocket API v2 and ``GET order_book``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from connectors.market_stream import MarketStream
from engine.events import InputEvent, Trade

WAITING_MAX: Final = 4096
_DIFFERENCES: Final = "diff_order_book_"
_WHOLE: Final = "order_book_"
_TRADES: Final = "live_trades_"
_QUIET: Final = frozenset({"bts:subscription_succeeded", "bts:unsubscription_succeeded", "bts:heartbeat"})
_ORDERS: Final = frozenset({"order_created", "order_changed", "order_deleted"})


class Book(msgspec.Struct, gc=False):
    """``{"timestamp":"...","microtimestamp":"1641343695572693","bids":[["0.14695","4567.41"]],"asks":[...]}``."""

    microtimestamp: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class LiveTrade(msgspec.Struct, gc=False):
    """``type`` is 0 for a buyer who took, 1 for a seller."""

    id: int
    microtimestamp: int
    price_str: float
    amount_str: float
    type: int


class Refusal(msgspec.Struct, gc=False):
    message: str = ""


class Message(msgspec.Struct, gc=False):
    event: str
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(Message, strict=False).decode
_decode_book = msgspec.json.Decoder(Book, strict=False).decode
_decode_trade = msgspec.json.Decoder(LiveTrade, strict=False).decode
_decode_refusal = msgspec.json.Decoder(Refusal, strict=False).decode


class BitstampProtocol(MarketStream):
    """See the module's docstring.  The venue tells no best prices apart from its books."""

    def __init__(
        self, venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool = True, books: bool = True
    ) -> None:
        super().__init__(venue, products, quotes=quotes, books=books)
        self.reconnect_wanted = False
        """The venue said that it closes this connection soon."""
        self._since: dict[str, int] = {}
        """Microsecond stamp of each book's newest difference or snapshot."""
        self._waiting: dict[str, deque[Book]] = {}

    def reset(self) -> None:
        super().reset()
        self.reconnect_wanted = False
        self._since.clear()
        self._waiting.clear()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = _decode(frame)
        event, channel = message.event, message.channel
        if event == "data" and channel.startswith(_DIFFERENCES):
            if self.books:
                self._difference(channel.removeprefix(_DIFFERENCES).upper(), message.data, recv_ns, events)
        elif event == "data" and channel.startswith(_WHOLE):
            if self.books:
                book = _decode_book(message.data)
                symbol = channel.removeprefix(_WHOLE).upper()
                self._snapshot(book.microtimestamp * 1000, recv_ns, symbol, book.bids, book.asks, events)
        elif event == "trade" and channel.startswith(_TRADES):
            self._trade(channel.removeprefix(_TRADES).upper(), _decode_trade(message.data), recv_ns, events)
        elif event == "bts:error":
            self._refused(_decode_refusal(message.data).message)
        elif event == "bts:request_reconnect":
            self.reconnect_wanted = True
        elif event not in _QUIET and event not in _ORDERS:
            self._unknown(frame)

    def _answer(self, url: str, body: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """``GET .../order_book/btcusd``: with the differences since, the book."""
        folder, _, symbol = urlsplit(url).path.strip("/").rpartition("/")
        if not folder.endswith("order_book"):
            self._unknown(body)
            return
        symbol = symbol.upper()
        if not self.books or not self._instruments(symbol):
            return
        book = _decode_book(body)
        waiting = [each for each in self._waiting.pop(symbol, ()) if each.microtimestamp > book.microtimestamp]
        bids, asks = dict(book.bids), dict(book.asks)
        for each in waiting:  # sizes are absolute; what is zero is left out below
            bids.update(each.bids)
            asks.update(each.asks)
        since = self._since[symbol] = waiting[-1].microtimestamp if waiting else book.microtimestamp
        self._snapshot(since * 1000, recv_ns, symbol, bids.items(), asks.items(), events)

    def _difference(self, symbol: str, data: msgspec.Raw, recv_ns: int, events: list[InputEvent]) -> None:
        if not self._instruments(symbol):
            return
        change = _decode_book(data)
        since = self._since.get(symbol)
        if since is None:
            self.counters.book_not_ready += 1
            if symbol not in self._waiting:
                self.snapshots_wanted.add(symbol)
            self._waiting.setdefault(symbol, deque(maxlen=WAITING_MAX)).append(change)
            return
        if change.microtimestamp <= since:
            self.counters.out_of_order += 1  # the snapshot has it
            return
        self._since[symbol] = change.microtimestamp
        changes = [(1, px, qty) for px, qty in change.bids] + [(-1, px, qty) for px, qty in change.asks]
        self._delta(change.microtimestamp * 1000, recv_ns, symbol, changes, events)

    def _trade(self, symbol: str, trade: LiveTrade, recv_ns: int, events: list[InputEvent]) -> None:
        instruments = self._instruments(symbol)
        trade_id = str(trade.id)
        if instruments and self._is_new(symbol, trade_id):
            side = 1 if trade.type == 0 else -1 if trade.type == 1 else 0
            ts_ns = trade.microtimestamp * 1000
            events.extend(
                Trade(ts_ns, recv_ns, each, trade.price_str, trade.amount_str, side, trade_id) for each in instruments
            )
