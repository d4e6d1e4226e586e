"""The training loop, read top to bottom: one seed in, the best weights by validation out.

Owns optimisation, early stopping and calibration.  It never sees a test row.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from engine.errors import DataError
from models import networks
from models.networks.served import Served
from models.networks.settings import NetworkSettings
from models.trainer.dataset import Dataset, Part
from models.trainer.settings import Fit

Progress = Callable[[str, float], None]
"""Called with what is being done and the share that is done, 0 to 1."""

_EVAL_BATCH = 1024
_GRADIENT_NORM_MAX = 1.0
_WARM_UP_SHARE = 0.1  # of all steps, the learning rate rises linearly


def fit_one(
    data: Dataset,
    normaliser: nn.Module,
    network: NetworkSettings,
    fit: Fit,
    seed: int,
    progress: Progress,
    *,
    span_s_max: float = 0.0,
) -> tuple[Served, float]:
    """Train with one seed.  Returns the module with the best validation log-loss, and that loss (nats, calibrated).

    ``normaliser`` is fitted already; it has no weights, and all seeds share it.  Members of an ensemble are fitted
    first, each alone; what combines them learns from later rows that they did not see, none of whose labels, of at most
    ``span_s_max``, reach into theirs.  Raises ``DataError`` when a part of the rows is less than a batch.
    """
    torch.manual_seed(seed)
    make_deterministic(fit.threads)
    random = np.random.default_rng(seed)
    net = networks.build(network, window=data.window, columns=data.values.shape[1])
    members = net.members()
    earlier = later = data.train
    if net.held_back > 0:
        earlier, later = data.train.divide(net.held_back, int(span_s_max * 1e9))
    stages = len(members) + 1
    for number, (name, member) in enumerate(members.items()):
        member.requires_grad_(True)
        report = _stage(progress, f"seed {seed}, {name}", number, stages)
        _fit(Served(normaliser, member), data, earlier, fit, random, report)
        member.requires_grad_(False)
    served = Served(normaliser, net)
    best_loss = _fit(served, data, later, fit, random, _stage(progress, f"seed {seed}", stages - 1, stages))
    progress(f"seed {seed}", 1.0)
    return served.eval(), best_loss


def _stage(progress: Progress, text: str, number: int, stages: int) -> Callable[[float], None]:
    return lambda share: progress(text, (number + share) / stages)


def _fit(
    served: Served,
    data: Dataset,
    part: Part,
    fit: Fit,
    random: np.random.Generator,
    report: Callable[[float], None],
) -> float:
    """The weights with the best validation log-loss, calibrated; returns that loss.  Without any that learn, it only
    calibrates."""
    net = served.network
    validation = data.validation.every(fit.eval_rows_max)
    best_loss, best_state, bad_epochs = math.inf, served.state_dict(), 0
    learning = [p for p in net.parameters() if p.requires_grad]
    rows = min(fit.rows_per_epoch, len(part))
    steps_per_epoch = max(1, rows // fit.batch)
    steps = steps_per_epoch * fit.epochs
    epochs = fit.epochs if learning else 0
    if epochs:
        if rows < 2:
            raise DataError(f"{rows} training rows for one stage of the network", expected="2 or more", do="add data")
        groups = net.parameter_groups(fit.learning_rate, fit.learning_rates, fit.weight_decay)
        optimiser = torch.optim.AdamW(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    loss_of = nn.BCEWithLogitsLoss()

    for epoch in range(epochs):
        served.train()
        chosen = random.permutation(len(part))[:rows]
        for step in range(steps_per_epoch):
            batch = chosen[step * fit.batch : (step + 1) * fit.batch]
            x = torch.from_numpy(data.windows(part.position[batch]))  # (B, W, F)
            up = torch.from_numpy(part.up[batch]).unsqueeze(1)  # (B, 1)
            target = up * (1 - fit.label_smoothing) + 0.5 * fit.label_smoothing
            optimiser.zero_grad(set_to_none=True)
            loss = loss_of(served.logits(x), target)
            loss.backward()
            nn.utils.clip_grad_norm_(learning, _GRADIENT_NORM_MAX)
            optimiser.step()
            schedule.step()
            if step % 16 == 0:
                report((epoch * steps_per_epoch + step) / steps)
        logits = predict_logits(served, data, validation)
        # Epochs are compared after calibration: what is wrong by a temperature alone gets repaired anyway.
        finite = bool(np.isfinite(logits).all())
        val_loss = _loss_at(temperature_of(logits, validation.up), logits, validation.up) if finite else math.inf
        if val_loss < best_loss - 1e-5:
            best_loss, bad_epochs = val_loss, 0
            best_state = {name: value.clone() for name, value in served.state_dict().items()}
        else:
            bad_epochs += 1
            if bad_epochs > fit.patience:
                break
    if epochs and best_loss == math.inf:
        raise DataError(
            "the validation loss was in no epoch a number", do="lower fit.learning_rate, or scale the columns"
        )
    served.load_state_dict(best_state)
    logits = predict_logits(served, data, validation)
    temperature = temperature_of(logits, validation.up)
    served.temperature.fill_(temperature)
    return best_loss if epochs else _loss_at(temperature, logits, validation.up)


def make_deterministic(threads: int) -> None:
    """The same settings give the same bits on the same machine: sums depend on how threads share them."""
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: linear warm-up, then half a cosine to zero."""
    warm = max(1, int(steps * _WARM_UP_SHARE))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


@torch.no_grad()
def _batched(data: Dataset, part: Part, of: Callable[[Tensor], Tensor]) -> npt.NDArray[np.float32]:
    pieces = []
    for start in range(0, len(part), _EVAL_BATCH):
        x = torch.from_numpy(data.windows(part.position[start : start + _EVAL_BATCH]))
        pieces.append(of(x).numpy())
    return np.concatenate(pieces)


def predict_logits(served: Served, data: Dataset, part: Part) -> npt.NDArray[np.float64]:
    """Uncalibrated logits ``(N,)`` in evaluation mode."""
    served.eval()
    return _batched(data, part, served.logits)[:, 0].astype(np.float64)


def predict(served: Served, data: Dataset, part: Part) -> npt.NDArray[np.float64]:
    """Calibrated probabilities ``(N,)``: what the exported graph returns."""
    served.eval()
    return _batched(data, part, served)[:, 0].astype(np.float64)


def normalised(served: Served, data: Dataset, part: Part) -> npt.NDArray[np.float32]:
    """Normalised windows ``(N, W, F)``: the same input for the baselines as for the network."""
    return _batched(data, part, served.normaliser)


def temperature_of(logits: npt.NDArray[np.float64], up: npt.NDArray[np.float32]) -> float:
    """The temperature in [0.1, 20] with the least log-loss, by golden-section search on its logarithm."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(0.1), math.log(20.0)
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    loss_a, loss_b = _loss_at(math.exp(a), logits, up), _loss_at(math.exp(b), logits, up)
    for _ in range(40):
        if loss_a <= loss_b:
            high, b, loss_b = b, a, loss_a
            a = high - ratio * (high - low)
            loss_a = _loss_at(math.exp(a), logits, up)
        else:
            low, a, loss_a = a, b, loss_b
            b = low + ratio * (high - low)
            loss_b = _loss_at(math.exp(b), logits, up)
    return math.exp((low + high) / 2)


def _loss_at(temperature: float, logits: npt.NDArray[np.float64], up: npt.NDArray[np.float32]) -> float:
    z = logits / temperature
    return float(np.mean(np.logaddexp(0.0, z) - up * z))
