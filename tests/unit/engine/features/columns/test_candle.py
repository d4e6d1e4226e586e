"""The shape of one row against NumPy, its day against the calendar of the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from engine.features import FeatureBuffer, FeatureSpec, Sampling
from tests.support.features import drive, instrument, naive_rows, rolling, seeded_events
from tests.support.technical import COLUMNS, made, values_of

N = 200
random = np.random.default_rng(3)
CLOSE = 100.0 + np.round(np.cumsum(random.normal(0, 0.05, N)), 2)
OPEN = np.r_[100.0, CLOSE[:-1]]
HIGH, LOW = np.maximum(OPEN, CLOSE) + 0.03, np.minimum(OPEN, CLOSE) - 0.02
VALUES = values_of(made(OPEN, HIGH, LOW, CLOSE, np.ones(N)))


def test_prices_and_ratios_are_those_of_the_candle() -> None:
    """Each formula in NumPy."""
    expected = {
        "open": OPEN,
        "high": HIGH,
        "low": LOW,
        "close": CLOSE,
        "high_low_ratio": HIGH / LOW - 1,
        "open_close_ratio": OPEN / CLOSE - 1,
        "close_open_ratio": CLOSE / OPEN - 1,
        "range_ratio": (HIGH - LOW) / CLOSE,
        "simple_ret_1": np.r_[np.nan, CLOSE[1:] / CLOSE[:-1] - 1],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(VALUES[name], values, rtol=1e-9, atol=1e-14, err_msg=name)


def test_ratios_to_levels_are_free_of_the_price() -> None:
    """The columns of the hybrid set that are divided by the close or a mean of it."""
    np.testing.assert_allclose(VALUES["macd_ratio"], VALUES["macd_line"] / CLOSE, rtol=1e-12)
    np.testing.assert_allclose(VALUES["atr_ratio"], VALUES["atr_14"] / CLOSE, rtol=1e-12)
    np.testing.assert_allclose(VALUES["sma_gap_20"], CLOSE / rolling(CLOSE, 20, np.mean) - 1, rtol=1e-9, atol=1e-14)


def test_channels_lie_two_true_ranges_around_the_average() -> None:
    """Keltner's from the columns they are declared to be made of, each of which is TA-Lib's (test_technical)."""
    for name, sign in (("keltner_upper", 1), ("keltner_lower", -1)):
        np.testing.assert_allclose(
            VALUES[name], VALUES["keltner_middle"] + sign * 2 * VALUES["atr_10"], rtol=1e-12, err_msg=name
        )


def test_the_day_is_that_of_the_rows_last_moment() -> None:
    """A year of daily candles that end at midnight belong to the day before; a nanosecond later is the next day."""
    midnight = datetime(2024, 1, 1, tzinfo=UTC)
    ends = [midnight + timedelta(days=days) for days in range(0, 366, 2)]
    end_ns = np.array([int(end.timestamp()) * 10**9 for end in ends])
    ones = np.ones(len(ends))
    for later_ns, days in ((0, -1), (1, 0), (86_399 * 10**9, 0)):
        values = values_of(made(ones, ones, ones, ones, ones)._replace(end_ns=end_ns + later_ns))
        assert values["day_of_week"].tolist() == [(end + timedelta(days=days)).weekday() for end in ends]


def test_rows_of_quotes_have_their_first_highest_and_lowest_mid() -> None:
    """Bars of three quotes against naively cut rows; sizes do not count where no column reads them."""
    events = seeded_events(300)
    rows = naive_rows(events, 3, sizes=False)
    buffer = FeatureBuffer(FeatureSpec("ticks", COLUMNS, 4, Sampling.tick_bar(3)), instrument())
    ours = drive(buffer, events, ("open", "high", "low"))
    for name in ("open", "high", "low"):
        np.testing.assert_array_equal(ours[name], rows[name])
