"""What a training step makes small: the loss of each target, and how several are weighed.

Owns the formulas; which one is used is ``models.trainer.fit_settings: Loss``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

from engine.errors import ConfigError
from models.trainer.fit_settings import Loss
from models.trainer.readings import Reading
from models.trainer.settings import Distillation
from models.trainer.tasks import Target

_AUTO = {"classes": "cross_entropy", "variance": "qlike", "return": "mse"}
_OF_KIND = {
    "classes": {"cross_entropy", "weighted", "focal", "logit_adjusted"},
    "variance": {"mse", "huber", "qlike"},
    "return": {"mse", "huber"},
}
_DISTANCE_MAX = 10.0
"""Of a log variance: beyond it the exponential of the QLIKE is a straight line, or one row would throw all weights."""


def check_loss(target: Target, loss: Loss) -> None:
    """Raises ``ConfigError`` for a loss that the target cannot have."""
    kind = _AUTO[target.kind] if loss.kind == "auto" else loss.kind
    if kind not in _OF_KIND[target.kind]:
        raise ConfigError(
            f"loss {kind} of the forecast {target.name}", expected=f"one of {', '.join(sorted(_OF_KIND[target.kind]))}"
        )
    if loss.class_weights and len(loss.class_weights) != len(target.classes):
        raise ConfigError(
            f"{len(loss.class_weights)} class weights of the forecast {target.name}",
            expected=f"{len(target.classes)}, for {', '.join(target.classes)}",
        )


class TargetLoss(nn.Module):
    """Raw outputs ``(B, O)`` of all targets and values ``(B,)`` of this one to a loss of each row ``(B,)``.

    Classes come as numbers, returns and log variances standardised by the reading.  ``taught (B, O)`` are raw outputs
    of a teacher: the loss is then also that against it, of classes ``T^2 KL(teacher || ours)`` of probabilities at
    temperature T (Hinton, Vinyals and Dean 2015), else the same loss with its forecast as the value.
    """

    prior: Tensor
    weight: Tensor

    def __init__(
        self,
        target: Target,
        loss: Loss,
        reading: Reading,
        train: npt.NDArray[np.float64],
        smoothing: float,
        distillation: Distillation | None = None,
    ) -> None:
        """``train (N,)``: the target on training rows, of which shares of classes are taken."""
        super().__init__()
        check_loss(target, loss)
        self.target, self.loss, self.reading, self.smoothing = target, loss, reading, smoothing
        self.distillation = distillation
        self.kind = _AUTO[target.kind] if loss.kind == "auto" else loss.kind
        count = max(len(target.classes), 1)
        share = np.bincount(train.astype(np.int64), minlength=count) / len(train) if target.classes else np.ones(1)
        weight = np.array(loss.class_weights) if loss.class_weights else 1.0 / (count * np.maximum(share, 1e-9))
        self.register_buffer("prior", torch.tensor(share, dtype=torch.float32))
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float32))

    def forward(self, raw: Tensor, values: Tensor, taught: Tensor | None = None) -> Tensor:
        own = raw[:, self.target.outputs].float()  # (B, O of this target)
        rows = self._of_label(own, values)
        if taught is None or self.distillation is None:
            return rows
        said = taught[:, self.target.outputs]
        share = self.distillation.share
        return (1.0 - share) * rows + share * self._of_teacher(own, said)

    def _of_teacher(self, own: Tensor, said: Tensor) -> Tensor:
        assert self.distillation is not None
        if self.target.kind != "classes":
            return self._of_label(own, said[:, 0])
        heat = self.distillation.temperature
        ours, theirs = (F.log_softmax(_logits(one) / heat, dim=1) for one in (own, said))
        return heat**2 * F.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)

    def _of_label(self, own: Tensor, values: Tensor) -> Tensor:
        if self.kind == "mse":
            return (own[:, 0] - values) ** 2
        if self.kind == "huber":
            return F.huber_loss(own[:, 0], values, reduction="none", delta=self.loss.delta)
        if self.kind == "qlike":
            distance = self.reading.scale * (values - own[:, 0])  # log target less log forecast
            near = distance.clamp(max=_DISTANCE_MAX)
            return near.exp() - near - 1.0 + (distance - near) * (float(np.exp(_DISTANCE_MAX)) - 1.0)
        label = values.long()  # (B,)
        logits = _logits(own)  # (B, K)
        if self.kind == "logit_adjusted":
            logits = logits + self.loss.tau * self.prior.clamp_min(1e-9).log()
        if self.kind == "focal":
            log_p = F.log_softmax(logits, dim=1).gather(1, label[:, None])[:, 0]
            factor = (1.0 - log_p.exp()) ** self.loss.gamma
            if logits.shape[1] == 2:
                factor = factor * torch.where(label == 1, self.loss.alpha, 1.0 - self.loss.alpha)
            return -factor * log_p
        rows = F.cross_entropy(logits, label, reduction="none", label_smoothing=self.smoothing)
        return rows * self.weight[label] if self.kind == "weighted" else rows


def _logits(own: Tensor) -> Tensor:
    """``(B, K)``: of two classes the one output is the second's, against 0."""
    return torch.cat([torch.zeros_like(own), own], dim=1) if own.shape[1] == 1 else own


class Objective(nn.Module):
    """The losses of all targets as one number.

    ``uncertainty``: each has a learned log variance ``s``: ``exp(-s) L + s / 2`` of classes, half of the first term of
    a quantity (A. Kendall, Y. Gal, R. Cipolla, Multi-task learning using uncertainty, 2018).
    """

    def __init__(self, losses: Sequence[TargetLoss], weighing: Literal["uncertainty", "sum"]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        learned = weighing == "uncertainty" and len(losses) > 1
        self.log_variance = nn.Parameter(torch.zeros(len(losses))) if learned else None

    def forward(
        self, raw: Tensor, values: Tensor, weight: Tensor | None = None, taught: Tensor | None = None
    ) -> Tensor:
        """``raw (B, O)``, ``values (B, T)``, ``weight (B,)`` of each row with a mean of about 1, ``taught (B, O)``."""
        total = raw.new_zeros((), dtype=torch.float32)
        for number, loss in enumerate(self.losses):
            rows = loss(raw, values[:, number], taught)
            mean = (rows if weight is None else rows * weight).mean()
            if self.log_variance is None:
                total = total + mean
            else:
                s = self.log_variance[number]
                half = 1.0 if loss.target.kind == "classes" else 0.5
                total = total + half * torch.exp(-s) * mean + 0.5 * s
        return total
