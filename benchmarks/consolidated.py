"""What a consolidated price of five venues costs: a quote of one of them, the same while one is wild, being asked.

Goal: 5 us an update at the median.  Also ``python -m benchmarks.consolidated``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np

from benchmarks.figures import Reading, Target, clock_cost_ns, latency, own_times, time_each
from benchmarks.market import INSTRUMENT
from engine.consolidated import ConsolidatedDefinition, Consolidator
from engine.events import Quote

VENUES = 5
SLICE = 4_000
START_NS = 1_723_161_256_000_000_000


def consolidator() -> Consolidator:
    """Five venues that list what the other benchmarks trade."""
    pair = f"{INSTRUMENT.base}/{INSTRUMENT.quote}"
    instruments = [
        msgspec.structs.replace(INSTRUMENT, id=f"{pair}@v{number}", venue=f"v{number}") for number in range(VENUES)
    ]
    definition = ConsolidatedDefinition(
        f"{pair}@consolidated", tuple(instrument.id for instrument in instruments), bar_ns=60_000_000_000
    )
    return Consolidator(definition, instruments)


def quotes(n: int, *, wild: bool = False) -> list[Quote]:
    """A seeded walk that five venues quote in turn at random, a tick or two apart; ``wild``: the last is 1 % off."""
    random = np.random.default_rng(2)
    ticks = 6_000_000 + np.cumsum(random.integers(-2, 3, n))
    venues = random.integers(0, VENUES, n).tolist()
    sizes = np.round(random.exponential(3.0, (n, 2)) + 0.001, 3).tolist()
    pair = f"{INSTRUMENT.base}/{INSTRUMENT.quote}"
    made = []
    for at, (tick, venue, (bid_qty, ask_qty)) in enumerate(zip(ticks.tolist(), venues, sizes, strict=True)):
        now_ns = START_NS + at * 1_000_000
        bid = tick + venue + (60_000 if wild and venue == VENUES - 1 else 0)
        made.append(
            Quote(
                now_ns - 5_000_000, now_ns, f"{pair}@v{venue}", bid / 100, bid_qty, (bid + 1 + venue % 2) / 100, ask_qty
            )
        )
    return made


def run(quick: bool) -> list[Reading]:
    """Updates with all venues sane and with one wild, then the answer to a strategy."""
    rounds = 3 if quick else 20
    overhead_ns = clock_cost_ns()
    readings = []
    for name, wild in (("consolidated_update", False), ("consolidated_wild", True)):
        one = consolidator()
        samples: list[int] = []
        for _ in range(rounds):
            samples += time_each(one.on_quote, [(quote,) for quote in quotes(SLICE, wild=wild)], overhead_ns)
        targets = () if wild else (Target("p50", 5.0),)
        readings.append(latency(name, samples, targets=targets, note=f"{one.voters} of {VENUES} venues have a vote"))
    one = consolidator()
    for quote in quotes(SLICE):
        one.on_quote(quote)
    asked = time_each(one.at, [(one.now_ns,)] * (rounds * 500), overhead_ns)
    readings.append(latency("consolidated_asked", asked))
    return readings


def profile(name: str) -> Sequence[str]:  # noqa: ARG001 - one lane has a target
    """Where an update goes."""
    one = consolidator()
    events = itertools.cycle(quotes(SLICE))
    return own_times(lambda: one.on_quote(next(events)), 20_000, top=6)


if __name__ == "__main__":
    from benchmarks.suite import run_suite

    run_suite(["consolidated"])
