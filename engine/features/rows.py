"""Feature rows of recordings, for the trainer and for checks: the live buffer, fed from a sequence or from columns.

Owns the collecting only.  There is no second implementation: what the model trains on is what it will be served.
``compute_rows`` takes events of any kind; ``compute_candles`` and ``compute_ticks`` take arrays and run the same
machine code in a compiled loop.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from engine.events import Bar, MarketEvent, Quote, Trade
from engine.features import tape
from engine.features.buffer import FeatureBuffer
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from engine.ports import Float32Array

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
_CHUNK = 32_768
"""Rows a call of the loop: few calls, and what they write still fits into a cache."""


class Rows(NamedTuple):
    """N rows in order.  ``values[warm[i]]`` ends a full window of clean rows: ``values[i - W + 1 : i + 1]``."""

    values: Float32Array
    """(N, F); NaN where a column has no value yet."""
    ts_event_ns: Int64Array
    """(N,) venue time of the row; the end of a time bar."""
    ts_recv_ns: Int64Array
    """(N,) receive time of the event that completed the row."""
    mid_px: Float64Array
    """(N,) close of the row."""
    warm: npt.NDArray[np.bool_]
    """(N,) what the live buffer's ``warm`` was after the row."""


class Candles(NamedTuple):
    """N finished candles of one instrument and interval, as ``engine.events.Bar`` has them."""

    end_ns: Int64Array
    open_px: Float64Array
    high_px: Float64Array
    low_px: Float64Array
    close_px: Float64Array
    volume_qty: Float64Array


class Ticks(NamedTuple):
    """N quotes and trades of one instrument in order: ``kind`` is ``tape.QUOTE`` or ``tape.TRADE``.

    ``numbers (N, 4)``: bid px, bid qty, ask px, ask qty of a quote; px, qty, aggressor, 0 of a trade.
    """

    kind: Int64Array
    numbers: Float64Array
    ts_event_ns: Int64Array
    ts_recv_ns: Int64Array


def compute_rows(
    spec: FeatureSpec,
    instrument: Instrument,
    events: Iterable[MarketEvent],
    on_row: Callable[[FeatureBuffer], None] | None = None,
) -> Rows:
    """All rows that the live buffer would make of these events, in order, bad ones left out.

    ``on_row`` is called with the buffer after each row, for what ``Rows`` does not have.

    They are events of the instrument and, where columns ask for them, of its peers and published series.  Time bars
    close at the first later event; a timer would close the same rows earlier.  Raises ``DataError`` when the instrument
    cannot feed the spec.
    """
    buffer = FeatureBuffer(spec, instrument)
    values = bytearray()
    ts_event_ns = array("q")
    ts_recv_ns = array("q")
    mid_px = array("d")
    warm = bytearray()
    received = 0
    newest = spec.window - 1

    def collect() -> None:
        values.extend(buffer.window()[newest].tobytes())
        ts_event_ns.append(buffer.row_ts_ns)
        ts_recv_ns.append(received)
        mid_px.append(buffer.mid_px)
        warm.append(buffer.warm)
        if on_row is not None:
            on_row(buffer)

    by_time = spec.sampling.kind == "time_bar"
    if by_time:
        # One event may complete several bars.
        buffer.on_bar = collect
    for event in events:
        received = event.ts_recv_ns
        if buffer.update(event) and not by_time:
            collect()
    return Rows(
        np.frombuffer(values, np.float32).reshape(-1, len(spec.columns)),
        np.frombuffer(ts_event_ns, np.int64),
        np.frombuffer(ts_recv_ns, np.int64),
        np.frombuffer(mid_px, np.float64),
        np.frombuffer(warm, np.bool_),
    )


def compute_candles(
    spec: FeatureSpec, instrument: Instrument, candles: Candles, on_chunk: Callable[[Float64Array], None] | None = None
) -> Rows:
    """The rows that the live buffer would make of these candles, their receive time being their end.

    ``on_chunk`` is given the float64 values of some rows at a time, in order: what the float32 ones are rounded from.
    Raises ``DataError`` when the spec is not of time bars, or needs what no candle has.
    """
    if spec.sampling.kind != "time_bar":
        raise DataError(f"feature spec {spec.name!r} makes rows of {spec.sampling}", expected="time bars for candles")
    _needs_nothing_else(spec)
    numbers = np.stack(candles[1:], axis=1, dtype=np.float64, casting="same_kind")
    kinds = np.full(len(numbers), tape.HISTORY_BAR, np.int64)
    return _collect(spec, instrument, kinds, numbers, candles.end_ns, candles.end_ns, on_chunk)


def compute_ticks(
    spec: FeatureSpec, instrument: Instrument, ticks: Ticks, on_chunk: Callable[[Float64Array], None] | None = None
) -> Rows:
    """The rows that the live buffer would make of these quotes and trades; see ``compute_candles``.

    Raises ``DataError`` for time bars (use ``compute_rows``).
    """
    if spec.sampling.kind == "time_bar":
        raise DataError(
            f"feature spec {spec.name!r} makes rows of {spec.sampling}", expected="rows that ticks complete"
        )
    _needs_nothing_else(spec)
    numbers = np.zeros((len(ticks.kind), 5))
    numbers[:, :4] = ticks.numbers
    return _collect(spec, instrument, ticks.kind, numbers, ticks.ts_event_ns, ticks.ts_recv_ns, on_chunk)


