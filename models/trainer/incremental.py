"""Incremental learning: a network that serves goes on learning from rows whose outcome is known by now, a little.

Only its head, the affine of its input norm and that of the normaliser learn, at a tenth of the rate, pulled back to
where they were (L2-SP: Li, Grandvalet, Davoine 2018), and at least half of each batch are old rows, so that what it
knew is not forgotten.  Everything else stays as it is, batch statistics and dropout included.  It is offline; nothing
here runs in a session.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from engine.errors import ConfigError
from models.networks.normalisers import Affine
from models.networks.served import Normaliser
from models.trainer.dataset import Dataset
from models.trainer.feeding import loss_of, standardised
from models.trainer.fit import Fitted
from models.trainer.forward import make_deterministic, outputs_of, raw_outputs
from models.trainer.losses import Objective, TargetLoss
from models.trainer.readings import Reading, calibrated, forecast
from models.trainer.scores import score_target
from models.trainer.settings import TrainSettings

Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]

_GAIN_MIN = 0.05


@dataclass(frozen=True)
class Refresh:
    """``rate_share``: of the rate that the network was trained with; ``replay_share``: of old rows in a batch, a half
    or more; ``l2``: what a squared distance from the champion's weights costs; ``learn_share`` and ``choose_share``: of
    the new rows, in order of time, to learn from and to choose the epoch by; the rest is held out.  ``forget_max``: by
    how much the log-loss on old rows may rise, as a share of the champion's there; the interval's upper end counts."""

    epochs: int = 4
    rate_share: float = 0.1
    replay_share: float = 0.5
    l2: float = 0.01
    learn_share: float = 0.5
    choose_share: float = 0.2
    forget_max: float = 0.01

    def check(self) -> None:
        """Raises ``ConfigError`` for values that make no refresh."""
        shares = 0 < self.learn_share < 1 and 0 < self.choose_share < 1 and self.learn_share + self.choose_share < 1
        if not (0.5 <= self.replay_share < 1 and 0 < self.rate_share <= 0.1 and self.l2 > 0 and self.epochs >= 1):
            raise ConfigError(
                f"a refresh with {self}", expected="replay_share 0.5 to 1, rate_share up to 0.1, l2 above 0, an epoch"
            )
        if not 0 < self.forget_max <= 0.1:
            raise ConfigError(f"--forget-max {self.forget_max:g}", expected="more than 0, at most 0.1")
        if not shares:
            raise ConfigError(f"a refresh with {self}", expected="shares above 0 that leave rows to hold out")


def refresh(
    champion: Fitted,
    old: Sequence[Dataset],
    new: Dataset,
    settings: TrainSettings,
    wanted: Refresh,
    *,
    normaliser: bool,
) -> Fitted:
    """The champion after ``wanted.epochs`` on ``new`` and on as many rows of ``old``, with the weights of the epoch
    that is best on the validation rows of ``new``; the champion itself is one of the candidates.

    ``old``: of the run, and of each that it went on from.  ``normaliser``: its affine learns as well (it is one for all
    seeds of a bundle).  Raises ``ConfigError`` for a network without a head of its own.
    """
    make_deterministic(settings)
    seed = champion.seed
    served = deepcopy(champion.served).eval().requires_grad_(False)
    best = replace(champion, served=deepcopy(served), epochs=0, scores={})
    best.scores = scored(best, new)
    learning = _learning(served)
    affine = ColumnAffine(served.normaliser) if normaliser and ColumnAffine.fits(served.normaliser) else None
    if affine is not None:
        learning += list(affine.parameters())
    anchors = [p.detach().clone() for p in learning]
    replay = _Replay(old)
    losses = [
        TargetLoss(target, loss_of(settings, target), Reading(), replay.targets[:, at], 0.0)
        for at, target in enumerate(new.plan.targets)
    ]
    objective = Objective(losses, "sum")
    rate = settings.fit.learning_rate * wanted.rate_share
    optimiser = torch.optim.Adam(learning, lr=rate)
    values = standardised(new, new.targets, [Reading()] * len(losses))
    batch = 256 if isinstance(settings.fit.batch, str) else settings.fit.batch
    for epoch in range(wanted.epochs):
        random = np.random.default_rng([seed, epoch])
        for of_old, of_new in _mixed(np.arange(len(replay)), new.train.index, batch, wanted.replay_share, random):
            before = replay.rows(of_old)
            windows = np.concatenate([before[0], new.samples.windows(of_new)])
            assets = np.concatenate([before[1], new.numbers[of_new]])
            targets = np.concatenate([before[2], values[of_new]])
            optimiser.zero_grad(set_to_none=True)
            if affine is not None:
                affine.put()
            raw = outputs_of(served, torch.from_numpy(windows), torch.from_numpy(assets))
            pull = sum(((p - anchor) ** 2).sum() for p, anchor in zip(learning, anchors, strict=True))
            (objective(raw, torch.from_numpy(targets)) + wanted.l2 * pull).backward()
            nn.utils.clip_grad_norm_(learning, settings.fit.gradient_norm_max)
            optimiser.step()
        if affine is not None:
            affine.put()
        one = Fitted(seed, served, _calibrated(served, new, champion.readings), {}, epoch + 1)
        one.scores = scored(one, new)
        if one.scores["log_loss"] < best.scores["log_loss"]:
            best = replace(one, served=_plain(served))
    best.served.temperature.fill_(best.readings[0].temperature)
    return best


class _Replay:
    """Training rows of several runs as one list, in the order of ``old``.  ``targets (N, T)``."""

    def __init__(self, old: Sequence[Dataset]) -> None:
        self._old = tuple(old)
        self._starts = np.cumsum([0, *(len(data.train) for data in old)])
        self.targets = np.concatenate([data.targets[data.train.index] for data in old])
        plain = [Reading()] * self.targets.shape[1]
        self._values = [standardised(data, data.targets, plain) for data in old]

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, chosen: Int64) -> tuple[Float32, Int64, Float32]:
        """Windows ``(N, W, F)``, asset numbers and standardised targets of those numbers; grouped by run."""
        found = []
        for number, (data, values) in enumerate(zip(self._old, self._values, strict=True)):
            start, end = self._starts[number : number + 2]
            own = data.train.index[chosen[(chosen >= start) & (chosen < end)] - start]
            found.append((data.samples.windows(own), data.numbers[own], values[own]))
        windows, assets, targets = zip(*found, strict=True)
        return np.concatenate(windows), np.concatenate(assets), np.concatenate(targets)


def scored(one: Fitted, data: Dataset) -> dict[str, float]:
    """On the validation rows of ``data``, of its first forecast."""
    target, rows = data.plan.targets[0], data.validation
    said = forecast(target, one.readings[0], raw_outputs(one.served, data, rows))
    return score_target(target, data.targets[rows.index, 0], said)


def _calibrated(served: nn.Module, data: Dataset, readings: list[Reading]) -> list[Reading]:
    raw = raw_outputs(served, data, data.validation)
    rows = data.validation.index
    return [
        calibrated(target, reading, raw, data.targets[rows, at])
        for at, (target, reading) in enumerate(zip(data.plan.targets, readings, strict=True))
    ]


def _mixed(
    old: Int64, new: Int64, batch: int, replay_share: float, random: np.random.Generator
) -> Iterator[tuple[Int64, Int64]]:
    """Every new row once, in batches with at least ``replay_share`` of old rows drawn beside them."""
    of_old = math.ceil(batch * replay_share)
    of_new = max(batch - of_old, 1)
    order = random.permutation(new)
    for start in range(0, len(order), of_new):
        chosen = order[start : start + of_new]
        count = math.ceil(len(chosen) * replay_share / (1.0 - replay_share))
        yield random.choice(old, count, replace=count > len(old)), chosen


def _learning(served: nn.Module) -> list[nn.Parameter]:
    """Head and input norm of the network."""
    network = served.network
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Module) or network.members():
        raise ConfigError(f"the network {type(network).__name__} has no head of its own", expected="a single network")
    norm = getattr(getattr(network, "front", None), "norm", None)
    learning = [*head.parameters(), *([] if norm is None else norm.parameters())]
    for p in learning:
        p.requires_grad_(True)
    return learning


class ColumnAffine(nn.Module):
    """Gain and shift of each normalised column, ``gain z + shift``, as other constants of the normaliser it is of.

    They learn in the unit of what the network sees: a step on a deviation of 1e-6 would be another column.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = [module]  # not a part of this one
        self._before = {name: buffer.clone() for name, buffer in module.named_buffers(recurse=False)}
        columns = len(self._before["mean" if isinstance(module, Normaliser) else "inverse"])
        self.gain = nn.Parameter(torch.ones(columns))
        self.shift = nn.Parameter(torch.zeros(columns))

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """Others have no constants: the window is their scale."""
        return isinstance(module, Normaliser | Affine)

    def put(self) -> None:
        """The normaliser computes with the gain and shift of now; gradients go through."""
        with torch.no_grad():
            self.gain.clamp_(min=_GAIN_MIN)
        (module,), before = self._module, self._before
        if isinstance(module, Normaliser):
            std = before["std"] / self.gain
            module._buffers["std"] = std
            module._buffers["mean"] = before["mean"] - self.shift * std
        else:
            # A column that was constant in training stays 0 to the network.
            moves = (before["inverse"] > 0).float()
            module._buffers["inverse"] = before["inverse"] * self.gain
            module._buffers["remainder"] = before["remainder"] * self.gain - self.shift * moves


def _plain(served: nn.Module) -> nn.Module:
    """A copy whose normaliser is as one that was fitted: constants, and what the manifest tells of them."""
    module = served.normaliser
    for name, buffer in list(module.named_buffers(recurse=False)):
        module._buffers[name] = buffer.detach()
    copied = deepcopy(served)
    if isinstance(module, Affine):
        inverse = module.inverse.double().numpy()
        scale = np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0)
        centre = module.rounded_centre.double().numpy() + module.remainder.double().numpy() * scale
        copied.normaliser = Affine(module.kind, np.where(scale > 0, centre, module.centre), scale, module.limits)
    return copied.eval().requires_grad_(False)
