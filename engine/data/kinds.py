"""The kinds of stored market data: their columns, types and schema versions.

Owns what a table of a kind must be (``conform``) and how an older version becomes the current one (``upgrade``).  Where
tables lie is ``engine.data.catalogue``; whether a row is credible is the quality gate's.

All times are int64 UTC nanoseconds: ``ts_ns`` is the venue's (for exogenous series that of publication), ``recv_ns``
that of the receiver, where there was one.  Prices, sizes and volumes are float64, sides are words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import DataError

YEAR_NS: Final = 31_556_952 * 10**9
_LAST_NS: Final = 4_102_444_800 * 10**9  # 2100-01-01
_UNITS: Final = (("seconds", 10**9), ("milliseconds", 10**6), ("microseconds", 10**3))
_BOOK_LEVELS: Final = 10


class Kind(msgspec.Struct, frozen=True):
    """One kind.  ``optional`` columns may be absent in a source, and are null then; a required one without
    ``nullable`` in its field has a value in every row.  ``migrations``: from a version to the one after it.
    """

    name: str
    version: int
    schema: Any
    optional: frozenset[str]
    sides: tuple[str, ...] = ()
    """The words that column ``side`` may hold; empty: any."""
    bars: bool = False
    """Rows are intervals (``interval_ns``) or publications: few, and kept in order of time."""
    migrations: Mapping[int, Callable[[Any], Any]] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.schema.names)

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(name for name in self.schema.names if name not in self.optional)


_TYPES: Final = {
    "ts_ns": pa.int64(), "recv_ns": pa.int64(), "period_end_ns": pa.int64(), "interval_ns": pa.int64(),
    "trades": pa.int64(), "level": pa.int64(), "sequence": pa.int64(), "flags": pa.int64(), "revision": pa.int64(),
    "update_id": pa.int64(), "first_update_id": pa.int64(), "last_update_id": pa.int64(), "prev_update_id": pa.int64(),
    "side": pa.string(), "exchange": pa.string(), "condition": pa.string(), "trade_id": pa.string(),
    "order_id": pa.string(), "action": pa.string(), "direction": pa.string(), "url": pa.string(),
    "message": pa.string(), "series": pa.string(),
    "suspicious": pa.bool_(),
}  # fmt: skip
"""Columns that are no float64."""


def _kind(
    name: str, columns: str, *, sides: tuple[str, ...] = (), bars: bool = False, holes: frozenset[str] = frozenset()
) -> Kind:
    """A kind from its columns as one writes them down: ``?`` marks the optional ones; ``holes`` must be there but may
    have nulls."""
    words = columns.split()
    optional = frozenset(word.removesuffix("?") for word in words if word.endswith("?"))
    names = [word.removesuffix("?") for word in words]
    fields = [pa.field(each, _TYPES.get(each, pa.float64()), nullable=each in optional | holes) for each in names]
    return Kind(name, 1, pa.schema(fields), optional, sides, bars)


_LEVELS: Final = tuple(
    f"{side}_{what}_{level}"
    for level in range(1, _BOOK_LEVELS + 1)
    for side in ("bid", "ask")
    for what in ("price", "size")
)
_BIDASK: Final = "bid_open bid_high bid_low bid_close bid_size? ask_open ask_high ask_low ask_close ask_size?"
_AGGRESSOR: Final = ("buy", "sell")
_BOOK: Final = ("bid", "ask")

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        _kind("quotes", "ts_ns recv_ns? bid bid_size? ask ask_size?"),
        _kind("side_quotes", "ts_ns recv_ns? side price size exchange? condition? suspicious?", sides=_BOOK),
        _kind(
            "trades",
            "ts_ns recv_ns? price size side? trade_id? exchange? condition? suspicious?",
            sides=_AGGRESSOR,
        ),
        _kind("bars", "ts_ns interval_ns open high low close volume volume_quote? trades? adj_close?", bars=True),
        _kind("quote_bars", f"ts_ns interval_ns {_BIDASK}", bars=True),
        _kind(
            "book_deltas",
            "ts_ns recv_ns? first_update_id? last_update_id? prev_update_id? side price size",
            sides=_BOOK,
        ),
        _kind("book_snapshots", "ts_ns recv_ns? last_update_id? side level price size", sides=_BOOK),
        _kind("book10", f"ts_ns recv_ns? update_id? {' '.join(_LEVELS)}", holes=frozenset(_LEVELS)),
        _kind(
            "orders",
            "ts_ns recv_ns? order_id action side price size sequence? flags?",
            holes=frozenset({"side", "price", "size"}),
        ),
        _kind("frames", "ts_ns recv_ns direction? url? message"),
        _kind("exogenous", "ts_ns period_end_ns series value revision?", bars=True),
    )
}
"""By name.  Volumes and sizes are base units, ``volume_quote`` quote units; ``ts_ns`` of a bar is its start."""


def kind_named(name: str) -> Kind:
    """Raises ``DataError`` for a kind that there is not."""
    if name not in KINDS:
        raise DataError(f"no kind of data is called {name!r}", expected=f"one of {', '.join(KINDS)}")
    return KINDS[name]


def conform(table: Any, kind: str, *, what: str = "the data") -> Any:
    """``table`` (``pyarrow.Table`` or ``RecordBatch``) as exactly the columns and types of ``kind``.

    Missing optional columns become null, columns that the kind does not have are left out, order of rows is kept.
    ``what`` is how errors call the source (its path).  Raises ``DataError`` for a missing column, a type that cannot be
    read without loss, a null where a value must be, times in another unit, or an unknown side.
    """
    wanted = kind_named(kind)
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    missing = [name for name in wanted.required if name not in table.schema.names]
    if missing:
        raise DataError(
            f"{what} has no column {missing[0]!r} (it has {', '.join(map(str, table.schema.names[:12]))})",
            expected=f"{kind} with the columns {', '.join(wanted.required)}",
            do="rename or map its columns",
        )
    columns = []
    for field in wanted.schema:
        count = table.schema.names.count(field.name)
        if count > 1:
            raise DataError(f"{what} has {count} columns named {field.name!r}", expected="one", do="rename or drop one")
        if count:
            columns.append(_column(table.column(field.name), field, what))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    made = pa.Table.from_arrays(columns, schema=wanted.schema)
    for name in ("ts_ns", "recv_ns", "period_end_ns"):
        if name in wanted.schema.names:
            _check_times(made.column(name), name, what)
    if wanted.sides:
        _check_sides(made.column("side"), wanted, what)
    return made


def _column(column: Any, field: Any, what: str) -> Any:
    if not field.nullable and column.null_count:
        raise DataError(
            f"{what} has {column.null_count} rows without {field.name}",
            expected="a value in every row",
            do="drop those rows",
        )
    if column.type == field.type:
        return column
    expected = _unfit(column.type, field.type)
    if expected:
        raise DataError(
            f"{what} has column {field.name!r} of type {column.type}", expected=expected, do="convert the column"
        )
    try:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns", tz="UTC"))
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise DataError(
            f"{what} has values in column {field.name!r} that are no {field.type} ({str(error).splitlines()[0][:120]})",
            expected="values that fit without loss",
            do="convert the column",
        ) from error


def _unfit(seen: Any, wanted: Any) -> str:
    """What was expected, in words, when ``seen`` cannot be read as ``wanted`` without loss or guess; else empty."""
    types = pa.types
    if types.is_null(seen):
        return ""
    if types.is_dictionary(seen):
        seen = seen.value_type
    if types.is_float64(wanted):
        # float32 holds 7 digits: a price read back from it is not the price that was recorded.
        return "" if types.is_integer(seen) or types.is_decimal(seen) or types.is_float64(seen) else "double (float64)"
    if types.is_int64(wanted):
        if types.is_timestamp(seen):
            return "" if seen.tz else "a time with its zone, or int64 UTC nanoseconds"
        return "" if types.is_integer(seen) else "int64"
    if types.is_string(wanted):
        return "" if types.is_string(seen) or types.is_large_string(seen) or types.is_integer(seen) else "string"
    return "" if types.is_boolean(seen) or types.is_integer(seen) else "bool"


def _check_times(column: Any, name: str, what: str) -> None:
    """A time within a year of 1970-01-01 is one in a coarser unit; that lets daily prices of the 1960s through."""
    near = column.filter(pc.and_(pc.greater(column, -YEAR_NS), pc.less(column, YEAR_NS)))
    high = pc.max(column).as_py()
    if high is None or (high < _LAST_NS and not len(near)):
        return
    odd = near[0].as_py() if len(near) else high
    unit = next((unit for unit, factor in _UNITS if YEAR_NS <= odd * factor < _LAST_NS), "")
    reads = f"which reads as {unit}" if unit else "which is no time between 1700 and 2100"
    mixed = ", among nanoseconds: its time units are mixed" if unit and high >= YEAR_NS else ""
    raise DataError(
        f"{what} has {name} = {odd}, {reads}{mixed}",
        expected="UTC nanoseconds (int64) in every row",
        do="convert the column to nanoseconds",
    )


def _check_sides(column: Any, kind: Kind, what: str) -> None:
    seen = {side for side in pc.unique(column).to_pylist() if side is not None}
    odd = sorted(seen - set(kind.sides))
    if odd:
        raise DataError(
            f"{what} has side {odd[0]!r}", expected=" or ".join(kind.sides) + f" in {kind.name}", do="map the values"
        )


def upgrade(table: Any, kind: str, version: int, *, what: str = "the data") -> Any:
    """``table`` as written by schema ``version`` of its kind, in today's.  Raises ``DataError`` when nothing leads
    from there to here: a version of a later release, or one that this release no longer reads.
    """
    wanted = kind_named(kind)
    if version > wanted.version:
        raise DataError(
            f"{what} holds {kind} of schema version {version}",
            expected=f"version {wanted.version} or older",
            do="read it with the release that wrote it, or a later one",
        )
    for step in range(version, wanted.version):
        if step not in wanted.migrations:
            raise DataError(
                f"{what} holds {kind} of schema version {version}, and nothing leads from version {step} to {step + 1}",
                expected=f"version {wanted.version}",
                do="import its source again",
            )
        table = wanted.migrations[step](table)
    return table
