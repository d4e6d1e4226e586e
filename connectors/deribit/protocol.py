"""Deribit's subscriptions as events: books with their chain of changes, best prices, trades.

Owns the meaning of the messages and the chain: each change of a book names the one before (``prev_change_id``), and a
break means that messages were lost.  Sizes are as the venue counts them: USD for inverse futures, coins for options.
Source: Deribit API v2, ``book.*``, ``ticker.*`` and ``trades.*``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from connectors.market_stream import MarketStream
from engine.data.instruments import split_symbol
from engine.errors import RemoteProtocolError
from engine.events import InputEvent, Trade

_MS_NS: Final = 1_000_000
_SIDES: Final = {"buy": 1, "sell": -1}


def split_contract(symbol: str) -> tuple[str, str]:
    """``ETH-30JUL21-2800-C`` is itself what is bought: quoted in the coin for options, in USD for futures; what is
    settled in a stable coin says so, ``SOL_USDC-PERPETUAL``; a spot pair is ``BTC_USDC``."""
    name, _, rest = symbol.partition("-")
    coin, _, stable = name.partition("_")
    if not rest:
        return split_symbol("deribit", symbol)
    is_option = symbol.rpartition("-")[2] in ("C", "P")
    return symbol, stable or (coin if is_option else "USD")


class Refusal(msgspec.Struct, gc=False):
    code: int = 0
    message: str = ""


class Params(msgspec.Struct, gc=False):
    channel: str = ""
    data: msgspec.Raw = msgspec.Raw()
    type: str = ""


class Message(msgspec.Struct, gc=False):
    """``{"jsonrpc":"2.0","method":"subscription","params":{"channel":"ticker.BTC-PERPETUAL.raw","data":{...}}}``,
    ``{"id":0,"result":[...]}``, ``{"id":0,"error":{...}}``, ``{"method":"heartbeat","params":{"type":"..."}}``."""

    method: str = ""
    params: Params | None = None
    id: int | None = None
    error: Refusal | None = None


class Ticker(msgspec.Struct, gc=False):
    """Prices of a side without orders are zero, or null."""

    instrument_name: str
    timestamp: int
    best_bid_price: float | None = None
    best_bid_amount: float | None = None
    best_ask_price: float | None = None
    best_ask_amount: float | None = None


class Book(msgspec.Struct, gc=False):
    """A snapshot or a change; a level is ``["new"|"change"|"delete", price, amount]``."""

    instrument_name: str
    timestamp: int
    change_id: int
    bids: list[tuple[str, float, float]]
    asks: list[tuple[str, float, float]]
    type: str = ""
    prev_change_id: int = -1


class Grouped(msgspec.Struct, gc=False):
    """A book of a few levels, whole: a level is ``[price, amount]``."""

    instrument_name: str
    timestamp: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class PublicTrade(msgspec.Struct, gc=False):
    instrument_name: str
    timestamp: int
    trade_id: str
    price: float
    amount: float
    direction: str


_decode = msgspec.json.Decoder(Message, strict=False).decode
_decode_ticker = msgspec.json.Decoder(Ticker, strict=False).decode
_decode_book = msgspec.json.Decoder(Book, strict=False).decode
_decode_grouped = msgspec.json.Decoder(Grouped, strict=False).decode
_decode_trades = msgspec.json.Decoder(list[PublicTrade], strict=False).decode


class DeribitProtocol(MarketStream):
    """See the module's docstring."""

    def __init__(
        self, venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool = True, books: bool = True
    ) -> None:
        super().__init__(venue, products, quotes=quotes, books=books)
        self.test_requested = False
        """The venue asks whether we are there: ``public/test`` is the answer."""
        self._change_ids: dict[str, int] = {}

    def reset(self) -> None:
        super().reset()
        self.test_requested = False
        self._change_ids.clear()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        message = _decode(frame)
        params = message.params
        if message.error is not None:
            self._refused(f"{message.error.message} (code {message.error.code})")
        elif message.method == "subscription" and params is not None:
            parts = params.channel.split(".")
            if parts[0] == "ticker":
                if self.quotes:
                    self._ticker(_decode_ticker(params.data), recv_ns, events)
            elif parts[0] == "book":
                if self.books:
                    self._book(params.data, recv_ns, events, grouped=len(parts) == 5)
            elif parts[0] == "trades":
                self._trades(_decode_trades(params.data), recv_ns, events)
            else:
                self._unknown(frame)
        elif message.method == "heartbeat":
            self.test_requested = self.test_requested or (params is not None and params.type == "test_request")
        elif message.id is None:
            self._unknown(frame)

    def _ticker(self, t: Ticker, recv_ns: int, events: list[InputEvent]) -> None:
        prices = (t.best_bid_price or 0.0, t.best_bid_amount or 0.0, t.best_ask_price or 0.0, t.best_ask_amount or 0.0)
        self._quote(t.timestamp * _MS_NS, recv_ns, t.instrument_name, prices, events)

    def _trades(self, trades: list[PublicTrade], recv_ns: int, events: list[InputEvent]) -> None:
        for t in trades:
            instruments = self._instruments(t.instrument_name)
            if instruments and self._is_new(t.instrument_name, t.trade_id):
                side, ts_ns = _SIDES.get(t.direction, 0), t.timestamp * _MS_NS
                events.extend(Trade(ts_ns, recv_ns, each, t.price, t.amount, side, t.trade_id) for each in instruments)

    def _book(self, data: msgspec.Raw, recv_ns: int, events: list[InputEvent], *, grouped: bool) -> None:
        if grouped:
            whole = _decode_grouped(data)
            ts_ns = whole.timestamp * _MS_NS
            self._snapshot(ts_ns, recv_ns, whole.instrument_name, whole.bids, whole.asks, events)
            return
        book = _decode_book(data)
        symbol, ts_ns = book.instrument_name, book.timestamp * _MS_NS
        if not self._instruments(symbol):
            return
        if book.type == "snapshot" or (book.type == "" and book.prev_change_id < 0):
            self._change_ids[symbol] = book.change_id
            bids, asks = ([(px, qty) for _, px, qty in side] for side in (book.bids, book.asks))
            self._snapshot(ts_ns, recv_ns, symbol, bids, asks, events)
            return
        if book.type not in ("change", ""):
            raise RemoteProtocolError(f"a book of type {book.type}")
        known = self._change_ids.get(symbol)
        if known is None:
            self.counters.book_not_ready += 1
        elif book.prev_change_id != known:
            del self._change_ids[symbol]
            self._gap(symbol, recv_ns, known, book.prev_change_id, events)
        else:
            self._change_ids[symbol] = book.change_id
            changes = [(1, px, 0.0 if act == "delete" else qty) for act, px, qty in book.bids]
            changes += [(-1, px, 0.0 if act == "delete" else qty) for act, px, qty in book.asks]
            self._delta(ts_ns, recv_ns, symbol, changes, events)
