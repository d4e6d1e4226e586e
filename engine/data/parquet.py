"""Recorded Parquet files as one ordered stream of quotes and trades.

Owns the reading of rows and their merge.  What a file must look like is ``engine.data.schema``; who drops bad rows is
the core.  Memory is bounded: a batch of rows per file, whatever the files' size.

Order: by ``recv_ns`` if every file has it, else by ``ts_ns``; ties go by file order, then row.  Rows of one file are
never reordered, not even where its time runs backwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.data.merging import Chunk, merge
from engine.data.schema import (
    QUOTES,
    FileInfo,
    check_time_range,
    describe_file,
    describe_files,
    first_line,
    open_parquet,
)
from engine.errors import DataError
from engine.events import Quote, Trade

__all__ = ["FileInfo", "describe_file", "describe_files", "read_events", "read_file"]

_BATCH_ROWS: Final = 16_384
_Chunk = Chunk[Quote | Trade]


def read_events(paths: Sequence[Path | str], instruments: Collection[str] | None = None) -> Iterator[Quote | Trade]:
    """All events of the files in one order; ``instruments`` (ids) keeps only those.

    ``ts_recv_ns`` of an event is the time it was ordered by.  The files are checked at the call, so that
    a ``DataError`` comes before the first event; a page that turns out damaged raises it at that row.
    """
    infos = [info for info in describe_files(paths) if instruments is None or info.instrument.id in instruments]
    if not infos:
        raise DataError(
            f"none of the files is about {', '.join(sorted(instruments or ()))}",
            expected="a file of that instrument",
            do="check the instruments",
        )
    by_recv = all(info.has_recv for info in infos)
    return _merged([_chunks(info, by_recv=by_recv) for info in infos])


def read_file(info: FileInfo) -> Iterator[Quote | Trade]:
    """The events of one described file in row order."""
    for _, events in _chunks(info, by_recv=info.has_recv):
        yield from events


def _merged(streams: list[Iterator[_Chunk]]) -> Iterator[Quote | Trade]:
    """A described file has at least one row: the first chunk of each says where it begins."""
    heads = [next(stream) for stream in streams]
    whole: list[Iterator[_Chunk]] = [chain((head,), stream) for head, stream in zip(heads, streams, strict=True)]
    return merge(whole, [keys[0] for keys, _ in heads])


def _chunks(info: FileInfo, *, by_recv: bool) -> Iterator[_Chunk]:
    """Order keys and events of one file, batch by batch."""
    key = "recv_ns" if by_recv else "ts_ns"
    columns = [name for name in info.columns if name != "recv_ns" or by_recv]
    convert = _quotes if info.kind == QUOTES else _trades
    with closing(open_parquet(info.path)) as file:
        batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise DataError(
                    f"{info.path} is damaged: a page cannot be read ({first_line(error)})",
                    expected="a complete Parquet file",
                    do="copy it again from its source",
                ) from error
            if batch is None:
                return
            if batch.num_rows:
                keys = _times(info, batch, key)
                yield keys, convert(info, batch, keys)


def _quotes(info: FileInfo, batch: Any, keys: list[int]) -> list[Quote | Trade]:
    sized = "bid_size" in info.columns
    unsized = repeat(float("nan"))
    return list(
        map(
            Quote,
            _times(info, batch, "ts_ns"),
            keys,
            repeat(info.instrument.id),
            _floats(batch, "bid"),
            _floats(batch, "bid_size") if sized else unsized,
            _floats(batch, "ask"),
            _floats(batch, "ask_size") if sized else unsized,
        )
    )


def _trades(info: FileInfo, batch: Any, keys: list[int]) -> list[Quote | Trade]:
    return list(
        map(
            Trade,
            _times(info, batch, "ts_ns"),
            keys,
            repeat(info.instrument.id),
            _floats(batch, "price"),
            _floats(batch, "size"),
            _aggressors(info, batch) if "side" in info.columns else repeat(0),
            _texts(batch, "trade_id") if "trade_id" in info.columns else repeat(""),
        )
    )


def _times(info: FileInfo, batch: Any, name: str) -> list[int]:
    column = batch.column(name)
    if column.null_count:
        raise DataError(f"{info.path} has rows without {name}", expected="a time in every row", do="drop those rows")
    values: npt.NDArray[np.int64] = column.to_numpy()
    # Statistics in the footer were checked already; they are written by others and may be wrong.
    check_time_range(info.path, name, int(values.min()), int(values.max()))
    times: list[int] = values.tolist()
    return times


def _floats(batch: Any, name: str) -> list[float]:
    """Values as float64; a missing one is NaN."""
    column = batch.column(name)
    if not pa.types.is_float64(column.type):
        column = column.cast(pa.float64(), safe=False)
    values: list[float] = column.to_numpy(zero_copy_only=False).tolist()
    return values


def _texts(batch: Any, name: str) -> list[str]:
    column = batch.column(name)
    texts: list[str] = pc.fill_null(column.cast(pa.string()), "").to_pylist()
    return texts


def _aggressors(info: FileInfo, batch: Any) -> list[int]:
    """+1 for a buyer, -1 for a seller, 0 where the side is missing or empty; anything else is an error, not a 0."""
    side = pc.utf8_lower(pc.fill_null(batch.column("side"), ""))
    buy = pc.equal(side, "buy").to_numpy(zero_copy_only=False)
    sell = pc.equal(side, "sell").to_numpy(zero_copy_only=False)
    blank = pc.equal(side, "").to_numpy(zero_copy_only=False)
    strange = ~(buy | sell | blank)
    if strange.any():
        seen = side[int(strange.argmax())].as_py()
        raise DataError(f"{info.path} has side = {seen!r}", expected="buy or sell", do="translate the column")
    signs: list[int] = (buy.astype(np.int8) - sell.astype(np.int8)).tolist()
    return signs
