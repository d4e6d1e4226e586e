"""The training loop, read top to bottom: one seed in, the best weights by validation out; every network, every task.

Owns the order of a step and of an epoch, early stopping, and what a checkpoint holds.  It never sees a test row.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from engine.errors import DataError
from models.evaluation.description import EpochLine
from models.networks.network import Network
from models.networks.served import Served
from models.splits.held_back import held_back
from models.trainer.averages import averaged, recompute_statistics
from models.trainer.dataset import Dataset, Part
from models.trainer.feeding import loss_of, standardised, training_batches
from models.trainer.forward import build_network, make_deterministic, outputs_of, raw_outputs
from models.trainer.losses import Objective, TargetLoss
from models.trainer.optimisers import Course, ends_cycle, make_optimiser
from models.trainer.readings import Reading, calibrated, forecast, unit_of
from models.trainer.scores import cost, monitored, naive_loss, named, score_target, signal_threshold
from models.trainer.settings import TrainSettings
from models.windows.loader import Batch, Place, batches

Float64 = npt.NDArray[np.float64]
State = dict[str, Any]
OnEpoch = Callable[[State, EpochLine | None], None]
"""Called after each epoch with all that is needed to go on from there, and its scores; None for a member's epoch."""
Report = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0 to 1."""

_TRAIN_SCORED = 2_048
_STATISTICS_BATCHES = 64
_BETTER_BY = 1e-5


@dataclass
class Fitted:
    """One seed: the module with the best weights, how its outputs are read, the scores of its best epoch."""

    seed: int
    served: Served
    readings: list[Reading]
    scores: dict[str, float]
    epochs: int


@dataclass
class _Best:
    """The epoch to keep so far, and how long none was better."""

    cost: float = math.inf
    weights: State = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    without: int = 0
    improved: bool = False
    """Since patience was counted last."""


def fit_seed(
    data: Dataset,
    settings: TrainSettings,
    normaliser: nn.Module,
    seed: int,
    *,
    saved: State | None = None,
    on_epoch: OnEpoch = lambda _state, _line: None,
    report: Report = lambda _text, _share: None,
) -> Fitted:
    """Train with one seed, from the beginning or from what ``on_epoch`` was given.

    ``normaliser`` is fitted already; it has no weights, and all seeds share it.  Members of an ensemble are fitted
    first, each alone; what combines them learns from later rows that they did not see, none of whose labels reach into
    theirs.  Raises ``DataError`` when a part of the rows is less than a batch or no epoch's loss is a number.
    """
    device = make_deterministic(settings)
    torch.manual_seed(seed)
    net = build_network(settings, data)
    served = Served(normaliser, net).to(device)
    members = list(net.members().items())
    earlier = later = data.train
    if net.held_back > 0:
        first, second = held_back(data.train.part, data.samples.spans, net.held_back)
        earlier, later = Part(data.samples, first), Part(data.samples, second)
    stages: list[tuple[str, Network, Part]] = [(f"seed {seed}, {name}", member, earlier) for name, member in members]
    stages.append((f"seed {seed}", net, later))
    first_stage = 0
    if saved is not None:
        served.load_state_dict(saved["served"])
        first_stage = saved["stage"]
    fitted = None
    for number in range(first_stage, len(stages)):
        name, network, part = stages[number]
        member = network is not net
        if member:
            network.requires_grad_(True)
        stage = Stage(data, settings, Served(served.normaliser, network), part, seed, number, device)
        if saved is not None and number == first_stage:
            stage.restore(saved)

        def keep(inner: State, line: EpochLine, number: int = number, member: bool = member) -> None:
            state = {"seed": seed, "stage": number, "served": served.state_dict(), **inner}
            on_epoch(state, None if member else line)

        def told(share: float, name: str = name, number: int = number) -> None:
            report(name, (number + share) / len(stages))

        fitted = stage.run(keep, told)
        if member:
            network.requires_grad_(False)
    assert fitted is not None
    if len(data.plan.targets) == 1 and data.plan.targets[0].kind == "classes":
        served.temperature.fill_(fitted.readings[0].temperature)
    report(f"seed {seed}", 1.0)
    return replace(fitted, served=served.eval())


class Stage:
    """One network that learns: a member of an ensemble, or the whole."""

    def __init__(
        self,
        data: Dataset,
        settings: TrainSettings,
        served: Served,
        part: Part,
        seed: int,
        number: int,
        device: torch.device,
    ) -> None:
        fit = settings.fit
        self.data, self.settings, self.fit = data, settings, fit
        self.served, self.part, self.seed, self.device = served, part, seed, device
        self.network: Network = served.network
        self.validation = data.validation.every(fit.eval_rows_max)
        self.scored = part.every(min(fit.eval_rows_max, _TRAIN_SCORED))
        units = [unit_of(data, each) for each in range(len(data.plan.targets))]
        self.best = _Best(readings=units)
        self.epoch = 0
        self.learning = [p for p in self.network.parameters() if p.requires_grad]
        self.values, self.easy = standardised(data, data.targets, units), None
        if data.easy is not None:
            self.easy = standardised(data, data.easy[:, None], units)
        train = data.train.index
        teaching = None if data.taught is None or settings.distillation is msgspec.UNSET else settings.distillation
        losses = [
            TargetLoss(target, loss_of(settings, target), unit, data.targets[train, at], fit.label_smoothing, teaching)
            for at, (target, unit) in enumerate(zip(data.plan.targets, units, strict=True))
        ]
        self.objective = Objective(losses, settings.weighing).to(device)
        self.naive = [
            naive_loss(target, data.targets[train, at], data.targets[self.validation.index, at])
            for at, target in enumerate(data.plan.targets)
        ]
        if self.learning:
            self.row_weight, self.loader = training_batches(data, settings, part, seed + 1_000_003 * number)
            self.optimiser = make_optimiser(self.network, self.objective, fit)
            self.course = Course(self.optimiser, fit, self.loader.steps)
            self.average = averaged(served, fit.ema) if fit.ema else None
            self.ends: AveragedModel | None = None
        self.forward: Any = self._outputs
        if device.type == "cuda" and fit.gpu.compile:
            self.forward = torch.compile(self._outputs)

    # --- the loop -------------------------------------------------------------------------------------------------

    def run(self, keep: Callable[[State, EpochLine], None], told: Callable[[float], None]) -> Fitted:
        """Epochs until the last one, or until patience is over; then the best weights."""
        if not self.learning and self.epoch == 0:
            line = self._judge(0.0, 0.0, 0.0)
            keep(self.state(), line)
        while self.learning and self.epoch < self.fit.epochs and self.best.without <= self.fit.patience:
            began = time.monotonic()
            rate = self.course.rate
            loss = self._learn(told)
            line = self._judge(loss, rate, round(time.monotonic() - began, 3))
            keep(self.state(), line)
        if self.best.cost == math.inf:
            raise DataError(
                "the validation loss was in no epoch a number", do="lower fit.learning_rate, or scale the columns"
            )
        self.served.load_state_dict(self.best.weights)
        return Fitted(self.seed, self.served, self.best.readings, self.best.scores, self.epoch)

    def _learn(self, told: Callable[[float], None]) -> float:
        """One epoch; the mean loss of its steps."""
        easy = self.settings.curriculum is not None and self.epoch < self.settings.curriculum.epochs
        values = self.easy if easy and self.easy is not None else self.values
        self.served.train()
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(self.loader.epoch()):
            total += self.step(batch, values)
            if number % 16 == 0:
                told((self.epoch + number / self.loader.steps) / self.fit.epochs)
        return float(total) / self.loader.steps

    def step(self, batch: Batch, values: npt.NDArray[np.float32]) -> Tensor:
        """Learn from one batch; its loss."""
        x = self._to_device(batch.windows)  # (B, W, F)
        wanted = self._to_device(values[batch.index])  # (B, T)
        weight = None if self.row_weight is None else self._to_device(self.row_weight[batch.index])  # (B,)
        asset = self._to_device(self.data.numbers[batch.index])  # (B,)
        taught = None if self.data.taught is None else self._to_device(self.data.taught[batch.index])  # (B, O)
        self.optimiser.zero_grad(set_to_none=True)
        with self._precision():
            raw = self.forward(x, asset)  # (B, O)
        loss = self.objective(raw, wanted, weight, taught)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learning, self.fit.gradient_norm_max)
        self.optimiser.step()
        self.course.on_step()
        if self.average is not None:
            self.average.update_parameters(self.served)
        return loss.detach()

    def _judge(self, loss: float, rate: float, seconds: float) -> EpochLine:
        """Score the epoch on validation rows, and keep its weights where they are the best."""
        judged = self._averaged()
        if judged is not self.served:
            recompute_statistics(judged, self._some_windows(), lambda x, asset: outputs_of(judged, x, asset))
        raw = raw_outputs(judged, self.data, self.validation)
        scores, readings = self._scored(raw)
        seen = raw_outputs(judged, self.data, self.scored)
        trained = self._scores_of(self.scored, seen, readings, self._thresholds(raw, readings))
        name = monitored(self.data.plan, self.fit.monitor)
        # Epochs are compared after calibration: what is wrong by a temperature alone gets repaired anyway.
        spent = cost(name, scores) if np.isfinite(raw).all() else math.inf
        best = self.best
        if spent < best.cost - _BETTER_BY * (abs(best.cost) if math.isfinite(best.cost) else 0.0):
            best.cost, best.readings, best.scores, best.improved = spent, readings, scores, True
            best.weights = {key: value.detach().clone() for key, value in judged.state_dict().items()}
        line = EpochLine(self.seed, self.epoch, _finite({"loss": loss, **trained}), _finite(scores), rate, seconds)
        if self.learning:
            self.course.on_epoch(spent)
            if ends_cycle(self.fit.schedule, self.epoch):
                best.without, best.improved = (0 if best.improved else best.without + 1), False
        self.epoch += 1
        return line

    def _averaged(self) -> Served:
        """What is judged: the weights as they are, their average over steps, or that over the ends of last epochs."""
        if not self.learning:
            return self.served
        if self.average is not None:
            return self.average.module
        if self.fit.swa_epochs is msgspec.UNSET or self.epoch < self.fit.epochs - self.fit.swa_epochs:
            return self.served
        if self.ends is None or self.epoch == self.fit.epochs - self.fit.swa_epochs:
            self.ends = AveragedModel(self.served)
        self.ends.update_parameters(self.served)
        return self.ends.module

    # --- scores ---------------------------------------------------------------------------------------------------

    def _scored(self, raw: Float64) -> tuple[dict[str, float], list[Reading]]:
        """Scores on validation rows, and the readings that were calibrated there."""
        if not np.isfinite(raw).all():
            return {}, self.best.readings
        rows = self.validation.index
        readings = [
            calibrated(target, reading, raw, self.data.targets[rows, at])
            for at, (target, reading) in enumerate(zip(self.data.plan.targets, self.best.readings, strict=True))
        ]
        return self._scores_of(self.validation, raw, readings, self._thresholds(raw, readings)), readings

    def _thresholds(self, raw: Float64, readings: list[Reading]) -> list[float | None]:
        if not np.isfinite(raw).all():
            return [None] * len(readings)
        rows = self.validation.index
        return [
            signal_threshold(target, self.data.targets[rows, at], forecast(target, reading, raw))
            for at, (target, reading) in enumerate(zip(self.data.plan.targets, readings, strict=True))
        ]

    def _scores_of(
        self, part: Part, raw: Float64, readings: list[Reading], thresholds: list[float | None]
    ) -> dict[str, float]:
        if not np.isfinite(raw).all():
            return {}
        plan = self.data.plan
        each = [
            score_target(target, self.data.targets[part.index, at], forecast(target, reading, raw), threshold)
            for at, (target, reading, threshold) in enumerate(zip(plan.targets, readings, thresholds, strict=True))
        ]
        return named(plan, each, self.naive)

    # --- tensors --------------------------------------------------------------------------------------------------

    def _outputs(self, x: Tensor, asset: Tensor) -> Tensor:
        return outputs_of(self.served, x, asset)

    def _to_device(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def _precision(self) -> Any:
        if self.device.type == "cuda" and self.fit.gpu.bf16:
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()

    def _some_windows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Evenly spread training windows, enough for a mean and a variance, in whole batches: each counts alike."""
        part = self.part.every(_STATISTICS_BATCHES * self.loader.batch)
        for batch in batches(part.part, self.data.samples, self.loader.batch):
            if len(batch.index) < self.loader.batch:
                return
            yield self._to_device(batch.windows), self._to_device(self.data.numbers[batch.index])

    # --- where it is ----------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Everything that decides how the stage goes on, as tensors and plain values."""
        best = self.best
        kept: State = {
            "epoch": self.epoch,
            "rng": torch.get_rng_state(),
            "best": {
                "cost": best.cost,
                "weights": best.weights,
                "readings": msgspec.to_builtins(best.readings),
                "scores": best.scores,
                "without": best.without,
                "improved": best.improved,
            },
        }
        if self.device.type == "cuda":
            kept["cuda_rng"] = torch.cuda.get_rng_state()
        if self.learning:
            kept["objective"] = self.objective.state_dict()
            kept["course"] = self.course.state()
            kept["place"] = msgspec.to_builtins(self.loader.place)
            kept["average"] = None if self.average is None else self.average.state_dict()
            kept["ends"] = None if self.ends is None else self.ends.state_dict()
        return kept

    def restore(self, saved: State) -> None:
        """Go on from ``state``."""
        best = saved["best"]
        self.epoch = saved["epoch"]
        self.best = _Best(**{**best, "readings": msgspec.convert(best["readings"], list[Reading])})
        if self.learning and "place" in saved:
            self.objective.load_state_dict(saved["objective"])
            self.course.restore(saved["course"])
            self.loader.resume(msgspec.convert(saved["place"], Place))
            if self.average is not None:
                self.average.load_state_dict(saved["average"])
            if saved.get("ends") is not None:
                self.ends = AveragedModel(self.served)
                self.ends.load_state_dict(saved["ends"])
        torch.set_rng_state(saved["rng"])
        if "cuda_rng" in saved:
            torch.cuda.set_rng_state(saved["cuda_rng"])


def _finite(scores: dict[str, float]) -> dict[str, float]:
    """JSON has no word for what is no number."""
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def forecasts(fitted: Fitted, data: Dataset, part: Part) -> list[Float64]:
    """Of each target ``(N, K)``: probabilities, or a forecast in the unit of the label."""
    raw = raw_outputs(fitted.served, data, part)
    return [forecast(target, reading, raw) for target, reading in zip(data.plan.targets, fitted.readings, strict=True)]
