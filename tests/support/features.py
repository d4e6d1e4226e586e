"""For feature tests: an instrument, seeded events, and a row builder written the slow and obvious way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.data.parquet import describe_file, read_events
from engine.events import MarketEvent, Quote, Trade
from engine.features import FeatureBuffer, FeatureSpec
from engine.features.column import known, lookup
from engine.instruments import AssetClass, Instrument

NAME = "BTC/USDT@binance_usdm"
SECOND = 1_000_000_000
START_NS = 1_723_161_256_000_000_000
BUILT_IN = tuple(
    column.name
    for column in known()
    if column.function.__module__.startswith("engine.") and "depth" not in column.inputs  # these events have no levels
)
Table = dict[str, npt.NDArray[np.float64]]


def instrument(**changes: Any) -> Instrument:
    """A perpetual with quote sizes and trades."""
    fields: dict[str, Any] = {
        "id": NAME,
        "venue": "binance_usdm",
        "venue_symbol": "BTCUSDT",
        "base": "BTC",
        "quote": "USDT",
        "settlement": "USDT",
        "asset_class": AssetClass.PERPETUAL,
        "tick_px": Decimal("0.1"),
        "lot_qty": Decimal("0.001"),
        "min_qty": Decimal("0.001"),
        "max_qty": Decimal(1000),
        "min_notional": Decimal(5),
        "maker_fee_rate": Decimal("0.0002"),
        "taker_fee_rate": Decimal("0.0005"),
    }
    return Instrument(**{**fields, **changes})


def quote(ts_ns: int, bid: float, ask: float, bid_qty: float = 1.0, ask_qty: float = 1.0) -> Quote:
    return Quote(ts_ns, ts_ns, NAME, bid, bid_qty, ask, ask_qty)


def trade(ts_ns: int, px: float, qty: float, aggressor: int = 1) -> Trade:
    return Trade(ts_ns, ts_ns, NAME, px, qty, aggressor, "")


def seeded_events(quotes: int, seed: int = 7, sizes: bool = True, step_ns: int = 40_000_000) -> list[MarketEvent]:
    """A random walk of a tenth-tick book; some quotes repeat, some change sizes only, one trade in three."""
    random = np.random.default_rng(seed)
    events: list[MarketEvent] = []
    tick = 618_000
    bid_qty, ask_qty, spread, ts_ns = 3.0, 2.0, 1, START_NS
    for _ in range(quotes):
        ts_ns += int(random.integers(1, 2 * step_ns))
        kind = random.random()
        if kind > 0.05:
            bid_qty, ask_qty = (float(np.round(x, 3)) for x in random.exponential(3.0, 2) + 0.001)
        if kind > 0.4:
            tick += int(random.integers(-3, 4))
            spread = int(random.integers(1, 4))
        bid, ask = tick / 10, (tick + spread) / 10
        nan = float("nan")
        events.append(quote(ts_ns, bid, ask, bid_qty if sizes else nan, ask_qty if sizes else nan))
        if random.random() < 0.35:
            side = int(random.integers(-1, 2))
            events.append(
                trade(ts_ns, ask if side > 0 else bid, float(np.round(random.exponential(0.2) + 0.001, 3)), side)
            )
    return events


def recorded_events(market_data: Path, stem: str, limit: int) -> tuple[Instrument, list[MarketEvent]]:
    """The first events of a real recording, quotes and trades in order of receipt."""
    paths = sorted((market_data / "ticks").glob(f"{stem}_*.parquet"))
    assert paths, f"no recording {stem} in {market_data}"
    events: list[MarketEvent] = []
    for event in read_events(paths):
        events.append(event)
        if len(events) == limit:
            break
    return describe_file(paths[0]).instrument, events


def drive(buffer: FeatureBuffer, events: Iterable[MarketEvent], columns: Sequence[str] = ()) -> Table:
    """Feed a buffer; the columns' float64 values after each update that made a row."""
    names = columns or buffer.spec.columns
    made = [[buffer.latest(name) for name in names] for event in events if buffer.update(event)]
    table = np.array(made, np.float64).reshape(-1, len(names))
    return {name: table[:, i] for i, name in enumerate(names)}


