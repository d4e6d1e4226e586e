"""The user stream as the core sees it: up only while the stream is up, the balances are told and all is readable."""

from __future__ import annotations

import logging

import pytest

from connectors.account_health import AccountHealth
from connectors.fakes import EventLog, FakeClock
from engine.events import FeedDown, FeedUp, Gap, OrderAccepted

UP = FeedUp(1, 1, "coinbase", "user")
DOWN = FeedDown(2, 2, "coinbase", "user", "reset")


def health() -> tuple[AccountHealth, EventLog]:
    log = EventLog()
    return AccountHealth("coinbase", log, FakeClock(7)), log


def test_the_stream_is_told_up_once_the_balances_are() -> None:
    """Up before them: held back, other events pass; then told as it was."""
    account, log = health()
    accepted = OrderAccepted(1, 1, "coinbase", "c", "v")
    account.on_stream(UP)
    account.on_stream(accepted)
    assert log == [accepted]
    account.open()
    assert log == [accepted, UP]


def test_a_stream_that_breaks_and_returns_before_the_balances_is_told_once() -> None:
    """Down is always told; up only when open and only while it is."""
    account, log = health()
    account.on_stream(UP)
    account.on_stream(DOWN)
    account.open()
    assert log == [DOWN]
    account.on_stream(UP)
    assert log == [DOWN, UP]


def test_a_trouble_is_down_until_each_trouble_is_over(caplog: pytest.LogCaptureFixture) -> None:
    """Two troubles: down with the reason that stands, up after the second recovery, a log line for each end."""
    account, log = health()
    account.open()
    account.on_stream(UP)
    log.clear()
    with caplog.at_level(logging.WARNING):
        account.trouble("a", "bad fill")
        account.trouble("a", "bad fill again")
        account.trouble("b", "no listing")
        assert [e.reason for e in log.of(FeedDown)] == ["account not readable: bad fill"]
        account.recovered("a")
        account.recovered("never")
        assert [e.reason for e in log.of(FeedDown)[1:]] == ["account not readable: no listing"]
        assert log.of(FeedUp) == []
        account.recovered("b")
    assert log[2:] == [FeedUp(7, 7, "coinbase", "user")]
    assert len(caplog.records) == 4


def test_a_stream_that_returns_during_a_trouble_stays_down_with_the_reason_that_is_left() -> None:
    """The core then says why no order leaves."""
    account, log = health()
    account.open()
    account.on_stream(UP)
    account.trouble("a", "bad fill")
    account.on_stream(DOWN)
    account.on_stream(UP)
    assert [getattr(e, "reason", "up") for e in log] == [
        "up",
        "account not readable: bad fill",
        "reset",
        "account not readable: bad fill",
    ]
    account.recovered("a")
    assert type(log[-1]) is FeedUp


def test_a_trouble_that_ends_while_the_stream_is_down_does_not_say_up() -> None:
    """The stream says it when it is."""
    account, log = health()
    account.open()
    account.on_stream(UP)
    account.trouble("a", "bad fill")
    account.on_stream(DOWN)
    log.clear()
    account.recovered("a")
    assert log == []
    account.on_stream(UP)
    assert log == [UP]


@pytest.mark.fault("C5")
def test_messages_that_the_account_has_lost_are_no_gap_of_the_market() -> None:
    """It was down for a moment, and the account is confirmed after it; nothing is told of one that is down already."""
    account, log = health()
    gap = Gap(9, 9, "coinbase", "", 5, 7)
    account.on_stream(UP)
    account.on_stream(gap)
    assert log == []
    account.open()
    log.clear()
    account.on_stream(gap)
    assert log == [FeedDown(9, 9, "coinbase", "user", "message 7 came for 5"), FeedUp(9, 9, "coinbase", "user")]
    account.trouble("a", "bad fill")
    log.clear()
    account.on_stream(gap)
    assert log == []
