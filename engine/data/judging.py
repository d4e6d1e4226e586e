"""Stored rows through the quality gate: what a live session would have made of them.

Owns which columns of a kind are judged as what.  The rules are ``engine.quality``'s, the very same as in a session;
what is wrong with a file as a file (gaps, order, checksums) is ``engine.data.verification``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.catalogue import Catalogue
from engine.data.importing.importer import Passage, Progress
from engine.data.importing.options import Options
from engine.data.instruments import known_instrument
from engine.data.kinds import conform
from engine.data.parts import Part, Series, interval_text, series_of
from engine.errors import DataError
from engine.quality.gate import Codes, Float64Array, Int64Array, QualityGate, id_key
from engine.quality.report import QualityLine, count_codes, hours_before
from engine.quality.tolerances import Tolerances
from engine.quality.verdicts import DROPPED, HIGH_LOW

JUDGED: Final = ("quotes", "trades", "bars", "quote_bars", "book10")
"""Kinds whose rows a session would judge one by one.  Others are raw, or parts of something (book changes, one side of
a quote), which is judged when it has become a quote."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The quality of one stored series.  ``file`` is its source, or the series' folder in a catalogue.

    ``quality`` is None for a kind that is not judged, and for a file that could not be read (``error``).
    """

    file: str
    instrument: str = ""
    venue: str = ""
    kind: str = ""
    interval: str = ""
    quality: QualityLine | None = None
    clock_offset_ms: dict[str, float] = {}
    error: str = ""


class _Rules(msgspec.Struct, frozen=True):
    """What the gate must know of an instrument, of one that may be unknown otherwise."""

    allows_negative_px: bool
    has_quote_sizes: bool
    tick_px: Decimal


class SeriesJudge:
    """Judges one series, table after table in order of time.

    ``hours``: only the last so many, up to the newest row, are reported (all are judged: they are each other's past).
    """

    def __init__(self, series: Series, tolerances: Tolerances, hours: float | None = None) -> None:
        self._kind = series.kind
        self._interval_ns = series.interval_ns
        # A bar's successor is a bar away, whatever the time that a second tick has.
        confirm_ns = max(tolerances.confirm_ns, 2 * series.interval_ns)
        self._tolerances = msgspec.structs.replace(tolerances, confirm_ns=confirm_ns)
        self._hours = hours
        try:
            known = known_instrument(series.venue, series.symbol)
        except DataError:
            known = None
        self._negative = known is not None and known.allows_negative_px
        self._tick_px = Decimal(0) if known is None else known.tick_px
        self._gates: list[QualityGate] = []
        self._counts = np.zeros(0, np.int64)
        self._recent: list[tuple[Int64Array, Codes]] = []
        self._newest_ns = 0

    def add(self, table: Any) -> None:
        """Rows with the columns of their kind.  Raises ``DataError`` for others."""
        table = conform(table, self._kind)
        if table.num_rows == 0:
            return
        ts_ns = table.column("ts_ns").to_numpy()
        recv_ns = ts_ns
        if "recv_ns" in table.schema.names and table.column("recv_ns").null_count < table.num_rows:
            received = table.column("recv_ns")
            recv_ns = received.to_numpy() if received.null_count == 0 else pc.coalesce(received, ts_ns).to_numpy()
        codes = getattr(self, f"_{self._kind}")(table, ts_ns, recv_ns)
        if self._hours is None:
            counts = count_codes(codes)
            self._counts = counts if self._counts.size == 0 else self._counts + counts
            return
        self._newest_ns = max(self._newest_ns, int(recv_ns.max()))
        first_ns = hours_before(self._newest_ns, self._hours)
        self._recent = [(times, found) for times, found in self._recent if times.max() >= first_ns]
        self._recent.append((recv_ns, codes))

    def line(self) -> QualityLine:
        """What was found in all tables, or in the last hours of them."""
        counts = self._counts
        if self._hours is not None:
            first_ns = hours_before(self._newest_ns, self._hours)
            counts = sum(
                (count_codes(codes, times, first_ns) for times, codes in self._recent), start=count_codes(_NONE)
            )
        return QualityLine.of(counts if counts.size else count_codes(_NONE))

    def clock_offset_ms(self) -> dict[str, float]:
        """As learned by the end: receive time less venue time, by stream; empty where the source has one time only."""
        offsets = self._gates[0].clock_offset_ns() if self._gates else {}
        return {name: round(offset_ns / 1e6, 3) for name, offset_ns in offsets.items() if offset_ns}

    def _gate(self, number: int = 0, *, sized: bool = False) -> QualityGate:
        while len(self._gates) <= number:
            rules = _Rules(self._negative, sized, self._tick_px)
            self._gates.append(QualityGate(rules, self._tolerances))
        return self._gates[number]

    def _quotes(self, table: Any, ts_ns: Int64Array, recv_ns: Int64Array) -> Codes:
        bid_qty, ask_qty = table.column("bid_size"), table.column("ask_size")
        sized = bid_qty.null_count + ask_qty.null_count == 0
        sizes = (_floats(bid_qty), _floats(ask_qty)) if sized else (None, None)
        gate = self._gate(sized=sized)
        return gate.judge_quotes(ts_ns, recv_ns, _floats(table.column("bid")), _floats(table.column("ask")), *sizes)

    def _book10(self, table: Any, ts_ns: Int64Array, recv_ns: Int64Array) -> Codes:
        bid, bid_qty, ask, ask_qty = (
            _floats(table.column(name)) for name in ("bid_price_1", "bid_size_1", "ask_price_1", "ask_size_1")
        )
        return self._gate(sized=True).judge_quotes(ts_ns, recv_ns, bid, ask, bid_qty, ask_qty)

    def _trades(self, table: Any, ts_ns: Int64Array, recv_ns: Int64Array) -> Codes:
        keys = trade_keys(table.column("trade_id"))
        return self._gate().judge_trades(
            ts_ns, recv_ns, _floats(table.column("price")), _floats(table.column("size")), keys
        )

    def _bars(self, table: Any, ts_ns: Int64Array, recv_ns: Int64Array) -> Codes:
        return self._candles(0, table, "", ts_ns, recv_ns, _floats(table.column("volume")))

    def _quote_bars(self, table: Any, ts_ns: Int64Array, recv_ns: Int64Array) -> Codes:
        """The close as a quote; then each side as a candle, where that says something worse."""
        codes = self._gate().judge_quotes(
            ts_ns, recv_ns, _floats(table.column("bid_close")), _floats(table.column("ask_close"))
        )
        no_volume = np.zeros(len(ts_ns))
        for number, side in ((1, "bid_"), (2, "ask_")):
            found = self._candles(number, table, side, ts_ns, recv_ns, no_volume)
            broken = (found >> 2 == HIGH_LOW) & (codes & 3 != DROPPED)
            codes[broken] = found[broken]
        return codes

    def _candles(
        self, number: int, table: Any, side: str, ts_ns: Int64Array, recv_ns: Int64Array, volume: Float64Array
    ) -> Codes:
        opened, high, low, close = (_floats(table.column(f"{side}{name}")) for name in ("open", "high", "low", "close"))
        return self._gate(number).judge_bars(ts_ns, recv_ns, opened, high, low, close, volume, self._interval_ns)


_NONE: Final = np.zeros(0, np.uint8)


def _floats(column: Any) -> Float64Array:
    """A missing value is NaN."""
    values: Float64Array = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return values


def trade_keys(ids: Any) -> Float64Array | None:
    """``engine.quality.gate.id_key`` of a column of trade ids; None where it is empty."""
    if ids.null_count == len(ids):
        return None
    try:
        numbers = pc.cast(ids, pa.int64())
        least, greatest = pc.min_max(numbers).as_py().values()
        if numbers.null_count == 0 and least >= 0 and greatest < 10**15:
            found: Float64Array = numbers.to_numpy().astype(np.float64)
            return found
    except pa.ArrowInvalid:
        pass  # words, not numbers
    return np.array([id_key(one or "") for one in ids.to_pylist()], np.float64)


def judge_file(
    path: Path,
    options: Options,
    tolerances: Tolerances,
    hours: float | None = None,
    progress: Progress = lambda _: None,
) -> list[Judged]:
    """Each series of a file outside of a catalogue, read as an import would.  Raises ``DataError``."""
    passage = Passage(path, options, progress)
    series = {
        key: series_of(passage.venue, key.symbol, key.kind, found.interval_ns) for key, found in passage.found.items()
    }
    judges = {key: SeriesJudge(one, tolerances, hours) for key, one in series.items() if key.kind in JUDGED}
    for key, table in passage.tables({}):
        if key in judges:
            judges[key].add(table)
    return [_judged(str(path), one, judges.get(key)) for key, one in series.items()]


def judge_catalogue(
    catalogue: Catalogue,
    tolerances: Tolerances,
    hours: float | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Iterator[Judged]:
    """Each series of a catalogue; kinds that are not judged are told without a quality."""
    parts = sorted(catalogue.parts(), key=lambda part: part.series.folder)
    total = sum(part.rows for part in parts) or 1
    done = 0
    for folder, of_series in groupby(parts, key=lambda part: part.series.folder):
        together = list(of_series)
        first = together[0]
        judge = None
        if first.kind in JUDGED:
            judge = SeriesJudge(first.series, tolerances, hours)
            for table in _tables(catalogue, together):
                judge.add(table)
                progress(min((done := done + table.num_rows) / total, 1.0))
        yield _judged(folder, first.series, judge)


def _tables(catalogue: Catalogue, parts: Sequence[Part]) -> Iterator[Any]:
    """Rows in the order in which a session gets them (``engine.data.playback``): of ``recv_ns`` if every row has one,
    else of ``ts_ns``; rows of one part keep theirs.  Parts that lie among each other are read together."""
    by_recv = all(part.first_recv_ns is not None for part in parts)

    def span(part: Part) -> tuple[int, int]:
        if by_recv and part.first_recv_ns is not None and part.last_recv_ns is not None:
            return part.first_recv_ns, part.last_recv_ns
        return part.first_ns, part.last_ns

    together: list[Part] = []
    last_ns = 0
    for part in sorted(parts, key=lambda part: (span(part)[0], part.file)):
        if together and span(part)[0] > last_ns:
            yield from _merged(catalogue, together, "recv_ns" if by_recv else "ts_ns")
            together = []
        last_ns = max(last_ns, span(part)[1]) if together else span(part)[1]
        together.append(part)
    yield from _merged(catalogue, together, "recv_ns" if by_recv else "ts_ns")


def _merged(catalogue: Catalogue, parts: Sequence[Part], by: str) -> Iterator[Any]:
    if len(parts) == 1:
        for batch in catalogue.read_part(parts[0]):
            yield pa.Table.from_batches([batch])
        return
    tables = [pa.Table.from_batches(list(catalogue.read_part(part))).replace_schema_metadata(None) for part in parts]
    # A row that is earlier than the one before it in its part keeps its place behind it.
    keys = [np.maximum.accumulate(table.column(by).to_numpy()) for table in tables]
    order = np.argsort(np.concatenate(keys), kind="stable")
    yield pa.concat_tables(tables).take(pa.array(order))


def _judged(file: str, series: Series, judge: SeriesJudge | None) -> Judged:
    return Judged(
        file=file,
        instrument=series.instrument,
        venue=series.venue,
        kind=series.kind,
        interval=interval_text(series.interval_ns) if series.interval_ns else "",
        quality=None if judge is None else judge.line(),
        clock_offset_ms={} if judge is None else judge.clock_offset_ms(),
    )
