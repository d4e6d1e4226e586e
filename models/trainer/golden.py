"""Makes a bundle's golden tape: generated events through the feature kernel and the trained module.

Owns the generated market.  It is no recording, because recorded data is not ours to ship, and no model of a market: it
only has to move every column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

import numpy as np

from engine.events import Quote, Trade
from engine.features.buffer import FeatureBuffer
from engine.features.spec import FeatureSpec
from engine.instruments import AssetClass, Instrument
from models.golden import Float32Array, GoldenTape, run_tape

WARM_ROWS = 24
"""Predictions on the tape: enough to see a drift between rows, few enough to check in milliseconds."""
LEVEL_PX = 2_500.0
"""Where the generated mid starts, unless the normaliser needs prices like those of the training."""
_START_NS = 1_700_000_000_000_000_000


def golden_instrument(spec: FeatureSpec, level_px: float = LEVEL_PX) -> Instrument:
    """An instrument that gives what the spec needs and no more; its tick is 1 to 10 millionths of ``level_px``."""
    return Instrument(
        id="TEST/USD@golden",
        venue="golden",
        venue_symbol="TESTUSD",
        base="TEST",
        quote="USD",
        settlement="USD",
        asset_class=AssetClass.SPOT,
        tick_px=Decimal(1).scaleb(math.floor(math.log10(level_px)) - 5),
        lot_qty=Decimal("0.001"),
        min_qty=Decimal("0.001"),
        max_qty=Decimal(1000000),
        min_notional=Decimal(0),
        maker_fee_rate=Decimal(0),
        taker_fee_rate=Decimal(0),
        has_quote_sizes="sizes" in spec.requires,
        has_trades="trades" in spec.requires,
    )


def golden_events(
    instrument: Instrument, count: int, *, level_px: float = LEVEL_PX, seed: int = 7, gap_ns: int = 40_000_000
) -> list[Quote | Trade]:
    """A random walk on the tick grid with irregular times; trades in between where the instrument has them."""
    random = np.random.default_rng(seed)
    tick = float(instrument.tick_px)
    events: list[Quote | Trade] = []
    digits = max(6, int(-instrument.tick_px.adjusted()))
    ts_ns, mid_ticks = _START_NS, float(round(level_px / tick))
    while len(events) < count:
        ts_ns += int(random.exponential(gap_ns)) + 1
        mid_ticks += float(random.integers(-3, 4))
        width = float(random.integers(1, 4))
        bid_px, ask_px = round((mid_ticks - width) * tick, digits), round((mid_ticks + width) * tick, digits)
        bid_qty, ask_qty = (round(float(q), 3) for q in random.exponential(2.0, 2) + 0.001)
        if not instrument.has_quote_sizes:
            bid_qty = ask_qty = float("nan")
        events.append(Quote(ts_ns, ts_ns, instrument.id, bid_px, bid_qty, ask_px, ask_qty))
        if instrument.has_trades and random.random() < 0.4:
            side = 1 if random.random() < 0.5 else -1
            qty = round(float(random.exponential(0.5)) + 0.001, 3)
            events.append(Trade(ts_ns + 1, ts_ns + 1, instrument.id, ask_px if side > 0 else bid_px, qty, side, ""))
    return events


def make_tape(spec: FeatureSpec, predict: Callable[[Float32Array], float], level_px: float = LEVEL_PX) -> GoldenTape:
    """The shortest prefix of the generated events with ``WARM_ROWS`` warm rows, and what must come out of it.

    ``predict`` maps one window ``(W, F)`` to the first output.
    """
    instrument = golden_instrument(spec, level_px)
    rows_wanted = spec.rows_to_warm + WARM_ROWS
    if spec.sampling.kind == "time_bar":
        # About three quotes a bar, so that hardly any bar is flat.
        events = golden_events(instrument, rows_wanted * 8, level_px=level_px, gap_ns=spec.sampling.interval_ns // 3)
    else:
        events = golden_events(instrument, rows_wanted * spec.sampling.ticks * 2, level_px=level_px)
    buffer = FeatureBuffer(spec, instrument)
    warm = stop = 0
    while warm < WARM_ROWS:
        warm += buffer.update(events[stop]) and buffer.warm
        stop += 1
    kept = tuple(events[:stop])
    window, outputs = run_tape(spec, instrument, kept, predict)
    return GoldenTape(instrument, kept, window.astype("<f4").tobytes(), tuple(outputs))
