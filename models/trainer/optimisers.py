"""Optimisers and the course of their learning rates, from settings; all of them torch's own.

Owns the choice, and what a resumed run may change: the rates themselves.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import lr_scheduler

from models.networks.network import Network
from models.trainer.fit_settings import Fit, Schedule
from models.trainer.losses import Objective

_RATES = ("lr", "initial_lr", "max_lr", "min_lr")


def make_optimiser(network: Network, objective: Objective, fit: Fit) -> torch.optim.Optimizer:
    """Of all that learns, by part; what several forecasts are weighed by learns as the network does."""
    groups = network.parameter_groups(fit.learning_rate, fit.learning_rates, fit.weight_decay)
    if objective.log_variance is not None:
        groups.append(
            {"params": [objective.log_variance], "weight_decay": 0.0, "lr": fit.learning_rate, "part": "weighing"}
        )
    if fit.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=fit.learning_rate, momentum=fit.momentum)
    if fit.optimiser == "rmsprop":
        return torch.optim.RMSprop(groups, lr=fit.learning_rate, momentum=fit.momentum)
    make = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "nadam": torch.optim.NAdam}[fit.optimiser]
    return make(groups, lr=fit.learning_rate)


class Course:
    """The learning rate over a run: ``on_step`` after each batch, ``on_epoch`` after each validation."""

    def __init__(self, optimiser: torch.optim.Optimizer, fit: Fit, steps_per_epoch: int) -> None:
        self._optimiser = optimiser
        self._told = [(float(group["lr"]), float(group["weight_decay"])) for group in optimiser.param_groups]
        schedule, self._steps = fit.schedule, steps_per_epoch * fit.epochs
        self._by_epoch = schedule.kind == "plateau"
        self._scheduler: Any
        if schedule.kind == "plateau":
            self._scheduler = lr_scheduler.ReduceLROnPlateau(
                optimiser, factor=schedule.factor, patience=schedule.patience
            )
        elif schedule.kind == "one_cycle":
            rates = [rate for rate, _ in self._told]
            warm = max(schedule.warm_up_share, 1e-9)
            self._scheduler = lr_scheduler.OneCycleLR(
                optimiser, rates, total_steps=self._steps, pct_start=warm, cycle_momentum=False
            )
        elif schedule.kind == "warm_restarts":
            self._scheduler = lr_scheduler.CosineAnnealingWarmRestarts(
                optimiser,
                T_0=schedule.cycle_epochs * steps_per_epoch,
                T_mult=schedule.cycle_growth,
                eta_min=schedule.floor * fit.learning_rate,
            )
        else:
            steps = self._steps
            self._scheduler = lr_scheduler.LambdaLR(optimiser, lambda step: share_of_rate(schedule, step, steps))

    @property
    def rate(self) -> float:
        """Of the first group."""
        return float(self._optimiser.param_groups[0]["lr"])

    def on_step(self) -> None:
        # One-cycle knows its steps and refuses one more: the rate after the last batch is nobody's.
        if not self._by_epoch and self._scheduler.last_epoch < self._steps - 1:
            self._scheduler.step()

    def on_epoch(self, cost: float) -> None:
        if self._by_epoch:
            self._scheduler.step(cost)

    def state(self) -> dict[str, Any]:
        return {
            "optimiser": self._optimiser.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "rates": [rate for rate, _ in self._told],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there.  Rates and decays that the settings changed since then keep their place in the course."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._scheduler.load_state_dict(state["scheduler"])
        ratios = [now / then for (now, _), then in zip(self._told, state["rates"], strict=True)]
        for group, ratio, (_, decay) in zip(self._optimiser.param_groups, ratios, self._told, strict=True):
            group["weight_decay"] = decay
            for name in _RATES:
                if name in group:
                    group[name] *= ratio
        bases = getattr(self._scheduler, "base_lrs", None)
        if bases is not None:
            self._scheduler.base_lrs = [base * ratio for base, ratio in zip(bases, ratios, strict=True)]


def share_of_rate(schedule: Schedule, step: int, steps: int) -> float:
    """Of a cosine: linear warm-up, then half a cosine to the floor; of a constant rate 1."""
    if schedule.kind == "constant":
        return 1.0
    warm = max(1, int(steps * schedule.warm_up_share))
    if step < warm:
        return (step + 1) / warm
    fallen = min(1.0, (step - warm) / max(1, steps - warm))
    return schedule.floor + (1.0 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * fallen))


def ends_cycle(schedule: Schedule, epoch: int) -> bool:
    """Whether patience is counted after this epoch (from 0): after each, but of warm restarts after each cycle."""
    if schedule.kind != "warm_restarts":
        return True
    end, length = schedule.cycle_epochs, schedule.cycle_epochs
    while end <= epoch:
        length *= schedule.cycle_growth
        end += length
    return epoch + 1 == end