def column_values(columns: Sequence[str], events: Iterable[MarketEvent], **spec: Any) -> Table:
    """Values of a few columns over events, from one spec of all columns of their modules: few kernels to compile.

    ``imbalance`` is one of them always, so that a change of a quantity makes a row whatever is asked.
    """
    modules = {lookup(name).function.__module__ for name in columns}
    beside = [name for name in BUILT_IN if lookup(name).function.__module__ in modules]
    everything = FeatureSpec(
        name="all", columns=tuple(dict.fromkeys([*beside, *columns, "imbalance"])), window=8, **spec
    )
    return drive(FeatureBuffer(everything, instrument()), events, columns)


def naive_rows(events: Iterable[MarketEvent], ticks: int = 1, sizes: bool = True) -> Table:
    """Rows of ``ticks`` quote changes each, from lists: what the kernel's history must hold."""
    rows: list[tuple[float, ...]] = []
    before: Quote | None = None
    mids: list[float] = []
    changes = 0
    volume = flow = 0.0
    ofi = float("nan")
    row_ns = 0
    for event in events:
        if isinstance(event, Trade):
            volume += event.qty
            flow += event.aggressor * event.qty
            continue
        assert isinstance(event, Quote)
        mid = 0.5 * (event.bid_px + event.ask_px)
        mids.append(mid)
        now = (event.bid_px, event.ask_px, *((event.bid_qty, event.ask_qty) if sizes else ()))
        if before is not None:
            if now == (before.bid_px, before.ask_px, *((before.bid_qty, before.ask_qty) if sizes else ())):
                continue
            ofi += event.bid_qty * (event.bid_px >= before.bid_px) - before.bid_qty * (event.bid_px <= before.bid_px)
            ofi += before.ask_qty * (event.ask_px >= before.ask_px) - event.ask_qty * (event.ask_px <= before.ask_px)
        before = event
        changes += 1
        if changes == ticks:
            total = event.bid_qty + event.ask_qty
            rows.append(
                (
                    mids[0],
                    max(mids),
                    min(mids),
                    mid,
                    volume,
                    flow,
                    ofi,
                    total / 2,
                    (event.bid_qty - event.ask_qty) / total,
                    1e4 * (event.ask_px - event.bid_px) / mid,
                    (event.ts_event_ns - row_ns) / 1e9 if row_ns else float("nan"),
                )
            )
            row_ns, mids, changes, volume, flow, ofi = event.ts_event_ns, [], 0, 0.0, 0.0, 0.0
    names = ("open", "high", "low", "close", "volume", "flow", "ofi", "depth", "imbalance", "spread", "elapsed")
    return dict(zip(names, np.array(rows).T.copy(), strict=True))


def rolling(values: npt.NDArray[np.float64], n: int, apply: Any) -> npt.NDArray[np.float64]:
    """``apply`` to each full window of n values; NaN before the first."""
    out = np.full(len(values), np.nan)
    for i in range(n - 1, len(values)):
        out[i] = apply(values[i - n + 1 : i + 1])
    return out


def assert_same(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], warm_rows: int, scale: float = 0.0
) -> None:
    """Equal to 1e-9 relative (and 1e-12 of ``scale``, for differences of large numbers); NaN before ``warm_rows``."""
    assert len(ours) == len(theirs) > warm_rows
    assert np.isnan(ours[: warm_rows - 1]).all()
    assert np.isfinite(ours[warm_rows - 1 :]).all()
    np.testing.assert_allclose(ours[warm_rows - 1 :], theirs[warm_rows - 1 :], rtol=1e-9, atol=1e-12 * scale + 1e-15)
