"""Rows of one part of a data set as the evaluation reads them: plain arrays, checked.

Owns the two tables of a part: what the baselines are fitted on, and what the network said.  Both carry instrument and
time of each row, so that a comparison on different rows cannot happen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engine.errors import DataError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Series:
    """Log returns of every bar, also of those that are no row: what GARCH and EWMA walk over.  Sorted by time."""

    instrument: Int64  # (M,) index into the run's instruments
    ts_ns: Int64  # (M,) when the bar closed
    log_return: Float64  # (M,)

    @classmethod
    def joined(cls, parts: Sequence[Series]) -> Series:
        """Of several parts, in order of time, each bar once."""
        instrument, ts_ns, log_return = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("instrument", "ts_ns", "log_return")
        )
        _, places = np.unique(np.stack([ts_ns, instrument], axis=1), axis=0, return_index=True)
        return cls(instrument[places], ts_ns[places], log_return[places])


@dataclass(frozen=True)
class Rows:
    """A part's rows.  ``label``: class numbers, a variance or a return; all but it is known at ``ts_ns``."""

    instrument: Int64  # (N,) index into the run's instruments
    ts_ns: Int64  # (N,) time of the window's last row
    label: Float64  # (N,)
    features: npt.NDArray[np.float32]  # (N, F) the tabular view of the window
    past_label: Float64 | None = None  # (N,) the label of the horizon that ended at ts_ns; for persistence
    series: Series | None = None

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def classes(self) -> Int64:
        return self.label.astype(np.int64)

    def where(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        past = None if self.past_label is None else self.past_label[chosen]
        return Rows(
            self.instrument[chosen], self.ts_ns[chosen], self.label[chosen], self.features[chosen], past, self.series
        )


@dataclass(frozen=True)
class Predictions:
    """What the network said of a part's rows: ``values (S, N, K)`` by seed; K probabilities, or one forecast."""

    instrument: Int64
    ts_ns: Int64
    values: Float64
    seeds: tuple[int, ...] = field(default=())


def rows_fingerprint(instrument: Int64, ts_ns: Int64, instruments: Sequence[str]) -> str:
    """sha256 of the instruments' names and of instrument and time of each row, in order."""
    digest = hashlib.sha256("\n".join(instruments).encode() + b"\0")
    digest.update(np.ascontiguousarray(np.asarray(instrument, np.int64)).tobytes())
    digest.update(np.ascontiguousarray(np.asarray(ts_ns, np.int64)).tobytes())
    return digest.hexdigest()


def check_rows(
    part: str, rows: Rows, *, features: Sequence[str], instruments: int, classes: int, positive: bool = False
) -> None:
    """Raises ``DataError`` that names the part and what is wrong; ``classes`` 0 for a forecast of a quantity, which may
    have to be ``positive``."""
    count = len(rows.ts_ns)
    if not count:
        raise DataError(f"the {part} part has no rows")
    lengths = {name: len(getattr(rows, name)) for name in ("instrument", "label", "features")}
    if rows.past_label is not None:
        lengths["past_label"] = len(rows.past_label)
    for name, length in lengths.items():
        if length != count:
            raise DataError(f"the {part} part has {count:,} times and {length:,} values of {name}", expected="as many")
    if rows.features.shape[1:] != (len(features),):
        raise DataError(
            f"the {part} part has {rows.features.shape[1]} feature columns", expected=f"{len(features)}, as data.json"
        )
    if not ((rows.instrument >= 0) & (rows.instrument < instruments)).all():
        raise DataError(f"the {part} part names an instrument that data.json does not list")
    _check_finite(part, "label", rows.label)
    _check_finite(part, "features", rows.features, features)
    if rows.past_label is not None:
        _check_finite(part, "past_label", rows.past_label)
    if classes:
        _check_classes(part, "label", rows.label, classes)
        if rows.past_label is not None:
            _check_classes(part, "past label", rows.past_label, classes)
    if positive and not (rows.label > 0).all():
        raise DataError(f"{int((rows.label <= 0).sum()):,} variances of the {part} part are not positive")
    if rows.series is not None:
        _check_series(part, rows.series, instruments)


def _check_classes(part: str, what: str, label: Float64, classes: int) -> None:
    odd = (label != np.floor(label)) | (label < 0) | (label >= classes)
    if odd.any():
        raise DataError(f"the {part} part has the {what} {label[odd][0]:g}", expected=f"0 to {classes - 1}")


def _check_series(part: str, series: Series, instruments: int) -> None:
    lengths = {len(series.instrument), len(series.ts_ns), len(series.log_return)}
    if len(lengths) > 1:
        raise DataError(f"the series of the {part} part have {len(lengths)} lengths", expected="one")
    if not ((series.instrument >= 0) & (series.instrument < instruments)).all():
        raise DataError(f"the series of the {part} part name an instrument that data.json does not list")
    _check_finite(part, "returns of the series", series.log_return)


def _check_finite(part: str, what: str, values: npt.NDArray[np.floating], names: Sequence[str] = ()) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        column = f" of {names[int(np.argwhere(bad)[0][1])]}" if names else ""
        raise DataError(
            f"{what}{column} in the {part} part: {int(bad.sum()):,} values are not finite",
            expected="numbers; a row without a label or with a gap is left out, never guessed",
        )


def check_predictions(
    part: str,
    said: Predictions,
    *,
    fingerprint: str,
    instruments: Sequence[str],
    seeds: Sequence[int],
    classes: int,
    positive: bool = False,
) -> None:
    """Raises ``DataError`` unless the predictions are of exactly the rows of ``fingerprint`` and of these seeds, are
    finite, are probabilities where ``classes`` is not 0, and ``positive`` where they are variances.  Needs no row
    itself: a test can stay shut meanwhile."""
    count = len(said.ts_ns)
    if len(said.instrument) != count or rows_fingerprint(said.instrument, said.ts_ns, instruments) != fingerprint:
        raise DataError(
            f"the predictions of the {part} part are of {count:,} rows that are not the rows of the baselines",
            expected="the same instruments and times in the same order",
            do="predict again from this run",
        )
    if said.seeds != tuple(seeds):
        raise DataError(
            f"the predictions of the {part} part are of the seeds {', '.join(map(str, said.seeds)) or 'none'}",
            expected=", ".join(map(str, seeds)) or "one seed or more",
        )
    wanted = (len(said.seeds), count, max(classes, 1))
    if said.values.shape != wanted:
        raise DataError(
            f"the predictions of the {part} part have the shape {said.values.shape}",
            expected=f"{wanted}: seeds, rows, classes",
        )
    if not np.isfinite(said.values).all():
        raise DataError(f"{int((~np.isfinite(said.values)).sum()):,} predictions of the {part} part are not finite")
    if classes and (said.values.min() < -1e-6 or np.abs(said.values.sum(axis=2) - 1).max() > 1e-3):
        raise DataError(f"the predictions of the {part} part are no probabilities", expected="0 to 1, with a sum of 1")
    if positive and not (said.values > 0).all():
        raise DataError(
            f"{int((said.values <= 0).sum()):,} predicted variances of the {part} part are not positive",
            expected="variances, not their logarithms",
        )
