"""What a recorded Parquet file must look like, and what one is: columns, types, time unit, instrument.

Owns the checks that need no row to be turned into an event; ``engine.data.parquet`` streams the rows.  Everything a
user can get wrong about a file is a ``DataError`` from here, before a session starts.  Bad rows (unsorted, NaN, not
positive, crossed) are not errors of the file: they are delivered, and the core counts and drops them.

Quotes: ``ts_ns``, ``bid``, ``ask``, optional ``bid_size`` with ``ask_size``.  Trades: ``ts_ns``, ``price``, ``size``,
optional ``trade_id`` and ``side`` (the aggressor: buy or sell).  Both: optional ``recv_ns``.  Times are int64 UTC
nanoseconds; the schema's key-value metadata names ``venue`` and ``symbol``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.data.instruments import inferred_instrument, known_instrument
from engine.errors import DataError
from engine.instruments import Instrument

QUOTES: Final = "quotes"
TRADES: Final = "trades"

_REQUIRED: Final = {QUOTES: ("ts_ns", "bid", "ask"), TRADES: ("ts_ns", "price", "size")}
_OPTIONAL: Final = {QUOTES: ("recv_ns", "bid_size", "ask_size"), TRADES: ("recv_ns", "trade_id", "side")}
_CANDLE_COLUMNS: Final = frozenset({"open", "high", "low", "close"})

# int64 nanoseconds of 2000-01-01 and 2100-01-01: outside of that the unit is another one, or the value is no time.
_MIN_NS: Final = 946_684_800_000_000_000
_MAX_NS: Final = 4_102_444_800_000_000_000
_UNITS: Final = (("seconds", 10**9), ("milliseconds", 10**6), ("microseconds", 10**3))
_NAME_MAX: Final = 60
"""Characters of a venue or symbol: they make the instrument's id, which stands in every order and line."""
_DECIMALS_MAX: Final = 12
"""Of an inferred step; what is finer is the noise of somebody's arithmetic."""


class FileInfo(msgspec.Struct, frozen=True):
    """One recorded file.  ``columns`` are those that will be read; ``note`` is empty or says what was assumed.

    ``first_ns`` and ``last_ns`` are the least and greatest of ``recv_ns`` where the file has it, else of ``ts_ns``.
    """

    path: Path
    kind: Literal["quotes", "trades"]
    instrument: Instrument
    rows: int
    has_recv: bool
    columns: tuple[str, ...]
    first_ns: int
    last_ns: int
    note: str = ""
    source: str = ""
    """Of a part of a catalogue: what its rows came from, a file or a recorded session."""


def describe_file(path: Path | str) -> FileInfo:
    """Check one file and say what it is.

    The instrument declares what its venue's feed gives (``has_trades``), since one file cannot know of the others; use
    ``describe_files`` for the files of a session.  Raises ``DataError``.
    """
    path = Path(path)
    with open_parquet(path) as file:
        names = list(file.schema_arrow.names)
        kind = _kind(path, names)
        columns = _check_columns(path, kind, file.schema_arrow)
        rows = file.metadata.num_rows
        if rows == 0:
            raise DataError(f"{path} has no rows", expected="at least one", do="choose another file")
        if kind == TRADES and "side" in columns:
            _check_sides(path, file)
        has_recv = "recv_ns" in columns
        span = _time_span(path, file, "ts_ns")
        if has_recv:
            span = _time_span(path, file, "recv_ns")
        instrument, note = _instrument(path, kind, file, columns)
        source = _text(file, "source")
    return FileInfo(path, kind, instrument, rows, has_recv, columns, span[0], span[1], note, source)


