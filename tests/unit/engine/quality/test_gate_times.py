"""What the quality gate says of times: clocks that are off, that step, that are behind; late events."""

from __future__ import annotations

from typing import Any

import pytest

from engine.events import BookDelta, Quote, Trade
from engine.quality.gate import QualityGate
from tests.support.core import BTC
from tests.support.quality import MS, START, S, gate, quote, said, trade, warm

HOUR = 3600 * S


@pytest.mark.parametrize("offset_ns", [-1_270 * MS, 0, 250 * MS])
def test_a_venues_clock_offset_is_learned_and_is_no_defect(offset_ns: int) -> None:
    """A recorder 1.27 s behind the venue: from the first event on nothing is said, and then both limits hold."""
    judge = gate()
    for i in range(40):
        assert said(judge.quote(quote(i * MS, 100.0 + 0.01 * (i % 2), delay_ns=offset_ns + i % 3 * MS))) == "accepted"
    assert judge.clock_offset_ns() == {"quotes": offset_ns}
    assert said(judge.quote(quote(50 * MS, delay_ns=offset_ns + 10_001 * MS))) == "dropped stale"
    assert said(judge.quote(quote(51 * MS, delay_ns=offset_ns + 9_999 * MS))) == "accepted"
    assert said(judge.quote(quote(52 * MS, delay_ns=offset_ns - 1_001 * MS))) == "dropped future"
    assert said(judge.quote(quote(53 * MS, delay_ns=offset_ns - 999 * MS))) == "accepted"


def test_the_first_event_may_be_off_by_the_bound_and_no_more() -> None:
    """Nothing is known yet: 5 s ahead, and 5 s + 10 s behind, pass; a moment more does not."""
    for delay_ns, found in (
        (-5_000 * MS, "accepted"),
        (-5_001 * MS, "dropped future"),
        (15_000 * MS, "accepted"),
        (15_001 * MS, "dropped stale"),
    ):
        assert said(gate().quote(quote(0, delay_ns=delay_ns))) == found


@pytest.mark.fault("C16")
def test_a_venue_that_sets_its_clock_is_believed_after_eight_events() -> None:
    """Two seconds forward at once: seven are dropped, the eighth is the new time."""
    judge = gate()
    start = warm(judge)
    found = [said(judge.quote(quote(start + i * MS, 100.0 + 0.01 * (i % 2), delay_ns=-2 * S))) for i in range(9)]
    assert found == ["dropped future"] * 7 + ["accepted"] * 2


def test_an_event_beyond_the_largest_offset_is_never_learned() -> None:
    """A hundred events of next year stay future."""
    judge = gate()
    start = warm(judge)
    assert {said(judge.quote(quote(start + i * MS, delay_ns=-300 * 24 * HOUR))) for i in range(100)} == {
        "dropped future"
    }
    assert said(judge.quote(quote(start + 200 * MS, 100.02))) == "accepted"


def refused(judge: QualityGate, start: int, n: int, **changes: Any) -> list[str]:
    """What is said of quotes four a second, a cent up and down."""
    return [said(judge.quote(quote(start + i * 250 * MS, 100.0 + 0.01 * (i % 2), **changes))) for i in range(n)]


@pytest.mark.parametrize(
    ("jump_ns", "last"), [(20 * S, "suspect future"), (-20 * S, "suspect late"), (-400 * S, "suspect late")]
)
def test_prices_are_shown_once_a_clock_was_wrong_for_five_seconds(jump_ns: int, last: str) -> None:
    """The venue's clock is set: dropped for five seconds of our own, then shown to exits; accepted when it is right."""
    judge = gate()
    start = warm(judge)
    found = refused(judge, start + S + jump_ns, 40, delay_ns=-jump_ns)
    assert found == [last.replace("suspect", "dropped")] * 20 + [last] * 20
    assert refused(judge, start + 20 * S, 1) == ["accepted"]
    assert refused(judge, start + 21 * S + jump_ns, 1, delay_ns=-jump_ns) == [last.replace("suspect", "dropped")]


def test_a_feed_that_is_far_behind_is_shown_and_never_believed() -> None:
    """Half a minute, for ten minutes: no offset is learned that would make it fresh."""
    judge = gate()
    start = warm(judge)
    found = refused(judge, start, 2_400, delay_ns=30 * S)
    assert found == ["dropped stale"] * 20 + ["suspect stale"] * 2_380


