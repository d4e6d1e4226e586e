"""Cost of one feature update, called from Python: ``python -m benchmarks.features [--rounds N]``.

Prints, for core40 and quote40 on every tick, nanoseconds per quote that makes a row, per repeated quote and per trade,
and how long the kernel took to be ready.  Goal: core40 <= 1 us an update.  Takes the best of many short slices, because
a shared machine measures its neighbours otherwise.  Not a test: it asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from decimal import Decimal
from statistics import median

import numpy as np

from engine.events import MarketEvent, Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec, core40_spec, jit, quote40_spec
from engine.instruments import AssetClass, Instrument

SLICE = 400
NAME = "BTC/USDT@binance_usdm"
INSTRUMENT = Instrument(
    id=NAME,
    venue="binance_usdm",
    venue_symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    settlement="USDT",
    asset_class=AssetClass.PERPETUAL,
    tick_px=Decimal("0.1"),
    lot_qty=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=Decimal(1000),
    min_notional=Decimal(5),
    maker_fee_rate=Decimal("0.0002"),
    taker_fee_rate=Decimal("0.0005"),
)


def quotes(n: int) -> list[MarketEvent]:
    """A seeded random walk; each quote differs from the one before."""
    random = np.random.default_rng(1)
    ticks = 618_000 + np.cumsum(random.integers(1, 4, n) * random.choice([-1, 1], n))
    sizes = np.round(random.exponential(3.0, (n, 2)) + 0.001, 3)
    start = 1_723_161_256_000_000_000
    return [
        Quote(start + i * 1_000_000, start, NAME, int(tick) / 10, float(bid), (int(tick) + 1) / 10, float(ask))
        for i, (tick, (bid, ask)) in enumerate(zip(ticks, sizes, strict=True))
    ]


def slices_ns(buffer: FeatureBuffer, events: Sequence[MarketEvent], rounds: int) -> list[float]:
    """Nanoseconds an update, one figure a slice."""
    found = []
    update = buffer.update
    for _ in range(rounds):
        begin = time.perf_counter_ns()
        for event in events:
            update(event)
        found.append((time.perf_counter_ns() - begin) / len(events))
    return found


def measure(spec: FeatureSpec, rounds: int) -> list[dict[str, object]]:
    begin = time.perf_counter()
    buffer = FeatureBuffer(spec, INSTRUMENT)
    ready_s = time.perf_counter() - begin
    events = quotes(SLICE)
    last = events[-1]
    trade = Trade(last.ts_event_ns, last.ts_recv_ns, NAME, 61_800.0, 0.01, 1, "")
    cases = {"row": events, "repeated quote": [last] * SLICE, "trade": [trade] * SLICE}
    result: list[dict[str, object]] = []
    for name, case in cases.items():
        slices_ns(buffer, case, 5)
        found = slices_ns(buffer, case, rounds)
        best, middle = round(min(found)), round(median(found))
        result.append(
            {"name": f"features {spec.name} {name}", "best_ns": best, "median_ns": middle, "n": rounds * SLICE}
        )
    result.append({"name": f"features {spec.name} kernel ready", "seconds": round(ready_s, 2)})
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of one feature update, called from Python.")
    parser.add_argument("--rounds", type=int, default=500, help=f"slices of {SLICE} updates (default 500)")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    cases = [case for spec in (core40_spec(), quote40_spec()) for case in measure(spec, arguments.rounds)]
    machine = {"python": platform.python_version(), "processor": platform.machine(), "numba": jit.NUMBA_VERSION}
    for case in cases:
        figure = (
            f"{case['seconds']} s" if "seconds" in case else f"{case['best_ns']} ns best, {case['median_ns']} median"
        )
        print(f"{case['name']:<36} {figure}")
    if arguments.json:
        print(json.dumps({"cases": cases, "machine": machine}))


if __name__ == "__main__":
    main()
