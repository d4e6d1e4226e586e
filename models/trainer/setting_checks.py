"""What values a training file may have: ranges of keys, and keys that go together.

Owns the checks that need neither torch nor data; ``models.trainer.checks`` owns those that need a network or rows.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from engine.errors import ConfigError
from engine.instruments import AssetClass
from models.manifest import ANY

if TYPE_CHECKING:
    from models.trainer.settings import TrainSettings

_DAYS_MAX: Final = 36_500
_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "direction": ("change_bps",),
    "classes": ("class", "book_point", "book_smoothed", "book_smoothed_both"),
    "signal": ("barrier",),
    "return": ("return",),
    "variance": ("parkinson_variance", "realised_variance"),
    "regime": ("regime", "regime_ending_next"),
    "multi_horizon": ("horizons",),
}
"""The kinds that a task can learn."""


def check_keys(where: str, s: TrainSettings) -> None:
    """Raises ``ConfigError`` that begins with ``where`` for a value that makes no run, whatever the data."""

    def require(good: bool, seen: str, expected: str) -> None:
        if not good:
            raise ConfigError(f"{where}: {seen}", expected=expected)

    require(s.name.replace("-", "").isalnum(), f"name {s.name!r}", "letters, digits and dashes")
    require(bool(s.data.files or s.data.catalogue), "data.files is empty", "at least one file, or a catalogue")
    require(not (s.data.files and s.data.catalogue), "data.files and data.catalogue", "one of the two")
    require(bool(s.data.files or s.data.instruments), "data.catalogue", "the instruments to train on")
    require(
        bool(s.split.validation_from) == bool(s.split.test_from),
        f"split.validation_from {s.split.validation_from!r} and split.test_from {s.split.test_from!r}",
        "both or none",
    )
    require(
        min(s.split.train, s.split.validation) > 0 and s.split.train + s.split.validation < 1,
        f"split {s.split.train} and {s.split.validation}",
        "positive shares that leave some for the test",
    )
    forward, origin = s.split.walk_forward, s.split.origin
    require(
        not origin or forward is not None,
        f"split.origin {origin} without split.walk_forward",
        "the walk-forward that it is an origin of",
    )
    if forward is not None:
        seen = f"split.origin {origin} of a walk-forward with {forward.origins} origins"
        require(origin <= forward.origins, seen, f"1 to {forward.origins}: a run trains one of them")
    if s.split.purged is not msgspec.UNSET:
        folds, fold = s.split.purged.folds, s.split.purged.fold
        require(s.split.walk_forward is None, "split.purged with split.walk_forward", "one of the two")
        require(fold <= folds, f"split.purged.fold {fold}", f"1 to {folds}")
    unknown = [name for name in s.scope.asset_classes if name not in (*AssetClass, ANY)]
    near = difflib.get_close_matches(unknown[0], list(AssetClass), n=1) if unknown else []
    require(
        bool(s.scope.asset_classes) and not unknown,
        f"scope.asset_classes {', '.join(unknown) or 'empty'}{f', did you mean {near[0]}?' if near else ''}",
        f"among {', '.join(AssetClass)}: a bundle of it would serve nobody",
    )
    require(
        s.expires_days is None or 0 < s.expires_days <= _DAYS_MAX,
        f"expires_days {s.expires_days}",
        f"more than 0, at most {_DAYS_MAX:,}, or none",
    )
    strange = [figure.name for figure in s.judged.figures if not math.isfinite(figure.value)]
    require(not strange, f"judged.figures: {', '.join(strange)} is no number", "a finite value of each")
    weights = [weight for loss in (s.loss, *s.losses.values()) for weight in loss.class_weights]
    require(all(map(math.isfinite, weights)), f"class_weights {weights}", "finite numbers")
    require(
        s.curriculum is None or s.curriculum.epochs < s.fit.epochs,
        f"curriculum.epochs {s.curriculum.epochs if s.curriculum else 0} of fit.epochs {s.fit.epochs}",
        "fewer: the label of the task would never be learned",
    )
    require(
        s.normaliser.clip is None or s.normaliser.kind in ("min_max", "z_score", "robust"),
        f"normaliser.clip {s.normaliser.clip} with normaliser.kind {s.normaliser.kind}",
        "no clip: only min_max, z_score and robust have that choice",
    )
    try:
        s.network.check()
        s.fit.check()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.seen}", expected=error.expected) from None
    _check_labels(s, require)
    _check_distillation(where, s, require)
    require(
        0 < s.entries.sell_quantile < s.entries.buy_quantile < 1,
        f"entries {s.entries.sell_quantile} and {s.entries.buy_quantile}",
        "0 < sell_quantile < buy_quantile < 1",
    )


def _check_distillation(where: str, s: TrainSettings, require: Callable[[bool, str, str], None]) -> None:
    if s.distillation is msgspec.UNSET:
        return
    try:
        s.distillation.network.check()
    except ConfigError as error:
        raise ConfigError(f"{where}: distillation: {error.seen}", expected=error.expected) from None
    seeds = s.distillation.seeds
    require(len(set(seeds)) == len(seeds), f"distillation.seeds {list(seeds)}", "each seed once")
    # A smoothed teacher says less of the other classes (R. Müller, S. Kornblith, G. Hinton 2019).
    require(
        not s.fit.label_smoothing,
        f"distillation with fit.label_smoothing {s.fit.label_smoothing:g}",
        "fit.label_smoothing 0: the teacher softens already",
    )
    require(s.curriculum is None, "distillation with a curriculum", "one of the two: a teacher knows one label")


def _check_labels(s: TrainSettings, require: Callable[[bool, str, str], None]) -> None:
    several = s.task == "multi_task"
    require(
        set(s.labels) == ({"return", "variance", "regime"} if several else set()),
        f"task {s.task} with labels {', '.join(s.labels) or 'none'}",
        "labels return, variance and regime" if several else "its one label under `label`",
    )
    wanted = (
        "labels return, variance and regime" if several else f"label, of kind {' or '.join(_KINDS.get(s.task, ()))}"
    )
    require((s.label is None) == several, f"task {s.task} with{'' if s.label else 'out'} a label", wanted)
    kinds = {s.task: s.label.kind} if s.label else {name: label.kind for name, label in s.labels.items()}
    for task, kind in kinds.items():
        require(kind in _KINDS[task], f"task {task} with a label of kind {kind}", f"one of {', '.join(_KINDS[task])}")
    for label in (s.label, *s.labels.values()):
        if label is not None:
            require(label.horizon_rows >= 1, f"a label with horizon_rows {label.horizon_rows}", "at least 1")
            bounds = (label.threshold, label.target, label.stop)
            finite = all(one.is_finite() for one in bounds) and math.isfinite(label.span_s_max)
            require(finite, f"a label of kind {label.kind} with a bound that is no finite number", "finite ones")
            require(not label.log, "a label with log", "the variance: the loop takes its logarithm")
    names = set(s.labels) or {s.task}
    for name in s.losses:
        require(several and name in names, f"losses.{name}", f"losses of {', '.join(sorted(names))} in multi_task")
    easy = s.curriculum
    if easy is not None:
        require(
            s.label is not None and s.task != "multi_horizon" and easy.label.kind in _KINDS[s.task],
            f"curriculum with a label of kind {easy.label.kind} in task {s.task}",
            "a task of one label, and a label that the task could learn",
        )
    classes = {"direction", "classes", "signal", "regime"}
    require(not s.oversampling or s.task in classes, f"oversampling in task {s.task}", "a task of classes")
    require(not s.weights.classes or s.task in classes, f"weights.classes in task {s.task}", "a task of classes")
    require(
        not (s.oversampling and s.weights.as_ == "draws" and (s.weights.classes or s.weights.uniqueness)),
        "oversampling with weights as draws",
        "one of the two",
    )
    require(not s.judged.break_even or s.task == "signal", "judged.break_even", "task signal, which trades")
