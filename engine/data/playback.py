"""Stored rows as the engine's events, merged into one order.

Owns the conversion of a kind's rows and the merge of parts.  Which rows are read is ``engine.data.catalogue``'s; who
judges them is the core.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import compress, repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.books import Meeting
from engine.data.kinds import KINDS, kind_named
from engine.data.merging import Chunk, merge
from engine.data.parts import Part
from engine.errors import DataError
from engine.events import Bar, BookDelta, BookSnapshot, MarketEvent, Quote, Trade

Int64 = npt.NDArray[np.int64]
Reader = Callable[[Part, Sequence[str]], Iterator[Any]]
"""Gives a part's rows as record batches with these columns."""

_RANK: Final = ("book_snapshots", "book_deltas", "book10", "quotes", "trades", "bars")
"""Kinds that become events, in the order of ties: a book before what changes it, the market before its summary."""
USUAL: Final = ("book_snapshots", "book_deltas", "quotes", "trades", "bars")
"""All but ``book10``, which says again what snapshots and deltas say."""


def events(parts: Sequence[Part], read: Reader, beside: Collection[str] = ()) -> Iterator[MarketEvent]:
    """The rows of ``parts`` as events, in the order that ``Catalogue.events`` tells.

    Candles of the instruments ``beside`` come before all else of their time: a row that ends then knows their close.
    Raises ``DataError`` for kinds that become no events.
    """
    for part in parts:
        if part.kind not in _RANK:
            raise DataError(f"{part.kind} are no events of the engine", expected=f"of {', '.join(_RANK)}")
    # Candles come with no receive time, and have the last word on nobody's order: they are known at their end.
    by_recv = all(part.first_recv_ns is not None for part in parts if part.kind != "bars")

    def place(part: Part) -> tuple[int, int, str]:
        rank = -1 if part.kind == "bars" and part.instrument in beside else _RANK.index(part.kind)
        return rank, _first_key(part, by_recv=by_recv), part.file

    ordered = sorted(parts, key=place)
    meeting = _snapshots_ahead(parts, read, by_recv=by_recv)
    streams = [_chunks(part, read, meeting, by_recv=by_recv) for part in ordered]
    return meeting.played(merge(streams, [_first_key(part, by_recv=by_recv) for part in ordered]))


def _snapshots_ahead(parts: Sequence[Part], read: Reader, *, by_recv: bool) -> Meeting:
    """When which snapshot comes, of the instruments that have changes too."""
    meeting = Meeting()
    changed = {part.instrument for part in parts if part.kind == "book_deltas"}
    key = "recv_ns" if by_recv else "ts_ns"
    for part in parts:
        if part.kind == "book_snapshots" and part.instrument in changed:
            for batch in read(part, [key, "last_update_id"]):
                meeting.expect(part.instrument, _ints(batch, key), batch.column("last_update_id"))
    return meeting


def _first_key(part: Part, *, by_recv: bool) -> int:
    if by_recv and part.first_recv_ns is not None:
        return part.first_recv_ns
    return part.first_ns + part.interval_ns  # a bar is known at its end


def _chunks(part: Part, read: Reader, meeting: Meeting, *, by_recv: bool) -> Iterator[Chunk[Any]]:
    """Events of one part, batch by batch; no chunk is empty."""
    kind = kind_named(part.kind)
    by_recv = by_recv and part.first_recv_ns is not None
    columns = [name for name in kind.columns if name != "recv_ns" or by_recv]
    convert = _CONVERT[part.kind]
    if part.kind in _GROUPS:
        for table, starts in _grouped(read(part, columns), _GROUPS[part.kind]):
            times = _ints(table, "ts_ns")[starts].tolist()
            keys = _ints(table, "recv_ns")[starts].tolist() if by_recv else times
            made = convert(part, table, times, keys, starts)
            if part.kind == "book_deltas":
                wanted = meeting.wanted(part.instrument, keys, table.take(pa.array(starts)), made)
                keys, made = list(compress(keys, wanted)), list(compress(made, wanted))
            if made:
                yield keys, made
        return
    for batch in read(part, columns):
        if batch.num_rows:
            times = _ints(batch, "ts_ns") + part.interval_ns
            keys = _ints(batch, "recv_ns") if by_recv else times
            yield keys.tolist(), convert(part, batch, times.tolist(), keys.tolist())


def _grouped(batches: Iterator[Any], groups: Sequence[str]) -> Iterator[tuple[Any, Int64]]:
    """Rows of one update lie side by side and make one event; one that spans two batches waits for its rest.

    Tables, and where in them an update begins."""
    kept: Any = None
    for batch in batches:
        table = pa.Table.from_batches([batch] if kept is None else [kept, batch]).combine_chunks()
        if not table.num_rows:
            continue
        starts = _starts(table, [name for name in groups if name in table.schema.names])
        kept = table.slice(int(starts[-1])).to_batches()[0]
        if len(starts) > 1:
            yield table.slice(0, int(starts[-1])), starts[:-1]
    if kept is not None:
        yield pa.Table.from_batches([kept]), np.zeros(1, np.int64)


