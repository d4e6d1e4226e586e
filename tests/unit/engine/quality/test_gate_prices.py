"""What the quality gate says of prices against recent ones: jumps, spikes, runs."""

from __future__ import annotations

import math

import pytest

from engine.quality.gate import QualityGate
from engine.quality.tolerances import Tolerances
from tests.support.quality import MS, S, bar, gate, quote, said, trade, warm

HOUR = 3600 * S


@pytest.mark.fault("D3")
@pytest.mark.parametrize("trades", [False, True], ids=["quotes", "trades"])
def test_a_jump_is_believed_when_it_is_told_twice(trades: bool) -> None:
    """One percent up: held back, then confirmed by the second, which is the new level."""
    judge = gate()
    at = warm(judge, trades=trades)

    def tell(i: int, px: float) -> str:
        return said(judge.trade(trade(at + i * MS, px)) if trades else judge.quote(quote(at + i * MS, px)))

    assert [tell(0, 101.0), tell(1, 101.01), tell(2, 101.0)] == ["suspect outlier", "accepted confirmed", "accepted"]


@pytest.mark.fault("D3")
@pytest.mark.parametrize("trades", [False, True], ids=["quotes", "trades"])
def test_a_jump_that_returns_was_a_spike(trades: bool) -> None:
    """The one held back is dropped with the next tick at the old level, and left no trace in the scale."""
    judge = gate()
    at = warm(judge, trades=trades)

    def tell(i: int, px: float) -> str:
        return said(judge.trade(trade(at + i * MS, px)) if trades else judge.quote(quote(at + i * MS, px)))

    assert [tell(0, 150.0), tell(1, 100.01), tell(2, 100.0)] == ["suspect outlier", "accepted spike", "accepted"]
    assert tell(3, 101.0) == "suspect outlier"


def test_the_limit_is_the_larger_of_scale_and_share() -> None:
    """Changes of 0.004: 25 bps of 100 are more.  Changes of 0.10: 30 x 1.4826 x 0.10 are 4.4478."""
    for change_px, jump_px, found in (
        (0.004, 0.249, "accepted"),
        (0.004, 0.252, "suspect outlier"),
        (0.1, 4.44, "accepted"),
        (0.1, 4.46, "suspect outlier"),
    ):
        judge = gate()
        for i in range(41):
            judge.quote(quote(i * MS, 100.0 + change_px * (i % 2)))
        assert said(judge.quote(quote(S, 100.0 + jump_px))) == found


def gate_after_calm() -> QualityGate:
    judge = gate()
    warm(judge)
    return judge


def test_a_market_that_runs_is_believed_at_the_fifth_tick() -> None:
    """Each tick a percent below the last, none near another: a crash is no defect."""
    judge = gate_after_calm()
    found = [said(judge.quote(quote(S + i * MS, 100.0 * 0.97**i))) for i in range(1, 8)]
    assert found == ["suspect outlier"] * 4 + ["accepted confirmed"] + ["suspect outlier"] * 2


def test_a_second_tick_that_comes_too_late_confirms_nothing() -> None:
    """61 s after the first: held back again; the next one in time confirms."""
    judge = gate_after_calm()
    found = [said(judge.quote(quote(S + at_s * S, px))) for at_s, px in ((0, 101.0), (61, 101.01), (62, 101.0))]
    assert found == ["suspect outlier", "suspect outlier", "accepted confirmed"]


@pytest.mark.fault("D3")
def test_another_venues_price_confirms_at_once() -> None:
    """A reference within 25 bps: no second tick needed.  One elsewhere, or of the tick before, confirms nothing."""
    judge = gate_after_calm()
    judge.refer(101.2)
    assert said(judge.quote(quote(S, 101.0))) == "accepted confirmed"
    judge = gate_after_calm()
    judge.refer(100.0)
    assert said(judge.quote(quote(S, 101.0))) == "suspect outlier"
    judge = gate_after_calm()
    judge.refer(101.2)
    assert said(judge.quote(quote(S, 100.02))) == "accepted"
    assert said(judge.quote(quote(2 * S, 101.0))) == "suspect outlier"


