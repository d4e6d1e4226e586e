"""What one update of the feature window costs: 40 columns, numba kernel, quotes as they come from the decoder."""

from __future__ import annotations

import random

from benchmarks.figures import Reading, Target, clock_cost_ns, latency, time_each
from benchmarks.market import INSTRUMENT, NAME, ask_cents
from engine.events import Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec, core40_spec, quote40_spec

START_NS = 1_700_000_000_000_000_000


def _events(count: int) -> list[tuple[Quote | Trade]]:
    """Quotes that all change something, a trade after each fourth."""
    rng = random.Random(1)
    events: list[tuple[Quote | Trade]] = []
    for number in range(count):
        ts_ns = START_NS + number * 1_000_000
        ask_px = ask_cents(number) / 100
        events.append((Quote(ts_ns, ts_ns, NAME, ask_px - 0.01, 3 * rng.random(), ask_px, 3 * rng.random()),))
        if number % 4 == 3:
            events.append((Trade(ts_ns, ts_ns, NAME, ask_px, rng.random(), 1 - 2 * rng.getrandbits(1), str(number)),))
    return events


def _measure(name: str, spec: FeatureSpec, quick: bool, targets: tuple[Target, ...]) -> Reading:
    buffer = FeatureBuffer(spec, INSTRUMENT)
    events = _events(30_000 if quick else 200_000)
    for event in events[:2_000]:
        buffer.update(*event)
    samples = time_each(buffer.update, events[2_000:], clock_cost_ns())
    return latency(name, samples, targets=targets)


def run(quick: bool) -> list[Reading]:
    return [
        _measure("features_core40", core40_spec(), quick, (Target("p50", 1.0),)),
        _measure("features_quote40", quote40_spec(), quick, (Target("p50", 1.0),)),
    ]
