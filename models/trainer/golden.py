"""Makes a bundle's golden tape: generated events through the feature kernel and the trained module.

Owns the generated market.  It is no recording, because recorded data is not ours to ship, and no model of a market: it
only has to move every column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from itertools import count

import numpy as np

from engine.errors import DataError
from engine.events import BookSnapshot, Observation, Quote, Trade
from engine.features.buffer import FeatureBuffer
from engine.features.layout import DEPTH_LEVELS
from engine.features.spec import FeatureSpec
from engine.instruments import AssetClass, Instrument
from models.golden import GoldenTape, Predict, TapeEvent, run_tape

WARM_ROWS = 24
"""Predictions on the tape: enough to see a drift between rows, few enough to check in milliseconds."""
EVENTS_MAX = 1_000_000
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
        has_depth="depth" in spec.requires,
    )


def golden_events(
    spec: FeatureSpec, instrument: Instrument, *, level_px: float = LEVEL_PX, seed: int = 7
) -> Iterator[TapeEvent]:
    """A random walk on the tick grid with irregular times, without end.

    Beside quotes and trades it has what the columns ask for: levels behind the best prices, other instruments' quotes,
    published values.  Trades are of a size that several complete a row, where trades do.
    """
    random = np.random.default_rng(seed)
    tick = float(instrument.tick_px)
    # About three quotes a time bar, so that hardly any bar is flat.
    gap_ns = spec.sampling.interval_ns // 3 or 40_000_000
    size = _trade_size(spec, level_px)
    digits = max(6, int(-instrument.tick_px.adjusted()))
    ts_ns, mid_ticks = _START_NS, float(round(level_px / tick))
    for number in count():
        ts_ns += int(random.exponential(gap_ns)) + 1
        mid_ticks += float(random.integers(-3, 4))
        width = float(random.integers(1, 4))
        bid_px, ask_px = round((mid_ticks - width) * tick, digits), round((mid_ticks + width) * tick, digits)
        bid_qty, ask_qty = (round(float(q), 3) for q in random.exponential(2.0, 2) + 0.001)
        if not instrument.has_quote_sizes:
            bid_qty = ask_qty = float("nan")
        if instrument.has_depth:
            yield _levels(random, ts_ns, instrument.id, (bid_px, bid_qty, ask_px, ask_qty), (tick, digits))
        for peer in spec.peers:
            px = round((mid_ticks + float(random.integers(-3, 4))) * tick, digits)
            yield Quote(ts_ns, ts_ns, peer, px, 1.0, px + tick, 1.0)
        if spec.series and number % 10 == 0:
            for series in spec.series:
                yield Observation(ts_ns, ts_ns, series, round(float(random.normal()), 3), ts_ns - gap_ns)
        yield Quote(ts_ns, ts_ns, instrument.id, bid_px, bid_qty, ask_px, ask_qty)
        if instrument.has_trades and random.random() < 0.4:
            side = 1 if random.random() < 0.5 else -1
            qty = round(float(random.exponential(0.5)) + 0.001, 3) * size
            yield Trade(ts_ns + 1, ts_ns + 1, instrument.id, ask_px if side > 0 else bid_px, qty, side, "")


def _trade_size(spec: FeatureSpec, level_px: float) -> float:
    """What to multiply trades of half a base unit by: 1, or a sixth of what completes a row."""
    sampling = spec.sampling
    if sampling.kind == "volume_bar":
        return sampling.size / 3.0
    return sampling.size / level_px / 3.0 if sampling.kind == "dollar_bar" else 1.0


def _levels(
    random: np.random.Generator,
    ts_ns: int,
    instrument: str,
    best: tuple[float, float, float, float],
    grid: tuple[float, int],
) -> BookSnapshot:
    """The best prices and those behind them, a tick apart, with random quantities."""
    bid_px, bid_qty, ask_px, ask_qty = best
    tick, digits = grid
    behind = [[round(float(q), 3) + 0.001 for q in random.exponential(5.0, DEPTH_LEVELS - 1)] for _ in range(2)]
    bids = [(bid_px, bid_qty), *((round(bid_px - (i + 1) * tick, digits), q) for i, q in enumerate(behind[0]))]
    asks = [(ask_px, ask_qty), *((round(ask_px + (i + 1) * tick, digits), q) for i, q in enumerate(behind[1]))]
    return BookSnapshot(ts_ns, ts_ns, instrument, tuple(bids), tuple(asks))


def make_tape(spec: FeatureSpec, predict: Predict, level_px: float = LEVEL_PX) -> GoldenTape:
    """The shortest prefix of the generated events with ``WARM_ROWS`` warm rows, and what must come out of it.

    ``predict`` maps one window ``(W, F)`` to all numbers of its prediction.  Raises ``DataError`` when no window gets
    warm.
    """
    instrument = golden_instrument(spec, level_px)
    buffer = FeatureBuffer(spec, instrument)
    kept: list[TapeEvent] = []
    warm = 0
    for event in golden_events(spec, instrument, level_px=level_px):
        kept.append(event)
        warm += buffer.update(event) and buffer.warm
        if warm == WARM_ROWS:
            break
        if len(kept) > EVENTS_MAX:
            raise DataError(
                f"feature spec {spec.name!r} is not warm after {EVENTS_MAX:,} generated events: {buffer.reason}",
                expected="columns that a generated market can feed",
                do="shorten the window or the sampling",
            )
    window, outputs = run_tape(spec, instrument, tuple(kept), predict)
    return GoldenTape(instrument, tuple(kept), window.astype("<f4").tobytes(), tuple(outputs))
