"""What a study is told: one YAML file, every key known; the shipped ones lie in ``config/tune``.

Owns the settings and their checks.  Paths in the file are relative to the file.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine.errors import ConfigError
from models.evaluation.comparison import LESS_IS_BETTER
from models.trainer.scores import KNOWN, SCORE
from models.trainer.settings import TrainSettings, settings_of
from models.trainer.tasks import plan_of
from models.tuning.plain import Plain, read_plain, value_at, with_values
from models.tuning.space import Space, load_space

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "tune" / "spaces"
LESS = LESS_IS_BETTER | {SCORE}
MORE = frozenset(
    {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "pr_auc", "roc_auc", "direction_accuracy"}
    | {"r2_log", "r2_oos"}
)
"""Scores of a training run's validation rows (``models.trainer.scores``); of several forecasts: ``target.score``."""
Count = Annotated[int, Meta(ge=1, le=100_000)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Pruner(_Section, frozen=True):
    """Which trials are ended early, judged after every epoch by the score so far.

    - ``median``: worse than the median of the finished ones at the same epoch; not before ``startup_trials`` have
      finished, nor in a trial's first ``warmup_epochs``
    - ``hyperband``: brackets of successive halving (Li et al. 2018); of ``reduction_factor`` trials one goes on
    """

    kind: Literal["median", "hyperband", "none"] = "median"
    startup_trials: Count = 5
    warmup_epochs: Annotated[int, Meta(ge=0, le=10_000)] = 1
    reduction_factor: Annotated[int, Meta(ge=2, le=10)] = 3


class Folds(_Section, frozen=True):
    """How a trial is scored: on the validation part as it is, or as the mean over ``count`` runs.

    - ``walk_forward``: stretches of the validation part, each behind a training part that grows
    - ``purged``: every fold of what lies before the test, held out once; the rest is learned from, before and after
      it, but for rows that share a moment with it
    """

    kind: Literal["none", "walk_forward", "purged"] = "none"
    count: Annotated[int, Meta(ge=2, le=20)] = 3


class Finalists(_Section, frozen=True):
    """The ``top`` trials are trained again on ``seeds`` before one is chosen, by their mean ``score`` or ``profit``."""

    top: Annotated[int, Meta(ge=1, le=20)] = 3
    seeds: Annotated[tuple[int, ...], Meta(min_length=1, max_length=10)] = (1, 2, 3)
    by: Literal["score", "profit"] = "score"


class Profit(_Section, frozen=True):
    """What a position costs and, for a signal, brings; bps of the stake, a round trip.

    ``gain_bps`` and ``loss_bps``: of a signal that came true, and of one that did not.
    """

    cost_bps: Annotated[float, Meta(ge=0, le=1_000)]
    gain_bps: Annotated[float, Meta(ge=0, le=100_000)] = 0.0
    loss_bps: Annotated[float, Meta(ge=0, le=100_000)] = 0.0
    periods_per_year: Annotated[int, Meta(ge=1, le=366)] = 252


class Population(_Section, frozen=True):
    """Population-based training: ``members`` learn side by side; after every ``epochs`` the worst ``share`` of them go
    on from the weights of the best, with settings that are changed by a ``factor`` up or down."""

    members: Annotated[int, Meta(ge=2, le=100)] = 6
    generations: Annotated[int, Meta(ge=2, le=1_000)] = 4
    epochs: Count = 1
    share: Annotated[float, Meta(gt=0, le=0.5)] = 0.25
    factor: Annotated[float, Meta(gt=1, le=5)] = 1.25


class Ray(_Section, frozen=True):
    """``address`` of a cluster; ``local`` starts one on this machine and ends it.  ``workers``: trials at a time, each
    with a processor and ``gpus``."""

    address: str = "local"
    workers: Annotated[int, Meta(ge=1, le=1_000)] = 2
    gpus: Annotated[float, Meta(ge=0, le=8)] = 0.0


class TuneSettings(_Section, frozen=True):
    """``train``: the training settings that are searched around; ``network``: instead of theirs, at its defaults.
    ``space``: default the shipped one of the network.  ``during_search``: keys of the training settings, by dotted
    path, that hold for trials alone, such as fewer epochs.  ``trials``: how many the study is to have.
    """

    name: str
    train: str
    metric: str
    network: str = ""
    space: str = ""
    during_search: dict[str, Any] = {}
    method: Literal["tpe", "random", "population"] = "tpe"
    trials: Count = 30
    startup_trials: Count = 10
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 1
    pruner: Pruner = Pruner()
    folds: Folds = Folds()
    finalists: Finalists = Finalists()
    profit: Profit | None = None
    population: Population = Population()
    executor: Literal["processes", "ray"] = "processes"
    processes: Annotated[int, Meta(ge=1, le=256)] = 1
    ray: Ray = Ray()


@dataclass(frozen=True)
class Tuning:
    """A study's settings with what they name: the training settings as plain data, and the space."""

    path: Path
    settings: TuneSettings
    base: Plain
    space: Space

    @property
    def maximise(self) -> bool:
        return self.settings.metric.rpartition(".")[2] in MORE

    def for_search(self, values: Plain) -> Plain:
        """Training settings of a trial."""
        return with_values(self.base, {**self.settings.during_search, **values})

    def for_result(self, values: Plain) -> Plain:
        """Training settings of a finalist, and of what ``run.py train`` takes."""
        seeds = list(self.settings.finalists.seeds)
        return with_values(self.base, {**values, "fit.seeds": seeds, "name": f"{self.settings.name}-best"})


def load_tuning(path: Path) -> Tuning:
    """Everything that a study is told, checked before its first trial.  Raises ``ConfigError`` that names file and
    key."""
    plain = read_plain(path, "a study's settings")
    try:
        settings = msgspec.convert(plain, TuneSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}{_nearest(str(error))}", do="see config/tune for examples") from None
    _check(path, settings)
    train = path.parent / settings.train
    base = read_plain(train, "training settings")
    split = settings_of(base, str(train)).split
    if split.walk_forward is not None or split.purged is not msgspec.UNSET:
        raise ConfigError(
            f"{train}: split.{'walk_forward' if split.walk_forward else 'purged'}",
            expected="one cut; folds of a trial are the study's own",
        )
    name = settings.network or settings_of(base, str(train)).network.name
    if settings.network and settings.network != value_at(base, "network.name"):
        base["network"] = {"name": settings.network}
    space = load_space(path.parent / settings.space if settings.space else SHIPPED / f"{name}.yaml", name)
    if both := sorted(set(space.dimensions) & set(settings.during_search)):
        raise ConfigError(f"{path}: during_search.{both[0]} is searched as well", do="leave it out of one of the two")
    tuning = Tuning(path, settings, base, space)
    settings_of(with_values(base, settings.during_search), f"{path}: during_search")
    space.check(lambda values, where: settings_of(tuning.for_search(values), where))
    settings_of(tuning.for_result({}), str(path))
    _check_task(path, settings, settings_of(tuning.for_search({})))
    return tuning


def _check(path: Path, s: TuneSettings) -> None:
    def require(good: bool, seen: str, expected: str) -> None:
        if not good:
            raise ConfigError(f"{path}: {seen}", expected=expected)

    require(s.name.replace("-", "").isalnum(), f"name {s.name!r}", "letters, digits and dashes")
    known = LESS | MORE
    near = difflib.get_close_matches(s.metric, known, n=1)
    require(
        s.metric.rpartition(".")[2] in known,
        f"metric {s.metric!r}{f', did you mean {near[0]!r}?' if near else ''}",
        f"one of {', '.join(sorted(known))}",
    )
    require(
        s.finalists.by == "score" or s.profit is not None, "finalists.by profit without profit", "what a trade costs"
    )
    require(
        s.profit is None or s.folds.kind == "none",
        f"profit with folds {s.folds.kind}",
        "folds none: returns of all trials are of the same days",
    )
    alone = s.method != "population" or (s.folds.kind == "none" and s.executor == "processes")
    require(alone, f"method population with folds {s.folds.kind} and executor {s.executor}", "none and processes")


def _check_task(path: Path, s: TuneSettings, training: TrainSettings) -> None:
    """The task tells the score, and prices where a profit is asked for: a trial would find out after its training."""
    known = _scores_of(training)
    if s.metric not in known:
        raise ConfigError(
            f"{path}: metric {s.metric!r} of the task {training.task}", expected=f"one of {', '.join(sorted(known))}"
        )
    if s.profit is None:
        return
    if training.task not in ("signal", "return"):
        raise ConfigError(
            f"{path}: the profit of the task {training.task} is pending: its rows tell no prices, and there is no "
            "back-test yet",
            expected="a signal or a return",
            do="take finalists.by score, and leave out profit",
        )
    if training.task == "signal" and not s.profit.gain_bps > 0:
        raise ConfigError(f"{path}: profit of a signal without gain_bps", expected="what one brings, and loss_bps")


def _scores_of(training: TrainSettings) -> set[str]:
    """What a run of these settings tells of its validation rows, by the names that ``metric`` knows."""
    plan = plan_of(training, training.features.sampling.interval_ns)
    each = {target.name: set(KNOWN[target.kind]) for target in plan.targets}
    for target in plan.targets:
        # A direction given a true move: of whoever can say that there is none, and of a return.
        if target.kind == "return" or "FLAT" in target.classes:
            each[target.name].add("direction_accuracy")
    if plan.single:
        return each[plan.targets[0].name]
    return {f"{name}.{score}" for name, scores in each.items() for score in scores} | {SCORE}


def _nearest(message: str) -> str:
    """For an unknown key, the key that was probably meant."""
    if "unknown field" not in message:
        return ""
    key = message.split("`")[1]
    sections: list[type[msgspec.Struct]] = [TuneSettings, *_Section.__subclasses__()]
    known = [field for section in sections for field in section.__struct_fields__]
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""