def _starts(table: Any, names: Sequence[str]) -> Int64:
    """Where a new update begins: the first row, and each one that differs from the row before in one of ``names``."""
    changes = np.zeros(table.num_rows, bool)
    changes[0] = True
    for name in names:
        column = table.column(name)
        if column.null_count == len(column):
            continue
        values = pc.fill_null(column, -1).to_numpy()
        changes[1:] |= values[1:] != values[:-1]
    return np.flatnonzero(changes)


# --- one kind's rows ----------------------------------------------------------------------------------------------


def _quotes(part: Part, batch: Any, times: list[int], keys: list[int]) -> list[Any]:
    values = [_floats(batch, name).tolist() for name in ("bid", "bid_size", "ask", "ask_size")]
    return list(map(Quote, times, keys, repeat(part.instrument), *values))


def _trades(part: Part, batch: Any, times: list[int], keys: list[int]) -> list[Any]:
    side = batch.column("side")
    buy = pc.fill_null(pc.equal(side, "buy"), False).to_numpy(zero_copy_only=False)
    sell = pc.fill_null(pc.equal(side, "sell"), False).to_numpy(zero_copy_only=False)
    aggressors = (buy.astype(np.int8) - sell.astype(np.int8)).tolist()
    ids = pc.fill_null(batch.column("trade_id"), "").to_pylist()
    prices, sizes = (_floats(batch, name).tolist() for name in ("price", "size"))
    return list(map(Trade, times, keys, repeat(part.instrument), prices, sizes, aggressors, ids))


def _bars(part: Part, batch: Any, times: list[int], keys: list[int]) -> list[Any]:
    values = [_floats(batch, name).tolist() for name in ("open", "high", "low", "close", "volume")]
    return list(map(Bar, times, keys, repeat(part.instrument), repeat(part.interval_ns), *values))


def _book10(part: Part, batch: Any, times: list[int], keys: list[int]) -> list[Any]:
    levels = [name.removeprefix("bid_price_") for name in KINDS["book10"].columns if name.startswith("bid_price_")]
    sides = []
    for side in ("bid", "ask"):
        prices = np.stack([_floats(batch, f"{side}_price_{level}") for level in levels], axis=1)
        sizes = np.stack([_floats(batch, f"{side}_size_{level}") for level in levels], axis=1)
        filled = ~np.isnan(prices)
        sides.append(
            [
                tuple(zip(px[here].tolist(), qty[here].tolist(), strict=True))
                for px, qty, here in zip(prices, sizes, filled, strict=True)
            ]
        )
    return list(map(BookSnapshot, times, keys, repeat(part.instrument), *sides))


def _deltas(part: Part, table: Any, times: list[int], keys: list[int], starts: Int64) -> list[Any]:
    rows = list(zip(_book_sides(table), *_levels(table), strict=True))
    ends = [*starts[1:].tolist(), len(rows)]
    changes = [tuple(rows[start:end]) for start, end in zip(starts.tolist(), ends, strict=True)]
    return list(map(BookDelta, times, keys, repeat(part.instrument), changes))


def _snapshots(part: Part, table: Any, times: list[int], keys: list[int], starts: Int64) -> list[Any]:
    sides = _book_sides(table)
    levels = _ints(table, "level").tolist()
    rows = list(zip(sides, levels, *_levels(table), strict=True))
    ends = [*starts[1:].tolist(), len(rows)]
    made = []
    for time, key, start, end in zip(times, keys, starts.tolist(), ends, strict=True):
        own = sorted(rows[start:end], key=lambda row: row[1])  # best first
        bids, asks = (tuple((px, qty) for side, _, px, qty in own if side == wanted) for wanted in (1, -1))
        made.append(BookSnapshot(time, key, part.instrument, bids, asks))
    return made


def _book_sides(table: Any) -> list[int]:
    bid = pc.equal(table.column("side"), "bid").to_numpy()
    return np.where(bid, 1, -1).tolist()  # type: ignore[no-any-return]


def _levels(table: Any) -> tuple[list[float], list[float]]:
    return _floats(table, "price").tolist(), _floats(table, "size").tolist()


def _ints(batch: Any, name: str) -> Int64:
    values: Int64 = batch.column(name).to_numpy()
    return values


def _floats(batch: Any, name: str) -> npt.NDArray[np.float64]:
    """Null is NaN."""
    column = batch.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    values: npt.NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    return values


_CONVERT: Final[dict[str, Callable[..., list[Any]]]] = {
    "quotes": _quotes,
    "trades": _trades,
    "bars": _bars,
    "book10": _book10,
    "book_deltas": _deltas,
    "book_snapshots": _snapshots,
}
_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "book_deltas": ("ts_ns", "recv_ns", "last_update_id"),
    "book_snapshots": ("ts_ns", "recv_ns", "last_update_id"),
}
"""What is the same in all rows of one update."""
