"""What the parsers of market streams share: bytes in, events out, never an exception, and a count for what is odd.

Owns the counters, the rule for bytes that cannot be read, the names of instruments, and trades told twice.  What a
message means is each venue's own (``connectors.<venue>.protocol``).  Reads no clock, opens no socket, waits for
nothing: the same frames give the same events.
"""

from __future__ import annotations

from calendar import timegm
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from math import nan

import msgspec

from engine.data.instruments import split_symbol
from engine.errors import DataError, RemoteProtocolError
from engine.events import BookDelta, BookSnapshot, Gap, InputEvent, Quote

Frame = bytes | bytearray | memoryview
MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A larger message is counted and not read; the largest real ones, whole books, have a tenth of it."""
RECENT_TRADES = 1024
"""Trade ids remembered per symbol, against trades told twice around a subscription."""
SHOWN_CHARACTERS = 200

UNREADABLE = (msgspec.DecodeError, ValueError, OverflowError, RecursionError, RemoteProtocolError)
"""What reading raises for bytes that are no such message.  For broken UTF-8, and for numbers beyond 64 bits, it is no
error of msgspec's own; ``RemoteProtocolError`` is ours, for a message that says what its own schema forbids."""


Levels = Iterable[Sequence[float]]
CalendarTime = datetime
"""A time as a message spells it, RFC 3339: for fields of messages, and ``datetime_ns``."""


class Counters(msgspec.Struct):
    """What was dropped or repaired, by kind; each is a defect of the stream, none is fatal."""

    frames: int = 0
    oversize: int = 0
    malformed: int = 0
    unknown_message: int = 0
    unknown_product: int = 0
    out_of_order: int = 0
    gaps: int = 0
    duplicate_trades: int = 0
    snapshot_trades: int = 0
    off_book_trades: int = 0
    book_not_ready: int = 0
    venue_errors: int = 0


class Products(dict[str, tuple[str, ...]]):
    """A venue's symbol to the canonical instruments that its messages are about, each made when it is first seen.

    For recordings, where nobody says beforehand what was subscribed.  ``split`` gives base and quote of a symbol where
    the venue spells it in a way of its own.  A symbol that cannot be split is known from then on as one that is about
    no instrument.
    """

    def __init__(self, venue: str, split: Callable[[str], tuple[str, str]] | None = None) -> None:
        super().__init__()
        self._venue = venue
        self._split = split

    def __missing__(self, symbol: str) -> tuple[str, ...]:
        try:
            base, quote = self._split(symbol) if self._split else split_symbol(self._venue, symbol)
            made: tuple[str, ...] = (f"{base}/{quote}@{self._venue}",)
        except DataError:
            made = ()
        self[symbol] = made
        return made

    def get(self, symbol: str, default: object = None) -> tuple[str, ...]:  # noqa: ARG002
        """As ``[]``: asking is how a symbol becomes known."""
        return self[symbol]


