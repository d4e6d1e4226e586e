"""Opening hours: known closings and openings of each market."""

from __future__ import annotations

import numpy as np
import pytest

from engine.data.sessions import Market, bars_expected, is_open, market_of

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS


def ns(*times: str) -> np.ndarray:
    return np.array(times, "datetime64[ns]").astype(np.int64)


@pytest.mark.parametrize(
    ("venue", "symbol", "market"),
    [
        ("Binance spot", "BTCUSDT", Market.ALWAYS),
        ("kraken", "XAU/USDT", Market.ALWAYS),
        ("OANDA", "EURUSD", Market.FX),
        ("FXCM", "GBP/USD", Market.FX),
        ("OANDA", "XAUUSD", Market.FUTURES),
        ("CME Globex (GLBX.MDP3)", "ESH4", Market.FUTURES),
        ("US consolidated tape", "SPY", Market.US_EQUITIES),
        ("US listed (figures of Yahoo Finance)", "V", Market.US_EQUITIES),
        ("somebody", "???", Market.ALWAYS),
    ],
)
def test_a_symbol_belongs_to_a_market(venue: str, symbol: str, market: Market) -> None:
    """Venues and symbols as recordings write them."""
    assert market_of(venue, symbol) is market


@pytest.mark.parametrize(
    ("market", "time", "opened"),
    [
        (Market.ALWAYS, "2024-12-25T03:00", True),
        (Market.FX, "2024-06-07T20:59", True),  # Friday 16:59 New York, summer
        (Market.FX, "2024-06-07T21:00", False),
        (Market.FX, "2024-06-09T20:59", False),  # Sunday
        (Market.FX, "2024-06-09T21:00", True),
        (Market.FX, "2024-01-05T21:30", True),  # Friday 16:30, winter
        (Market.FX, "2024-12-25T12:00", False),
        (Market.FUTURES, "2024-06-05T21:30", False),  # the daily break
        (Market.FUTURES, "2024-03-29T15:00", False),  # Good Friday
        (Market.FX, "2024-03-29T15:00", True),
        (Market.US_EQUITIES, "2024-06-05T13:30", True),  # 09:30 New York
        (Market.US_EQUITIES, "2024-06-05T13:29", False),
        (Market.US_EQUITIES, "2024-06-05T19:59", True),
        (Market.US_EQUITIES, "2024-06-05T20:00", False),
        (Market.US_EQUITIES, "2024-01-05T14:30", True),  # winter
        (Market.US_EQUITIES, "2001-09-12T15:00", False),
        (Market.US_EQUITIES, "2023-11-24T18:30", False),  # after Thanksgiving: until 13:00
        (Market.US_EQUITIES, "2023-11-24T17:30", True),
    ],
)
def test_opening_hours(market: Market, time: str, opened: bool) -> None:
    """Edges in summer and winter time, holidays, early closes."""
    assert is_open(market, ns(time)).tolist() == [opened]


def test_holidays_of_us_exchanges() -> None:
    """The full closings of 2021, 2022 and 2012 as the exchange announced them."""
    days = np.arange(np.datetime64("2012-01-01"), np.datetime64("2023-01-01"))
    weekdays = days[np.is_busday(days)]
    closed = weekdays[~bars_expected(Market.US_EQUITIES, weekdays.astype("datetime64[ns]").astype(np.int64), DAY_NS)]
    by_year = {year: [str(day)[5:] for day in closed if str(day)[:4] == year] for year in ("2012", "2021", "2022")}
    assert by_year == {
        "2012": ["01-02", "01-16", "02-20", "04-06", "05-28", "07-04", "09-03", "10-29", "10-30", "11-22", "12-25"],
        "2021": ["01-01", "01-18", "02-15", "04-02", "05-31", "07-05", "09-06", "11-25", "12-24"],
        "2022": ["01-17", "02-21", "04-15", "05-30", "06-20", "07-04", "09-05", "11-24", "12-26"],
    }


def test_a_bar_of_shares_is_expected_when_it_touches_the_session_one_of_currencies_when_it_lies_within() -> None:
    """The hour of 09:00 New York, and the last hour before the weekend."""
    assert bars_expected(Market.US_EQUITIES, ns("2024-06-05T13:00"), HOUR_NS).tolist() == [True]
    assert bars_expected(Market.US_EQUITIES, ns("2024-06-05T12:00"), HOUR_NS).tolist() == [False]
    assert bars_expected(Market.FX, ns("2024-06-07T20:00", "2024-06-07T20:30"), HOUR_NS).tolist() == [True, False]


def test_no_times_are_no_answer() -> None:
    """An empty question to each market."""
    for market in Market:
        assert is_open(market, np.zeros(0, np.int64)).size == 0
