"""Kraken Futures' feeds as events: books with their sequence, best prices, trades.

Owns the meaning of the messages and the sequence: each change of a product's book counts one up, and a hole means that
messages were lost.  Sizes are contracts.  Feeds of the account (fills, open orders) are known and not read: orders go
through another connector.  Source: Kraken Futures WebSocket API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from connectors.kraken.answers import is_good_answer
from connectors.market_stream import MarketStream
from engine.errors import RemoteProtocolError
from engine.events import InputEvent, Trade

_MS_NS: Final = 1_000_000
_NAN: Final = float("nan")
_SIDES: Final = {"buy": 1, "sell": -1}
_QUIET_EVENTS: Final = frozenset({"info", "subscribed", "unsubscribed", "challenge", "subscribe"})
_QUIET_FEEDS: Final = frozenset(
    {
        *("heartbeat", "fills", "fills_snapshot", "open_orders", "open_orders_snapshot"),
        *("open_orders_verbose", "open_orders_verbose_snapshot", "open_positions", "balances", "balances_snapshot"),
    }
)


def split_contract(symbol: str) -> tuple[str, str]:
    """``PI_XBTUSD`` and ``FI_XBTUSD_210730`` are themselves what is bought, quoted in USD."""
    return symbol.upper(), "USD"


class Message(msgspec.Struct, gc=False):
    feed: str = ""
    event: str = ""
    message: str = ""


class Change(msgspec.Struct, gc=False):
    """``{"feed":"book","product_id":"PI_XBTUSD","side":"sell","seq":3,"price":34981,"qty":0,"timestamp":...}``."""

    product_id: str
    side: str
    seq: int
    price: float
    qty: float
    timestamp: int


class Level(msgspec.Struct, gc=False):
    price: float
    qty: float


class Snapshot(msgspec.Struct, gc=False):
    product_id: str
    seq: int
    timestamp: int
    bids: list[Level]
    asks: list[Level]


class Fill(msgspec.Struct, gc=False):
    """``side`` is the taker's.  ``type`` is ``fill``, ``liquidation``, ``termination`` or ``block``."""

    product_id: str
    uid: str
    side: str
    time: int
    qty: float
    price: float
    type: str = "fill"


class Fills(msgspec.Struct, gc=False):
    trades: list[Fill]


class Ticker(msgspec.Struct, gc=False):
    """``ticker``, and ``ticker_lite``, which has neither sizes nor a time."""

    product_id: str
    bid: float = _NAN
    ask: float = _NAN
    bid_size: float = _NAN
    ask_size: float = _NAN
    time: int = 0


_decode = msgspec.json.Decoder(Message, strict=False).decode
_decode_change = msgspec.json.Decoder(Change, strict=False).decode
_decode_snapshot = msgspec.json.Decoder(Snapshot, strict=False).decode
_decode_fill = msgspec.json.Decoder(Fill, strict=False).decode
_decode_fills = msgspec.json.Decoder(Fills, strict=False).decode
_decode_ticker = msgspec.json.Decoder(Ticker, strict=False).decode


class KrakenFuturesProtocol(MarketStream):
    """See the module's docstring."""

    def __init__(
        self, venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool = True, books: bool = True
    ) -> None:
        super().__init__(venue, products, quotes=quotes, books=books)
        self._seq: dict[str, int] = {}

    def reset(self) -> None:
        super().reset()
        self._seq.clear()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = _decode(frame)
        feed = message.feed
        if message.event:
            if message.event in ("error", "alert", "subscribed_failed", "unsubscribed_failed"):
                self._refused(message.message or message.event)
            elif message.event not in _QUIET_EVENTS:
                self._unknown(frame)
        elif feed == "book":
            if self.books:
                self._change(_decode_change(frame), recv_ns, events)
        elif feed == "book_snapshot":
            if self.books:
                self._whole(_decode_snapshot(frame), recv_ns, events)
        elif feed in ("ticker", "ticker_lite"):
            if self.quotes:
                t = _decode_ticker(frame)
                prices = (t.bid, t.bid_size, t.ask, t.ask_size)
                self._quote(t.time * _MS_NS or recv_ns, recv_ns, t.product_id, prices, events)
        elif feed == "trade":
            self._trade(_decode_fill(frame), recv_ns, events)
        elif feed == "trade_snapshot":
            for fill in _decode_fills(frame).trades:  # from before we listened
                if self._instruments(fill.product_id) and self._is_new(fill.product_id, fill.uid):
                    self.counters.snapshot_trades += 1
        elif feed not in _QUIET_FEEDS:
            self._unknown(frame)

    def _answer(self, url: str, body: bytes, recv_ns: int, events: list[InputEvent]) -> None:  # noqa: ARG002
        if not is_good_answer(url, body):
            self._unknown(body)

    def _trade(self, fill: Fill, recv_ns: int, events: list[InputEvent]) -> None:
        instruments = self._instruments(fill.product_id)
        if not instruments or not self._is_new(fill.product_id, fill.uid):
            return
        if fill.type in ("block", "termination"):  # agreed elsewhere, or the venue's own
            self.counters.off_book_trades += 1
            return
        side, ts_ns = _SIDES.get(fill.side, 0), fill.time * _MS_NS
        events.extend(Trade(ts_ns, recv_ns, each, fill.price, fill.qty, side, fill.uid) for each in instruments)

    def _whole(self, book: Snapshot, recv_ns: int, events: list[InputEvent]) -> None:
        if self._instruments(book.product_id):
            self._seq[book.product_id] = book.seq
            bids, asks = ([(level.price, level.qty) for level in side] for side in (book.bids, book.asks))
            self._snapshot(book.timestamp * _MS_NS, recv_ns, book.product_id, bids, asks, events)

    def _change(self, change: Change, recv_ns: int, events: list[InputEvent]) -> None:
        product = change.product_id
        seq = self._seq.get(product)
        if seq is None:
            self.counters.book_not_ready += 1
        elif change.seq <= seq:
            self.counters.out_of_order += 1
        elif change.seq != seq + 1:
            del self._seq[product]
            self._gap(product, recv_ns, seq + 1, change.seq, events)
        elif change.side not in _SIDES:
            raise RemoteProtocolError(f"a side of a book named {change.side}")
        else:
            self._seq[product] = change.seq
            level = (_SIDES[change.side], change.price, change.qty)
            self._delta(change.timestamp * _MS_NS, recv_ns, product, (level,), events)
