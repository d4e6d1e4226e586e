"""Recorded events to labelled rows of three parts, cut by time: what a training run is made of.

Owns the order in which rows, labels and parts come to be.  Rows come from the same compiled feature kernel as in a
session (``models.windows``), labels from ``models.labels``, the parts from ``models.splits``.

Leaks this is built against: one calendar cut for all instruments; a training row's label must lie before the cut
(purge of the horizon); the first ``window`` rows after a cut are left out (embargo); what is learned of labels, which
volatility counts as high, is learned from training rows.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import ConfigError, DataError
from engine.features.column import load_columns
from engine.features.sampling import GapPolicy
from engine.features.sets import expand, named_spec
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument
from models.assets import AssetIds
from models.labels.regimes import high_volatility
from models.splits import (
    HeldOutPart,
    Spans,
    TrainingPart,
    calendar_split,
    cuts_by_share,
    cuts_by_text,
    purged_fold,
    walk_forward,
)
from models.splits.parts import Split as Parts
from models.trainer.recorded import Recorded, recorded_markets
from models.trainer.settings import Features, Split, TrainSettings
from models.trainer.tasks import EASY, Plan, Target, check_classes, joined, plan_of
from models.windows.rows import in_memory, ns_of
from models.windows.samples import Samples, samples_of
from models.windows.store import ask, stored
from models.windows.table import RowTable

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

_ROWS_LEAST = 1000
_PART_LEAST = 100
_EXPECTED_LEAST = 20


@dataclass(frozen=True)
class Part:
    """The rows of one part that have a target, in order of time."""

    samples: Samples
    part: TrainingPart | HeldOutPart

    @property
    def index(self) -> Int64:
        """(N,) numbers of samples."""
        return self.part.index

    @property
    def position(self) -> Int64:
        """(N,) the last row of each window in the table."""
        return self.samples.position[self.part.index]

    @property
    def ts_ns(self) -> Int64:
        """(N,) receive time."""
        return self.samples.table.ts_ns[self.position]

    def __len__(self) -> int:
        return len(self.part)

    def every(self, rows_max: int) -> Part:
        """At most ``rows_max`` evenly spaced rows, of all instruments.

        Where instruments have rows at the same times they take turns, and a step that shares a factor with their number
        would meet the same few again and again: the next one that does not is taken.
        """
        first = max(1, -(-len(self) // rows_max))
        instrument = self.samples.instrument[self.part.index]
        steps = range(first, first + len(self.samples.table.instruments) + 1)
        step = next((one for one in steps if not _passes_over(instrument, one)), first)
        return Part(self.samples, type(self.part)(self.part.index[::step]))


def _passes_over(instrument: Int64, step: int) -> bool:
    """Whether some instrument has less than half of its share among every ``step``-th row, where that is not chance."""
    expected = np.bincount(instrument) / step
    found = np.bincount(instrument[::step], minlength=len(expected))
    return bool(((found < expected / 2) & (expected >= _EXPECTED_LEAST)).any())


@dataclass(frozen=True)
class Dataset:
    """``targets (N, T)`` of all samples, one column a target of the plan; ``easy (N,)`` those of a curriculum."""

    plan: Plan
    samples: Samples
    targets: Float64
    easy: Float64 | None
    train: Part
    validation: Part
    test: Part
    assets: AssetIds
    numbers: Int64
    """(N,) asset number of each sample."""
    volatile_above: float
    """Which deviation of returns counts as high; of training rows, 0 where no target asks."""
    fingerprint: str
    """sha256 over all that decides rows, labels and parts."""
    taught: Float32 | None = None
    """(N, O) the raw outputs that would say what a teacher says of the training rows, where there is one."""

    @property
    def table(self) -> RowTable:
        return self.samples.table

    @property
    def values(self) -> Float32:
        """(rows of all instruments, F)."""
        return self.table.values

    @property
    def ts_ns(self) -> Int64:
        return self.table.ts_ns

    @property
    def window(self) -> int:
        return self.table.window

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        return self.table.instruments

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """(file, sha256)."""
        return self.table.sources

    def windows(self, position: Int64) -> Float32:
        """``(N, W, F)`` raw features; a copy."""
        return self.table.windows(position)

    def part(self, name: str) -> Part:
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    @property
    def return_scale_bps(self) -> float:
        """Of the task direction, the mean size of the move over the horizon: of every row whose label is known by the
        end of the training's, unchanged prices included."""
        ends = self.samples.spans.end_ns
        return float(np.abs(self.samples.values[ends <= ends[self.train.index].max()]).mean())

    @property
    def move_bps(self) -> Float64:
        """(N,) of the task direction, the move of the mid over the horizon."""
        return self.samples.values


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