@pytest.mark.fault("D3")
def test_a_second_wrong_quote_is_not_believed_where_trades_since_the_first_were_at_the_old_price() -> None:
    """Two messages of a feed with the point one digit off, and between them a trade at the quote that stands."""
    judge = gate()
    at = warm(judge)
    assert said(judge.quote(quote(at, 1_000.0))) == "suspect outlier"
    assert said(judge.trade(trade(at + 2 * S, 100.01))).startswith("accepted")
    assert said(judge.quote(quote(at + 3 * S, 1_000.1))) == "suspect outlier"
    assert said(judge.quote(quote(at + 4 * S, 100.02))) == "accepted spike"


@pytest.mark.fault("D3")
@pytest.mark.parametrize("trades", [False, True], ids=["quotes", "trades"])
@pytest.mark.parametrize(("px", "believed"), [(1_000.0, 5), (10.0, 5), (121.0, 5), (79.0, 5), (119.0, 2), (81.0, 2)])
def test_a_jump_by_more_than_a_fifth_needs_more_than_a_second_word(px: float, believed: int, trades: bool) -> None:
    """A feed that is wrong by a digit is so twice within seconds; no trade need come between."""
    judge = gate()
    at = warm(judge, trades=trades)
    found = [
        said(judge.trade(trade(at + i * MS, px)) if trades else judge.quote(quote(at + i * MS, px + 0.001 * i)))
        for i in range(believed)
    ]
    assert found == (believed - 1) * ["suspect outlier"] + ["accepted confirmed"]


def test_prices_near_zero_move_by_more_than_a_fifth() -> None:
    """A calendar spread at 0.10 that goes to 0.50 is told twice as any other."""
    judge = gate()
    for i in range(41):
        judge.quote(quote(i * MS, 0.1 + 0.005 * (i % 2)))
    assert [said(judge.quote(quote(S + i * MS, 0.5 + 0.001 * i))) for i in range(2)] == [
        "suspect outlier",
        "accepted confirmed",
    ]


@pytest.mark.parametrize("apart_ns", [60 * S, HOUR])
def test_far_words_that_are_a_minute_apart_confirm_each_other(apart_ns: int) -> None:
    """Rows of candles, those of one minute too; nothing came between that knew better."""
    judge = gate(Tolerances(confirm_ns=2 * apart_ns))
    at = warm(judge)
    assert [said(judge.quote(quote(at + i * apart_ns, 150.0 + 0.01 * i))) for i in range(2)] == [
        "suspect outlier",
        "accepted confirmed",
    ]


def test_prices_that_may_be_negative_are_never_far() -> None:
    """From 2 below zero to 1 above."""
    judge = gate(allows_negative_px=True)
    for i in range(41):
        judge.quote(quote(i * MS, -2.0 + 0.01 * (i % 2)))
    assert [said(judge.quote(quote(S + i * MS, 1.0 + 0.001 * i))) for i in range(2)] == [
        "suspect outlier",
        "accepted confirmed",
    ]


def test_a_jump_is_believed_although_trades_before_it_are_told_after_it() -> None:
    """Of the time of the first quote or earlier, or at neither price: they are no word against it."""
    for told_at, px in ((0, 100.0), (-1, 100.0), (1, 100.5)):
        judge = gate()
        at = warm(judge)
        judge.trade(trade(at - 2 * MS, 100.0, trade_id="1"))
        assert said(judge.quote(quote(at, 101.0))) == "suspect outlier"
        judge.trade(trade(at + told_at * MS, px, trade_id="2"))
        assert said(judge.quote(quote(at + 2 * MS, 101.0))) == "accepted confirmed"


def test_quotes_that_no_trade_follows_are_believed_at_the_fifth() -> None:
    """Trades at the old price between all of them: the market is where it is quoted."""
    judge = gate()
    at = warm(judge)
    verdicts = []
    for i in range(5):
        verdicts.append(said(judge.quote(quote(at + 2 * i * MS, 101.0 + 0.01 * i))))
        judge.trade(trade(at + (2 * i + 1) * MS, 100.0, trade_id=str(i)))
    assert verdicts == 4 * ["suspect outlier"] + ["accepted confirmed"]


