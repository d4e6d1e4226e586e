"""A venue's past into the catalogue: what is missing is fetched, what is there stays.

Owns the order of fetching, storing and noting down, and what happens to rows that are stored already: the first stored
version wins, a later one that differs is counted as revised.  What the venue has is ``connectors.history``; how pages
become files is the catalogue's.

An interruption at any moment leaves whole pages only: a batch of pages becomes visible at once, and with it the note of
the span that it covers (``connectors.coverage``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from connectors.coverage import Coverage
from connectors.history import Page, VenueHistory
from engine.data.catalogue import Catalogue
from engine.data.commits import CommitLog
from engine.data.kinds import conform, kind_named
from engine.data.meanwhile import chosen_anew
from engine.data.parts import Part, Series, Source, series_of
from engine.instruments import Instrument

FLUSH_ROWS: Final = 50_000
FLUSH_S: Final = 3.0
"""Pages are stored together until so many rows or so long: few files, and little to fetch again."""
_COMPARED: Final = {"bars": ("open", "high", "low", "close", "volume"), "trades": ("price", "size", "side")}


class Wanted(msgspec.Struct, frozen=True):
    """One series and span: ``[start_ns, end_ns)`` by ``ts_ns``.  ``interval_ns`` is 0 for trades."""

    instrument: Instrument
    kind: str
    interval_ns: int
    start_ns: int
    end_ns: int


class Tally(msgspec.Struct):
    """What one download did.  ``revised``: rows that the venue tells otherwise than they are stored."""

    rows: int = 0
    """Stored by this run."""
    present: int = 0
    """Fetched, but stored already."""
    revised: int = 0
    dropped: int = 0
    conflicts: int = 0
    cut: int = 0
    resumed: bool = False
    """Something of the span had been stored by an earlier run."""


class Download:
    """Downloads of one venue into one catalogue.  ``on_span`` hears how far it got: ``(end_ns, rows stored)``."""

    def __init__(
        self,
        history: VenueHistory,
        catalogue: Catalogue,
        *,
        flush_rows: int = FLUSH_ROWS,
        flush_s: float = FLUSH_S,
        monotonic_s: Callable[[], float] = time.monotonic,
        on_span: Callable[[int, int], None] = lambda _end_ns, _rows: None,
    ) -> None:
        self._history = history
        self._catalogue = catalogue
        self._flush_rows = flush_rows
        self._flush_s = flush_s
        self._monotonic_s = monotonic_s
        self._on_span = on_span

    async def run(self, wanted: Wanted, *, again: bool = False, tally: Tally | None = None) -> Tally:
        """Fetch and store what is missing; ``again`` asks for the rest as well and compares.

        ``tally`` is filled as it goes, so that it tells what was stored when this is cancelled or raises:
        ``VenueError`` when the venue gives no more, ``DataError`` when nothing can be stored.  Whole pages that came
        by then are stored.
        """
        tally = Tally() if tally is None else tally
        instrument = wanted.instrument
        series = series_of(instrument.venue, instrument.venue_symbol, wanted.kind, wanted.interval_ns, instrument.id)
        stored = _Stored(self._catalogue, series)
        coverage = Coverage(series.folder, stored.marks())
        coverage.verify(stored.count)
        missing = coverage.missing(wanted.start_ns, wanted.end_ns)
        tally.resumed = missing != [(wanted.start_ns, wanted.end_ns)]
        spans = [(start_ns, end_ns, True) for start_ns, end_ns in missing]
        if again:
            covered = _between(wanted.start_ns, wanted.end_ns, missing)
            spans = sorted(spans + [(start_ns, end_ns, False) for start_ns, end_ns in covered])
        for start_ns, end_ns, is_new in spans:
            batch = _Batch(self._catalogue, instrument, stored, coverage, tally, is_new=is_new)
            await self._span(wanted, start_ns, end_ns, batch)
        return tally

    async def _span(self, wanted: Wanted, start_ns: int, end_ns: int, batch: _Batch) -> None:
        instrument = wanted.instrument
        if wanted.kind == "bars":
            pages = self._history.bars(instrument, wanted.interval_ns, start_ns, end_ns)
        else:
            pages = self._history.trades(instrument, start_ns, end_ns)
        due_s = self._monotonic_s()  # the first page at once: a catalogue that cannot be written shows now
        try:
            async for page in pages:
                batch.take(page)
                if batch.rows >= self._flush_rows or self._monotonic_s() >= due_s:
                    batch.store()
                    due_s = self._monotonic_s() + self._flush_s
                self._on_span(page.end_ns, batch.tally.rows + batch.rows)
        finally:
            # Also after an error, and when the user interrupts: whole pages are worth keeping.
            batch.store()


def _between(start_ns: int, end_ns: int, holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of ``[start_ns, end_ns)`` lies in none of the ``holes`` (ordered, within it)."""
    edges = [start_ns, *(edge for hole in holes for edge in hole), end_ns]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


