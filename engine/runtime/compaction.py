"""Market segments of a session's journal into the catalogue: each record once, whatever ends the process that does it.

Owns how far a session is compacted.  How far that is stands in the catalogue itself, as a mark that is published in the
same commit as the rows; a kill before the commit stores nothing, one after it loses nothing.  The journal is only read:
replay needs it as it is.

A segment is read when it is closed: a later one has a record, or the session has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import partial
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from engine import codec
from engine.data.catalogue import Batch, Catalogue, Source
from engine.data.meanwhile import chosen_anew
from engine.data.parts import series_of
from engine.errors import DataError, JournalError
from engine.events import Bar, BookDelta, BookSnapshot, Quote, Trade
from engine.runtime.journal_reader import RESTORE, pruned
from engine.runtime.market_rows import MarketRows, ReceiptOrder, Target
from engine.runtime.segment import RawRecord, SegmentInfo, SegmentScan, list_segments, without_blank
from engine.runtime.session import Session, running_process
from engine.runtime.storing import Tally

EVENTS_HELD: Final = 200_000
_ADDRESSES: Final = ("rest_url", "ws_market_url", "stream_url")


class Compaction:
    """One session into one catalogue.  ``run`` may be called as often as one likes."""

    def __init__(self, folder: Path, catalogue: Path) -> None:
        """Raises ``DataError`` when the folder holds no session, or one whose market is in files already or is gone."""
        self._session = Session.open(folder)
        header = self._session.header
        venue = header.config.get("venue")
        feed = venue.get("feed") if isinstance(venue, dict) else ""
        if feed == "replay":
            raise DataError(
                f"session {header.session} played recorded files",
                expected="a session on the built-in exchange or a live market",
                do="import the files themselves: python run.py data import",
            )
        gone = pruned(self._session.journal)
        if gone is not None:
            raise DataError(
                f"the market stream of session {header.session} was pruned on {gone[0]}",
                expected="a session with its market, to be stored before that is removed",
                do=f"unpack {gone[1] or 'a copy'} and compact that; what was stored before is in the catalogue",
            )
        self._invented = feed == "sandbox" or _is_local(venue)
        self._catalogue = Catalogue(catalogue)
        # The id alone may be a user's own name, used in two folders.
        self._mark = f"session {header.session} begun {header.created_ns}"
        self._source = Source(f"session {header.session}")
        last_ns = [part.last_recv_ns or 0 for part in self._catalogue.parts() if part.source == self._source]
        self._order = ReceiptOrder(max(last_ns, default=0))
        self._done = 0  # number of the last segment that is in: months of them are not looked at again
        self.tally = Tally(session=header.session)

    def run(self, *, ended: bool = False) -> Tally:
        """Store what is closed and not stored yet, one commit a segment; the sum of all calls so far.

        ``ended``: nobody writes the journal any more; without it, a daemon that holds the session's lock still does.
        Raises ``JournalError`` for a damaged segment (what precedes it is stored) and ``DataError`` for the catalogue.
        """
        ended = ended or not running_process(self._session.path)
        segments = without_blank(list_segments(self._session.journal)["market"])[0]
        closed = list(self._closed([info for info in segments if info.number > self._done], ended=ended))
        if closed:
            self._catalogue.refresh()
            upto = self._catalogue.mark(self._mark) or 0
            for info, first_after in closed:
                if first_after is None or first_after - 1 > upto:
                    stored = partial(self._store, info, upto, last=first_after is None, ended=ended)
                    upto = chosen_anew(stored)
                self._done = info.number
            self.tally.upto_seq = upto
        self.tally.complete = ended
        return self.tally

    def check_writable(self) -> None:
        """Raises ``DataError`` when the catalogue cannot be written, without waiting for something to store."""
        with self._catalogue.batch(self._source):
            pass

    def _closed(self, segments: list[SegmentInfo], *, ended: bool) -> Iterator[tuple[SegmentInfo, int | None]]:
        """Closed segments, each with the number of the first record behind it (None: there is none)."""
        firsts = [SegmentScan(info.path).header.first_seq for info in segments]
        begun = [(info, first) for info, first in zip(segments, firsts, strict=True) if first > 0]
        for (info, _), (_, first_after) in pairwise(begun):
            yield info, first_after
        if ended and begun:
            yield begun[-1][0], None

    def _store(self, info: SegmentInfo, upto: int, *, last: bool, ended: bool) -> int:
        """One segment's records behind ``upto`` in one commit; the new ``upto``."""
        rows = MarketRows(invented=self._invented)
        tally = self.tally
        known = 0
        told: dict[Target, set[int]] = {}
        seq = upto
        order = copy(self._order)  # a commit that fails is tried again
        self._catalogue.refresh()
        batch: Batch
        with self._catalogue.batch(self._source, chosen=True) as batch:
            # A running daemon cuts closed segments to their length: a mapping of one could lose its pages.
            for raw in self._records(info, last=last, mapped=ended):
                if raw.seq <= upto:
                    continue
                event = _decoded(info, raw)
                if isinstance(event, Quote | Trade | Bar | BookSnapshot | BookDelta):
                    rows.add(order.placed(event))
                seq = raw.seq
                if rows.rows >= EVENTS_HELD:
                    known += self._write(batch, rows, told)
            known += self._write(batch, rows, told)
            if seq > upto:
                batch.mark(self._mark, seq, expected=upto or None)
        self._catalogue.refresh()
        self._order = order
        for part in batch.parts:
            tally.rows[part.kind] = tally.rows.get(part.kind, 0) + part.rows
            if part.instrument not in tally.instruments:
                tally.instruments.append(part.instrument)
        tally.known += known
        return seq

    def _records(self, info: SegmentInfo, *, last: bool, mapped: bool) -> Iterator[RawRecord]:
        scan = SegmentScan(info.path)
        yield from scan.records(mapped=mapped)
        damage = scan.damage
        if damage is None:
            return
        if not last or damage.good_after is not None:
            raise JournalError(
                f"{info.path.name} is damaged at offset {damage.offset}, and good records follow",
                expected="whole records up to the end",
                do=RESTORE.partition(",")[0],
            )
        self.tally.torn_bytes = damage.size

    def _write(self, batch: Batch, rows: MarketRows, told: dict[Target, set[int]]) -> int:
        """Number of rows that were left out: bars whose times are stored, or were ``told`` in this batch, and trades
        that came from another source."""
        known = 0
        for target, table in rows.tables():
            new = table
            if target.kind == "bars":
                seen = told.setdefault(target, set())
                seen |= self._stored_times(target, table)
                new = _first_accounts(table, seen)
            elif target.kind == "trades":
                others = pa.array(self._others_trades(target, table), pa.string())
                new = table.filter(pc.invert(pc.is_in(table.column("trade_id"), others, skip_nulls=True)))
            known += table.num_rows - new.num_rows
            writer = batch.writer(
                target.venue, target.symbol, target.kind, target.interval_ns, instrument=target.instrument
            )
            writer.write(new)
        return known

    def _stored_times(self, target: Target, table: Any) -> set[int]:
        """Which times in the span of ``table`` the series has."""
        series = series_of(*target)
        span = pc.min_max(table.column("ts_ns")).as_py()
        stored = self._catalogue.read(
            "bars",
            venue=series.venue,
            instrument=series.instrument,
            interval_ns=series.interval_ns,
            start_ns=span["min"],
            end_ns=span["max"] + 1,
            columns=["ts_ns"],
        )
        return {time for batch in stored for time in batch.column("ts_ns").to_pylist()}

    def _others_trades(self, target: Target, table: Any) -> list[str]:
        """Ids of the trades in the span of ``table`` that a download or another session has stored."""
        series = series_of(*target)
        span = pc.min_max(table.column("ts_ns")).as_py()
        parts = self._catalogue.parts(series.venue, series.instrument, "trades", span["min"], span["max"] + 1)
        return [
            name
            for part in parts
            if part.source != self._source
            for batch in self._catalogue.read_part(part, start_ns=span["min"], end_ns=span["max"] + 1)
            for name in batch.column("trade_id").to_pylist()
            if name is not None
        ]


def _first_accounts(table: Any, seen: set[int]) -> Any:
    """Bars whose times are not in ``seen``, which takes them in: of a bar that is told twice the first account stays.

    A venue tells its last bars anew at every start and reconnect.
    """
    fresh = []
    for time in table.column("ts_ns").to_pylist():
        fresh.append(time not in seen)
        seen.add(time)
    return table.filter(pa.array(fresh, pa.bool_()))


def _is_local(venue: Any) -> bool:
    """Whether a session's market came from a server on its own machine, which anybody can have made up."""
    urls = [str(venue.get(name) or "") for name in _ADDRESSES] if isinstance(venue, dict) else []
    return any(_is_loopback(urlsplit(url).hostname or "") for url in urls)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _decoded(info: SegmentInfo, raw: RawRecord) -> codec.Record | None:
    if raw.control:
        return None
    try:
        return codec.decode(raw.payload)
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        raise JournalError(
            f"record {raw.seq} in {info.path.name} at offset {raw.offset} cannot be decoded: {error}",
            expected="a record of this release",
            do="read it with the release that wrote it",
        ) from error
