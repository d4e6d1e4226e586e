"""Rows for training: a million windows of 60 x 40 through the store, and what data takes of a training step.

Memory is that of a process of its own which makes the rows from candles, writes them, maps them and draws every window
once; the step is that of the network ``lstm`` (30 rows, batch 32).  Also ``python -m benchmarks.windows``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.candles import INTERVAL_NS, SET, candles
from benchmarks.figures import Reading, Target, latency
from benchmarks.market import INSTRUMENT, NAME
from benchmarks.memory import resident_mb
from benchmarks.rig import ROOT, scratch
from engine.errors import KestrelError
from engine.events import Bar
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling
from engine.features.sets import named_spec
from models import networks
from models.labels import LabelSpec
from models.splits import TrainingPart
from models.trainer.recorded import Recorded
from models.windows.loader import TrainingBatches
from models.windows.samples import Samples, samples_of
from models.windows.store import stored

ROWS: Final = 1_000_000
BATCH: Final = 32
STEPS: Final = 60
_LABEL: Final = {"next": LabelSpec(kind="return", horizon_rows=1)}


def run(quick: bool) -> list[Reading]:
    marks = _in_new_process("memory", 60, ROWS // 10 if quick else ROWS)
    loader = _in_new_process("step", 30, ROWS // 10)
    rows = int(marks["rows"])
    return [
        Reading(
            "windows_memory",
            n=rows,
            value=marks["peak_mb"],
            unit="MB",
            targets=(Target("value", 2000),),
            note=f"{marks['samples']:,.0f} windows of 60 x 40, {marks['samples'] * 9600 / 1e9:.1f} GB as one array; "
            f"mapped files are {marks['file_mb']:.0f} MB of it at the end",
        ),
        Reading("windows_write", n=rows, value=marks["write_s"], unit="s", note="candles to rows and labels on disk"),
        latency("windows_batch", marks["batch_ns"], note=f"{BATCH} windows of 60 x 40 at random places"),
        Reading(
            "windows_share",
            n=STEPS,
            value=100.0 * median(loader["data_ns"]) / median(loader["step_ns"]),
            unit="%",
            targets=(Target("value", 10),),
            note=f"of a step of {median(loader['step_ns']) / 1e6:.1f} ms: network lstm, batch {BATCH}, one thread",
        ),
    ]


def spec(window: int) -> FeatureSpec:
    return named_spec(SET, window, Sampling.time_bar(INTERVAL_NS, price="trade"), GapPolicy(flat_rows_max=5))


def made(folder: Path, rows: int, window: int) -> Samples:
    """Rows of generated candles, stored; candle by candle, as a training run reads them."""
    given = candles(rows)

    def events() -> Iterator[Bar]:
        for start in range(0, rows, 10_000):
            times, *columns = (column[start : start + 10_000].tolist() for column in given)
            for end_ns, *numbers in zip(times, *columns, strict=True):
                yield Bar(end_ns, end_ns, NAME, INTERVAL_NS, *numbers)

    market = Recorded(INSTRUMENT, events, (("generated", "00" * 32),))
    return samples_of(stored(folder, [market], spec(window), _LABEL), "next")


def measure_memory(window: int, rows: int) -> dict[str, Any]:
    """Peak resident memory over writing and one epoch; runs in a process of its own."""
    FeatureBuffer(spec(window), INSTRUMENT)  # the first on a machine compiles its kernel
    with scratch() as folder:
        begin_s = time.perf_counter()
        samples = made(folder, rows, window)
        write_s = time.perf_counter() - begin_s
        loader = TrainingBatches(TrainingPart(np.arange(len(samples))), samples, batch=BATCH, seed=1)
        batch_ns = []
        for _ in range(loader.steps):
            begin_ns = time.perf_counter_ns()
            loader.next()
            batch_ns.append(time.perf_counter_ns() - begin_ns)
        return {
            "rows": rows,
            "samples": len(samples),
            "write_s": write_s,
            "batch_ns": batch_ns,
            "peak_mb": resident_mb(field="VmHWM"),
            "file_mb": resident_mb(field="RssFile"),
        }


def measure_step(window: int, rows: int) -> dict[str, Any]:
    """Time for data and time of the whole step, one by one; runs in a process of its own."""
    networks.require_torch()
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(1)
    with scratch() as folder:
        samples = made(folder, rows, window)
        loader = TrainingBatches(TrainingPart(np.arange(len(samples))), samples, batch=BATCH, seed=1)
        network = networks.build("lstm", window=window, head="regression").train()
        optimiser = torch.optim.AdamW(network.parameters())
        data_ns, step_ns = [], []
        for _ in range(STEPS + 5):
            begin_ns = time.perf_counter_ns()
            batch = loader.next()
            x = torch.from_numpy(batch.windows)
            y = torch.from_numpy(samples.values[batch.index].astype(np.float32))
            data_ns.append(time.perf_counter_ns() - begin_ns)
            optimiser.zero_grad(set_to_none=True)
            loss = torch.nn.functional.mse_loss(network(x)[:, 0], y)
            loss.backward()
            optimiser.step()
            step_ns.append(time.perf_counter_ns() - begin_ns)
    return {"data_ns": data_ns[5:], "step_ns": step_ns[5:]}


def _in_new_process(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.windows", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        raise KestrelError(f"the run failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    marks: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return marks


def main() -> None:
    if len(sys.argv) == 1:
        for reading in run(quick=False):
            print(reading.as_dict())
        return
    what, window, rows = sys.argv[1:]
    measure = {"memory": measure_memory, "step": measure_step}[what]
    print(json.dumps(measure(int(window), int(rows))))


if __name__ == "__main__":
    main()
