"""Binance's market streams as events: pure, no clock, no socket.

Owns the meaning of messages, which subscriptions are confirmed, and which books are believed (``depth``).  Does not
connect, wait or ask for snapshots: it says which it wants (``snapshots_wanted``) and is handed the answer
(``receive_answer``).

Quotes come from ``bookTicker``, or from the book where a stream of depth is subscribed: one of the two, or a book that
is up to 100 ms old would take back what the best prices have said since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from connectors.binance import wire
from connectors.binance.depth import FOLLOWS, GAP, OLD, Alignment
from connectors.binance.overlap import Overlap
from connectors.binance.streams import LIST, LIST_ID, SPOT, USDM, requests, split_name
from connectors.binance.wire import MICROSECONDS_FROM, time_ns
from connectors.market_stream import MAX_FRAME_BYTES, UNREADABLE, Frame, MarketStream, best_first
from engine.errors import RemoteProtocolError
from engine.events import Bar, BookDelta, BookSnapshot, FeedUp, Gap, InputEvent, Observation, Quote, Trade

_COMBINED: Final = b'{"stream":"'
_NAME_AT: Final = len(_COMBINED)
_NAME_BYTES_MAX: Final = 27
"""Longer names go the long way; the longest real ones, of dated futures, have 26."""
_KEY: Final = slice(_NAME_AT, _NAME_AT + _NAME_BYTES_MAX + 1)
"""Where a wrapped message has its stream's name, the quote behind it and, of a shorter one, a beginning that is the
same in all messages of the stream.  Half the time of looking for the quote."""
_KNOWN_NAMES_MAX: Final = 4096
_MS_NS: Final = 1_000_000
_QUIET: Final = frozenset({"24hrTicker", "24hrMiniTicker", "avgPrice", "1hTicker", "4hTicker", "1dTicker"})
"""Events that say nothing which the engine takes, of streams that somebody else subscribed."""

Handle = Callable[[Any, int, list[InputEvent]], None]


class BinanceMarketProtocol(MarketStream):
    """Market frames to quotes, trades, books, candles and published series.

    ``products`` maps the venue's symbol to the instruments it feeds.  ``wanted`` are names of streams that must be
    confirmed before the stream counts as up; they also say, where ``quotes`` does not, where quotes come from, and
    which of ``trade`` and ``aggTrade`` is told where both are there.  Without them (recordings) all of it is told.
    ``raw`` is the name of the one stream of a connection that does not wrap its messages.  Raises ``ValueError`` for
    another venue.
    """

    def __init__(
        self,
        venue: str,
        products: Mapping[str, tuple[str, ...]],
        wanted: Sequence[str] = (),
        *,
        quotes: bool | None = None,
        books: bool = True,
        raw: str = "",
    ) -> None:
        if venue not in (SPOT, USDM):
            raise ValueError(f"venue {venue!r}: expected {SPOT} or {USDM}")
        kinds = {split_name(name)[1] for name in wanted}
        if quotes is None:
            quotes = not kinds & {"depth", "partial"}
        super().__init__(venue, products, quotes=quotes, books=books)
        self.stream = "market"
        self.wanted = frozenset(wanted)
        self.confirmed: frozenset[str] = frozenset()
        self.up = False
        self.reconnect_wanted = False
        """The venue has lost a subscription."""
        self.ends_soon = False
        """The venue said that it ends this connection."""
        self._tells_aggregates = "trade" not in kinds
        self._raw = raw
        self._requests: dict[int | str, tuple[str, ...]] = {}
        self._books: dict[str, Alignment] = {}
        self._names: dict[bytes, tuple[Callable[[bytes], Any], Handle]] = {}
        self.overlap = Overlap()

    def reset(self) -> None:
        super().reset()
        self.confirmed = frozenset()
        self.up = False
        self.reconnect_wanted = self.ends_soon = False
        self.overlap.end()
        self._requests.clear()
        for book in self._books.values():
            book.forget()

    def subscriptions(self) -> list[bytes]:
        """The messages to send after opening; ``up`` turns True when all of them are acknowledged."""
        made = requests("SUBSCRIBE", sorted(self.wanted))
        self._requests = {number: names for number, names, _ in made}
        return [message for _, _, message in made]

    @property
    def is_answered(self) -> bool:
        """No request waits for its answer."""
        return not self._requests

    def probe(self) -> bytes:
        """Asks what is subscribed: an answer is life on a quiet stream, and shows a subscription that was lost."""
        return LIST

    def keeps_book(self, symbol: str) -> bool:
        return symbol in self._books

    def forget_books(self) -> None:
        """Whoever keeps the books has lost them: every one is wanted anew."""
        for book in self._books.values():
            book.forget()

    def forget_book(self, symbol: str, recv_ns: int) -> list[InputEvent]:
        """The symbol's book is wrong although no message was missed: nothing of it counts until its next snapshot."""
        book = self._books.get(symbol)
        if book is not None:
            book.forget()
        return [Gap(recv_ns, recv_ns, self.venue, instrument, 0, 0) for instrument in self.products.get(symbol) or ()]

    # --- which message it is ----------------------------------------------------------------------------------------

    def receive_frame(self, frame: Frame, recv_ns: int) -> Sequence[InputEvent]:
        """Events of one message.  What cannot be read is counted and yields nothing."""
        # The usual messages, without the calls of the base; a message that is none of them goes its way.
        counters = self.counters
        if len(frame) > MAX_FRAME_BYTES:
            return super().receive_frame(frame, recv_ns)
        counters.frames += 1
        events: list[InputEvent] = []
        try:
            if type(frame) is not bytes:
                frame = bytes(frame)
            known = self._names.get(frame[_KEY])
            if known is None:
                self._dispatch(frame, recv_ns, events)
            else:
                decode, handle = known
                handle(decode(frame).data, recv_ns, events)
        except UNREADABLE:
            counters.malformed += 1
        return events

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """A message whose name was not met before, or whose members come in another order."""
        envelope = wire.decode_envelope(frame)
        if envelope.stream:
            data = bytes(envelope.data)
            inner = wire.decode_envelope(data)
            if self._route(inner, envelope.stream, data, recv_ns, events):
                self._learn(envelope.stream, frame)
        else:
            self._route(envelope, self._raw, frame, recv_ns, events)

    def _route(self, envelope: wire.Envelope, stream: str, data: bytes, recv_ns: int, events: list[InputEvent]) -> bool:
        """Handle a message without its wrapping; True when messages of this stream are of a kind with a short way."""
        kind = envelope.type
        symbol, named = split_name(stream)
        if named == "partial" and (kind == "depthUpdate" or envelope.last_update_id is not None):
            self._partial(symbol, data, recv_ns, events)
        elif kind in self._kinds:
            decode, handle = self._kinds[kind]
            handle(self, decode(data), recv_ns, events)
            return kind in _SHORT
        elif envelope.last_update_id is not None:
            self._put_into_stream(data, recv_ns, events)
        elif not kind and envelope.update_id is not None:
            self._book_ticker(wire.decode_book_ticker(data), recv_ns, events)
            return True
        elif kind == "serverShutdown":
            self.ends_soon = True
        elif kind == "forceOrder":
            wire.decode_liquidation(data)
        elif kind:
            if kind not in _QUIET:
                self._unknown(data)
        else:
            self._acknowledge(envelope, data, recv_ns, events)
        return False

    def _put_into_stream(self, data: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """A snapshot that a recorder wrote among the messages: it does not say of which symbol it is, so it is of the
        one that waits, or of none."""
        if not self.books:
            return
        if len(self.snapshots_wanted) == 1:
            self._meet(next(iter(self.snapshots_wanted)), wire.decode_partial_depth(data), recv_ns, events)
        else:
            self._unknown(data)

    def _learn(self, stream: str, frame: bytes) -> None:
        """From now on messages of this stream go the short way."""
        kind = split_name(stream)[1]
        name = stream.encode()
        if (
            kind in _SHORT_BY_STREAM
            and len(name) <= _NAME_BYTES_MAX
            and len(self._names) < _KNOWN_NAMES_MAX
            and frame.startswith(_COMBINED + name + b'"')
        ):
            decode, handle = _SHORT_BY_STREAM[kind]
            self._names[frame[_KEY]] = (decode, handle.__get__(self))

    def _acknowledge(self, envelope: wire.Envelope, data: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """The answer to a request of ours: done, refused, or the list of what is subscribed."""
        if envelope.error is not None:
            self._refused(f"{envelope.error.msg} (code {envelope.error.code})")
        elif envelope.code is not None:
            self._refused(f"{envelope.msg} (code {envelope.code})")
        elif envelope.id is None:
            self._unknown(data)
        else:
            names = envelope.result if envelope.result is not None else self._requests.pop(envelope.id, ())
            self.confirmed |= {*names}
            if envelope.id == LIST_ID and self.up and not self.wanted <= {*names}:
                self.reconnect_wanted = True  # it was acknowledged once and is told no more
            if not self.up and self.wanted and self.wanted <= self.confirmed:
                self.up = True
                events.append(FeedUp(recv_ns, recv_ns, self.venue, self.stream))

    # --- market -----------------------------------------------------------------------------------------------------

    def _book_ticker(self, t: wire.BookTicker, recv_ns: int, events: list[InputEvent]) -> None:
        if not self.quotes or (self.overlap.active and self.overlap.is_told(t.symbol, t.update_id)):
            return
        ts_ns = t.time * _MS_NS or recv_ns  # spot gives none
        bid_px, ask_px = t.bid_px, t.ask_px
        if not (bid_px > 0.0 and ask_px > 0.0):  # a side without orders is told as zeros
            bid_px, ask_px = bid_px if bid_px > 0.0 else nan, ask_px if ask_px > 0.0 else nan
        for instrument in self.products.get(t.symbol) or self._instruments(t.symbol):
            events.append(Quote(ts_ns, recv_ns, instrument, bid_px, t.bid_qty, ask_px, t.ask_qty))  # noqa: PERF401

    def _trade(self, t: wire.Trade, recv_ns: int, events: list[InputEvent]) -> None:
        instruments = self.products.get(t.symbol) or self._instruments(t.symbol)
        if not instruments:
            return
        trade_id = str(t.id)
        if t.kind != "MARKET":
            self.counters.off_book_trades += 1
        elif self._is_new(t.symbol, trade_id):
            side = -1 if t.buyer_is_maker else 1
            events.extend(Trade(time_ns(t.time), recv_ns, each, t.px, t.qty, side, trade_id) for each in instruments)

    def _agg_trade(self, t: wire.AggTrade, recv_ns: int, events: list[InputEvent]) -> None:
        instruments = self.products.get(t.symbol) or self._instruments(t.symbol)
        if not instruments or not self._tells_aggregates:
            return
        trade_id = f"a{t.id}"  # counted apart from trades
        if self._is_new(t.symbol, trade_id):
            side = -1 if t.buyer_is_maker else 1
            events.extend(Trade(time_ns(t.time), recv_ns, each, t.px, t.qty, side, trade_id) for each in instruments)

    def _kline(self, k: wire.Kline, recv_ns: int, events: list[InputEvent]) -> None:
        c = k.candle
        if not c.finished or (self.overlap.active and self.overlap.is_told(f"{k.symbol} {c.last - c.first}", c.first)):
            return
        start_ns = time_ns(c.first)
        end_ns = time_ns(c.last + 1)
        if end_ns <= start_ns:
            raise RemoteProtocolError("a candle that ends before it begins")
        events.extend(
            Bar(
                *(end_ns, recv_ns, instrument, end_ns - start_ns),
                *(c.open_px, c.high_px, c.low_px, c.close_px, c.volume_qty),
            )
            for instrument in self._instruments(k.symbol)
        )

    def _mark_price(self, m: wire.MarkPrice, recv_ns: int, events: list[InputEvent]) -> None:
        """Mark, index and funding rate as published series ``mark_px:BTC/USDT@binance_usdm`` and so on; the period of a
        funding rate ends when it is paid."""
        sent_ns = time_ns(m.sent)
        told = [("mark_px", m.mark_px, sent_ns)]
        if m.index_px:
            told.append(("index_px", float(m.index_px), sent_ns))
        if m.funding_rate and m.funding_time:
            told.append(("funding_rate", float(m.funding_rate), time_ns(m.funding_time)))
        for instrument in self._instruments(m.symbol):
            events.extend(
                Observation(sent_ns, recv_ns, f"{name}:{instrument}", value, end_ns) for name, value, end_ns in told
            )

    # --- books ------------------------------------------------------------------------------------------------------

    def _depth(self, change: wire.DepthUpdate, recv_ns: int, events: list[InputEvent]) -> None:
        symbol = change.symbol
        instruments = self.products.get(symbol) or self._instruments(symbol)
        if not instruments or not self.books:
            return
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = Alignment(strict=self.venue == USDM)
        known = book.last_id
        previous = change.previous_id
        if (previous if previous >= 0 else change.first_id - 1) == known < change.last_id:
            book.last_id = change.last_id  # the common case of take, without the call
            step = FOLLOWS
        else:
            step = book.take(change)
        if step == FOLLOWS:
            # Usually a few levels: for those loops cost less than lists made of lists, and less than time_ns.
            changes = []
            for px, qty in change.bids:
                changes.append((1, px, qty))
            for px, qty in change.asks:
                changes.append((-1, px, qty))
            time = change.time or change.sent
            ts_ns = time * _MS_NS if time < MICROSECONDS_FROM else time * 1000
            for instrument in instruments:
                events.append(BookDelta(ts_ns, recv_ns, instrument, tuple(changes)))  # noqa: PERF401
        elif step == OLD:
            self.counters.out_of_order += 1
        else:
            if step == GAP:
                self.counters.gaps += 1
                events.extend(
                    Gap(recv_ns, recv_ns, self.venue, each, known + 1, change.first_id) for each in instruments
                )
            else:
                self.counters.book_not_ready += 1
            self._ask(symbol, book)

    def _ask(self, symbol: str, book: Alignment) -> None:
        if book.wants_snapshot:
            book.asked = True
            self.snapshots_wanted.add(symbol)

    def ask_again(self, symbol: str) -> None:
        """The request for the symbol's snapshot failed."""
        book = self._books.get(symbol)
        if book is not None and book.last_id < 0:
            book.asked = True
            self.snapshots_wanted.add(symbol)

    def _answer(self, url: str, body: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """``GET .../depth?symbol=BTCUSDT``: the snapshot that a book waits for."""
        parts = urlsplit(url)
        symbols = parse_qs(parts.query).get("symbol", [])
        if not parts.path.endswith("/depth") or len(symbols) != 1:
            self._unknown(body)
            return
        self._meet(symbols[0].upper(), wire.decode_partial_depth(body), recv_ns, events)

    def _meet(self, symbol: str, snapshot: wire.PartialDepth, recv_ns: int, events: list[InputEvent]) -> None:
        instruments = self._instruments(symbol)
        if not instruments or not self.books:
            return
        self.snapshots_wanted.discard(symbol)
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = Alignment(strict=self.venue == USDM)
        met = book.meet(snapshot)
        if met is None:
            self.counters.out_of_order += 1
            self._ask(symbol, book)
            return
        bids, asks = best_first(met[0], met[1])
        time = met[2] or snapshot.time or snapshot.sent
        ts_ns = time_ns(time) if time else recv_ns
        events.extend(BookSnapshot(ts_ns, recv_ns, each, bids, asks) for each in instruments)

    def _partial(self, symbol: str, data: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        """The best levels, whole: futures tell them in the form of a change, spot in that of a snapshot."""
        if not self.books:
            return
        if self.venue == USDM:
            change = wire.decode_depth_update(data)
            bids, asks = best_first(change.bids, change.asks)
            time = change.time or change.sent
        else:
            snapshot = wire.decode_partial_depth(data)
            bids, asks = best_first(snapshot.bids, snapshot.asks)
            time = 0
        ts_ns = time_ns(time) if time else recv_ns
        events.extend(BookSnapshot(ts_ns, recv_ns, each, bids, asks) for each in self._instruments(symbol))

    _kinds: Final[dict[str, tuple[Callable[[bytes], Any], Callable[..., None]]]] = {
        "bookTicker": (wire.decode_book_ticker, _book_ticker),
        "trade": (wire.decode_trade, _trade),
        "aggTrade": (wire.decode_agg_trade, _agg_trade),
        "depthUpdate": (wire.decode_depth_update, _depth),
        "kline": (wire.decode_kline, _kline),
        "markPriceUpdate": (wire.decode_mark_price, _mark_price),
    }


_SHORT: Final = frozenset({"bookTicker", "trade", "aggTrade", "depthUpdate"})
_SHORT_BY_STREAM: Final[dict[str, tuple[Callable[[bytes], Any], Any]]] = {
    "bookTicker": (wire.decode_combined_book_ticker, BinanceMarketProtocol._book_ticker),
    "trade": (wire.decode_combined_trade, BinanceMarketProtocol._trade),
    "aggTrade": (wire.decode_combined_agg_trade, BinanceMarketProtocol._agg_trade),
    "depth": (wire.decode_combined_depth_update, BinanceMarketProtocol._depth),
}
"""Kinds of streams that are frequent: their messages are decoded in one go, wrapping included."""
