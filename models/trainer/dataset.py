"""Recorded events to labelled rows, cut by time.

Owns which rows are used, their labels and the three parts.  The rows themselves come from the same compiled feature
kernel as in a session (``engine.features.rows``).

Leaks this is built against: one calendar cut for all instruments; a training row's label must lie before the cut
(purge of the horizon); the first ``window`` rows after a cut are left out (embargo); nothing is fitted here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError, DataError
from engine.events import MarketEvent, Observation
from engine.features.column import load_columns
from engine.features.rows import compute_rows
from engine.features.sampling import GapPolicy
from engine.features.sets import expand, named_spec
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.trainer.recorded import recorded_markets
from models.trainer.settings import Features, TrainSettings

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Sampled rows of one part, in time order.  ``position`` is the window's last row in ``Dataset.values``."""

    position: Int64  # (N,)
    up: npt.NDArray[np.float32]  # (N,) 1.0 when the mid rose over the horizon, 0.0 when it fell
    move_bps: Float64  # (N,) move of the mid over the horizon
    past_sign: npt.NDArray[np.int8]  # (N,) sign of the move over the horizon before
    ts_ns: Int64  # (N,) receive time

    def __len__(self) -> int:
        return len(self.position)

    def every(self, rows_max: int) -> Part:
        """At most ``rows_max`` evenly spaced rows."""
        step = max(1, -(-len(self) // rows_max))
        return Part(*(column[::step] for column in (self.position, self.up, self.move_bps, self.past_sign, self.ts_ns)))


@dataclass(frozen=True)
class Dataset:
    values: npt.NDArray[np.float32]  # (rows of all instruments, F)
    ts_ns: Int64  # (rows of all instruments,) receive time
    window: int
    train: Part
    validation: Part
    test: Part
    return_scale_bps: float  # mean |move| over the horizon on all training rows, unchanged mids included
    unchanged_share: float  # share of training rows whose mid did not change: left out, they have no direction
    label_span_s: float  # median time from a row to its label
    instruments: tuple[Instrument, ...]
    sources: tuple[tuple[str, str], ...]  # (file, sha256)

    def windows(self, position: Int64) -> npt.NDArray[np.float32]:
        """``(N, W, F)`` raw features; a copy."""
        return self.values[position[:, None] + np.arange(1 - self.window, 1)]


def feature_spec(features: Features) -> FeatureSpec:
    """Raises ``DataError`` for sets and columns that do not exist."""
    if features.columns_folder:
        load_columns(Path(features.columns_folder).expanduser())
    gap = features.gap or GapPolicy(flat_rows_max=min(5, features.window - 1))
    if isinstance(features.columns, str):
        volume = features.volume or ("ticks" if features.columns == "quote40" else "trades")
        return named_spec(features.columns, features.window, features.sampling, gap, volume)
    columns = expand(features.columns)
    return FeatureSpec("own", columns, features.window, features.sampling, features.volume or "trades", gap)


def build(settings: TrainSettings, spec: FeatureSpec, folder: Path) -> Dataset:
    """Read the markets, compute rows, label and split.  Raises ``DataError`` or ``ConfigError`` when that cannot be."""
    markets = recorded_markets(settings.data, folder, spec)
    start_ns, end_ns = _ns(settings.data.start, "data.start"), _ns(settings.data.end, "data.end")
    horizon = settings.label.horizon_rows
    span_ns_max = int(settings.label.span_s_max * 1e9)
    tables: list[_Table] = []
    for market in markets:
        rows = compute_rows(spec, market.instrument, _between(market.events(), start_ns, end_ns))
        ts_ns, mid_px = np.asarray(rows.ts_recv_ns, np.int64), np.asarray(rows.mid_px, np.float64)
        tables.append(_Table.label(rows.values, ts_ns, mid_px, np.asarray(rows.warm), horizon, span_ns_max))
    used = np.sort(np.concatenate([table.ts_ns[table.usable] for table in tables]))
    if len(used) < 1000:
        raise DataError(
            f"{len(used)} labelled rows{_never(spec, tables)}",
            expected="at least 1000",
            do="add data or shorten the window or the horizon",
        )
    cuts = [
        int(used[int(len(used) * share)])
        for share in (settings.split.train, settings.split.train + settings.split.validation)
    ]
    edges = [(None, cuts[0]), (cuts[0], cuts[1]), (cuts[1], None)]
    offsets = np.cumsum([0, *(len(table.ts_ns) for table in tables)])
    parts, every_move = [], np.empty(0)
    for number, (low, high) in enumerate(edges):
        pieces = [table.part(low, high, spec.window, int(at)) for table, at in zip(tables, offsets, strict=False)]
        columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
        order = np.argsort(columns[4], kind="stable")
        position, move, past, _, ts_ns = (column[order] for column in columns)
        moved = move != 0.0
        if number == 0:
            every_move = move
        up = (move[moved] > 0).astype(np.float32)
        parts.append(Part(position[moved], up, move[moved], past[moved], ts_ns[moved]))
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if len(part) < 100 or part.up.min() == part.up.max():
            raise DataError(f"{len(part)} {name} rows of both directions", expected="at least 100", do="add data")
    spans = np.concatenate([table.span_ns[table.usable] for table in tables])
    return Dataset(
        values=np.concatenate([table.values for table in tables]),
        ts_ns=np.concatenate([table.ts_ns for table in tables]),
        window=spec.window,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        return_scale_bps=float(np.abs(every_move).mean()),
        unchanged_share=float((every_move == 0.0).mean()),
        label_span_s=float(np.median(spans)) / 1e9,
        instruments=tuple(market.instrument for market in markets),
        sources=tuple(dict.fromkeys(source for market in markets for source in market.sources)),
    )


@dataclass(frozen=True)
class _Table:
    """All rows of one instrument with their labels."""

    values: npt.NDArray[np.float32]
    ts_ns: Int64
    label_ns: Int64  # when the label is known
    move_bps: Float64
    past_sign: npt.NDArray[np.int8]
    usable: npt.NDArray[np.bool_]

    @property
    def span_ns(self) -> Int64:
        return self.label_ns - self.ts_ns

    @classmethod
    def label(
        cls,
        values: npt.NDArray[np.float32],
        ts_ns: Int64,
        mid_px: Float64,
        warm: npt.NDArray[np.bool_],
        horizon: int,
        span_ns_max: int,
    ) -> _Table:
        n = len(ts_ns)
        move = np.zeros(n)
        label_ns = np.full(n, np.iinfo(np.int64).max)
        past = np.zeros(n, np.int8)
        if n > horizon:
            change = mid_px[horizon:] - mid_px[:-horizon]
            move[:-horizon] = change / mid_px[:-horizon] * 1e4
            label_ns[:-horizon] = ts_ns[horizon:]
            past[horizon:] = np.sign(change)
        known = np.arange(n) < n - horizon
        span = np.where(known, label_ns - ts_ns, span_ns_max + 1)
        usable = warm & known & (span <= span_ns_max) & (span >= 0) & np.isfinite(move)
        return cls(values, ts_ns, label_ns, move, past, usable)

    def part(self, low: int | None, high: int | None, embargo: int, offset: int) -> tuple[npt.NDArray[np.generic], ...]:
        """Usable rows from ``low`` to ``high`` (receive time): labels known before ``high``, ``embargo`` skipped."""
        keep = self.usable.copy()
        if low is not None:
            first = int(np.argmax(self.ts_ns >= low)) if bool((self.ts_ns >= low).any()) else len(keep)
            keep[: first + embargo] = False
        if high is not None:
            keep &= self.label_ns < high
        at = np.flatnonzero(keep)
        return at + offset, self.move_bps[at], self.past_sign[at], self.label_ns[at], self.ts_ns[at]


def _never(spec: FeatureSpec, tables: Sequence[_Table]) -> str:
    """Columns that have no value in any row: what they read was never there."""
    known = np.zeros(len(spec.columns), bool)
    for table in tables:
        known |= np.isfinite(table.values).any(axis=0)
    never = [name for name, found in zip(spec.columns, known, strict=True) if not found]
    return f", no value for {', '.join(never)} in any of {sum(len(t.ts_ns) for t in tables)} rows" if never else ""


def _between(events: Iterator[MarketEvent], start_ns: int | None, end_ns: int | None) -> Iterator[MarketEvent]:
    """Events of a slice of time, and what was published before it."""
    for event in events:
        if start_ns is not None and event.ts_recv_ns < start_ns and type(event) is not Observation:
            continue
        if end_ns is not None and event.ts_recv_ns >= end_ns:
            return
        yield event


def _ns(text: str | None, key: str) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{key} is {text!r}", expected="an ISO 8601 time such as 2014-05-06T00:00:00Z") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000


def span_text(part: Part) -> tuple[str, str]:
    """First and last receive time, ISO 8601 UTC."""
    first, last = (datetime.fromtimestamp(int(part.ts_ns[i]) // 1_000_000_000, UTC) for i in (0, -1))
    return first.isoformat(), last.isoformat()


def fingerprint(sources: Sequence[tuple[str, str]], settings: TrainSettings) -> str:
    """sha256 over the files' hashes and the slice that was used."""
    digest = hashlib.sha256()
    for name, sha in sources:
        digest.update(f"{name} {sha}\n".encode())
    digest.update(f"{settings.data.start} {settings.data.end}\n".encode())
    return digest.hexdigest()
