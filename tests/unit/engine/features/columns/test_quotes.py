"""Spread, imbalance and microprice against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from engine.events import Quote
from tests.support.features import assert_same, column_values, naive_rows, quote, rolling, seeded_events

EVENTS = seeded_events(900)
ROWS = naive_rows(EVENTS)
COLUMNS = ("spread_bps", "spread_20_bps", "spread_ratio", "imbalance", "imbalance_5", "imbalance_20", "microprice_bps")


def test_quote_columns_equal_numpy() -> None:
    """Means over naively built rows."""
    ours = column_values(COLUMNS, EVENTS)
    mean_spread = rolling(ROWS["spread"], 20, np.mean)
    assert_same(ours["spread_bps"], ROWS["spread"], 1)
    assert_same(ours["spread_20_bps"], mean_spread, 20)
    assert_same(ours["spread_ratio"], ROWS["spread"] / mean_spread, 20)
    assert_same(ours["imbalance"], ROWS["imbalance"], 1)
    assert_same(ours["imbalance_5"], rolling(ROWS["imbalance"], 5, np.mean), 5, scale=1)
    assert_same(ours["imbalance_20"], rolling(ROWS["imbalance"], 20, np.mean), 20, scale=1)


def test_microprice_is_the_size_weighted_mid() -> None:
    """From the quotes themselves: (bid * ask qty + ask * bid qty) / both, against the mid."""
    quotes = [event for event in EVENTS if isinstance(event, Quote)]
    changed = _changes(quotes)
    micro = np.array([(q.bid_px * q.ask_qty + q.ask_px * q.bid_qty) / (q.bid_qty + q.ask_qty) for q in changed])
    mid = np.array([0.5 * (q.bid_px + q.ask_px) for q in changed])
    ours = column_values(COLUMNS, EVENTS)["microprice_bps"]
    # The oracle subtracts two prices of 61,800: 1e-7 bps is its own rounding.
    np.testing.assert_allclose(ours, 1e4 * (micro - mid) / mid, rtol=0, atol=1e-7)


def _changes(quotes: list[Quote]) -> list[Quote]:
    kept: list[Quote] = []
    for q in quotes:
        now = (q.bid_px, q.bid_qty, q.ask_px, q.ask_qty)
        if not kept or now != (kept[-1].bid_px, kept[-1].bid_qty, kept[-1].ask_px, kept[-1].ask_qty):
            kept.append(q)
    return kept


def test_an_empty_top_of_book_has_no_imbalance() -> None:
    """Both sizes 0: balanced, not NaN."""
    ours = column_values(COLUMNS, [quote(1, 100.0, 101.0, 0.0, 0.0)])
    assert ours["imbalance"].tolist() == [0.0]


def test_a_locked_market_has_spread_zero_and_the_usual_ratio() -> None:
    """0 is a value: no NaN from 0 / 0."""
    ours = column_values(COLUMNS, [quote(i, 100.0, 100.0, float(i)) for i in range(1, 30)])
    assert ours["spread_bps"][-1] == 0.0
    assert ours["spread_ratio"][-1] == pytest.approx(1.0)
