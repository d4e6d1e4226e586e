"""What a run will take, from a few steps of it: ``train --dry-run``, and the batch that fits a GPU.

Owns the measuring; nothing of it reaches the run.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import msgspec
import torch
from torch import nn

from engine.errors import DataError
from models.networks.network import Network
from models.networks.served import Served
from models.trainer.dataset import Dataset
from models.trainer.fit import Stage
from models.trainer.fit_settings import AUTO
from models.trainer.forward import build_network, make_deterministic, raw_outputs
from models.trainer.settings import TrainSettings

_WARM, _STEPS = 2, 6
_EVAL_ROWS = 1_024
_CPU_BATCH = 256
_GPU_BATCHES = (32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192)


class Spent(NamedTuple):
    """``seconds`` went by, of which this thread had a core for ``alone_s``; the rest others had, or it waited."""

    seconds: float
    alone_s: float

    def times(self, count: float) -> Spent:
        return Spent(count * self.seconds, count * self.alone_s)

    def and_also(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.alone_s + other.alone_s)


def spent_on(act: Callable[[], object]) -> Spent:
    """What a call takes."""
    began, began_alone = time.perf_counter(), time.thread_time()
    act()
    return Spent(time.perf_counter() - began, time.thread_time() - began_alone)


class Estimate(msgspec.Struct, frozen=True):
    """``step_ms``: of the slowest stage, data and all; ``seconds``: of the whole run, if no seed ends early and the
    machine stays as busy as it is; ``alone_seconds``: where nobody else wants the core (on a GPU the same).

    ``memory_mb``: the most that this process has had so far, rows included; ``gpu_mb`` likewise, 0 without one.
    """

    parameters: int
    batch: int
    steps_per_epoch: int
    step_ms: float
    seconds: float
    alone_seconds: float
    memory_mb: float
    gpu_mb: float = 0.0


def estimate(settings: TrainSettings, data: Dataset, normaliser: nn.Module) -> Estimate:
    """Measures a few steps of each stage and one evaluation, in the weights of no run."""
    fit = settings.fit
    device = make_deterministic(settings)
    torch.manual_seed(0)
    net = build_network(settings, data)
    served = Served(deepcopy(normaliser), net).to(device)
    whole, slowest_ms, steps = Spent(0.0, 0.0), 0.0, 0
    networks: list[Network] = [*net.members().values(), net]
    for number, network in enumerate(networks):
        if network is not net:
            network.requires_grad_(True)
        stage = Stage(data, settings, Served(served.normaliser, network), data.train, 0, number, device)
        row = _row(stage)
        step = _step(stage) if stage.learning else Spent(0.0, 0.0)
        judged = min(len(stage.validation) + len(stage.scored), 2 * fit.eval_rows_max)
        steps = stage.loader.steps if stage.learning else 0
        epoch = step.times(steps).and_also(row.times(judged))
        whole = whole.and_also(epoch.times(fit.epochs if stage.learning else 1))
        slowest_ms = max(slowest_ms, 1e3 * step.seconds)
        if network is net:
            whole = whole.and_also(row.times(len(data.train) + len(data.validation)))
        else:
            network.requires_grad_(False)
    seconds, alone_seconds = whole.times(len(fit.seeds))
    gpu = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else 0.0
    return Estimate(
        parameters=sum(p.numel() for p in net.parameters()),
        batch=int(fit.batch),
        steps_per_epoch=steps,
        step_ms=round(slowest_ms, 2),
        seconds=round(seconds, 1),
        alone_seconds=round(seconds if device.type == "cuda" else alone_seconds, 1),
        memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1),
        gpu_mb=round(gpu, 1),
    )


def with_batch(settings: TrainSettings, data: Dataset, normaliser: nn.Module) -> TrainSettings:
    """The settings with a number where ``fit.batch`` is ``auto``."""
    if settings.fit.batch != AUTO:
        return settings
    device = make_deterministic(settings)
    rows = min(len(data.train), settings.fit.rows_per_epoch)
    if device.type != "cuda":
        return _batched(settings, min(_CPU_BATCH, rows))
    return _batched(settings, largest_batch(rows, lambda batch: _fits(settings, data, normaliser, batch, device)))


def largest_batch(rows: int, fits: Callable[[int], bool]) -> int:
    """The largest power of two from 32 to 8,192 that ``fits``, at most ``rows``; asked from the least up, and no
    further than the first that does not.  Raises ``DataError`` where the least does not fit."""
    found = 0
    for batch in _GPU_BATCHES:
        if batch > rows or not fits(batch):
            break
        found = batch
    if found:
        return found
    if rows < _GPU_BATCHES[0]:
        return rows
    raise DataError(
        f"a step of batch {_GPU_BATCHES[0]} does not fit the GPU",
        expected="memory for it",
        do="take a smaller network or window, or fit.device: cpu",
    )


def _fits(settings: TrainSettings, data: Dataset, normaliser: nn.Module, batch: int, device: torch.device) -> bool:
    """Whether a step of that batch leaves memory for the rest."""
    served = Served(deepcopy(normaliser), build_network(settings, data)).to(device)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        stage = Stage(data, _batched(settings, batch), served, data.train, 0, 0, device)
        stage.step(stage.loader.next(), stage.values)
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return torch.cuda.max_memory_allocated() < 0.8 * torch.cuda.get_device_properties(device).total_memory


def _batched(settings: TrainSettings, batch: int) -> TrainSettings:
    return msgspec.structs.replace(settings, fit=msgspec.structs.replace(settings.fit, batch=batch))


def _step(stage: Stage) -> Spent:
    """Of a step, data included; the first ones, which allocate, are not counted."""
    stage.served.train()
    warm = min(_WARM, stage.loader.steps - 1)
    steps = min(_STEPS, stage.loader.steps - warm)

    def learn(count: int) -> None:
        for _ in range(count):
            stage.step(stage.loader.next(), stage.values).item()

    learn(warm)
    return spent_on(lambda: learn(steps)).times(1 / steps)


def _row(stage: Stage) -> Spent:
    """Of a row that is only looked at; the first look, which allocates and reads what is mapped, is not counted."""
    part = stage.validation.every(_EVAL_ROWS)
    raw_outputs(stage.served, stage.data, part)
    return spent_on(lambda: raw_outputs(stage.served, stage.data, part)).times(1 / len(part))
