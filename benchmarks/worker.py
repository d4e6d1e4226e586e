"""Ticks beside a model of half a millisecond on the worker: what they wait for it, against the same ticks without one.

Both lanes make an order on each feature row, whatever a model says, and stand side by side: they take turns, block by
block, so that a slow minute of the machine falls on both.  A latency runs from the moment that the tick was due, by the
stamp of the process that paces, to the order's bytes: waking up, waiting for the interpreter and answers that came
first are in it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import threading
import time
from pathlib import Path
from statistics import median

from benchmarks.figures import Reading, Target, latency
from benchmarks.in_process import finish, warm_up
from benchmarks.metronome import drain, due_ns, metronome
from benchmarks.rig import ROOT, Market, NullWriter, Rig, scratch
from benchmarks.slow_model import write_slow_bundle
from engine import processors
from engine.errors import KestrelError
from models.bundle import load_bundle
from models.onnx_model import OnnxModel
from models.serving.batches import SIZES
from models.serving.schedule import usable_cores
from models.serving.worker import Worker

PACE = 5_000
MODEL_US = 500.0
_BLOCKS = 5


class Lane:
    """A rig with a market and a writer of its own; ``worker``: None for the one without a model."""

    def __init__(self, folder: Path, bundles: Path, worker: Worker | None) -> None:
        self.writer = NullWriter()
        self.market = Market()
        self.worker = worker
        self.rig = Rig(
            folder, self.writer, model=worker is not None, bundles=bundles, worker=worker, params={"on_rows": True}
        )
        self.samples: list[list[int]] = []
        self.skipped = 0

    async def block(self, beats: int, ticks: int) -> None:
        """So many ticks as they come due; those that came due while one was handled are one."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        samples: list[int] = []
        seen: list[int] = []

        def on_beat() -> None:
            try:
                due = due_ns(beats)
                seen.append(len(due))
                if (took_ns := self._tick(due[-1])) > 0:
                    samples.append(took_ns)
                if len(samples) >= ticks or len(seen) > 4 * ticks:
                    loop.remove_reader(beats)
                    done.set_result(None)
            except Exception as error:
                loop.remove_reader(beats)
                done.set_exception(error)

        drain(beats)
        loop.add_reader(beats, on_beat)
        await done
        self.rig.tokens.refresh()
        if len(samples) < ticks:
            raise KestrelError(f"{len(samples)} of {len(seen)} ticks made an order", expected="an order on each")
        self.skipped += sum(seen) - len(seen)
        self.samples.append(samples)

    def _tick(self, due_ns: int) -> int:
        """From the moment that it was due to its order's bytes, ns; 0 when no order came."""
        writer, before = self.writer, self.writer.orders
        self.rig.receive(self.market.ticker(self.rig.clock.now_ns()))
        took_ns = writer.sent_ns - due_ns if writer.orders > before else 0
        finish(self.rig, self.market, writer)
        return took_ns

    def p99_us(self) -> float:
        """The median over the blocks."""
        return median(sorted(block)[int(len(block) * 0.99)] for block in self.samples) / 1e3


def run(quick: bool) -> list[Reading]:
    """``worker_ticks`` and ``worker_ticks_no_model``, the first also for a loop with a processor of its own.  Raises
    ``KestrelError`` when a tick or a prediction fails."""
    cpus = sorted(os.sched_getaffinity(0))
    with scratch() as folder:
        place = folder / "bundles" / "slow"
        takes_us = write_slow_bundle(ROOT / "models/artifacts/demo-crypto", place, MODEL_US)
        rows = _rows("worker_ticks", folder / "anywhere", place, takes_us, None, quick)
        if len(cpus) > 1:
            rows += _rows("worker_ticks_on_its_own_cpu", folder / "own", place, takes_us, cpus[-1], quick)
        return [*rows, *_batches(place, quick), _interpreter(place)]


