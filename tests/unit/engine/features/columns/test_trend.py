"""Moving averages against TA-Lib, vwap and obv against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from engine.features import Sampling
from tests.support.features import assert_same, column_values, naive_rows, quote, rolling, seeded_events, trade

EVENTS = seeded_events(900)


@pytest.mark.parametrize("ticks", [1, 4])
def test_moving_averages_equal_ta_lib(ticks: int) -> None:
    """TA-Lib on the closes of naively cut rows, every row after warm-up."""
    rows = naive_rows(EVENTS, ticks)
    ours = column_values(("sma_20", "ema_12", "close"), EVENTS, sampling=Sampling.tick_bar(ticks))
    assert_same(ours["sma_20"], talib.SMA(rows["close"], 20), 20)
    assert_same(ours["ema_12"], talib.EMA(rows["close"], 12), 12)
    assert_same(ours["close"], rows["close"], 1)


def test_macd_equals_ta_lib() -> None:
    """TA-Lib's MACD, seeds included: all three outputs from row 34 on."""
    close = naive_rows(EVENTS)["close"]
    ours = column_values(("macd_line", "macd_signal", "macd_histogram"), EVENTS)
    line, signal, histogram = talib.MACD(close, 12, 26, 9)
    # TA-Lib shows the line only where the signal exists; ours begins at row 26.
    np.testing.assert_allclose(ours["macd_line"][33:], line[33:], rtol=1e-9, atol=1e-12 * 61_800)
    assert np.isfinite(ours["macd_line"][25])
    assert np.isnan(ours["macd_line"][24])
    assert_same(ours["macd_signal"], signal, 34, scale=61_800)
    assert_same(ours["macd_histogram"], histogram, 34, scale=61_800)


def test_obv_equals_ta_lib() -> None:
    """TA-Lib's OBV on naively summed volume."""
    rows = naive_rows(EVENTS, 3)
    ours = column_values(("obv",), EVENTS, sampling=Sampling.tick_bar(3))
    assert_same(ours["obv"], talib.OBV(rows["close"], rows["volume"]), 1, scale=100)


def test_vwap_weights_typical_prices_by_volume() -> None:
    """The definition in NumPy, on rows of which some have no volume."""
    rows = naive_rows(EVENTS, 3)
    typical = (rows["high"] + rows["low"] + rows["close"]) / 3
    expected = rolling(typical * rows["volume"], 20, np.sum) / rolling(rows["volume"], 20, np.sum)
    ours = column_values(("vwap",), EVENTS, sampling=Sampling.tick_bar(3))
    assert (rows["volume"] == 0).any()
    assert_same(ours["vwap"], expected, 20)


def test_vwap_without_any_volume_is_the_plain_mean() -> None:
    """Quotes only: a number, not a division by zero."""
    quotes = [quote(i, 100.0 + i, 101.0 + i) for i in range(1, 31)]
    ours = column_values(("vwap",), quotes)["vwap"]
    assert ours[-1] == pytest.approx(np.mean([100.5 + i for i in range(11, 31)]), rel=1e-12)


def test_a_volume_once_gone_leaves_no_trace_in_vwap() -> None:
    """A trade of 1e12 leaves the window and the value is that of the small trades alone, exactly."""
    events = [quote(1, 100.0, 101.0), trade(2, 100.0, 1e12)]
    small = [event for i in range(3, 60) for event in (trade(i, 100.0, 0.1), quote(i, 100.0 + i % 5, 101.0 + i % 5))]
    spiked = column_values(("vwap",), events + small)["vwap"]
    clean = column_values(("vwap",), events[:1] + small)["vwap"]
    assert spiked[25] == clean[25]
    assert spiked[-1] == clean[-1]