def describe_files(paths: Sequence[Path | str]) -> tuple[FileInfo, ...]:
    """Check the files of one session together; their order is kept.

    Each instrument declares exactly what these files give: ``has_trades`` when a trades file of it is among them,
    ``has_quote_sizes`` when its quotes carry sizes.  Several files of one stream must not overlap in time (one per day
    is fine), unless they are parts that a catalogue made of one source.  Raises ``DataError``.
    """
    if not paths:
        raise DataError(
            "no recorded file was given", expected="at least one Parquet file", do="name the files to replay"
        )
    infos = _finest_steps([describe_file(path) for path in paths])
    _check_overlap(infos)
    return tuple(
        msgspec.structs.replace(
            info,
            instrument=msgspec.structs.replace(
                info.instrument,
                has_trades=any(i.kind == TRADES for i in infos if i.instrument.id == info.instrument.id),
                has_quote_sizes=_all_quotes_sized(i for i in infos if i.instrument.id == info.instrument.id),
            ),
        )
        for info in infos
    )


def open_parquet(path: Path) -> Any:
    """A ``pyarrow.parquet.ParquetFile``; whatever is wrong with the file becomes a ``DataError``."""
    if not path.exists():
        raise DataError(f"{path} does not exist", expected="a Parquet file", do="check the path")
    if path.is_dir():
        raise DataError(f"{path} is a folder", expected="a Parquet file", do="name the files in it")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)", expected="a Parquet file", do="copy it again from its source")
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: permission denied", do="allow this user to read it") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no readable Parquet file ({first_line(error)})",
            expected="a complete Parquet file",
            do="it may be truncated or of another format; copy it again from its source",
        ) from error


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def check_time_range(path: Path, column: str, low: int, high: int) -> None:
    """Raise ``DataError`` when values between ``low`` and ``high`` cannot all be nanoseconds of this century."""
    if low >= _MIN_NS and high < _MAX_NS:
        return
    outlier = low if low < _MIN_NS else high
    unit = next((name for name, factor in _UNITS if _MIN_NS <= outlier * factor < _MAX_NS), "")
    mixed = (_MIN_NS <= low < _MAX_NS) or (_MIN_NS <= high < _MAX_NS)
    what = f"which reads as {unit}" if unit else "which is no time between 2000 and 2100"
    raise DataError(
        f"{path} has {column} = {outlier}, {what}" + (", among nanoseconds: its time units are mixed" if mixed else ""),
        expected="UTC nanoseconds (int64) in every row",
        do="convert the column to nanoseconds",
    )


def _kind(path: Path, names: list[str]) -> Literal["quotes", "trades"]:
    present = set(names)
    if {"bid", "ask"} & present:
        return "quotes"
    if "price" in present:
        return "trades"
    if present >= _CANDLE_COLUMNS or present >= {f"bid_{c}" for c in _CANDLE_COLUMNS}:
        raise DataError(f"{path} holds candles", expected="quotes or trades", do="candles cannot be replayed as ticks")
    hints = [f"{want} (nearest here: {near})" for want in ("bid", "ask", "price") if (near := _nearest(want, names))]
    raise DataError(
        f"{path} has the columns {_listed(names)}",
        expected=f"quotes ({', '.join(_REQUIRED[QUOTES])}) or trades ({', '.join(_REQUIRED[TRADES])})",
        do="rename " + ", ".join(hints) if hints else "choose another file",
    )


def _check_columns(path: Path, kind: str, schema: Any) -> tuple[str, ...]:
    names = list(schema.names)
    required = list(_REQUIRED[kind])
    sizes = [name for name in ("bid_size", "ask_size") if kind == QUOTES and name in names]
    if sizes:  # half a quote's sizes would be a silent NaN on the other side
        required += ["bid_size", "ask_size"]
    for name in dict.fromkeys(required):
        if name not in names:
            near = _nearest(name, [n for n in names if n not in required])
            raise DataError(
                f"{path} has no column {name!r} (it has {_listed(names)})",
                expected=f"{kind} with the columns {', '.join(required)}",
                do=f"rename {near!r} to {name!r}" if near else "add the column",
            )
    columns = tuple(name for name in (*_REQUIRED[kind], *_OPTIONAL[kind]) if name in names)
    for name in columns:
        if (count := names.count(name)) > 1:  # which of them would be played nobody can say
            raise DataError(
                f"{path} has {count} columns named {name!r}", expected="one", do="rename or drop the ones not meant"
            )
        seen = schema.field(name).type
        expected = _wrong_type(name, seen)
        if expected:
            raise DataError(f"{path} has column {name!r} of type {seen}", expected=expected, do="convert the column")
    return columns