def test_old_quotes_in_one_burst_are_not_shown() -> None:
    """Ten seconds of quiet, then a hundred old ones within a moment of ours: told again, not a clock."""
    judge = gate()
    start = warm(judge)
    assert refused(judge, start + 30 * S, 1) == ["accepted"]
    late = [quote(start + i * 100 * MS, 90.0, delay_ns=40 * S - i * 99 * MS) for i in range(100)]
    assert {said(judge.quote(one)) for one in late} == {"dropped late"}


def test_a_wild_price_at_a_refused_time_is_not_shown() -> None:
    """Nor is it a new level before it is told twice: nobody's stop goes by one bad tick."""
    judge = gate()
    start = warm(judge)
    jump_ns = 20 * S
    refused(judge, start + jump_ns, 30, delay_ns=-jump_ns)
    at_ns = start + jump_ns + 8 * S
    wild = [said(judge.quote(quote(at_ns + i * MS, px, delay_ns=-jump_ns))) for i, px in enumerate((50.0, 100.01))]
    assert wild == ["dropped future", "suspect future"]
    told = [said(judge.quote(quote(at_ns + S + i * MS, 90.0, delay_ns=-jump_ns))) for i in range(2)]
    assert told == ["dropped future", "suspect future"]


@pytest.mark.fault("D3")
@pytest.mark.parametrize("px", [115.0, 1_000.0], ids=["near", "far"])
def test_a_wild_price_at_a_refused_time_is_not_shown_for_its_own_copies(px: float) -> None:
    """Polled again and again from a feed that stands still: one word, and a stop would go by it."""
    judge = gate()
    at = warm(judge)
    for i in range(7):
        judge.quote(quote(at, delay_ns=(20 + i) * S))
    found = {said(judge.quote(quote(at + MS, px, delay_ns=(30 + i) * S))) for i in range(9)}
    assert found == {"dropped stale"}
    assert said(judge.quote(quote(at, delay_ns=40 * S))) == "suspect stale"
    others = [said(judge.quote(quote(at + i * MS, px + 0.01 * i, delay_ns=50 * S))) for i in range(5)]
    assert others[-1] == "suspect stale"


def test_a_trade_at_a_refused_time_is_never_shown() -> None:
    """A last price values nothing; its volume would be counted."""
    judge = gate()
    start = warm(judge, trades=True)
    assert {said(judge.trade(trade(start + 20 * S + i * S, delay_ns=-20 * S))) for i in range(20)} == {"dropped future"}


@pytest.mark.parametrize("ts_ns", [-1, -(2**63), 2**63 - 1])
def test_a_time_that_is_none_is_dropped(ts_ns: int) -> None:
    """Negative, and beyond all years: no overflow, no acceptance."""
    assert said(gate().quote(Quote(ts_ns, START, BTC, 100.0, 1.0, 100.01, 1.0))).startswith("dropped")
    assert said(gate().trade(Trade(START, ts_ns, BTC, 100.0, 1.0, 1, ""))).startswith("dropped")


@pytest.mark.fault("D5")
def test_late_events_are_dropped_each_stream_by_itself() -> None:
    """A second of disorder passes, more does not; a late quote says nothing about trades."""
    judge = gate()
    start = warm(judge)
    assert said(judge.quote(quote(start + 5 * S, 100.02))) == "accepted"
    assert said(judge.quote(quote(start + 4 * S, 100.01))) == "accepted"
    late = quote(start + 4 * S - 1, 100.01, delay_ns=S)
    assert said(judge.quote(late)) == "dropped late"
    assert said(judge.trade(trade(start + 3 * S))) == "accepted"
    assert said(judge.delta(BookDelta(late.ts_event_ns, late.ts_recv_ns, BTC, ((1, 99.0, 1.0),)))) == "dropped late"


def test_one_row_of_another_year_does_not_silence_a_recording() -> None:
    """Venue time is all there is: after 32 rows that are late behind it, time goes on from them."""
    judge = gate()
    warm(judge)
    assert said(judge.quote(quote(400 * 24 * HOUR, 100.0))) == "accepted"
    found = [said(judge.quote(quote(S + i * MS, 100.0 + 0.01 * (i % 2)))) for i in range(40)]
    assert found == ["dropped late"] * 31 + ["accepted"] * 9
