"""What one judgement of the quality gate costs, called from Python: a quote, a trade with an id; and a file at once.

Single calls give the percentiles.  The note has the best of many short slices, because a shared machine measures its
neighbours otherwise, and how long the gate took to be ready.  Also ``python -m benchmarks.quality``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.figures import Reading, Target, clock_cost_ns, latency, own_times, time_each
from benchmarks.market import INSTRUMENT, NAME
from engine.errors import KestrelError
from engine.events import Quote, Trade
from engine.quality.compiled import batch_function
from engine.quality.gate import QualityGate

SLICE = 400
ROWS = 1_000_000
START_NS = 1_723_161_256_000_000_000
DELAY_NS = 4_000_000


def ticks(n: int) -> np.ndarray:
    """A seeded random walk in cents: each differs from the one before, so that each moves the robust scale."""
    random = np.random.default_rng(1)
    return 6_000_000 + np.cumsum(random.integers(1, 4, n) * random.choice([-1, 1], n))


def quotes(n: int) -> list[Quote]:
    """A millisecond apart, received 4 ms after their time."""
    return [
        Quote(ts_ns, ts_ns + DELAY_NS, NAME, int(tick) / 100, 1.0 + i % 7, (int(tick) + 1) / 100, 2.0)
        for i, tick in enumerate(ticks(n))
        for ts_ns in (START_NS + i * 1_000_000,)
    ]


def trades(n: int) -> list[Trade]:
    """The same with ids as venues count them."""
    return [
        Trade(ts_ns, ts_ns + DELAY_NS, NAME, int(tick) / 100, 0.01 * (1 + i % 7), 1, str(3_000_000_000 + i))
        for i, tick in enumerate(ticks(n))
        for ts_ns in (START_NS + i * 1_000_000,)
    ]


def _best_slice_ns(case: str, events: Sequence[Any], rounds: int) -> float:
    """Nanoseconds a call in the best slice; each slice is a gate's first, because time does not run back."""
    best = float("inf")
    for _ in range(rounds):
        judge = getattr(QualityGate(INSTRUMENT), case)
        begin_ns = time.perf_counter_ns()
        for event in events:
            judge(event)
        best = min(best, (time.perf_counter_ns() - begin_ns) / len(events))
    return best


def _calls(case: str, events: Sequence[Any], rounds: int) -> list[int]:
    """Single calls, timed; all must be accepted, or it would be another path that is measured."""
    samples: list[int] = []
    overhead_ns = clock_cost_ns()
    for _ in range(rounds):
        gate = QualityGate(INSTRUMENT)
        samples += time_each(getattr(gate, case), [(event,) for event in events], overhead_ns)
        if gate.counts[0] != len(events) or gate.counts[3] != len(events):
            raise KestrelError(f"quality_{case}: the gate found issues in the benchmark's own ticks")
    return samples


def _file(quick: bool) -> Reading:
    """A million quotes as arrays."""
    batch_function()
    n = ROWS // 10 if quick else ROWS
    bid = ticks(n) / 100
    ts_ns = START_NS + np.arange(n) * 1_000_000
    one = np.ones(n)
    begin_ns = time.perf_counter_ns()
    QualityGate(INSTRUMENT).judge_quotes(ts_ns, ts_ns + DELAY_NS, bid, bid + 0.01, one, one)
    took_ns = time.perf_counter_ns() - begin_ns
    return Reading(
        "quality_file",
        per_second=n / (took_ns / 1e9),
        n=n,
        targets=(Target("per_second", 1_000_000, at_least=True),),
        note="rows of quotes judged as arrays",
    )


def profile(name: str) -> Sequence[str]:
    """The compiled judge and the call around it, for one tick."""
    case = name.removeprefix("quality_")
    if case not in ("quote", "trade"):
        return ()
    make: Callable[[int], Iterable[Any]] = quotes if case == "quote" else trades
    events = itertools.chain.from_iterable(itertools.repeat(list(make(20_000))))
    judge = getattr(QualityGate(INSTRUMENT), case)
    return own_times(lambda: judge(next(events)), 20_000, top=5)


def run(quick: bool) -> list[Reading]:
    """A quote, a trade, a file."""
    rounds = 50 if quick else 400
    begin_s = time.perf_counter()
    QualityGate(INSTRUMENT)
    ready_s = time.perf_counter() - begin_s
    readings = []
    for case, events in (("quote", quotes(SLICE)), ("trade", trades(SLICE))):
        note = f"best slice without reading the clock {_best_slice_ns(case, events, rounds):.0f} ns"
        if case == "quote":
            note += f"; gate ready in {ready_s:.2f} s"
        samples = _calls(case, events, rounds)
        readings.append(latency(f"quality_{case}", samples, targets=(Target("p50", 0.5),), note=note))
    return [*readings, _file(quick)]


if __name__ == "__main__":
    from benchmarks.suite import run_suite

    run_suite(["quality"])