def _wrong_type(name: str, seen: Any) -> str:
    """The expected type in words when ``seen`` cannot be read as column ``name``, else empty."""
    text = pa.types.is_string(seen) or pa.types.is_large_string(seen)
    integer = pa.types.is_integer(seen)
    if name in ("ts_ns", "recv_ns"):
        return "" if pa.types.is_int64(seen) else "int64 UTC nanoseconds"
    if name == "trade_id":
        return "" if text or integer else "integer or string"
    if name == "side":
        return "" if text else "string: buy or sell"
    # float32 holds 7 digits: a price read back from it is not the price that was recorded.
    return "" if integer or pa.types.is_float64(seen) else "double (float64)"


def _check_sides(path: Path, file: Any) -> None:
    """The first rows tell trades from one-sided quotes, which look the same by their column names."""
    first = next(file.iter_batches(batch_size=4096, columns=["side"], use_threads=False))
    sides = {str(side).lower() for side in first.column(0).unique().to_pylist() if side}
    if sides and sides <= {"bid", "ask"}:
        raise DataError(
            f"{path} holds one side of a quote or book in each row (side = bid or ask)",
            expected="quotes with bid and ask in one row",
            do="one-sided quotes and book changes are not supported yet; choose another file",
        )


def _time_span(path: Path, file: Any, column: str) -> tuple[int, int]:
    """Least and greatest value of a time column: from the row groups' statistics where written, else by reading it."""
    low, high = [], []
    for group in range(file.metadata.num_row_groups):
        chunks = file.metadata.row_group(group)
        if chunks.num_rows == 0:
            continue
        # Not the place in the schema: a nested column before this one is stored as several.
        stats = next(
            chunk.statistics
            for chunk in map(chunks.column, range(chunks.num_columns))
            if chunk.path_in_schema == column
        )
        if stats is None or not stats.has_min_max or not stats.has_null_count:
            values, nulls = _scan(path, file, group, column)
        else:
            values, nulls = [stats.min, stats.max], stats.null_count
        if nulls or not values:
            raise DataError(f"{path} has rows without {column}", expected="a time in every row", do="drop those rows")
        low.append(min(values))
        high.append(max(values))
    check_time_range(path, column, min(low), max(high))
    return min(low), max(high)


def _scan(path: Path, file: Any, group: int, column: str) -> tuple[list[int], int]:
    try:
        values = file.read_row_group(group, columns=[column], use_threads=False).column(0)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is damaged: {column} cannot be read ({first_line(error)})", do="copy it again"
        ) from error
    if values.null_count:
        return [], values.null_count
    numbers = values.to_numpy()
    return [int(numbers.min()), int(numbers.max())], 0


def _instrument(path: Path, kind: str, file: Any, columns: tuple[str, ...]) -> tuple[Instrument, str]:
    raw = file.schema_arrow.metadata or {}
    metadata = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in raw.items()}
    missing = [key for key in ("venue", "symbol") if not metadata.get(key)]
    if missing:
        raise DataError(
            f"{path} does not say its {' and '.join(missing)}",
            expected="the keys 'venue' and 'symbol' in the key-value metadata of its schema",
            do="write them with pyarrow's replace_schema_metadata",
        )
    for key in ("venue", "symbol"):
        name = metadata[key]
        if len(name) > _NAME_MAX or not re.search("[A-Za-z0-9]", name):
            raise DataError(
                f"{path} has {key} {_short(name)!r} in its schema's metadata ({len(name):,} characters)",
                expected=f"a name of at most {_NAME_MAX} characters, with letters a to z or digits",
                do="write the right one with pyarrow's replace_schema_metadata",
            )
    known = known_instrument(metadata["venue"], metadata["symbol"])
    if known is not None:
        if kind == QUOTES:
            known = msgspec.structs.replace(known, has_quote_sizes="bid_size" in columns)
        return known, ""
    prices, sizes = ("bid", "bid_size") if kind == QUOTES else ("price", "size")
    return inferred_instrument(
        metadata["venue"],
        metadata["symbol"],
        tick_px=_step(file, prices),
        lot_qty=_step(file, sizes) if sizes in columns else Decimal(1),
        has_quote_sizes="bid_size" in columns,
        has_trades=kind == TRADES,
    )


