"""Parquet files of candles as markets to train on, without a catalogue: one market for each symbol of each file.

Columns ``ts_ns`` (start of the bar, int64 UTC nanoseconds), ``open``, ``high``, ``low``, ``close``, ``volume``, and
``symbol`` where a file holds several; ``venue`` and the only ``symbol`` stand in the schema's metadata.  Owns the
reading and the instruments; a row that is no candle is left to the quality gate, as in a session.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.instruments import inferred_instrument, known_instrument, split_symbol, venue_id
from engine.data.schema import check_time_range, first_line, open_parquet
from engine.errors import DataError
from engine.events import Bar
from engine.instruments import Instrument

_PRICES: Final = ("open", "high", "low", "close")
_COLUMNS: Final = ("ts_ns", *_PRICES, "volume")
_EARLIEST_NS: Final = 315_532_800_000_000_000
"""1980-01-01."""
_STEP: Final = Decimal("0.00000001")


class CandleSeries(NamedTuple):
    """Candles of one symbol in order of time; ``numbers (N, 5)`` are open, high, low, close, volume."""

    instrument: Instrument
    interval_ns: int
    start_ns: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]

    def events(self) -> Iterator[Bar]:
        """Known at their end, which is their time."""
        ends = (self.start_ns + self.interval_ns).tolist()
        for end_ns, row in zip(ends, self.numbers.tolist(), strict=True):
            yield Bar(end_ns, end_ns, self.instrument.id, self.interval_ns, *row)


def holds_candles(path: Path) -> bool:
    """Raises ``DataError`` for what is no Parquet file."""
    with open_parquet(path) as file:
        return set(_PRICES) <= set(file.schema_arrow.names)


def read_candles(path: Path, quote: str = "") -> list[CandleSeries]:
    """The symbols of a file, in order of their first row.

    ``quote`` is appended to symbols that do not say what they are priced in: ``BTC`` becomes ``BTCUSDT``.  Raises
    ``DataError`` for columns, times or symbols that cannot be taken, two candles of one time among them.
    """
    with open_parquet(path) as file:
        schema = file.schema_arrow
        names = [*_COLUMNS, *(["symbol"] if "symbol" in schema.names else [])]
        _check_columns(path, schema)
        try:
            table = file.read(columns=names, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path} is damaged: a page cannot be read ({first_line(error)})", do="copy it again"
            ) from error
    metadata = {key.decode(): value.decode("utf-8", "replace") for key, value in (schema.metadata or {}).items()}
    venue = metadata.get("venue", "")
    symbols = table["symbol"].unique().to_pylist() if "symbol" in names else [metadata.get("symbol", "")]
    if not venue or not all(symbols):
        raise DataError(
            f"{path} does not say its venue and symbol",
            expected="a column symbol, or both keys in the metadata of its schema",
            do="write them with pyarrow's replace_schema_metadata",
        )
    if not table.num_rows:
        raise DataError(f"{path} has no rows", expected="at least one", do="choose another file")
    return [
        _series(
            path, venue, symbol, quote, table.filter(pc.equal(table["symbol"], symbol)) if len(names) > 6 else table
        )
        for symbol in symbols
    ]


def _check_columns(path: Path, schema: Any) -> None:
    missing = [name for name in _COLUMNS if name not in schema.names]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}", expected=f"candles with {', '.join(_COLUMNS)}")
    for name in _COLUMNS:
        seen = schema.field(name).type
        right = pa.types.is_int64(seen) if name == "ts_ns" else pa.types.is_float64(seen) or pa.types.is_integer(seen)
        if not right:
            expected = "int64 UTC nanoseconds" if name == "ts_ns" else "double (float64)"
            raise DataError(f"{path} has column {name!r} of type {seen}", expected=expected, do="convert the column")


def _series(path: Path, venue: str, symbol: str, quote: str, table: Any) -> CandleSeries:
    times = table["ts_ns"]
    if times.null_count:
        raise DataError(f"{path} has rows without ts_ns", expected="a time in every row", do="drop those rows")
    start_ns = times.to_numpy()
    latest = int(start_ns.max())
    # Candles go further back than ticks; what is earlier still is of another unit.
    check_time_range(path, "ts_ns", latest if start_ns.min() >= _EARLIEST_NS else int(start_ns.min()), latest)
    order = np.argsort(start_ns, kind="stable")
    start_ns = start_ns[order]
    steps = np.diff(start_ns)
    if len(steps) and not steps.min():
        raise DataError(
            f"{path} has two candles of {symbol} at one time",
            expected="each once",
            do="import it into a catalogue, which tells copies from corrections",
        )
    columns = [table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)[order] for name in _COLUMNS[1:]]
    # Bars never overlap, so that the least distance is their length wherever two follow each other.
    interval_ns = int(steps.min()) if len(steps) else 0
    return CandleSeries(_instrument(path, venue, symbol, quote), interval_ns, start_ns, np.stack(columns, axis=1))


def _instrument(path: Path, venue: str, symbol: str, quote: str) -> Instrument:
    try:
        split_symbol(venue_id(venue), symbol)
    except DataError as error:
        if not quote:
            raise DataError(
                f"{path} has the symbol {symbol!r}, which does not say what it is priced in",
                expected="a symbol such as BTC-USD or BTCUSDT",
                do="set data.quote",
            ) from error
        symbol += quote
    found = known_instrument(venue, symbol)
    if found is None:
        found, _ = inferred_instrument(
            venue, symbol, tick_px=_STEP, lot_qty=_STEP, has_quote_sizes=False, has_trades=True
        )
    return msgspec.structs.replace(found, has_trades=True, has_depth=False, has_quote_sizes=False)


def of_interval(path: Path, series: Sequence[CandleSeries], interval_ns: int) -> list[CandleSeries]:
    """Those that rows of that length can be made of.  Raises ``DataError`` when there is none."""
    fitting = [one for one in series if one.interval_ns == interval_ns]
    if not fitting:
        lengths = sorted({one.interval_ns for one in series})
        raise DataError(
            f"{path} has candles of {', '.join(f'{length / 1e9:g} s' for length in lengths)}",
            expected=f"{interval_ns / 1e9:g} s, as features.sampling says",
            do="change features.sampling, or name another file",
        )
    return fitting