def build(
    settings: TrainSettings,
    spec: FeatureSpec,
    folder: Path,
    progress: Callable[[str, float], None] = lambda _text, _share: None,
    *,
    only: Collection[str] | None = None,
) -> Dataset:
    """Read the markets, compute rows, label and split.  ``only``: names of the files that a run had of its catalogue,
    which has others by now; None: whatever is there.

    Raises ``DataError`` or ``ConfigError`` when that cannot be.
    """
    _slice_ns(settings)  # what is wrong there is told before files are read
    plan = plan_of(settings, spec.sampling.interval_ns)
    markets = recorded_markets(settings.data, folder, spec, only)
    slice_ns = _slice_ns(settings)
    if settings.data.rows_folder:
        place = Path(settings.data.rows_folder).expanduser()
        table = stored(place, markets, spec, plan.labels, *slice_ns, progress)
    else:
        table = in_memory(markets, spec, plan.labels, *slice_ns)
    if not len(table):
        raise DataError(
            f"no row in all of {', '.join(sorted({name for name, _ in table.sources}))}",
            expected="prices within data.start and data.end that the quality gate lets through",
            do="look at data.start and data.end, and at what it drops: python run.py data quality FILE",
        )
    samples = samples_of(table, joined({name: table.labels[name] for name in plan.labels}))
    if len(samples) < _ROWS_LEAST:
        raise DataError(
            f"{len(samples)} labelled rows{_never(table)}",
            expected=f"at least {_ROWS_LEAST}",
            do="add data or shorten the window or the horizon",
        )
    assets = AssetIds.of(instrument.id for instrument in table.instruments)
    whole = Part(samples, HeldOutPart(np.arange(len(samples))))
    undivided = Dataset(
        plan=plan,
        samples=samples,
        targets=np.empty((len(samples), 0)),
        easy=None,
        train=whole,
        validation=whole,
        test=whole,
        assets=assets,
        numbers=assets.numbers([instrument.id for instrument in table.instruments], samples.instrument),
        volatile_above=0.0,
        fingerprint=_fingerprint(settings, spec, plan, markets),
    )
    return divided(undivided, settings, _split(settings.split, samples.spans))


def divided(rows: Dataset, settings: TrainSettings, parts: Parts) -> Dataset:
    """The same rows in these parts, with all that is learned of labels learned anew from their training part.

    Raises ``DataError`` for a part with too few rows, or a class that no training row is of.
    """
    plan, samples = rows.plan, rows.samples
    split = _judged(settings.split, samples, parts)
    volatile_above = _volatile_above(settings, plan, samples, split.train)
    targets = np.stack([_targets(one, samples, settings, volatile_above) for one in plan.targets], axis=1)
    easy = None
    if settings.curriculum is not None:
        easy = _targets(replace(plan.targets[0], label=EASY), samples, settings, volatile_above)
    train, validation, test = (
        _part(samples, part, targets, easy) for part in (split.train, split.validation, split.test)
    )
    _check_parts(plan, (train, validation, test), targets)
    return replace(
        rows,
        targets=targets,
        easy=easy,
        train=train,
        validation=validation,
        test=test,
        volatile_above=volatile_above,
    )


def identify(settings: TrainSettings, spec: FeatureSpec, folder: Path) -> tuple[str, dict[str, str]]:
    """What ``build`` would give as fingerprint, and sha256 by source: no row is computed for it."""
    plan = plan_of(settings, spec.sampling.interval_ns)
    markets = recorded_markets(settings.data, folder, spec)
    return _fingerprint(settings, spec, plan, markets), {name: sha for one in markets for name, sha in one.sources}


def _fingerprint(settings: TrainSettings, spec: FeatureSpec, plan: Plan, markets: Sequence[Recorded]) -> str:
    slice_ns = _slice_ns(settings)
    digest = hashlib.sha256(ask(markets, spec, plan.labels, *slice_ns).fingerprint().encode())
    digest.update(msgspec.json.encode([settings.task, settings.split, settings.regimes]))
    return digest.hexdigest()


