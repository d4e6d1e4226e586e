"""What one feature update costs, called from Python: a quote that makes a row, a repeated quote, a trade.

Single updates give the percentiles.  The note has the best of many short slices, because a shared machine measures its
neighbours otherwise, and how long the kernel took to be ready.  Also ``python -m benchmarks.features``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.figures import Reading, Target, clock_cost_ns, latency, own_times, time_each
from benchmarks.market import INSTRUMENT, NAME
from engine.events import MarketEvent, Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec, core40_spec, quote40_spec
from engine.features.sets import named_spec

SLICE = 400
SPECS = (core40_spec(), quote40_spec(), named_spec("technical40"), named_spec("extended"))
TARGETS_US = {"extended": 20.0}
"""What an update may cost, where it is not 1 us; ``docs/decisions/0017``."""
STATES_KB = {"extended": 400.0}


def quotes(n: int) -> list[MarketEvent]:
    """A seeded random walk; each quote differs from the one before."""
    random = np.random.default_rng(1)
    ticks = 6_000_000 + np.cumsum(random.integers(1, 4, n) * random.choice([-1, 1], n))
    sizes = np.round(random.exponential(3.0, (n, 2)) + 0.001, 3)
    start_ns = 1_723_161_256_000_000_000
    return [
        Quote(start_ns + i * 1_000_000, start_ns, NAME, int(tick) / 100, float(bid), (int(tick) + 1) / 100, float(ask))
        for i, (tick, (bid, ask)) in enumerate(zip(ticks, sizes, strict=True))
    ]


def best_slice_ns(buffer: FeatureBuffer, events: Sequence[MarketEvent], rounds: int) -> float:
    """Nanoseconds an update in the best slice, without a clock reading for each."""
    update = buffer.update
    best = float("inf")
    for _ in range(rounds):
        begin_ns = time.perf_counter_ns()
        for event in events:
            update(event)
        best = min(best, (time.perf_counter_ns() - begin_ns) / len(events))
    return best


def _measure(spec: FeatureSpec, quick: bool) -> list[Reading]:
    rounds = 50 if quick else 400
    overhead_ns = clock_cost_ns()
    begin_s = time.perf_counter()
    buffer = FeatureBuffer(spec, INSTRUMENT)
    ready_s = time.perf_counter() - begin_s
    events = quotes(SLICE)
    last = events[-1]
    trade = Trade(last.ts_event_ns, last.ts_recv_ns, NAME, 60_000.0, 0.01, 1, "")
    readings = []
    for suffix, case in (("", events), ("_repeated", [last] * SLICE), ("_trade", [trade] * SLICE)):
        best_slice_ns(buffer, case, 5)
        samples = time_each(buffer.update, [(event,) for event in case] * rounds, overhead_ns)
        note = f"best slice without reading the clock {best_slice_ns(buffer, case, rounds):.0f} ns"
        if not suffix:
            note += f"; kernel ready in {ready_s:.2f} s"
        targets = (Target("p50", TARGETS_US.get(spec.name, 1.0)),) if not suffix else ()
        readings.append(latency(f"features_{spec.name}{suffix}", samples, targets=targets, note=note))
    if spec.name in STATES_KB:
        state = Reading(
            f"features_{spec.name}_state",
            value=buffer.state_bytes / 1e3,
            unit="kB",
            targets=(Target("value", STATES_KB[spec.name]),),
        )
        readings.append(state)
    return readings


def profile(name: str) -> Sequence[str]:
    """The compiled kernel and the call around it, for one row of the column set that missed."""
    (spec,) = (spec for spec in SPECS if name == f"features_{spec.name}")
    buffer = FeatureBuffer(spec, INSTRUMENT)
    events = itertools.cycle(quotes(SLICE))
    return own_times(lambda: buffer.update(next(events)), 20_000, top=5)


def run(quick: bool) -> list[Reading]:
    """Each column set, sampled at every tick."""
    return [reading for spec in SPECS for reading in _measure(spec, quick)]


if __name__ == "__main__":
    from benchmarks.suite import run_suite

    run_suite(["features"])
