"""Studies small enough for a test: files of settings, and trials that cost nothing."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import yaml

from models.tuning.trial import Outcome, Report, Task
from tests.support.training import tiny_settings

RATE = "fit.learning_rate"


def tiny_training(**fit: Any) -> dict[str, Any]:
    """Settings of a run that takes a third of a second; of all normalisers the one that has least to fit."""
    settings = tiny_settings(network={"name": "mlp", "sizes": [8]}, normaliser={"kind": "per_window"})
    settings["fit"] |= {"rows_per_epoch": 128, **fit}
    return settings


def write_study(folder: Path, *, training: dict[str, Any] | None = None, search: Any = None, **changes: Any) -> Path:
    """``study.yaml`` with ``changes``, beside the training settings and the space that it names."""
    training = training or tiny_training()
    search = search or {RATE: {"low": 1e-4, "high": 1e-1, "log": True}, "network.dropout": {"low": 0.0, "high": 0.5}}
    settings: dict[str, Any] = {
        "name": "tiny-study",
        "train": "train.yaml",
        "space": "space.yaml",
        "metric": "log_loss",
        "trials": 6,
        "startup_trials": 3,
        "pruner": {"kind": "none"},
        "finalists": {"top": 2, "seeds": [1, 2]},
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(training))
    (folder / "space.yaml").write_text(yaml.safe_dump({"network": "mlp", "search": search}))
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(settings | changes))
    return path


def rate_of(task: Task) -> float:
    return float(task.runs[0]["fit"]["learning_rate"])


def bowl(task: Task, report: Report) -> Outcome:
    """A score that is the better, the nearer the learning rate is to 0.01; three epochs."""
    distance = (math.log10(rate_of(task)) + 2) ** 2
    for epoch in (1, 2, 3):
        if task.watched and report(epoch, distance + 1 / epoch):
            return Outcome("pruned", epochs=epoch)
    seeds = task.runs[0]["fit"]["seeds"]
    by_seed = tuple(distance + 0.01 * seed for seed in seeds)
    return Outcome("complete", (sum(by_seed) / len(by_seed),), by_seed, 3, 0.1)


def bowl_that_dies_once(task: Task, report: Report) -> Outcome:
    """The third trial takes its process with it."""
    if task.number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return bowl(task, report)


def bowl_that_stops(task: Task, report: Report) -> Outcome:
    """The third trial takes the whole study with it: as a kill would, nothing is told any more."""
    if task.number == 2 and task.metric == "log_loss" and not Path(task.folders[0]).parents[2].joinpath("go").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return bowl(task, report)


def always_failing(task: Task, report: Report) -> Outcome:
    return Outcome("failed", error="no such thing")
