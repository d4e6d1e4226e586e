"""The market channels of Coinbase Exchange as events: level2, ticker, matches.

Owns the meaning of the messages.  Level2 carries no numbers that would show a loss.  Trades do: their ids count up one
by one, so a hole in them means that messages were lost, and the book is void as well.  Source: Coinbase Exchange
WebSocket feed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from connectors.market_stream import CalendarTime, MarketStream, datetime_ns
from engine.errors import RemoteProtocolError
from engine.events import InputEvent, Trade

_NAN: Final = float("nan")
_QUIET: Final = frozenset({"subscriptions", "heartbeat", "status"})
_SIDES: Final = {"buy": 1, "sell": -1}


class Message(msgspec.Struct, gc=False):
    """What tells the kinds apart: ``{"type":"ticker","product_id":"BTC-USD",...}``."""

    type: str
    product_id: str = ""
    message: str = ""
    reason: str = ""


class Snapshot(msgspec.Struct, gc=False):
    """``{"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45"]],"asks":[["10102.55","0.57"]]}``."""

    product_id: str
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Update(msgspec.Struct, gc=False):
    """``{"type":"l2update","product_id":"BTC-USD","time":"...","changes":[["buy","10101.80","0.162567"]]}``."""

    product_id: str
    changes: list[tuple[str, float, float]]
    time: CalendarTime | None = None


class Ticker(msgspec.Struct, gc=False):
    """Sizes are absent on older feeds: NaN."""

    product_id: str
    best_bid: float
    best_ask: float
    time: CalendarTime | None = None
    best_bid_size: float = _NAN
    best_ask_size: float = _NAN


class Match(msgspec.Struct, gc=False):
    """``{"type":"match","trade_id":10,"side":"sell","size":"5.23","price":"400.23","product_id":"BTC-USD",...}``;
    ``side`` is the maker's.  ``last_match`` is the same of the trade before the subscription."""

    type: str
    product_id: str
    trade_id: int
    price: float
    size: float
    side: str
    time: CalendarTime


_decode = msgspec.json.Decoder(Message, strict=False).decode
_decode_snapshot = msgspec.json.Decoder(Snapshot, strict=False).decode
_decode_update = msgspec.json.Decoder(Update, strict=False).decode
_decode_ticker = msgspec.json.Decoder(Ticker, strict=False).decode
_decode_match = msgspec.json.Decoder(Match, strict=False).decode


class CoinbaseExchangeProtocol(MarketStream):
    """See the module's docstring."""

    def __init__(
        self, venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool = True, books: bool = True
    ) -> None:
        super().__init__(venue, products, quotes=quotes, books=books)
        self._ready: set[str] = set()
        self._last_trade: dict[str, int] = {}

    def reset(self) -> None:
        super().reset()
        self._ready.clear()
        self._last_trade.clear()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = _decode(frame)
        kind = message.type
        if kind == "l2update":
            if self.books:
                self._update(_decode_update(frame), recv_ns, events)
        elif kind == "ticker":
            if self.quotes:
                t = _decode_ticker(frame)
                prices = (t.best_bid, t.best_bid_size, t.best_ask, t.best_ask_size)
                self._quote(_time(t.time, recv_ns), recv_ns, t.product_id, prices, events)
        elif kind in ("match", "last_match"):
            self._match(_decode_match(frame), recv_ns, events)
        elif kind == "snapshot":
            if self.books:
                book = _decode_snapshot(frame)
                self._ready.add(book.product_id)
                self._snapshot(recv_ns, recv_ns, book.product_id, book.bids, book.asks, events)
        elif kind == "error":
            self._refused(f"{message.message} {message.reason}".strip())
        elif kind not in _QUIET:
            self._unknown(frame)

    def _answer(self, url: str, body: bytes, recv_ns: int, events: list[InputEvent]) -> None:  # noqa: ARG002
        """The list of products: read, and nothing of it is needed here."""
        if url.endswith("/products"):
            msgspec.json.decode(body, type=list[dict[str, object]])
        else:
            self._unknown(body)

    def _update(self, update: Update, recv_ns: int, events: list[InputEvent]) -> None:
        product = update.product_id
        if product not in self._ready:
            self.counters.book_not_ready += 1
            return
        try:
            changes = [(_SIDES[side], px, qty) for side, px, qty in update.changes]
        except KeyError as error:
            raise RemoteProtocolError(f"a side of a book named {error}") from None
        self._delta(_time(update.time, recv_ns), recv_ns, product, changes, events)

    def _match(self, match: Match, recv_ns: int, events: list[InputEvent]) -> None:
        product, trade_id = match.product_id, str(match.trade_id)
        instruments = self._instruments(product)
        if not instruments or not self._is_new(product, trade_id):
            return
        last = self._last_trade.get(product, -1)
        self._last_trade[product] = max(match.trade_id, last)
        if match.type == "last_match":
            self.counters.snapshot_trades += 1
            return
        if 0 <= last < match.trade_id - 1:
            self._ready.discard(product)
            self._gap(product, recv_ns, last + 1, match.trade_id, events)
        side = -_SIDES.get(match.side, 0)
        ts_ns = datetime_ns(match.time)
        events.extend(Trade(ts_ns, recv_ns, each, match.price, match.size, side, trade_id) for each in instruments)


def _time(time: CalendarTime | None, recv_ns: int) -> int:
    return recv_ns if time is None else datetime_ns(time)
