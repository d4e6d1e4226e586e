"""A part of the rows as the evaluation reads it: what baselines are fitted on, and what the label was one horizon ago.

Owns the tabular view of a window and the description of the task; their types are in ``models.evaluation``.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError
from models.evaluation.description import BINARY_METRICS, KNOWN_METRICS, Columns, Task
from models.evaluation.rows import Rows, Series
from models.labels import LabelSpec
from models.trainer.dataset import Dataset, Part
from models.trainer.scores import LOSS
from models.trainer.settings import TrainSettings
from models.trainer.tasks import Target
from models.windows.table import RowTable

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

HAR = ("log_variance_1", "log_variance_5", "log_variance_22")
"""Of a variance: the logarithm of the mean Parkinson variance of the last row, week and month of days."""
_HAR_ROWS = (1, 5, 22)
_VARIANCE_MIN = 1e-12
_PARKINSON = 1.0 / (4.0 * math.log(2.0))


def feature_names(settings: TrainSettings, data: Dataset, target: Target) -> tuple[str, ...]:
    """Names of the tabular columns, in order."""
    columns = data.table.spec.columns
    means = tuple(f"mean({name})" for name in columns) if settings.judged.means else ()
    return (*columns, *means, *(HAR if target.task == "variance" else ()))


def rows_of(settings: TrainSettings, data: Dataset, target: Target, part: Part) -> Rows:
    """Each row of a part: the newest values of its window, the label, and the label of the horizon before."""
    number = data.plan.targets.index(target)
    table, position, index = data.table, part.position, part.index
    views = [table.values[position]]
    if settings.judged.means:
        views.append(np.concatenate([table.windows(some).mean(axis=1) for some in np.array_split(position, 64)]))
    series = None
    if target.task == "variance":
        daily = _parkinson(table)
        views += [_past_mean(table, daily, rows)[position, None] for rows in _HAR_ROWS]
        views[-3:] = [np.log(np.maximum(view, _VARIANCE_MIN)).astype(np.float32) for view in views[-3:]]
        ends_ns = [int(each.ts_ns.max()) for each in (data.train, data.validation)]
        series = _series(table, part, max((ns for ns in ends_ns if ns < part.ts_ns.min()), default=None))
    return Rows(
        instrument=data.samples.instrument[index],
        ts_ns=table.ts_ns[position],
        label=data.targets[index, number],
        features=np.concatenate(views, axis=1).astype(np.float32),
        past_label=_past_label(settings, data, target, part),
        series=series,
    )


def task_of(settings: TrainSettings, data: Dataset, target: Target) -> Task:
    """What the evaluation is told of a forecast.  Raises ``ConfigError`` for columns and metrics that it has not."""
    judged, names = settings.judged, feature_names(settings, data, target)
    for key in (*judged.rules, judged.volatility, judged.regime):
        if key and key not in names:
            raise ConfigError(f"judged names the column {key}", expected=f"one of {', '.join(names)}")
    default = {"signal": "pr_auc", "return": "r2_oos"}.get(target.task, LOSS[target.kind])
    primary = judged.primary if judged.primary and data.plan.single else default
    known = KNOWN_METRICS[target.kind] | (BINARY_METRICS if len(target.classes) == 2 else set())
    if primary not in known:
        raise ConfigError(f"judged.primary {primary!r}", expected=f"one of {', '.join(sorted(known))}")
    moves = "UP" in target.classes
    known |= {"direction_accuracy"} if moves else set()
    strange = [figure.metric for figure in judged.figures if figure.metric not in known]
    if strange and data.plan.single:
        raise ConfigError(f"judged.figures of {strange[0]}", expected=f"one of {', '.join(sorted(known))}")
    return Task(
        name=label_name(data.plan.labels[target.label], target, str(data.table.spec.sampling)),
        kind=target.kind,
        horizon_s=max(_horizon_s(data, target), 1e-9),
        horizon_rows=target.horizon_rows,
        primary=primary,
        classes=tuple(target.classes),
        down="DOWN" if moves else "",
        up="UP" if moves else "",
        signal="BUY" if target.task == "signal" else "",
        break_even=judged.break_even if target.task == "signal" else 0.0,
        columns=Columns(
            rules=judged.rules if target.kind == "classes" else (),
            volatility=judged.volatility if target.kind == "classes" else "",
            har=HAR if target.task == "variance" else (),
            regime=judged.regime,
        ),
        figures=tuple(figure for figure in judged.figures if figure.metric in known),
        stacked=judged.stacked is True,
    )


def label_name(label: LabelSpec, target: Target, sampling: str) -> str:
    """Says which label it is and nothing of who learns it: tests of one label are the same test (the ledger's)."""
    said = {
        name: value
        for name, value in msgspec.to_builtins(label).items()
        if name not in ("kind", "horizon_rows", "horizons", "horizons_s", "log") and value not in ("0", 0, 0.0)
    }
    told = "".join(f", {name} {value}" for name, value in said.items())
    return f"{label.kind} over {target.horizon_rows} rows{told}, {sampling}"


def _horizon_s(data: Dataset, target: Target) -> float:
    """Median time from a row to the end of this label, which may be shorter than the longest of the task."""
    labels = data.table.labels[target.label]
    position = data.samples.position
    last = labels.last[position] if target.column is None else position + target.horizon_rows
    return float(np.median(data.table.ts_ns[last] - data.table.ts_ns[position])) / 1e9


def _past_label(settings: TrainSettings, data: Dataset, target: Target, part: Part) -> Float64 | None:
    """(N,) the label of the horizon that ended at each row; where there is none, what is most usual in training.

    None for a signal: whether a target was reached before is no forecast that anybody makes.
    """
    if target.task == "signal":
        return None
    table, number = data.table, data.plan.targets.index(target)
    before = part.position - target.horizon_rows
    first = table.starts[table.instrument_of(part.position)]
    inside = before >= first
    labels = table.labels[target.label].values
    known = np.full(len(labels), np.nan)
    every = np.asarray(labels, np.float64)
    finite = np.isfinite(every) if every.ndim == 1 else np.isfinite(every).all(axis=1)
    known[finite] = target.values(every[finite], data.volatile_above, settings.regimes.trend)
    past = np.where(inside, known[np.maximum(before, 0)], np.nan)
    usual = data.targets[data.train.index, number]
    filler = float(np.bincount(usual.astype(np.int64)).argmax()) if target.classes else float(np.median(usual))
    return np.where(np.isfinite(past), past, filler)


def _parkinson(table: RowTable) -> Float64:
    """(R,) variance of each row by its range; NaN where it has no prices."""
    good = (table.low_px > 0) & (table.high_px >= table.low_px)
    ratio = np.where(good, table.high_px, 1.0) / np.where(good, table.low_px, 1.0)
    return np.where(good, _PARKINSON * np.log(ratio) ** 2, np.nan)


def _past_mean(table: RowTable, values: Float64, rows: int) -> Float64:
    """(R,) mean over the last ``rows`` rows of the same instrument, of as many as there are."""
    found = np.empty(len(values))
    for start, end in zip(table.starts[:-1], table.starts[1:], strict=True):
        own = values[start:end]
        known = np.isfinite(own)
        total = np.concatenate([[0.0], np.cumsum(np.where(known, own, 0.0))])
        count = np.concatenate([[0], np.cumsum(known)])
        last = np.arange(1, len(own) + 1)
        begin = np.maximum(last - rows, 0)
        found[start:end] = (total[last] - total[begin]) / np.maximum(count[last] - count[begin], 1)
    return found


def _series(table: RowTable, part: Part, after_ns: int | None) -> Series:
    """Log returns of every row of the table to the end of the part, from where the part before it ended: also of rows
    that are no samples, and of those that purge and embargo leave out, which a variance walks through."""
    last_ns = int(part.ts_ns.max())
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.diff(np.log(np.where(table.close_px > 0, table.close_px, np.nan)), prepend=np.nan)
    returns[table.starts[:-1][table.starts[:-1] < len(returns)]] = np.nan
    begun = True if after_ns is None else table.ts_ns > after_ns
    inside = np.flatnonzero(begun & (table.ts_ns <= last_ns) & np.isfinite(returns))
    order = inside[np.argsort(table.ts_ns[inside], kind="stable")]
    return Series(table.instrument_of(order), table.ts_ns[order], returns[order])
