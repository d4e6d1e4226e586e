"""Rows of trade prices: by count, volume, notional, imbalance and time; live equals the slow and obvious way."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError
from engine.events import MarketEvent, Trade
from engine.features import FeatureBuffer, FeatureSpec, GapPolicy, Sampling, compute_rows
from tests.support.features import SECOND, instrument, quote, recorded_events, seeded_events, trade


def spec(sampling: Sampling, window: int = 2) -> FeatureSpec:
    return FeatureSpec("bars", ("close", "volume"), window, sampling)


def naive(trades: list[Trade], complete) -> list[tuple[float, float, int]]:  # type: ignore[no-untyped-def]
    """Close, volume and time of each bar; ``complete`` sees the trades of the bar so far."""
    bars, held = [], []
    for each in trades:
        held.append(each)
        if complete(held):
            bars.append((each.px, sum_in_order(t.qty for t in held), each.ts_event_ns))
            held = []
    return bars


def sum_in_order(values) -> float:  # type: ignore[no-untyped-def]
    total = 0.0
    for value in values:
        total += value
    return total


RULES = {
    "trades": (Sampling.tick_bar(7, "trade"), lambda held: len(held) == 7),
    "each": (Sampling.tick("trade"), lambda held: True),
    "volume": (Sampling.volume_bar(0.75), lambda held: sum_in_order(t.qty for t in held) >= 0.75),
    "notional": (Sampling.dollar_bar(50_000.0), lambda held: sum_in_order(t.px * t.qty for t in held) >= 50_000.0),
}


def assert_bars(rows, bars: list[tuple[float, float, int]]) -> None:  # type: ignore[no-untyped-def]
    assert len(bars) > 20
    close, volume, times = (np.array(part) for part in zip(*bars, strict=True))
    np.testing.assert_array_equal(rows.mid_px, close)
    np.testing.assert_array_equal(rows.values[:, 1], volume.astype(np.float32))
    np.testing.assert_array_equal(rows.ts_event_ns, times)


@pytest.mark.parametrize("rule", RULES)
def test_bars_are_complete_when_declared(rule: str) -> None:
    """Random trades between quotes, against a list."""
    sampling, complete = RULES[rule]
    events = seeded_events(4000)
    trades = [event for event in events if isinstance(event, Trade)]
    assert_bars(compute_rows(spec(sampling), instrument(), events), naive(trades, complete))


@pytest.mark.parametrize("rule", RULES)
def test_bars_of_recorded_trades(market_data: Path, rule: str) -> None:
    """20,000 recorded quotes and trades of a perpetual, against a list."""
    sampling, complete = RULES[rule]
    of, events = recorded_events(market_data, "binance_usdm_btcusdt_20240808", 20_000)
    trades = [event for event in events if isinstance(event, Trade)]
    assert_bars(compute_rows(spec(sampling), of, events), naive(trades, complete))


def naive_imbalance(trades: list[Trade], first: int, span: int) -> list[int]:
    """Times of tick imbalance bars, from the book's definition with the declared bounds."""
    weight, expected, sign_expected = 2.0 / (span + 1.0), float(first), 0.0
    times, total, count, sign, last = [], 0.0, 0, 1.0, None
    for each in trades:
        if last is not None and each.px != last:
            sign = 1.0 if each.px > last else -1.0
        last = each.px
        total, count = total + sign, count + 1
        sign_expected += weight / first * (sign - sign_expected)
        if abs(total) >= max(expected * abs(sign_expected), math.sqrt(expected)):
            times.append(each.ts_event_ns)
            expected = min(max(expected + weight * (count - expected), 0.5 * first), 2.0 * first)
            total, count = 0.0, 0
    return times


def test_imbalance_bars_follow_their_expectations(market_data: Path) -> None:
    """Recorded trades: the same bars as the naive definition, and neither single trades nor one bar."""
    of, events = recorded_events(market_data, "binance_usdm_btcusdt_20240808", 40_000)
    trades = [event for event in events if isinstance(event, Trade)]
    times = naive_imbalance(trades, 40, 20)
    rows = compute_rows(spec(Sampling.imbalance_bar(40, 20)), of, events)
    assert rows.ts_event_ns.tolist() == times
    assert 20 < len(times) < len(trades) / 4


def test_time_bars_of_trades_are_the_venues_candles() -> None:
    """Open, high, low, close and volume of each second, by hand; quotes in between change nothing."""
    events: list[MarketEvent] = [trade(0, 10.0, 1.0)]
    for second in range(1, 5):
        start = second * SECOND
        events += [trade(start, 10.0 + second, 1.0), quote(start + 1, 50.0, 60.0), trade(start + 2, 12.0 + second, 2.0)]
        events += [trade(start + 3, 9.0 + second, 0.5), trade(start + 4, 11.0 + second, 0.25)]
    events.append(trade(5 * SECOND, 1.0, 1.0))
    cut = Sampling.time_bar(SECOND, price="trade")
    wanted = FeatureSpec("bars", ("close", "volume", "range_5_bps"), 1, cut, gap=GapPolicy(flat_rows_max=0))
    rows = compute_rows(wanted, instrument(), events)
    assert rows.mid_px.tolist() == [10.0, 12.0, 13.0, 14.0, 15.0]
    assert rows.values[:, 1].tolist() == [1.0, 3.75, 3.75, 3.75, 3.75]
    assert rows.values[4, 2] == np.float32(1e4 * (16.0 - 10.0) / 15.0)


def test_quotes_are_not_needed_for_rows_of_trades() -> None:
    """An instrument without quotes in its feed: the spec asks for trades alone."""
    wanted = spec(Sampling.volume_bar(1.0))
    assert wanted.requires == {"trades"}
    buffer = FeatureBuffer(wanted, instrument(has_quote_sizes=False))
    assert not buffer.update(trade(1, 100.0, 0.5))
    assert buffer.update(trade(2, 101.0, 0.5))
    assert buffer.latest("close") == 101.0


def test_an_instrument_without_trades_cannot_feed_rows_of_trades() -> None:
    """Refused when the buffer is made, with what is lacking."""
    with pytest.raises(DataError, match="trades"):
        FeatureBuffer(FeatureSpec("bars", ("close",), 2, Sampling.tick("trade")), instrument(has_trades=False))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "volume_bar", "size": 1.0},
        {"kind": "volume_bar", "price": "trade"},
        {"kind": "dollar_bar", "size": float("nan"), "price": "trade"},
        {"kind": "imbalance_bar", "ticks": 1, "span": 5, "price": "trade"},
        {"kind": "imbalance_bar", "ticks": 10, "price": "trade"},
        {"kind": "tick", "size": 1.0},
        {"kind": "tick_bar", "ticks": 3, "span": 2},
    ],
)
def test_contradictions_are_refused(fields: dict[str, object]) -> None:
    """Each names its kind."""
    with pytest.raises(DataError, match=f"sampling '{fields['kind']}'"):
        Sampling(**fields)  # type: ignore[arg-type]


def test_settings_that_came_later_leave_old_fingerprints_alone() -> None:
    """Identity of a sampling that does not use them, and of one that does."""
    assert Sampling.tick().identity() == {"kind": "tick", "ticks": 1, "interval_ns": 0, "lateness_ns": 0}
    assert Sampling.tick("trade").identity()["price"] == "trade"
    assert spec(Sampling.tick()).fingerprint() != spec(Sampling.tick("trade")).fingerprint()
