"""Kraken's WebSocket v1 as events: books with their checksums, trades, spreads.

Owns the meaning of the messages.  A book's checksum that does not match means that something was lost: it is void until
it is subscribed anew.  Source: Kraken WebSocket API v1.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from connectors.kraken.answers import is_good_answer
from connectors.kraken.book import Book
from connectors.market_stream import MarketStream
from engine.errors import RemoteProtocolError
from engine.events import InputEvent, Trade

_QUIET: Final = frozenset({"systemStatus", "heartbeat", "pong"})
_NS: Final = 1_000_000_000
_DEPTH: Final = 10
"""Of a book that was subscribed without one."""
_ODD = (IndexError, TypeError, AttributeError, InvalidOperation)


class Event(msgspec.Struct, gc=False):
    """``{"event":"subscriptionStatus","status":"subscribed","pair":"XBT/USD",...}`` and all else that is no data."""

    event: str
    status: str = ""
    error_message: str = msgspec.field(name="errorMessage", default="")


class BookPart(msgspec.Struct, gc=False):
    """``{"as":[...],"bs":[...]}`` is a snapshot; ``{"a":[...]}``, ``{"b":[...],"c":"974942666"}`` or both a change."""

    asks_whole: list[list[str]] | None = msgspec.field(name="as", default=None)
    bids_whole: list[list[str]] | None = msgspec.field(name="bs", default=None)
    asks: list[list[str]] = msgspec.field(name="a", default=[])
    bids: list[list[str]] = msgspec.field(name="b", default=[])
    checksum: str = msgspec.field(name="c", default="")


_decode_event = msgspec.json.Decoder(Event, strict=False).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_part = msgspec.json.Decoder(BookPart).decode
_decode_trades = msgspec.json.Decoder(list[list[str]]).decode
_decode_spread = msgspec.json.Decoder(list[str]).decode


class KrakenV1Protocol(MarketStream):
    """See the module's docstring."""

    def __init__(
        self, venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool = True, books: bool = True
    ) -> None:
        super().__init__(venue, products, quotes=quotes, books=books)
        self._books: dict[str, Book] = {}

    def reset(self) -> None:
        super().reset()
        self._books.clear()

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        if not frame.startswith(b"["):
            self._event(frame)
            return
        parts = _decode_list(frame)
        if len(parts) < 4:
            raise RemoteProtocolError("a message of a channel with fewer than four parts")
        channel, pair = _decode_text(parts[-2]), _decode_text(parts[-1])
        payloads = parts[1:-2]
        try:
            if channel.startswith("book"):
                if self.books:
                    self._book(channel, pair, [_decode_part(each) for each in payloads], recv_ns, events)
            elif channel == "trade":
                self._trades(pair, _decode_trades(payloads[0]), recv_ns, events)
            elif channel == "spread":
                if self.quotes:
                    bid, ask, time, bid_qty, ask_qty = _decode_spread(payloads[0])[:5]
                    prices = (float(bid), float(bid_qty), float(ask), float(ask_qty))
                    self._quote(_seconds_ns(time), recv_ns, pair, prices, events)
            elif channel not in ("ticker",) and not channel.startswith("ohlc"):
                self._unknown(frame)
        except _ODD as error:
            raise RemoteProtocolError(f"a row of channel {channel}: {error}") from error

    def _event(self, frame: bytes) -> None:
        event = _decode_event(frame)
        if event.event in ("subscriptionStatus", "error"):
            if event.status == "error" or event.event == "error":
                self._refused(event.error_message)
        elif event.event not in _QUIET:
            self._unknown(frame)

    def _answer(self, url: str, body: bytes, recv_ns: int, events: list[InputEvent]) -> None:  # noqa: ARG002
        if not is_good_answer(url, body):
            self._unknown(body)

    def _trades(self, pair: str, rows: list[list[str]], recv_ns: int, events: list[InputEvent]) -> None:
        """A row is price, size, time, side, order type, remark; trades have no ids."""
        instruments = self._instruments(pair)
        for px, qty, time, side, *_ in rows:
            aggressor = 1 if side == "b" else -1 if side == "s" else 0
            ts_ns = _seconds_ns(time)
            events.extend(Trade(ts_ns, recv_ns, each, float(px), float(qty), aggressor, "") for each in instruments)

    def _book(self, channel: str, pair: str, parts: list[BookPart], recv_ns: int, events: list[InputEvent]) -> None:
        if not self._instruments(pair):
            return
        times = [row[2] for part in parts for rows in _sides(part) for row in rows]
        ts_ns = _seconds_ns(max(times, key=Decimal)) if times else recv_ns
        first = parts[0]
        if first.asks_whole is not None or first.bids_whole is not None:
            depth = channel.rpartition("-")[2]
            book = self._books[pair] = Book(int(depth) if depth.isdecimal() else _DEPTH)
            asks = book.change(-1, first.asks_whole or ())
            bids = book.change(1, first.bids_whole or ())
            levels = ([(px, qty) for _, px, qty in bids], [(px, qty) for _, px, qty in asks])
            self._snapshot(ts_ns, recv_ns, pair, *levels, events)
            return
        known = self._books.get(pair)
        if known is None:
            self.counters.book_not_ready += 1
            return
        changes = []
        for part in parts:
            changes += known.change(-1, part.asks) + known.change(1, part.bids)
        changes += known.cut(-1) + known.cut(1)
        checksum = parts[-1].checksum
        if checksum and int(checksum) != known.checksum():
            del self._books[pair]
            self._gap(pair, recv_ns, int(checksum), known.checksum(), events)
            return
        self._delta(ts_ns, recv_ns, pair, changes, events)


def _sides(part: BookPart) -> tuple[list[list[str]], ...]:
    return part.asks_whole or [], part.bids_whole or [], part.asks, part.bids


def _seconds_ns(text: str) -> int:
    """``1618678142.557535`` as nanoseconds, exactly."""
    value: Any = Decimal(text) * _NS
    return int(value)