def _slice_ns(settings: TrainSettings) -> tuple[int | None, int | None]:
    """The slice of time that is read, None where it has no bound.  Raises ``ConfigError`` where it goes back."""
    data = settings.data
    start, end = ns_of(data.start, "data.start"), ns_of(data.end, "data.end")
    if start is not None and end is not None and start >= end:
        raise ConfigError(f"data.start {data.start} and data.end {data.end}", expected="the first before the second")
    return start, end


def label_values(target: Target, samples: Samples) -> Float64:
    """(N,) or (N, H): what the rows of the samples carry under the target's label."""
    return np.asarray(samples.table.labels[target.label].values[samples.position], np.float64)


def _targets(target: Target, samples: Samples, settings: TrainSettings, volatile_above: float) -> Float64:
    labels = label_values(target, samples)
    bad = int((~np.isfinite(labels)).sum())
    if bad:
        raise DataError(
            f"{bad:,} labels of {target.name} are no numbers",
            expected="a number, or no label at all",
            do="look at the prices that it is made of",
        )
    return target.values(labels, volatile_above, settings.regimes.trend)


def _volatile_above(settings: TrainSettings, plan: Plan, samples: Samples, train: TrainingPart) -> float:
    for target in plan.targets:
        if target.task == "regime":
            return high_volatility(label_values(target, samples)[train.index, 0], settings.regimes.volatile_share)
    return 0.0


def _split(split: Split, spans: Spans) -> Parts:
    forward = split.walk_forward
    if forward is None:
        if split.test_from:
            cuts = cuts_by_text(split.validation_from, split.test_from)
        else:
            cuts = cuts_by_share(spans, (split.train, split.validation))
        whole = calendar_split(spans, cuts)
        if split.purged is msgspec.UNSET:
            return whole
        train, validation = purged_fold(spans, cuts[1], split.purged.folds, split.purged.fold)
        return Parts(train, validation, whole.test)
    if not 1 <= split.origin <= forward.origins:
        raise ConfigError(
            f"split.origin {split.origin} of a walk-forward with {forward.origins} origins",
            expected=f"1 to {forward.origins}: a run trains one of them",
        )
    made = walk_forward(
        spans,
        origins=forward.origins,
        first_share=forward.first_share,
        validation_share=forward.validation_share,
        embargo_ns=int(forward.embargo_s * 1e9),
    )
    return made[split.origin - 1]


def _judged(split: Split, samples: Samples, parts: Parts) -> Parts:
    """The later parts with rows of ``judged_instruments`` alone.  Raises ``ConfigError`` for one that is not there."""
    if not split.judged_instruments:
        return parts
    names = [instrument.id for instrument in samples.table.instruments]
    for name in split.judged_instruments:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise ConfigError(
                f"split.judged_instruments names {name}",
                expected=f"instruments of the data{f'; did you mean {near[0]}?' if near else ''}",
            )
    wanted = np.isin(samples.instrument, [names.index(name) for name in split.judged_instruments])
    later = [HeldOutPart(part.index[wanted[part.index]]) for part in (parts.validation, parts.test)]
    return Parts(parts.train, *later)


def _part(samples: Samples, part: TrainingPart | HeldOutPart, targets: Float64, easy: Float64 | None) -> Part:
    """The samples of a part that have all targets: a price that did not change has no direction."""
    usable = np.isfinite(targets[part.index]).all(axis=1)
    if easy is not None:
        usable &= np.isfinite(easy[part.index])
    return Part(samples, type(part)(part.index[usable]))


def _check_parts(plan: Plan, parts: Sequence[Part], targets: Float64) -> None:
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if len(part) < _PART_LEAST:
            raise DataError(
                f"{len(part)} {name} rows", expected=f"at least {_PART_LEAST}", do="add data or move the cuts"
            )
    for number, target in enumerate(plan.targets):
        check_classes(target, targets[parts[0].index, number])


def _never(table: RowTable) -> str:
    """Columns that have no value in any row: what they read was never there."""
    known = np.isfinite(table.values).any(axis=0)
    never = [name for name, found in zip(table.spec.columns, known, strict=True) if not found]
    return f", no value for {', '.join(never)} in any of {len(table)} rows" if never else ""