class MarketStream:
    """Base of the parsers.  ``products`` maps the venue's symbol to the instruments it feeds.

    ``quotes``: whether best prices that the venue tells apart become events, and ``books``: whether levels do.  A
    session takes one of the two: a book is as old as its last message, and would take back what a quote has said since.

    ``receive_frame`` takes one message of the stream, ``receive_answer`` the body of an answer to a request that the
    stream depends on (a book's snapshot, a list of instruments); both return events and never raise.
    """

    def __init__(
        self, venue: str, products: Mapping[str, tuple[str, ...]], *, quotes: bool = True, books: bool = True
    ) -> None:
        self.venue = venue
        self.products = products
        self.quotes = quotes
        self.books = books
        self.counters = Counters()
        self.last_error = ""
        """The venue's last error text on this connection; empty when it sent none."""
        self.last_unknown = ""
        """The beginning of the last message that nothing here knows."""
        self.snapshots_wanted: set[str] = set()
        """Symbols whose book has to be asked for; whoever asks takes them out."""
        self._recent: dict[str, tuple[deque[str], set[str]]] = {}

    def reset(self) -> None:
        """A new connection.  Counters stay, and so do the trades that were told: the venue tells them again."""
        self.last_error = ""
        self.snapshots_wanted.clear()

    def receive_frame(self, frame: Frame, recv_ns: int) -> Sequence[InputEvent]:
        """Events of one message.  What cannot be read is counted and yields nothing."""
        counters = self.counters
        counters.frames += 1
        if len(frame) > MAX_FRAME_BYTES:
            counters.oversize += 1
            return ()
        events: list[InputEvent] = []
        try:
            self._dispatch(frame if type(frame) is bytes else bytes(frame), recv_ns, events)
        except UNREADABLE:
            counters.malformed += 1
        return events

    def receive_answer(self, url: str, body: Frame, recv_ns: int) -> Sequence[InputEvent]:
        """Events of the answer to a GET of ``url``, with the same promise."""
        if len(body) > MAX_FRAME_BYTES:
            self.counters.oversize += 1
            return ()
        events: list[InputEvent] = []
        try:
            self._answer(url, bytes(body), recv_ns, events)
        except UNREADABLE:
            self.counters.malformed += 1
        return events

    def _dispatch(self, frame: bytes, recv_ns: int, events: list[InputEvent]) -> None:
        raise NotImplementedError

    def _answer(self, url: str, body: bytes, recv_ns: int, events: list[InputEvent]) -> None:  # noqa: ARG002
        self._unknown(body)

    # --- for the parsers --------------------------------------------------------------------------------------------

    def _unknown(self, message: bytes) -> None:
        self.counters.unknown_message += 1
        self.last_unknown = message[:SHOWN_CHARACTERS].decode("utf-8", "replace")

    def _instruments(self, symbol: str) -> tuple[str, ...]:
        """Whom a message of this symbol is about; none is counted."""
        found = self.products.get(symbol)
        if not found:
            self.counters.unknown_product += 1
            return ()
        return found

    def _is_new(self, symbol: str, trade_id: str) -> bool:
        recent = self._recent.get(symbol)
        if recent is None:
            recent = self._recent[symbol] = (deque(), set())
        order, seen = recent
        if trade_id in seen:
            self.counters.duplicate_trades += 1
            return False
        seen.add(trade_id)
        order.append(trade_id)
        if len(order) > RECENT_TRADES:
            seen.discard(order.popleft())
        return True

    def _gap(self, symbol: str, recv_ns: int, expected: int, got: int, events: list[InputEvent]) -> None:
        """Messages about a symbol were lost: its book is void and wanted anew."""
        self.counters.gaps += 1
        self.snapshots_wanted.add(symbol)
        events.extend(
            Gap(recv_ns, recv_ns, self.venue, each, expected, got) for each in self.products.get(symbol) or ()
        )

    def _quote(
        self, ts_ns: int, recv_ns: int, symbol: str, prices: tuple[float, float, float, float], events: list[InputEvent]
    ) -> None:
        """Bid, its size, ask, its size.  A price of zero is how venues say that a side has no orders."""
        bid_px, bid_qty, ask_px, ask_qty = prices
        bid_px, ask_px = bid_px if bid_px > 0.0 else nan, ask_px if ask_px > 0.0 else nan
        events.extend(
            Quote(ts_ns, recv_ns, each, bid_px, bid_qty, ask_px, ask_qty) for each in self._instruments(symbol)
        )

    def _snapshot(
        self, ts_ns: int, recv_ns: int, symbol: str, bids: Levels, asks: Levels, events: list[InputEvent]
    ) -> None:
        best_bids, best_asks = best_first(bids, asks)
        events.extend(BookSnapshot(ts_ns, recv_ns, each, best_bids, best_asks) for each in self._instruments(symbol))

    def _delta(
        self,
        ts_ns: int,
        recv_ns: int,
        symbol: str,
        changes: Iterable[tuple[int, float, float]],
        events: list[InputEvent],
    ) -> None:
        told = tuple(changes)
        if told:
            events.extend(BookDelta(ts_ns, recv_ns, each, told) for each in self._instruments(symbol))

    def _refused(self, text: str) -> None:
        self.counters.venue_errors += 1
        self.last_error = text[:SHOWN_CHARACTERS] or "error without text"


def best_first(bids: Levels, asks: Levels) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """Levels ``(px, qty, ...)`` of both sides as a snapshot has them: without empty ones, best first.

    Raises ``RemoteProtocolError`` for a level that is no pair of numbers.
    """
    try:
        return (
            tuple(sorted(((level[0], level[1]) for level in bids if level[1] > 0.0), reverse=True)),
            tuple(sorted((level[0], level[1]) for level in asks if level[1] > 0.0)),
        )
    except (IndexError, TypeError) as error:
        raise RemoteProtocolError("a level of a book without price and size") from error


def datetime_ns(time: datetime) -> int:
    """A venue's calendar time (UTC, to the microsecond) as nanoseconds."""
    return timegm(time.utctimetuple()) * 1_000_000_000 + time.microsecond * 1000