def _needs_nothing_else(spec: FeatureSpec) -> None:
    needs = sorted({"depth"} & spec.requires) + list(spec.peers) + list(spec.series)
    if needs:
        raise DataError(
            f"feature spec {spec.name!r} also needs {', '.join(needs)}",
            expected="columns of the instrument's own quotes, trades or candles",
            do="give compute_rows the events",
        )


def _collect(
    spec: FeatureSpec,
    instrument: Instrument,
    kinds: Int64Array,
    numbers: Float64Array,
    ts_event_ns: Int64Array,
    ts_recv_ns: Int64Array,
    on_chunk: Callable[[Float64Array], None] | None,
) -> Rows:
    """Stretches go through the compiled loop; an event that may restart goes through ``update``, as each does live."""
    buffer = FeatureBuffer(spec, instrument)
    width = len(spec.columns)
    # Writeable, because the loop is compiled for such arrays and others may hand in views of theirs.
    kinds, times = (np.require(column, np.int64, ["C", "W"]) for column in (kinds, ts_event_ns))
    numbers = np.require(numbers, np.float64, ["C", "W"])
    ends = np.union1d(_stretch_ends(times, spec.sampling.interval_ns), buffer.session_changes(times))
    exact = np.empty((_CHUNK if on_chunk is not None else 0, width), np.float64)
    found = _Found(len(kinds) if spec.sampling.kind in ("time_bar", "tick") else _CHUNK, width)
    at, single = 0, False
    while at < len(kinds):
        # An event makes one row at most.
        room = min(_CHUNK, len(kinds) - at)
        values, events, warm, closes = found.room(room)
        made = 0
        while at < len(kinds) and made < room:
            if single or not buffer.continues(int(times[at])):
                if buffer.update(_event(spec, instrument.id, int(kinds[at]), numbers[at].tolist(), int(times[at]))):
                    values[made] = buffer.newest_values()
                    exact[made : made + 1] = buffer.newest_values()
                    events[made], warm[made], closes[made] = at, buffer.warm, buffer.mid_px
                    made += 1
                at, single = at + 1, False
                continue
            end = int(ends[np.searchsorted(ends, at, "right")])
            out = (values[made:], exact[made:], events[made:], warm[made:], closes[made:])
            at, rows = buffer.feed((kinds[:end], numbers, times), at, out)
            made += rows
            # Stopped with room left: the kernel refused the event, and what that means is not the loop's to decide.
            single = at < end and made < room
        if on_chunk is not None:
            on_chunk(exact[:made])
        found.take(made)
    all_values, events, warm, closes = found.all()
    return Rows(all_values, times[events], np.asarray(ts_recv_ns, np.int64)[events], closes, warm)


_Arrays = tuple[Float32Array, Int64Array, npt.NDArray[np.bool_], Float64Array]


class _Found:
    """Rows in order, in arrays that grow: a million rows are written once where it is known how many come."""

    def __init__(self, expected: int, width: int) -> None:
        self._arrays: _Arrays = (
            np.empty((expected, width), np.float32),
            np.empty(expected, np.int64),
            np.empty(expected, np.bool_),
            np.empty(expected, np.float64),
        )
        self._rows = 0

    def room(self, rows: int) -> _Arrays:
        """Where the values, the event, the warmth and the close of the next rows go."""
        begin, end = self._rows, self._rows + rows
        values, events, warm, closes = self._arrays
        if end > len(events):
            length = max(end, 2 * len(events))
            self._arrays = (
                _longer(values, length),
                _longer(events, length),
                _longer(warm, length),
                _longer(closes, length),
            )
            values, events, warm, closes = self._arrays
        return values[begin:end], events[begin:end], warm[begin:end], closes[begin:end]

    def take(self, rows: int) -> None:
        """That many of the rows that ``room`` was asked for were made."""
        self._rows += rows

    def all(self) -> _Arrays:
        values, events, warm, closes = self._arrays
        n = self._rows
        return values[:n], events[:n], warm[:n], closes[:n]


def _longer(array: Any, length: int) -> Any:
    grown = np.empty((length, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


def _stretch_ends(times: Int64Array, interval_ns: int) -> Int64Array:
    """Where candles do not follow each other, and the end; ticks are one stretch."""
    breaks = np.flatnonzero(np.diff(times) != interval_ns) + 1 if interval_ns else np.empty(0, np.int64)
    return np.append(breaks, len(times)).astype(np.int64)


def _event(spec: FeatureSpec, instrument: str, kind: int, numbers: list[float], ts_ns: int) -> Quote | Trade | Bar:
    if kind == tape.HISTORY_BAR:
        return Bar(ts_ns, ts_ns, instrument, spec.sampling.interval_ns, *numbers)
    if kind == tape.TRADE:
        return Trade(ts_ns, ts_ns, instrument, numbers[0], numbers[1], int(numbers[2]), "")
    return Quote(ts_ns, ts_ns, instrument, *numbers[:4])
