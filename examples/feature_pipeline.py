"""From ticks to the rows that a model sees, twice: as the daemon makes them live, and in bulk for training.

    python examples/feature_pipeline.py                                  # generated ticks
    python examples/feature_pipeline.py --set core40 quotes.parquet trades.parquet

The files are recorded quotes and trades of one instrument.  Without them the recordings of the folder KESTREL_DATA are
used, and where there are none, generated ticks.  Both ways must give the same bits; the program ends with 1 if not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from engine.data.instruments import known_instrument
from engine.data.parquet import describe_files, read_events
from engine.errors import KestrelError
from engine.events import MarketEvent, Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec, Ticks, compute_ticks, tape
from engine.features.sets import SETS, named_spec
from engine.instruments import Instrument
from engine.ports import Float32Array

RECORDED = "binance_usdm_btcusdt_20240808"
SHOWN = ("close", "rsi_14", "atr_14", "bb_position", "spread_bps", "ofi_20", "rv_20", "ret_5")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Features live and in bulk: the same bits.")
    parser.add_argument("files", nargs="*", type=Path, help="recorded quotes and trades of one instrument")
    parser.add_argument("--set", default="core40", help=f"column set: {', '.join(SETS)}")
    parser.add_argument("--window", type=int, default=30, help="rows that a model sees at once")
    parser.add_argument("--events", type=count, default=20_000, help="use so many")
    options = parser.parse_args(arguments)

    # 1. Events: what a venue's feed gives, in the order it was received.
    source, instrument, events = load(options.files, options.events)
    print(f"{len(events)} events of {instrument.id}, {source}")

    # 2. A spec: which columns, of which rows, in which window.  Its fingerprint is what a trained model is bound to.
    volume = "trades" if instrument.has_trades else "ticks"
    spec = named_spec(options.set, options.window, volume=volume)  # type: ignore[arg-type]  # one of the two words
    print(f"spec {spec.name}: {len(spec.columns)} columns, a row for {spec.sampling}, {spec.fingerprint()[:16]}...")

    # 3. The same rows on two ways.
    live, warm = rows_live(spec, instrument, events)
    bulk = compute_ticks(spec, instrument, as_ticks(events))
    at = first_difference(live, bulk.values)
    if at is None and bulk.warm.tolist() != warm:
        at = (0, 0)
    if at is not None:
        print(f"row {at[0]}, column {spec.columns[at[1]]}: live and bulk differ")
        return 1
    print(f"{len(live)} rows, live and in bulk: equal in every bit; {sum(warm)} of them end a full window")

    # 4. What a row looks like.
    names = [name for name in SHOWN if name in spec.columns] or list(spec.columns[:8])
    print("  ".join(f"{name:>12}" for name in names))
    for row in live[-5:]:
        print("  ".join(f"{row[spec.columns.index(name)]:12.5g}" for name in names))
    return 0


def count(text: str) -> int:
    """A number of events, 0 or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is no count")
    return int(text)


def rows_live(
    spec: FeatureSpec, instrument: Instrument, events: Sequence[MarketEvent]
) -> tuple[Float32Array, list[bool]]:
    """Event after event, as the core does it: the newest row of the window after each update that made one."""
    buffer = FeatureBuffer(spec, instrument)
    rows, warm = [], []
    for event in events:
        if buffer.update(event):
            # A strategy or a model would now read buffer.window(), if buffer.warm; it is a view, hence the copy.
            rows.append(buffer.window()[-1].copy())
            warm.append(buffer.warm)
    return np.array(rows, np.float32).reshape(-1, len(spec.columns)), warm


def first_difference(left: Float32Array, right: Float32Array) -> tuple[int, int] | None:
    """(row, column) of the first value whose bits differ; None when all are equal (NaN where there is none yet)."""
    if left.shape != right.shape:
        return min(len(left), len(right)), 0
    differs = np.argwhere(left.view(np.uint32) != right.view(np.uint32))
    return (int(differs[0][0]), int(differs[0][1])) if len(differs) else None


def as_ticks(events: Sequence[MarketEvent]) -> Ticks:
    """The events as arrays: what a trainer has, which reads files and makes no objects."""
    numbers = np.zeros((len(events), 4))
    kinds = np.empty(len(events), np.int64)
    for i, event in enumerate(events):
        if isinstance(event, Quote):
            kinds[i], numbers[i] = tape.QUOTE, (event.bid_px, event.bid_qty, event.ask_px, event.ask_qty)
        elif isinstance(event, Trade):
            kinds[i], numbers[i] = tape.TRADE, (event.px, event.qty, event.aggressor, 0.0)
    times = np.array([(event.ts_event_ns, event.ts_recv_ns) for event in events], np.int64).reshape(-1, 2)
    return Ticks(kinds, numbers, times[:, 0].copy(), times[:, 1].copy())


def load(files: Sequence[Path], count: int) -> tuple[str, Instrument, list[MarketEvent]]:
    """Where they are from, what they are about, and the first ``count`` events."""
    if not files and (folder := os.environ.get("KESTREL_DATA")):
        files = sorted(Path(folder, "ticks").glob(f"{RECORDED}_*.parquet"))
    if files:
        infos = describe_files(files)
        return "recorded", infos[0].instrument, list(islice(read_events(files, [infos[0].instrument.id]), count))
    instrument = known_instrument("binance_usdm", "BTCUSDT")
    assert instrument is not None
    return "generated", instrument, generated(instrument, count)


def generated(instrument: Instrument, count: int) -> list[MarketEvent]:
    """A seeded random walk of the best quotes, with a trade after each third of them."""
    rng = np.random.default_rng(7)
    tick, ts_ns, mid = float(instrument.tick_px), 1_723_161_256_000_000_000, 61_800.0
    events: list[MarketEvent] = []
    while len(events) < count:
        ts_ns += int(rng.exponential(40_000_000)) + 1
        mid += float(rng.integers(-3, 4)) * tick
        bid, ask = round(mid, 1), round(mid + tick * float(rng.integers(1, 3)), 1)
        bid_qty, ask_qty = (float(size) for size in np.round(rng.exponential(3.0, 2) + 0.001, 3))
        events.append(Quote(ts_ns, ts_ns, instrument.id, bid, bid_qty, ask, ask_qty))
        if rng.random() < 1 / 3:
            side = 1 if rng.random() < 0.5 else -1
            events.append(Trade(ts_ns, ts_ns, instrument.id, ask if side > 0 else bid, 0.1, side, ""))
    return events[:count]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KestrelError as error:
        sys.exit(f"feature_pipeline: {error}")