def test_a_trade_at_the_quoted_price_needs_no_second_one() -> None:
    """The quotes have moved while nobody traded."""
    judge = gate()
    at = warm(judge, trades=True)
    for i in range(2):
        judge.quote(quote(at + i * MS, 110.0))
    assert said(judge.trade(trade(at + 2 * MS, 110.01))) == "accepted confirmed"
    assert said(judge.trade(trade(at + 3 * MS, 120.0))) == "suspect outlier"


def test_the_first_trade_is_measured_by_the_quotes() -> None:
    """No trade came before it: half the quoted price is held back, the quoted price is not."""
    judge = gate()
    start = warm(judge)
    assert said(judge.trade(trade(start, 50.0))) == "suspect outlier"
    assert said(judge.trade(trade(start + MS, 100.0))) == "accepted spike"


@pytest.mark.fault("D3")
def test_the_first_quote_is_measured_by_the_trades() -> None:
    """No quote came before it: a tenth less than was traded is held back, a second one there is believed."""
    judge = gate()
    start = warm(judge, trades=True)
    assert said(judge.quote(quote(start, 90.0))) == "suspect outlier"
    assert said(judge.quote(quote(start + MS, 100.0))) == "accepted spike"
    judge = gate()
    start = warm(judge, trades=True)
    assert said(judge.quote(quote(start, 90.0))) == "suspect outlier"
    assert said(judge.quote(quote(start + MS, 90.01))) == "accepted confirmed"


@pytest.mark.fault("D3")
def test_the_first_price_is_measured_by_where_the_market_was_seen_last() -> None:
    """As a session does that goes on after another one; a trade and a quote alike, and only where nothing came yet."""
    for first in (lambda judge, px: judge.quote(quote(0, px)), lambda judge, px: judge.trade(trade(0, px))):
        judge = gate()
        judge.expect(100.0)
        assert said(first(judge, 50.0)) == "suspect outlier"
        judge = gate()
        judge.expect(100.0)
        assert said(first(judge, 102.0)) == "accepted"
    judge.expect(50.0)
    assert said(judge.quote(quote(MS, 102.5))) == "accepted"
    judge = gate()
    for px in (50.0, 100.0):  # candles, oldest first
        judge.expect(px)
    assert said(judge.quote(quote(0, 100.0))) == "accepted"
    for nothing in (math.nan, 0.0, -1.0, math.inf):
        judge = gate()
        judge.expect(nothing)
        assert said(judge.quote(quote(0, 50.0))) == "accepted"


@pytest.mark.parametrize("trades", [False, True], ids=["quotes", "trades"])
def test_a_wild_price_in_a_market_that_has_not_moved_yet_is_held_back(trades: bool) -> None:
    """A thousand calm ticks make no scale; 2.5 % is the limit without one, and a second tick confirms as ever."""
    judge = gate()

    def tell(i: int, px: float) -> str:
        return said(judge.trade(trade(i * MS, px)) if trades else judge.quote(quote(i * MS, px)))

    assert {tell(i, 100.0) for i in range(1000)} == {"accepted"}
    assert [tell(1000, 170.0), tell(1001, 100.0)] == ["suspect outlier", "accepted spike"]
    assert [tell(1002, 102.49), tell(1003, 100.0)] == ["accepted", "accepted"]
    assert [tell(1004, 102.51), tell(1005, 102.51)] == ["suspect outlier", "accepted confirmed"]


def test_no_candle_is_an_outlier_before_there_is_a_scale() -> None:
    """Twenty changes make one; days may lie far apart."""
    judge = gate()
    assert [said(judge.bar(bar(i * 60 * S, 100.0 * 2.0 ** (i % 2)))) for i in range(20)] == ["accepted"] * 20


def test_candles_that_jump_are_counted_and_used() -> None:
    """They cannot wait for a successor."""
    judge = gate()
    for i in range(40):
        assert said(judge.bar(bar(i * 60 * S, 100.0 + 0.1 * (i % 2)))) == "accepted"
    assert said(judge.bar(bar(40 * 60 * S, 150.0))) == "accepted outlier"
    assert said(judge.bar(bar(41 * 60 * S, 150.1, 5e6))) == "accepted volume_spike"