def _rows(name: str, folder: Path, place: Path, takes_us: float, cpu: int | None, quick: bool) -> list[Reading]:
    """``cpu``: as ``engine.cpu``.  The second row is of the ticks without a model."""
    from uvloop import new_event_loop

    worker = Worker()
    with processors.loop_on(cpu):
        lanes = Lane(folder / "a", place.parent, None), Lane(folder / "b", place.parent, worker)
        try:
            with metronome(PACE) as beats, asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(_take_turns(lanes, beats, 1_500 if quick else 5_000))
        finally:
            worker.stop()
            gc.unfreeze()
            for lane in lanes:
                lane.rig.close()
    alone, beside = lanes
    counts = worker.counts
    note = (
        f"a model of {takes_us:.0f} us on the worker, {usable_cores()} cores; {counts['asked']:,} asked, "
        f"{counts['answered'] + counts['late']:,} answered, {counts['superseded']:,} superseded; p99 is the median "
        f"of {len(beside.samples)} blocks: {beside.p99_us():.0f} us beside it, {alone.p99_us():.0f} us without one"
    )
    flat = [[sample for block in lane.samples for sample in block] for lane in lanes]
    return [
        latency(
            name,
            flat[1],
            asked_per_second=PACE,
            value=beside.p99_us() / alone.p99_us(),
            unit="p99 / without",
            targets=(Target("value", 1.5),),
            note=note,
        ),
        latency(f"{name}_no_model", flat[0], asked_per_second=PACE),
    ]


async def _take_turns(lanes: tuple[Lane, Lane], beats: int, ticks: int) -> None:
    for lane in lanes:
        if lane.worker is not None:
            call_soon = asyncio.get_running_loop().call_soon_threadsafe
            lane.worker.start(lane.rig.publish, lane.rig.clock.now_ns, call_soon)
        warm_up(lane.rig, lane.market, lane.writer)
    for turn in range(_BLOCKS):
        for lane in lanes if turn % 2 == 0 else reversed(lanes):
            await lane.block(beats, ticks)
            # What is still in the air belongs to this lane, not to the next block.
            await asyncio.sleep(0.05)
    for lane in lanes:
        lane.rig.check()
    worker = lanes[1].worker
    assert worker is not None
    if not worker.counts["answered"] + worker.counts["late"]:
        raise KestrelError("the worker answered nothing", do="see what it was asked")


def _batches(place: Path, quick: bool) -> list[Reading]:
    """What a window costs in batches of each size: the slow model, and the demo CNN."""
    readings = []
    for name, bundle in (("slow", load_bundle(place)), ("cnn", load_bundle(ROOT / "models/artifacts/demo-crypto"))):
        model = OnnxModel(bundle)
        bound = [model.bind(size) for size in SIZES]
        samples: list[list[int]] = [[] for _ in SIZES]
        for _ in range(100 if quick else 400):
            for number, one in enumerate(bound):
                before = time.perf_counter_ns()
                one.run()
                samples[number].append((time.perf_counter_ns() - before) // SIZES[number])
        each = ", ".join(f"{size}: {median(taken) / 1e3:.1f}" for size, taken in zip(SIZES, samples, strict=True))
        note = f"us for each window in a batch of {each}"
        readings.append(latency(f"worker_batch_of_8_{name}", samples[-1], note=note))
    return readings


def _interpreter(place: Path) -> Reading:
    """How long a thread of Python waits for the interpreter while the runtime computes: a whole run, if that kept it.

    A wait is a pause in which the thread gave up its core by itself; one in which the core was taken from it is not.
    """
    model = OnnxModel(load_bundle(place))
    large = model.bind(256)
    stop = threading.Event()
    runs_ns: list[int] = []

    def run_on() -> None:
        while not stop.is_set():
            before = time.perf_counter_ns()
            large.run()
            runs_ns.append(time.perf_counter_ns() - before)

    large.run()
    thread = threading.Thread(target=run_on)
    thread.start()
    waits_ns = [0]
    last_ns = time.perf_counter_ns()
    end_ns = last_ns + 500_000_000
    switched = resource.getrusage(resource.RUSAGE_THREAD)
    while last_ns < end_ns:
        now_ns = time.perf_counter_ns()
        if now_ns - last_ns > 100_000:
            before, switched = switched, resource.getrusage(resource.RUSAGE_THREAD)
            if switched.ru_nvcsw > before.ru_nvcsw and switched.ru_nivcsw == before.ru_nivcsw:
                waits_ns.append(now_ns - last_ns)
        last_ns = time.perf_counter_ns() if now_ns - last_ns > 100_000 else now_ns
    stop.set()
    thread.join()
    note = f"us, the longest of {len(waits_ns) - 1} waits beside {len(runs_ns)} runs of {median(runs_ns) / 1e3:,.0f} us"
    return Reading("worker_interpreter", value=max(waits_ns) / 1e3, unit="us waited", n=len(runs_ns), note=note)
