"""What can be known to be wrong before a network learns: a network, a loss, a normaliser or a score that does not fit.

Owns these checks of settings against each other; ``models.trainer.setting_checks`` owns those of single keys.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import numpy as np

from engine.errors import ConfigError, DataError
from engine.features.spec import FeatureSpec
from models import networks
from models.trainer.dataset import Dataset
from models.trainer.normalise import check_scope
from models.trainer.scores import KNOWN, RANKED
from models.trainer.settings import TrainSettings
from models.trainer.tasks import Plan, check_monitor, plan_of


def check_settings(settings: TrainSettings, spec: FeatureSpec, *, begun: bool = False) -> None:
    """Raises ``ConfigError`` for settings that no run can be made of.  Needs torch.

    ``begun``: of a run that goes on, also where what it told its scores to is not installed.
    """
    from models.trainer.distillation import teacher_of
    from models.trainer.feeding import loss_of
    from models.trainer.losses import check_loss

    plan = plan_of(settings, spec.sampling.interval_ns)
    _check_network(settings, spec, plan)
    if (teacher := teacher_of(settings)) is not None:
        _check_network(teacher, spec, plan)
    check_scope(settings.normaliser, settings.scope, spec)
    for target in plan.targets:
        check_loss(target, loss_of(settings, target))
    check_monitor(settings.fit.monitor, plan, KNOWN[plan.targets[0].kind])
    if settings.judged.primary and not plan.single:
        raise ConfigError(
            f"judged.primary {settings.judged.primary!r} of a task with {len(plan.targets)} forecasts",
            expected="none: each is judged by its own loss",
        )
    if begun:
        return
    if settings.tracking.mlflow:
        _require(
            "mlflow",
            "tracking.mlflow",
            "install the extra: pip install -e '.[cpu,train,track-mlflow]', or leave the key out",
        )
    if settings.tracking.tensorboard:
        _require("tensorboard", "tracking.tensorboard", "install the trainer: pip install -e '.[train]'")


def check_monitored(settings: TrainSettings, rows: Dataset) -> None:
    """Raises ``DataError`` where the score that chooses the epoch does not exist on the validation rows: an area under
    a curve needs rows that are of a class and rows that are not, and no epoch would be any."""
    if settings.fit.monitor not in RANKED:
        return
    (target,) = rows.plan.targets  # a score of several forecasts is none of these
    seen = rows.targets[rows.validation.every(settings.fit.eval_rows_max).index, 0]
    count = np.bincount(seen.astype(np.int64), minlength=len(target.classes))
    looked_for = count[1:] if len(target.classes) == 2 else count
    if ((looked_for > 0) & (looked_for < len(seen))).any():
        return
    absent = [name for name, rows_of in zip(target.classes, count, strict=True) if not rows_of]
    raise DataError(
        f"no validation row is {', '.join(absent)}, and fit.monitor is {settings.fit.monitor}",
        expected=f"rows of each class ({', '.join(target.classes)}) among those that are scored",
        do="move the cuts, or choose the epoch by log_loss",
    )


def tell_not_evaluated(settings: TrainSettings, rows: Dataset) -> None:
    """A line where a class is not among the validation rows: a whole training comes before the evaluation says so,
    whose baselines are fitted and chosen by them."""
    if settings.split.purged is not msgspec.UNSET:
        return
    for number, target in enumerate(rows.plan.targets):
        seen = rows.targets[rows.validation.index, number]
        there = np.unique(seen.astype(np.int64)) if target.classes else ()
        absent = [name for at, name in enumerate(target.classes) if at not in there]
        if absent:
            told = "this run can be trained and bundled, and not evaluated; move the cuts"
            print(f"no validation row is {', '.join(absent)}: {told}", file=sys.stderr)


def _check_network(settings: TrainSettings, spec: FeatureSpec, plan: Plan) -> None:
    """It takes the window, gives the task's outputs, and has the parts that ``fit.learning_rates`` names."""
    network, window, columns = settings.network, spec.window, len(spec.columns)
    networks.check(network, window=window, columns=columns)
    wanted: set[tuple[int, ...]] = {(-1, 1)}
    if plan.head == "multi_horizon":
        wanted.add((-1, plan.horizons, 1))  # a decoder gives a horizon a step
    if (shape := network.output_shape(window, 1)) not in wanted:
        raise ConfigError(
            f"network {network.name} of these settings gives {shape}",
            expected=f"one output a window, which the task {settings.task} is about",
            do="set network.mode to encoder or network.output to last",
        )
    built: Any = networks.build(network, window=window, columns=columns)
    parts = dict.fromkeys(part for each in (built, *built.members().values()) for part in each.parts())
    if unknown := sorted(settings.fit.learning_rates.keys() - parts.keys()):
        raise ConfigError(
            f"fit.learning_rates names {unknown[0]}, which is no part of the network {network.name}",
            expected=f"among {', '.join(parts)}",
        )


def _require(library: str, key: str, do: str) -> None:
    from importlib.util import find_spec

    if find_spec(library) is None:
        raise ConfigError(f"{key} needs {library}, which is not installed", do=do)
