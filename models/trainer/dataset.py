"""Recorded events to labelled rows, cut by time.

Owns what the direction task makes of them.  Rows come from the same compiled feature kernel as in a session
(``models.windows``), labels from ``models.labels``, the parts from ``models.splits``.

Leaks this is built against: one calendar cut for all instruments; a training row's label must lie before the cut
(purge of the horizon); the first ``window`` rows after a cut are left out (embargo); nothing is fitted here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.errors import DataError
from engine.features.column import load_columns
from engine.features.sampling import GapPolicy
from engine.features.sets import expand, named_spec
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.labels import LabelSpec
from models.labels.returns import past_sign
from models.splits import HeldOutPart, Spans, TrainingPart, calendar_split, cuts_by_share, cuts_by_text
from models.trainer.recorded import recorded_markets
from models.trainer.settings import Features, Split, TrainSettings
from models.windows.rows import in_memory, ns_of
from models.windows.samples import Samples, samples_of
from models.windows.store import stored
from models.windows.table import RowTable

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

_MOVE = "move_bps"


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
        return self._taken(slice(None, None, step))

    def divide(self, share: float, span_ns_max: int) -> tuple[Part, Part]:
        """In time: all but the last ``share`` of the rows, less those whose label may reach beyond, and the last."""
        cut = int(len(self) * (1.0 - share))
        known = int(np.searchsorted(self.ts_ns, self.ts_ns[cut] - span_ns_max))
        return self._taken(slice(None, known)), self._taken(slice(cut, None))

    def _taken(self, rows: slice) -> Part:
        return Part(*(column[rows] for column in (self.position, self.up, self.move_bps, self.past_sign, self.ts_ns)))


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
    slice_ns = ns_of(settings.data.start, "data.start"), ns_of(settings.data.end, "data.end")
    horizon = settings.label.horizon_rows
    label = LabelSpec(kind="change_bps", horizon_rows=horizon, span_s_max=settings.label.span_s_max)
    if settings.data.rows_folder:
        table = stored(Path(settings.data.rows_folder).expanduser(), markets, spec, {_MOVE: label}, *slice_ns)
    else:
        table = in_memory(markets, spec, {_MOVE: label}, *slice_ns)
    samples = samples_of(table, _MOVE)
    if len(samples) < 1000:
        raise DataError(
            f"{len(samples)} labelled rows{_never(table)}",
            expected="at least 1000",
            do="add data or shorten the window or the horizon",
        )
    spans = samples.spans
    split = calendar_split(spans, _cuts(settings.split, spans))
    past = _past_signs(table, horizon)
    parts = [_part(samples, part, past) for part in (split.train, split.validation, split.test)]
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if len(part) < 100 or part.up.min() == part.up.max():
            raise DataError(f"{len(part)} {name} rows of both directions", expected="at least 100", do="add data")
    every_move = samples.values[split.train.index]
    return Dataset(
        values=table.values,
        ts_ns=table.ts_ns,
        window=spec.window,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        return_scale_bps=float(np.abs(every_move).mean()),
        unchanged_share=float((every_move == 0.0).mean()),
        label_span_s=float(np.median(spans.end_ns - spans.ts_ns)) / 1e9,
        instruments=table.instruments,
        sources=table.sources,
    )


def _cuts(split: Split, spans: Spans) -> tuple[int, int]:
    if split.test_from:
        return cuts_by_text(split.validation_from, split.test_from)
    return cuts_by_share(spans, (split.train, split.validation))


def _part(samples: Samples, part: TrainingPart | HeldOutPart, past: npt.NDArray[np.int8]) -> Part:
    """The samples of a part whose mid changed: the others have no direction."""
    index = part.index[samples.values[part.index] != 0.0]
    position, move = samples.position[index], samples.values[index]
    return Part(position, (move > 0).astype(np.float32), move, past[position], samples.spans.ts_ns[index])


def _past_signs(table: RowTable, horizon: int) -> npt.NDArray[np.int8]:
    """(R,) sign of the move over the horizon before each row of the table."""
    closes = np.split(table.close_px, table.starts[1:-1])
    return np.concatenate([past_sign(close, horizon) for close in closes]).astype(np.int8)


def _never(table: RowTable) -> str:
    """Columns that have no value in any row: what they read was never there."""
    known = np.isfinite(table.values).any(axis=0)
    never = [name for name, found in zip(table.spec.columns, known, strict=True) if not found]
    return f", no value for {', '.join(never)} in any of {len(table)} rows" if never else ""


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