class _Batch:
    """Pages that are fetched and not yet stored."""

    def __init__(
        self,
        catalogue: Catalogue,
        instrument: Instrument,
        stored: _Stored,
        coverage: Coverage,
        tally: Tally,
        *,
        is_new: bool,
    ) -> None:
        """``is_new``: the span is to be noted; else it is already."""
        self.tally = tally
        self._is_new = is_new
        self.rows = 0
        self._catalogue = catalogue
        self._stored = stored
        self._coverage = coverage
        self._pages: list[Page] = []
        self._source = Source(
            name=f"{instrument.venue} history; price step {instrument.tick_px:f}, size step {instrument.lot_qty:f}"
        )

    def take(self, page: Page) -> None:
        self._pages.append(page)
        self.rows += page.rows.num_rows

    def store(self) -> None:
        """Everything taken becomes visible at once, then is noted.  Raises ``DataError`` and keeps nothing of it."""
        if not self._pages:
            return
        pages, self._pages, self.rows = self._pages, [], 0
        chosen_anew(lambda: self._store(pages))
        for page in pages:
            self.tally.dropped += page.dropped
            self.tally.conflicts += page.conflicts
            self.tally.cut += page.cut

    def _store(self, pages: list[Page]) -> None:
        start_ns, end_ns = pages[0].start_ns, pages[-1].end_ns
        series, tally = self._stored.series, self.tally
        table = conform(pa.concat_tables([page.rows for page in pages]), series.kind, what="the venue's answer")
        there = self._stored.rows(start_ns, end_ns)
        fresh, revised = unknown_rows(table, there, series.kind)
        span = None
        with self._catalogue.batch(self._source, chosen=True) as batch:
            self._coverage.claim(batch)
            batch.writer(
                series.venue, series.symbol, series.kind, series.interval_ns, instrument=series.instrument
            ).write(fresh)
            if self._is_new:
                span = self._coverage.note(batch, start_ns, end_ns, there.num_rows + fresh.num_rows)
        self._coverage.published(span)
        tally.rows += fresh.num_rows
        tally.present += table.num_rows - fresh.num_rows
        tally.revised += revised


class _Stored:
    """What the catalogue holds of one series."""

    def __init__(self, catalogue: Catalogue, series: Series) -> None:
        self.series = series
        self._catalogue = catalogue

    def marks(self) -> dict[str, int]:
        """All marks of the catalogue."""
        return CommitLog(self._catalogue.root).load().marks

    def rows(self, start_ns: int, end_ns: int) -> pa.Table:
        """The rows of ``[start_ns, end_ns)``."""
        self._catalogue.refresh()
        schema = kind_named(self.series.kind).schema
        batches = [batch for part in self._parts(start_ns, end_ns) for batch in self._read(part, start_ns, end_ns)]
        return pa.Table.from_batches([batch.replace_schema_metadata(None) for batch in batches], schema)

    def count(self, start_ns: int, end_ns: int) -> int:
        """How many rows ``rows`` would have; only parts at the edges are read."""
        return sum(
            part.rows
            if start_ns <= part.first_ns and part.last_ns < end_ns
            else sum(batch.num_rows for batch in self._read(part, start_ns, end_ns))
            for part in self._parts(start_ns, end_ns)
        )

    def _parts(self, start_ns: int, end_ns: int) -> list[Part]:
        series = self.series
        return self._catalogue.parts(
            series.venue, series.instrument, series.kind, start_ns, end_ns, interval_ns=series.interval_ns
        )

    def _read(self, part: Part, start_ns: int, end_ns: int) -> Iterator[pa.RecordBatch]:
        return self._catalogue.read_part(part, start_ns=start_ns, end_ns=end_ns)


def unknown_rows(fetched: pa.Table, stored: pa.Table, kind: str) -> tuple[pa.Table, int]:
    """The rows of ``fetched`` that are not in ``stored``, and how many of the others differ from what is stored.

    A bar is known by its start; a trade by its id, or by time, price and size where the stored one came without id (two
    equal prints are two trades: each stored one stands for one).
    """
    if not stored.num_rows or not fetched.num_rows:
        return fetched, 0
    compared = _COMPARED[kind]
    values = dict(zip(_keys(stored, kind), _values(stored, compared), strict=True))
    nameless: Counter[Any] = Counter()
    if kind == "trades":
        nameless.update(_values(stored.filter(pc.is_null(stored.column("trade_id"))), ("ts_ns", "price", "size")))
    keep, revised = [], 0
    for key, value, print_ in zip(
        _keys(fetched, kind), _values(fetched, compared), _prints(fetched, kind), strict=True
    ):
        if key in values:
            revised += values[key] != value
            keep.append(False)
        elif nameless[print_]:
            nameless[print_] -= 1
            keep.append(False)
        else:
            keep.append(True)
    return fetched.filter(pa.array(keep, pa.bool_())), revised


def _keys(table: pa.Table, kind: str) -> list[Any]:
    return list(table.column("trade_id" if kind == "trades" else "ts_ns").to_pylist())


def _values(table: pa.Table, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))


def _prints(table: pa.Table, kind: str) -> list[Any]:
    if kind != "trades":
        return [None] * table.num_rows
    return _values(table, ("ts_ns", "price", "size"))
