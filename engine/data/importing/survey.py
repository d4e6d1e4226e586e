"""The first pass over a file: what series it has, their order, times and the length of their bars.

Everything that can be wrong with a file as a whole is found here, before a catalogue is touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import msgspec
import numpy as np

from engine.data.importing.reading import Key, Reader
from engine.data.kinds import KINDS, YEAR_NS
from engine.data.parts import interval_text
from engine.errors import DataError


class Found(msgspec.Struct):
    """One series of a file.  ``backward`` rows are before the row above them; ``sort``: they have to be sorted, which
    rows that were received in order have not."""

    rows: int = 0
    backward: int = 0
    received_backward: int = 0
    received: bool = True
    first_ns: int = 0
    last_ns: int = 0
    interval_ns: int = 0
    spans: Counter[int] = msgspec.field(default_factory=Counter)
    _last_ns: int | None = None
    _last_recv_ns: int | None = None
    _last_name: str | None = None

    @property
    def sort(self) -> bool:
        return self.received_backward > 0 if self.received else self.backward > 0


def survey(reader: Reader, progress: Callable[[int], None]) -> dict[Key, Found]:
    """Read the whole file once.  ``progress`` is told the rows read so far.  Raises ``DataError``."""
    found: dict[Key, Found] = {}
    for key, table in reader.chunks():
        progress(reader.read_rows)
        if table.num_rows:
            _add(found.setdefault(key, Found()), key, table)
    together: Counter[int] = Counter()
    for series in found.values():
        together += series.spans
    common_ns = together.most_common(1)[0][0] if together else 0
    for key, series in found.items():
        series.interval_ns = _interval(reader, key, series, common_ns)
        _check_times(reader, series)
    return found


def _add(series: Found, key: Key, table: object) -> None:
    rows = table.num_rows  # type: ignore[attr-defined]
    column = table.column  # type: ignore[attr-defined]
    times = column("ts_ns").to_numpy()
    low, high = int(times.min()), int(times.max())
    series.first_ns = low if not series.rows else min(series.first_ns, low)
    series.last_ns = high if not series.rows else max(series.last_ns, high)
    series.rows += rows
    spans = _spans(times, series._last_ns)
    series._last_ns = int(times[-1])
    backward = spans < 0
    if key.kind == "frames":
        series.received_backward += int(backward.sum())
        backward &= _same_connection(series, column("url").to_pylist())
    series.backward += int(backward.sum())
    if key.kind in ("bars", "quote_bars"):
        lengths, counts = np.unique(spans[spans > 0], return_counts=True)
        most = np.argsort(-counts, kind="stable")[:64]
        series.spans.update(dict(zip(lengths[most].tolist(), counts[most].tolist(), strict=True)))
    names = table.schema.names  # type: ignore[attr-defined]
    if key.kind == "frames":
        return
    if series.received and "recv_ns" in names and not column("recv_ns").null_count:
        received = column("recv_ns").to_numpy()
        series.received_backward += int((_spans(received, series._last_recv_ns) < 0).sum())
        series._last_recv_ns = int(received[-1])
    else:
        series.received = False


def _same_connection(series: Found, urls: list[str | None]) -> np.typing.NDArray[np.bool_]:
    """Whether a message came by the connection of the one above it: files hold one recording after the other."""
    names = [(url or "").rpartition("#")[2] for url in urls]
    before = names if series._last_name is None else [series._last_name, *names]
    series._last_name = names[-1]
    return np.array([one == other for one, other in pairwise(before)], np.bool_)


def _spans(times: np.typing.NDArray[np.int64], last: int | None) -> np.typing.NDArray[np.int64]:
    spans: np.typing.NDArray[np.int64] = np.diff(times if last is None else np.concatenate(([last], times)))
    return spans


def _interval(reader: Reader, key: Key, series: Found, common_ns: int) -> int:
    """The length of the bars: said by the rows, the user or the name, else what most of them are apart.

    ``common_ns`` is what most bars of the file are apart: a series of few, with holes, has the length of the others.
    """
    if "interval_ns" not in KINDS[key.kind].columns:
        return 0
    seen = series.spans.most_common(1)[0][0] if series.spans else 0
    told = key.interval_ns or reader.subject.interval_ns
    if told:
        if seen and seen < told:
            raise DataError(
                f"{reader.path} has bars of {key.symbol} {interval_text(seen)} apart, and is said to be of "
                f"{interval_text(told)}",
                expected="one bar in each interval",
                do="correct --interval, or the name of the file",
            )
        return told
    if common_ns and seen % common_ns == 0:
        return common_ns
    if not seen:
        raise DataError(
            f"{reader.path} has {series.rows} bar of {key.symbol}: nothing says how long it is",
            expected="at least two bars, or their length",
            do="name it: --interval 1h",
        )
    return seen


def _check_times(reader: Reader, series: Found) -> None:
    for time_ns in (series.first_ns, series.last_ns):
        if -YEAR_NS < time_ns < YEAR_NS or not -200 * YEAR_NS < time_ns < 130 * YEAR_NS:
            raise DataError(
                f"{reader.path} has a time that reads as {time_ns} ns since 1970",
                expected="times between 1770 and 2100",
                do="name the unit: --time-unit s, ms, us or ns, or map another column: --columns ts=COLUMN",
            )
