"""Where a model runs: in the loop's thread, or on the worker.

Owns the measurement and the rule.  A hand-over to another thread and back costs more than a short model takes, and a
long one in the loop makes everything else wait; the bundle's own time on this machine decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

from engine import processors
from engine.ports import Float32Array

INLINE_MAX_US = 50.0
"""What a model may take in the loop's thread."""
Wanted = Literal["auto", "inline", "worker"]
_BLOCKS, _RUNS = 5, 40
_LIMIT_NS = 60_000_000
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Schedule(NamedTuple):
    """``on_worker``: off the loop.  ``time_us``: of one prediction, None where nobody measured.  ``provider``: what
    computed that; empty where it was not opened to serve."""

    on_worker: bool
    time_us: float | None
    why: str
    provider: str = ""

    @property
    def text(self) -> str:
        """``worker on cpu: takes 512 us, ...``"""
        on = f" on {self.provider}" if self.provider else ""
        return f"{'worker' if self.on_worker else 'inline'}{on}: {self.why}"


def decide(wanted: Wanted, time_us: float, cores: int) -> Schedule:
    """``cores``: that this process may run on."""
    takes = f"takes {time_us:.0f} us"
    if wanted != "auto":
        return Schedule(wanted == "worker", time_us, f"models.schedule says so; {takes}")
    if time_us <= INLINE_MAX_US:
        return Schedule(False, time_us, f"{takes}, up to {INLINE_MAX_US:.0f} us run in the loop")
    if cores < 2:
        return Schedule(False, time_us, f"{takes}, and there is no second core for a worker")
    return Schedule(True, time_us, f"{takes}, over {INLINE_MAX_US:.0f} us, and there are {cores} cores")


def measure_us(run: Callable[[], object], stopwatch: Callable[[], int] = time.perf_counter_ns) -> float:
    """Time of a warm ``run``, us: the least median of several short blocks.

    A neighbour on the machine makes a block slow, never fast; within a block the median leaves out single outliers.
    Bounded: a slow model is measured fewer times, at least three.
    """
    begun_ns = stopwatch()
    medians: list[float] = []
    for _ in range(_BLOCKS):
        samples: list[int] = []
        for _ in range(_RUNS):
            started_ns = stopwatch()
            run()
            ended_ns = stopwatch()
            samples.append(ended_ns - started_ns)
            if ended_ns - begun_ns > _LIMIT_NS and len(samples) > 2:
                break
        medians.append(median(samples))
        if stopwatch() - begun_ns > _LIMIT_NS:
            break
    return min(medians) / 1e3


def rows_coming(window: Float32Array) -> Iterator[Float32Array]:
    """``window (W, F)`` for ever, each time with its oldest row come in anew: a model that carries a state would find
    nothing to compute in the same one."""
    return cycle([np.roll(window, -row, axis=0) for row in range(len(window))])


def usable_cores() -> int:
    """Cores that this process may run on; a container's quota of less than two is one."""
    cores = processors.usable_count()
    try:
        quota, period = _QUOTA.read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores
