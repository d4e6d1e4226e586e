"""Files of raw recorded messages as events, by the parsers that read the venues' own streams.

Owns which message goes to which parser, and what a file is about: its instruments and their steps, found by reading it
once.  Pace and matching are ``connectors.replay.frames_feed``'s, lines are ``engine.data.importing.frames``'s.

Each connection has a parser of its own, as it had live; what a connection sent is left out, an answer to a request goes
to the parser that waits for it.  Messages are played in order of the recorder's clock: a file that holds one connection
after the other is sorted, in memory, and keeps the order of messages of the same time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from connectors.market_stream import Counters, MarketStream, Products
from connectors.replay.parsers import Parser, parser_of
from engine.data.importing.frames import read_frames
from engine.data.instruments import inferred_instrument, known_instrument
from engine.errors import DataError
from engine.events import Bar, BookDelta, BookSnapshot, Gap, Observation, Quote, Trade
from engine.instruments import Instrument

Message = tuple[int, str, str, str]
"""When it was received, direction (empty: received), address, text."""
Played = Quote | Trade | BookSnapshot | BookDelta | Bar | Observation | Gap

_TOLD: Final = (Quote, Trade, BookSnapshot, BookDelta, Bar, Observation, Gap)
_SAMPLE: Final = 5_000
"""Values of an instrument that its steps are inferred from."""
_DECIMALS_MAX: Final = 12


class FramesInfo(msgspec.Struct, frozen=True):
    """What one file tells of one instrument.  ``note`` is empty or says what was assumed."""

    path: Path
    instrument: Instrument
    quotes: int
    trades: int
    books: int
    first_ns: int
    last_ns: int
    note: str = ""


class FramesFile:
    """One file.  ``venue`` names the parser where the file does not say (``connectors.replay.parsers``); ``quotes`` and
    ``books``: best prices that the venue tells apart, or levels, become events.

    ``counters`` are those of all its connections, of the last reading.
    """

    def __init__(self, path: Path | str, *, venue: str = "", quotes: bool = True, books: bool = False) -> None:
        self.path = Path(path)
        self._name = venue or self.path.name
        self._quotes = quotes
        self._books = books
        self._parsers: dict[str, MarketStream] = {}
        self._products: dict[str, Products] = {}
        self._ordered: bool | None = None

    # --- reading ----------------------------------------------------------------------------------------------------

    def events(self) -> Iterator[Played]:
        """All events of the file, in order.  Raises ``DataError`` for a line that is no message, or a venue that nobody
        named; what a parser cannot read is counted."""
        self._parsers = {}
        messages = self._messages()
        if not self._is_ordered():
            messages = iter(sorted(messages, key=itemgetter(0)))
        for recv_ns, direction, address, text in messages:
            if direction in ("", "recv"):
                told = self._parser(address).receive_frame(text.encode(), recv_ns)
            elif direction == "open":
                self._parser(address).reset()
                continue
            elif direction == "http":
                told = self._waiting(address).receive_answer(address.rpartition("#")[0], text.encode(), recv_ns)
            else:
                continue
            for event in told:
                if isinstance(event, _TOLD):
                    yield event

    @property
    def counters(self) -> Counters:
        total: Counter[str] = Counter()
        for parser in self._parsers.values():
            total.update(msgspec.structs.asdict(parser.counters))
        return Counters(**total)

    @property
    def unknown(self) -> str:
        """The beginning of a message that no parser knows; empty when there was none."""
        return next((parser.last_unknown for parser in self._parsers.values() if parser.last_unknown), "")

    def _messages(self) -> Iterator[Message]:
        undated: Counter[str] = Counter()
        for table in read_frames(self.path, None, lambda name, count: undated.update({name: count})):
            columns = [table.column(name).to_pylist() for name in ("recv_ns", "direction", "url", "message")]
            for recv_ns, direction, url, text in zip(*columns, strict=True):
                yield recv_ns, direction or "", url or "", text
        if undated:
            raise DataError(
                f"{self.path} has messages without a time ({sum(undated.values())})",
                expected="recv_ns in each line",
                do="play a recording; samples of a venue's messages have no order",
            )

    def _is_ordered(self) -> bool:
        if self._ordered is None:
            self._ordered = True
            last_ns = 0
            for recv_ns, *_ in self._messages():
                if recv_ns < last_ns:
                    self._ordered = False
                    break
                last_ns = recv_ns
        return self._ordered

    # --- parsers ----------------------------------------------------------------------------------------------------

    def _parser(self, address: str) -> MarketStream:
        """That of a connection."""
        parser = self._parsers.get(address)
        if parser is None:
            kind = parser_of(address, self._name)
            products = self._products.setdefault(kind.venue, kind.products())
            parser = self._parsers[address] = kind.open(products, quotes=self._quotes, books=self._books)
        return parser

    def _waiting(self, address: str) -> MarketStream:
        """Whom an answer is for: the connection of that venue that waits for one, or the first of the venue."""
        venue = parser_of(address, self._name).venue
        own = [parser for parser in self._parsers.values() if parser.venue == venue]
        return next((parser for parser in own if parser.snapshots_wanted), own[0] if own else self._parser(address))

    # --- what it is about -------------------------------------------------------------------------------------------

    def describe(self) -> tuple[FramesInfo, ...]:
        """The instruments that the file has events of, by reading it once.  Raises ``DataError`` for a file without
        any."""
        seen: dict[str, _Seen] = {}
        for event in self.events():
            if not isinstance(event, Observation | Bar | Gap):
                found = seen.get(event.instrument)
                if found is None:
                    found = seen[event.instrument] = _Seen(event.ts_recv_ns)
                found.take(event)
        if not seen:
            raise DataError(
                f"{self.path} has no quotes or trades" + (", and no books" if self._books else ""),
                expected="messages of a market stream",
                do="play its books instead of its best prices, or choose another file",
            )
        symbols = {
            instrument: (symbol, venue)
            for venue, products in self._products.items()
            for symbol, instruments in products.items()
            for instrument in instruments
        }
        made = []
        for name, found in seen.items():
            instrument, note = _rules(name, *symbols[name], found)
            counts = (found.quotes, found.trades, found.books)
            made.append(FramesInfo(self.path, instrument, *counts, found.first_ns, found.last_ns, note))
        return tuple(made)


class _Seen:
    """Counts, times and the finest decimals of one instrument."""

    def __init__(self, first_ns: int) -> None:
        self.quotes = self.trades = self.books = 0
        self.first_ns = self.last_ns = first_ns
        self.px_decimals = self.qty_decimals = 0
        self.sized = False
        self._left = _SAMPLE

    def take(self, event: Quote | Trade | BookSnapshot | BookDelta) -> None:
        self.last_ns = event.ts_recv_ns
        values: Sequence[tuple[float, float]]
        if isinstance(event, Quote):
            self.quotes += 1
            self.sized = self.sized or event.bid_qty == event.bid_qty
            values = ((event.bid_px, event.bid_qty), (event.ask_px, event.ask_qty))
        elif isinstance(event, Trade):
            self.trades += 1
            values = ((event.px, event.qty),)
        else:
            self.books += 1
            self.sized = True
            values = (
                [(px, qty) for _, px, qty in event.changes]
                if isinstance(event, BookDelta)
                else [*event.bids[:100], *event.asks[:100]]
            )
        if self._left > 0:
            self._left -= len(values)
            for px, qty in values:
                self.px_decimals = max(self.px_decimals, _decimals(px))
                self.qty_decimals = max(self.qty_decimals, _decimals(qty))


def _decimals(value: float) -> int:
    """Of the value's shortest text, at most twelve; 0 for what is no number."""
    text = repr(value)
    if "e-" in text:
        digits, _, exponent = text.partition("e-")
        return min(len(digits.partition(".")[2]) + int(exponent), _DECIMALS_MAX)
    fraction = text.partition(".")[2]
    return min(len(fraction), _DECIMALS_MAX) if fraction.isdecimal() and fraction != "0" else 0