def _text(file: Any, key: str) -> str:
    value: bytes = (file.schema_arrow.metadata or {}).get(key.encode(), b"")
    return value.decode("utf-8", "replace")


def _step(file: Any, column: str) -> Decimal:
    """The finest decimal step in the first rows of a column: prices 1.5 and 1.25 have the step 0.01."""
    batch = next(file.iter_batches(batch_size=20_000, columns=[column], use_threads=False))
    exponents = [_exponent(value) for value in batch.column(0).to_pylist() if value]
    return Decimal(1).scaleb(min([0, *exponents]))


def _exponent(value: float) -> int:
    """Minus the number of decimals that the value's shortest text has, at most 12: 0.05 gives -2."""
    if not isfinite(value):
        return 0
    # Not a fixed number of decimals: twelve of 61269.78 are 61269.779999999999.
    decimals = np.format_float_positional(value, trim="-").partition(".")[2]
    return -min(len(decimals), _DECIMALS_MAX)


def _finest_steps(infos: Sequence[FileInfo]) -> tuple[FileInfo, ...]:
    """Inferred rules are those of all files of an instrument together, and are noted once: one file may happen to hold
    round prices only."""
    made = list(infos)
    guessed: dict[str, list[int]] = {}
    for number, info in enumerate(infos):
        if info.note:
            guessed.setdefault(info.instrument.id, []).append(number)
    for numbers in guessed.values():
        own = [infos[number].instrument for number in numbers]
        instrument, note = inferred_instrument(
            own[0].venue,
            own[0].venue_symbol,
            tick_px=min(each.tick_px for each in own),
            lot_qty=min(each.lot_qty for each in own),
            has_quote_sizes=False,
            has_trades=False,
        )
        for number in numbers:
            made[number] = msgspec.structs.replace(infos[number], instrument=instrument, note=note)
            note = ""
    return tuple(made)


def _check_overlap(infos: Sequence[FileInfo]) -> None:
    streams: dict[tuple[str, str], list[FileInfo]] = {}
    for info in infos:
        streams.setdefault((info.instrument.id, info.kind), []).append(info)
    for (instrument, kind), files in streams.items():
        files.sort(key=lambda info: (info.first_ns, info.last_ns))
        for before, after in pairwise(files):
            if after.first_ns <= before.last_ns and not _one_source(before, after):
                raise DataError(
                    f"{before.path} and {after.path} are the same stream ({kind} of {instrument}) over the same time",
                    expected="each stream once, or files that follow one another in time",
                    do="leave one of them out",
                )


def _one_source(before: FileInfo, after: FileInfo) -> bool:
    """Two parts that a catalogue made of one source share no row, and one receive time can stand in both: several
    trades of a message where a segment of the journal ends.  A copy of a part is none of them."""
    same = (before.first_ns, before.last_ns, before.rows) == (after.first_ns, after.last_ns, after.rows)
    return bool(before.source) and before.source == after.source and not same


def _all_quotes_sized(infos: Iterable[FileInfo]) -> bool:
    quotes = [info for info in infos if info.kind == QUOTES]
    return bool(quotes) and all("bid_size" in info.columns for info in quotes)


def _nearest(name: str, names: Sequence[str]) -> str:
    close = [other for other in names if name in other.lower().split("_")]
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return close[0] if close else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_short, names[:12])) + (", ..." if len(names) > 12 else "")


def _short(text: str) -> str:
    """A text of the file as an error may show it."""
    return text if len(text) <= _NAME_MAX else text[: _NAME_MAX - 3] + "..."
