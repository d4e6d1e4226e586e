"""Candles: granularities agree with each other, alignment is the venue's, requests are checked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.oanda.sandbox.errors import ApiError
from connectors.oanda.sandbox.history import GRANULARITIES, candles, parse_query
from connectors.oanda.sandbox.settings import instruments_named
from tests.support.oanda import NOW_NS, Venue


@pytest.fixture(scope="module")
def venue() -> Venue:
    """Five days made up and a minute lived through."""
    made = Venue(history_days=5)
    market = made.exchange.markets.by_name["EUR_USD"]
    market.jump(Decimal("1.08402"), made.now_ns)
    for _ in range(60):
        made.pass_time(1)
    return made


@pytest.fixture(scope="module")
def minutes(venue: Venue) -> list[dict[str, Any]]:
    return ask(venue, granularity="M1", count=5000, price="MBA")


def ask(venue: Venue, **params: Any) -> list[dict[str, Any]]:
    market = venue.exchange.markets.by_name["EUR_USD"]
    found: list[dict[str, Any]] = candles(
        market, parse_query({name.rstrip("_"): str(value) for name, value in params.items()}), venue.now_ns
    )["candles"]
    return found


@pytest.mark.parametrize("granularity", [name for name in GRANULARITIES if not name.startswith("S")])
def test_every_granularity_is_made_of_the_minutes(
    venue: Venue, minutes: list[dict[str, Any]], granularity: str
) -> None:
    """Volumes add up, highs and lows are those of the parts, times go up, only the last one runs."""
    found = ask(venue, granularity=granularity, count=5000, price="MBA")
    times = [candle["time"] for candle in found]
    assert times == sorted(set(times))
    assert all(candle["complete"] for candle in found[:-1])
    newest = [candle for candle in minutes if candle["time"] >= found[-1]["time"]]
    if len(found) > 1:
        assert found[-1]["volume"] == sum(candle["volume"] for candle in newest)
        assert found[-1]["bid"]["h"] == max(candle["bid"]["h"] for candle in newest)
        assert found[-1]["ask"]["l"] == min(candle["ask"]["l"] for candle in newest)
    for candle in found:
        for prices in (candle["bid"], candle["mid"], candle["ask"]):
            assert float(prices["l"]) <= min(float(prices["o"]), float(prices["c"]))
            assert float(prices["h"]) >= max(float(prices["o"]), float(prices["c"]))
        assert candle["bid"]["c"] < candle["ask"]["c"]


def test_days_and_weeks_begin_at_seventeen_in_new_york(venue: Venue) -> None:
    """22:00 UTC in winter; a week on Friday; other alignments by parameter; a month on the evening before its first."""
    assert {candle["time"][11:19] for candle in ask(venue, granularity="D")} == {"22:00:00"}
    assert ask(venue, granularity="D", dailyAlignment=0, alignmentTimezone="UTC")[-1]["time"].startswith(
        "2026-11-20T00"
    )
    assert ask(venue, granularity="W")[-1]["time"].startswith("2026-11-13T22:00:00")
    assert ask(venue, granularity="W", weeklyAlignment="Monday")[-1]["time"].startswith("2026-11-16T22:00:00")
    assert ask(venue, granularity="M")[-1]["time"].startswith("2026-10-31T21:00:00")
    assert ask(venue, granularity="H4")[-1]["time"][11:13] in {"02", "06", "10", "14", "18", "22"}


def test_a_range_is_a_range(venue: Venue) -> None:
    """``from`` includes the candle that holds it unless told otherwise, ``to`` excludes, ``count`` counts from from."""
    begin = NOW_NS // 10**9 - 3_600 - 7  # on the minute
    assert begin % 60 == 0
    found = ask(venue, granularity="M1", from_=begin, to=begin + 600)
    assert len(found) == 10
    assert ask(venue, granularity="M1", from_=begin, count=3) == found[:3]
    assert ask(venue, granularity="M1", from_=begin, count=3, includeFirst="false") == found[1:4]
    assert ask(venue, granularity="M1", to=begin + 600, count=3) == found[-3:]


def test_smoothing_opens_where_the_last_one_closed(venue: Venue) -> None:
    """Without it a candle opens at its own first price."""
    found = ask(venue, granularity="S5", count=5, smooth="true")
    assert [candle["mid"]["o"] for candle in found[1:]] == [candle["mid"]["c"] for candle in found[:-1]]


@pytest.mark.parametrize(
    "params",
    [
        {"granularity": "M3"},
        {"price": "X"},
        {"price": ""},
        {"count": "5001"},
        {"count": "0"},
        {"count": "many"},
        {"from": "1", "to": "2", "count": "3"},
        {"from": "1", "to": "100000"},
        {"from": "soon"},
        {"from": "2", "to": "1"},
        {"smooth": "maybe"},
        {"dailyAlignment": "24"},
        {"weeklyAlignment": "Today"},
        {"alignmentTimezone": "Middle/Earth"},
    ],
    ids=str,
)
def test_a_request_that_cannot_be_answered_is_refused(params: dict[str, str]) -> None:
    """400 each."""
    with pytest.raises(ApiError) as caught:
        parse_query(params)
    assert caught.value.status == 400


def test_the_past_is_the_same_each_time_and_closed_at_weekends() -> None:
    """Same seed, same candles; with the venue's hours there is none on a Saturday."""
    one = instruments_named(["EUR_USD"])
    days = [ask(Venue(history_days=7, hours="venue", instruments=one), granularity="H1", count=500) for _ in (0, 1)]
    assert days[0][:-2] == days[1][:-2]
    assert not [candle for candle in days[0] if candle["time"].startswith(("2026-11-14T0", "2026-11-14T1"))]