def _rules(instrument: str, symbol: str, venue: str, seen: _Seen) -> tuple[Instrument, str]:
    base, _, rest = instrument.partition("/")
    quote = rest.partition("@")[0]
    known = known_instrument(venue, f"{base}/{quote}") if base.isalnum() else None
    if known is not None:
        return msgspec.structs.replace(known, venue_symbol=symbol, has_depth=seen.books > 0), ""
    inferred, _ = inferred_instrument(
        venue,
        "BASE/QUOTE",
        tick_px=Decimal(1).scaleb(-seen.px_decimals),
        lot_qty=Decimal(1).scaleb(-seen.qty_decimals),
        has_quote_sizes=seen.sized,
        has_trades=True,
    )
    made = msgspec.structs.replace(
        inferred, id=instrument, venue_symbol=symbol, base=base, quote=quote, settlement=quote,
        has_depth=seen.books > 0,
    )  # fmt: skip
    note = (
        f"{instrument} is not a known instrument: price step {made.tick_px:f} and size step {made.lot_qty:f} are "
        "inferred from the data's decimals, fees assumed 10 bps, spot, no shorting"
    )
    return made, note


def describe_frames(files: Sequence[FramesFile], only: Collection[str] | None = None) -> tuple[FramesInfo, ...]:
    """What the files are about, of the instruments ``only``.  Raises ``DataError`` when that is nothing."""
    infos = tuple(info for file in files for info in file.describe() if only is None or info.instrument.id in only)
    if not infos:
        raise DataError(
            f"none of the files is about {', '.join(sorted(only or ()))}",
            expected="a file of that instrument",
            do="check the instruments",
        )
    return infos


__all__ = ["FramesFile", "FramesInfo", "Parser", "Played", "describe_frames"]
