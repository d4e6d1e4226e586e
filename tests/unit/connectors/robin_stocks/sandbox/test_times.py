"""Hours of New York: sessions, holidays, nights, and a market that never closes."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from connectors.robin_stocks.sandbox.times import (
    ALL_DAY,
    CLOSED,
    EXTENDED,
    NS,
    REGULAR,
    MarketHours,
    iso,
    iso_seconds,
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS


@pytest.mark.parametrize(
    ("when", "session"),
    [
        ("2026-11-20T14:29:59", EXTENDED),
        ("2026-11-20T14:30:00", REGULAR),
        ("2026-11-20T21:00:00", EXTENDED),
        ("2026-11-21T00:59:59", EXTENDED),
        ("2026-11-21T01:00:00", CLOSED),  # Friday, eight in the evening
        ("2026-11-22T12:00:00", CLOSED),
        ("2026-11-23T01:00:00", ALL_DAY),  # Sunday, eight in the evening
        ("2026-11-24T03:00:00", ALL_DAY),
        ("2026-11-26T15:00:00", CLOSED),  # Thanksgiving
        ("2026-11-27T17:59:59", REGULAR),
        ("2026-11-27T18:00:00", EXTENDED),  # an early close
        ("2026-11-27T22:00:00", CLOSED),
        ("2026-07-06T13:30:00", REGULAR),  # in summer an hour earlier by UTC
    ],
)
def test_which_session_holds(when: str, session: str) -> None:
    """At the borders, by UTC."""
    hours = MarketHours(always=False)
    assert hours.session(at(when)) == session
    assert hours.trades(REGULAR, at(when)) == (session == REGULAR)
    assert hours.trades(ALL_DAY, at(when)) == (session != CLOSED)


def test_when_an_order_of_the_day_ends_and_when_the_next_session_begins() -> None:
    """During a session, after it, over a weekend."""
    hours = MarketHours(always=False)
    assert hours.ends(REGULAR, at("2026-11-20T15:00:00")) == at("2026-11-20T21:00:00")
    assert hours.ends(REGULAR, at("2026-11-20T22:00:00")) == at("2026-11-23T21:00:00")
    assert hours.next_start(REGULAR, at("2026-11-20T14:00:00")) == at("2026-11-20T14:30:00")
    assert hours.next_start(REGULAR, at("2026-11-20T15:00:00")) == at("2026-11-23T14:30:00")
    assert hours.next_open(date(2026, 11, 25)) == date(2026, 11, 27)
    assert hours.next_open(date(2026, 11, 23), -1) == date(2026, 11, 20)


def test_a_market_that_never_closes() -> None:
    """Every kind of hours, on a Sunday."""
    hours = MarketHours(always=True)
    assert hours.session(at("2026-11-22T12:00:00")) == REGULAR
    assert hours.day(date(2026, 11, 22)).is_open


def test_times_as_text() -> None:
    """Microseconds, and whole seconds."""
    assert iso(at("2026-11-20T14:03:07") + 120_000) == "2026-11-20T14:03:07.000120Z"
    assert iso_seconds(at("2026-11-20T14:03:07") + 5) == "2026-11-20T14:03:07Z"
