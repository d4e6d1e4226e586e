"""The catalogue: stored market data by venue, instrument, kind and date, in Parquet files that are whole or not there.

    with Catalogue(root).writer("binance_spot", "BTCUSDT", "quotes", source=Source.of_file(path)) as w:
        w.write(table)

Owns what a user of stored data calls.  Layout and names are ``engine.data.parts``, what is visible
``engine.data.commits``, writing ``engine.data.staging``, damage ``engine.data.upkeep``, rows as events
``engine.data.playback``, SQL ``engine.data.sql``.  See ``docs/data.md``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.data import playback, sql
from engine.data.commits import CommitLog, locked
from engine.data.kinds import conform, kind_named, upgrade
from engine.data.meanwhile import Choice
from engine.data.parts import Part, Series, Source
from engine.data.staging import Batch, SeriesWriter
from engine.data.upkeep import Problem, damage, lacks, put_away, sweep
from engine.errors import DataError
from engine.events import MarketEvent

__all__ = ["Batch", "Catalogue", "Part", "Problem", "Series", "SeriesWriter", "Source"]

BATCH_ROWS: Final = 65_536


class Catalogue:
    """Stored market data below ``root``; a folder that does not exist yet is an empty catalogue.

    Opening sets aside what killed writers left behind and parts that are not of the size they were written with;
    ``problems`` says what.  Raises ``DataError`` when the folder holds something else, or its log is damaged.

    Reading takes no lock: what was visible when ``parts`` was called is read, and ``refresh`` sees what came since.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.problems: list[Problem] = []
        self._log = CommitLog(self.root)
        self._state = self._log.load()
        self._whole: set[str] = set()
        if self.root.is_dir():
            # Whoever holds the lock is about to publish: what looks like a leftover may be its.
            with locked(self.root, wait=False) as held, contextlib.suppress(OSError):
                if held:
                    self._state = self._log.load()
                    self.problems = sweep(self.root, self._log, self._state)

    def refresh(self) -> None:
        """See what was published since."""
        self._state = self._log.load()

    # --- what there is --------------------------------------------------------------------------------------------

    def parts(
        self,
        venue: str | None = None,
        instrument: str | None = None,
        kind: str | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        interval_ns: int | None = None,
    ) -> list[Part]:
        """Visible parts with a row in ``[start_ns, end_ns)`` (by ``ts_ns``), in order of their first row.

        ``instrument``: an id (``BTC/USD@coinbase``), its pair (``BTC/USD``) or the source's symbol.  A file that is not
        of its size is left out.
        """
        chosen = [
            part
            for part in self._state.parts.values()
            if (venue is None or part.venue == venue)
            and (instrument is None or instrument in (part.instrument, part.instrument.partition("@")[0], part.symbol))
            and (kind is None or part.kind == kind)
            and (interval_ns is None or part.interval_ns == interval_ns)
            and (start_ns is None or part.last_ns >= start_ns)
            and (end_ns is None or part.first_ns < end_ns)
            and not lacks(part)
        ]
        return sorted(chosen, key=lambda part: (part.first_ns, part.last_ns, part.file))

    def mark(self, name: str) -> int | None:
        """A number that was published with rows (how far a session is compacted); None when there is none."""
        return self._state.marks.get(name)

    # --- writing ----------------------------------------------------------------------------------------------------

    def batch(self, source: Source, *, again: bool = False, chosen: bool = False) -> Batch:
        """Several series in one commit: ``with catalogue.batch(source) as b: b.writer(...).write(table)``.

        ``again``: rows that this very source (by its sha256) gave these series before are replaced.  ``chosen``: the
        rows are chosen by what this catalogue sees now; when another process publishes rows of the same series and
        time meanwhile, publishing raises ``StoredMeanwhile`` and changes nothing (``engine.data.meanwhile``).
        """
        return Batch(self.root, source, again=again, choice=Choice(self._state.parts) if chosen else None)

    @contextlib.contextmanager
    def writer(
        self,
        venue: str,
        symbol: str,
        kind: str,
        interval_ns: int = 0,
        *,
        source: Source,
        again: bool = False,
        instrument: str = "",
    ) -> Iterator[SeriesWriter]:
        """One series in one commit: everything written is visible at a clean exit, nothing at any other end.

        Raises ``DataError`` for names, tables or a source that cannot be taken; see ``Batch.writer``.
        """
        with self.batch(source, again=again) as batch:
            yield batch.writer(venue, symbol, kind, interval_ns, instrument=instrument)
        self.refresh()

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(
        self,
        kind: str,
        *,
        venue: str | None = None,
        instrument: str | None = None,
        interval_ns: int | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Any]:
        """Rows as ``pyarrow.RecordBatch``, part after part in order of their first row; rows as they were stored.

        The batches have the kind's schema (or ``columns`` of it) and, in its metadata, ``venue``, ``instrument``,
        ``symbol`` and ``interval_ns``.  Raises ``DataError`` for a part that is damaged or of another release.
        """
        for part in self.parts(venue, instrument, kind, start_ns, end_ns, interval_ns=interval_ns):
            yield from self.read_part(part, start_ns=start_ns, end_ns=end_ns, columns=columns)

    def read_part(
        self,
        part: Part,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> Iterator[Any]:
        """Rows of one part with ``start_ns <= ts_ns < end_ns``, as ``read`` gives them."""
        self.check(part)
        kind = kind_named(part.kind)
        schema = kind.schema if columns is None else pa.schema([kind.schema.field(name) for name in columns])
        about = {name: str(getattr(part, name)) for name in ("venue", "instrument", "symbol", "interval_ns")}
        schema = schema.with_metadata(about)
        low = None if start_ns is None or part.first_ns >= start_ns else start_ns
        high = None if end_ns is None or part.last_ns < end_ns else end_ns
        try:
            with pq.ParquetFile(part.path, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                    table = upgrade(pa.Table.from_batches([batch]), part.kind, part.schema_version, what=part.file)
                    table = conform(table, part.kind, what=part.file)
                    ts_ns = table.column("ts_ns")
                    if low is not None:
                        table = table.filter(pc.greater_equal(ts_ns, low))
                        ts_ns = table.column("ts_ns")
                    if high is not None:
                        table = table.filter(pc.less(ts_ns, high))
                    made = table.select(schema.names).cast(schema).combine_chunks()
                    yield from made.to_batches()
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{part.path} cannot be read: {str(error).splitlines()[0][:160]}", do="python run.py data verify"
            ) from error

    def events(
        self,
        venue: str | None = None,
        instrument: str | None = None,
        kinds: Sequence[str] = playback.USUAL,
        start_ns: int | None = None,
        end_ns: int | None = None,
        *,
        interval_ns: int | None = None,
    ) -> Iterator[MarketEvent]:
        """Stored rows as the engine's events, in one order: of ``recv_ns`` if every row has one, else of ``ts_ns`` (a
        bar at its end); ties go by kind, then by part.  Rows of one part are never reordered.

        ``ts_recv_ns`` of an event is the time it was ordered by.  Raises ``DataError`` at the call when nothing is
        chosen, and while reading as ``read`` does.
        """
        chosen = [
            part
            for part in self.parts(venue, instrument, None, start_ns, end_ns)
            if part.kind in kinds and (interval_ns is None or not part.interval_ns or part.interval_ns == interval_ns)
        ]
        if not chosen:
            raise DataError(
                f"{self.root} has no {', '.join(kinds)} of {instrument or venue or 'anything'} in that time",
                expected="stored rows",
                do="look at what there is: python run.py data list",
            )
        return playback.events(
            chosen, lambda part, columns: self.read_part(part, start_ns=start_ns, end_ns=end_ns, columns=columns)
        )

    def query(self, statement: str) -> Any:
        """The result of one SQL query (DuckDB) as a ``pyarrow.Table``; one view for each kind, over all visible parts.

        Columns are the kind's, and ``venue``, ``instrument``, ``symbol``.  The query can read nothing else and change
        nothing.  Raises ``DataError`` with DuckDB's words.
        """
        parts = self.parts()
        words = statement.lower()
        for part in parts:
            if part.kind in words or "query" in words:  # query_table() takes a name that is made up as it runs
                self.check(part)
        return sql.query(parts, statement)

    # --- what is whole ----------------------------------------------------------------------------------------------

    def check(self, part: Part) -> None:
        """Raises ``DataError`` unless a part's content has its checksum; looked at once for each ``Catalogue``."""
        if part.file in self._whole:
            return
        reason = damage(part)
        if reason:
            raise DataError(
                f"{part.path} is damaged: {reason}",
                expected="the file as it was written",
                do="set it aside with python run.py data verify, then import its source again: " + part.source.name,
            )
        self._whole.add(part.file)

    def verify(self) -> list[Problem]:
        """Read every visible part, set aside those whose content is not what was written, and say which.

        Raises ``DataError`` when the folder cannot be written.
        """
        if not self.root.is_dir():
            return []
        lost = [(part, reason) for part in self._state.parts.values() if (reason := damage(part))]
        with locked(self.root):
            state = self._log.load()
            lost = [(part, reason) for part, reason in lost if part.file in state.parts]
            try:
                problems = put_away(self.root, self._log, state, lost)
            except OSError as error:
                raise DataError(
                    f"cannot set aside {len(lost)} damaged files in {self.root}: {error.strerror}",
                    expected="the right to write there",
                ) from error
            self._state = state
        return problems
