"""Ticks through the compiled loop are ticks through the live buffer, on a million recorded ones."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from engine.data.parquet import describe_file, read_file
from engine.errors import DataError
from engine.events import MarketEvent, Quote
from engine.features import (
    FeatureSpec,
    GapPolicy,
    Rows,
    Sampling,
    Ticks,
    compute_rows,
    compute_ticks,
    core40_spec,
    tape,
)
from engine.features.sets import SETS, named_spec
from engine.instruments import Instrument
from tests.support.features import instrument, recorded_events, seeded_events

TRADE_COLUMNS = ("close", "volume", "sma_20", "ema_12", "rsi_14", "vwap", "flow_20", "ret_5", "rv_20")


def as_ticks(events: list[MarketEvent]) -> Ticks:
    quote = np.array([isinstance(event, Quote) for event in events], bool)
    numbers = [
        (e.bid_px, e.bid_qty, e.ask_px, e.ask_qty) if isinstance(e, Quote) else (e.px, e.qty, float(e.aggressor), 0.0)
        for e in events
    ]
    return Ticks(
        np.where(quote, tape.QUOTE, tape.TRADE).astype(np.int64),
        np.array(numbers, np.float64).reshape(-1, 4),
        np.array([event.ts_event_ns for event in events], np.int64),
        np.array([event.ts_recv_ns for event in events], np.int64),
    )


def first_events(path: Path, limit: int) -> tuple[Instrument, list[MarketEvent]]:
    info = describe_file(path)
    return info.instrument, list(islice(read_file(info), limit))


def assert_equal(left: Rows, right: Rows) -> None:
    for ours, theirs in zip(left, right, strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.fault("E9")
@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("fxcm_eurusd_quotes_20140501_20140516", named_spec("quote40", volume="ticks")),
        (
            "us_spy_trades_20131007_20131011",
            FeatureSpec("spy", TRADE_COLUMNS, 30, Sampling.volume_bar(10_000.0), gap=GapPolicy(silence_ns_max=0)),
        ),
    ],
)
def test_a_million_recorded_ticks_give_the_same_bits_live_and_in_bulk(
    market_data: Path, name: str, spec: FeatureSpec
) -> None:
    """500,000 quotes with every silence and crossed row in them, and 500,000 trades cut to volume bars."""
    of, events = first_events(market_data / "ticks" / f"{name}.parquet", 500_000)
    bulk = compute_ticks(spec, of, as_ticks(events))
    assert_equal(bulk, compute_rows(spec, of, events))
    assert bulk.warm.sum() > 10_000


def test_quotes_and_trades_together_give_the_same_bits(market_data: Path) -> None:
    """30,000 events of a perpetual, in order of receipt, by the core40 columns."""
    of, events = recorded_events(market_data, "binance_usdm_btcusdt_20240808", 30_000)
    assert_equal(compute_ticks(core40_spec(), of, as_ticks(events)), compute_rows(core40_spec(), of, events))


@pytest.mark.fault("D6")
def test_silences_and_refused_ticks_mean_the_same_in_bulk() -> None:
    """A silence of 20 minutes, then a quote that is crossed, a trade without quantity, a NaN."""
    events = seeded_events(3000)
    shift = 1_200_000_000_000
    late = [
        type(event)(event.ts_event_ns + shift, *(getattr(event, name) for name in event.__struct_fields__[1:]))
        for event in events[1500:]
    ]
    quotes = [i for i, event in enumerate(late) if isinstance(event, Quote)]
    for i, bad in zip(
        quotes[100:103], ((5.0, 1.0, 4.0, 1.0), (float("nan"), 1.0, 4.0, 1.0), (1.0, -1.0, 2.0, 1.0)), strict=True
    ):
        late[i] = Quote(late[i].ts_event_ns, late[i].ts_recv_ns, late[i].instrument, *bad)
    mixed = [*events[:1500], *late]
    bulk = compute_ticks(core40_spec(), instrument(), as_ticks(mixed))
    assert_equal(bulk, compute_rows(core40_spec(), instrument(), mixed))
    cold = np.flatnonzero(~bulk.warm)
    assert (np.diff(cold) > 1).any(), "it went cold once more"


def test_time_bars_are_left_to_events() -> None:
    """The cutting of time is not the loop's."""
    with pytest.raises(DataError, match="expected rows that ticks complete"):
        compute_ticks(core40_spec(sampling=Sampling.time_bar(10**9)), instrument(), as_ticks(seeded_events(5)))


def test_every_set_has_distinct_registered_columns() -> None:
    """Each can be made into a spec; a set that names another instrument's column does so in the name."""
    for name, columns in SETS.items():
        assert len(set(columns)) == len(columns), name
        assert named_spec(name).plan
