"""Wilder's indicators against TA-Lib, the efficiency ratio against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from engine.features import Sampling
from tests.support.features import assert_same, column_values, naive_rows, quote, seeded_events

EVENTS = seeded_events(900)


@pytest.mark.parametrize("ticks", [1, 4])
def test_rsi_and_atr_equal_ta_lib(ticks: int) -> None:
    """TA-Lib on naively cut rows; bars of four ticks have a range of their own."""
    rows = naive_rows(EVENTS, ticks)
    ours = column_values(("rsi_14", "atr_14"), EVENTS, sampling=Sampling.tick_bar(ticks))
    assert_same(ours["rsi_14"], talib.RSI(rows["close"], 14), 15)
    assert_same(ours["atr_14"], talib.ATR(rows["high"], rows["low"], rows["close"], 14), 15, scale=61_800)


def test_rsi_of_a_market_that_stands_still_is_neutral() -> None:
    """Sizes change, the mid does not: 50, where TA-Lib gives 0."""
    ours = column_values(("rsi_14",), [quote(i, 100.0, 101.0, bid_qty=float(i)) for i in range(1, 40)])
    assert ours["rsi_14"][14:].tolist() == [50.0] * 25


def test_efficiency_is_the_net_move_over_the_path() -> None:
    """The definition in NumPy."""
    close = naive_rows(EVENTS)["close"]
    expected = np.full(len(close), np.nan)
    for i in range(20, len(close)):
        path = np.abs(np.diff(close[i - 20 : i + 1])).sum()
        expected[i] = (close[i] - close[i - 20]) / path if path else 0.0
    assert_same(column_values(("efficiency_20",), EVENTS)["efficiency_20"], expected, 21)
