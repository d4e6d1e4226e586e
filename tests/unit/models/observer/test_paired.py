"""Pairs by spans of time: no outcome is in two of them, memory is of fixed size, and they go on where they were."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.observer.losses import LOSS_GAP_MAX, compared_loss
from models.observer.paired import DAY_NS, Paired

BTC, ETH = "BTC/USD@x", "ETH/USD@x"


def test_gaps_are_the_means_of_what_was_added() -> None:
    """Twenty spans of ten rows, and the one that is not over."""
    paired = Paired(span_ns=10)
    for number in range(201):
        paired.lost(BTC, number, number, challenger=0.5, champion=0.7)
        paired.won(BTC, number, number, 2.0, challenger=True)
        if number % 2:
            paired.won(BTC, number, number, 1.0, challenger=False)
    loss, profit = paired.loss_gap(), paired.profit_gap_bps()
    assert loss is not None
    assert profit is not None
    assert (loss.spans, profit.spans) == (20, 20)
    assert loss.value == pytest.approx(-0.2)
    assert profit.value == pytest.approx(10 * 2.0 - 5 * 1.0)
    assert (paired.rows, paired.signals, paired.champion_signals, paired.profit_bps) == (201, 201, 100, 402.0)
    assert loss.better > loss.worse == 1.0


def test_an_outcome_that_is_known_in_a_later_span_counts_in_none() -> None:
    """Labels of 4 in spans of 10: six rows of each count.  Its neighbour's outcome would be half of its own."""
    paired = Paired(span_ns=10)
    for number in range(101):
        paired.lost(BTC, number, number + 4, challenger=1.0 if number % 10 > 5 else 0.5, champion=0.5)
    found = paired.loss_gap()
    assert found is not None
    assert found.value == 0.0
    assert paired.rows == 101


def test_spans_grow_to_twice_the_longest_label() -> None:
    paired = Paired(span_ns=10)
    for number in range(0, 4_000, 10):
        paired.lost(BTC, number, number + 70, challenger=0.0, champion=1.0)
    found = paired.loss_gap()
    assert found is not None
    assert paired.span_ns == 160
    assert found.spans == pytest.approx(4_000 / 160, abs=1)


def test_a_difference_of_profit_is_of_each_instrument_and_has_a_bound() -> None:
    paired = Paired(span_ns=10, profit_max_bps=50.0)
    for number in range(101):
        for instrument in (BTC, ETH):
            paired.lost(instrument, number, number, challenger=0.5, champion=0.5)
        if number % 10 == 0:
            paired.won(BTC, number, number, -900.0 if number == 50 else 20.0, challenger=True)
    found = paired.profit_gap_bps()
    assert found is not None
    assert found.value == pytest.approx((9 * 10.0 - 50.0) / 10)


def test_it_is_kept_and_goes_on_to_the_same_bits() -> None:
    rng = np.random.default_rng(6)
    whole, half = Paired(span_ns=10), Paired(span_ns=10)
    for number, loss in enumerate(rng.normal(size=400).tolist()):
        if number == 205:
            half = msgspec.json.decode(msgspec.json.encode(half), type=Paired)
        for one in (whole, half):
            one.lost(BTC, number, number + 2, challenger=loss, champion=0.0)
            one.won(BTC, number, number + 3, loss, challenger=True)
    assert half == whole
    assert len(msgspec.json.encode(whole)) < 3_000, "of fixed size"


def test_a_signal_that_was_open_over_a_weekend_is_in_no_span_and_makes_none_longer() -> None:
    paired = Paired(span_ns=10)
    for number in range(101):
        paired.won(BTC, number, number, 1.0, challenger=True)
    paired.won(BTC, 100, 48_000, -500.0, challenger=True)
    for number in range(48_010, 48_111):
        paired.won(BTC, number, number, 1.0, challenger=True)
    found = paired.profit_gap_bps()
    assert found is not None
    assert (paired.span_ns, found.spans) == (10, 21), "one of them is begun when the market closes"
    assert paired.signals == 203
    assert paired.profit_bps == 202.0 - 500.0


def test_outcomes_that_come_late_open_no_span_again() -> None:
    """Two instruments; what one of them said is known a span later than its rows are."""
    paired = Paired(span_ns=10)
    for number in range(10, 1_011):
        paired.lost(BTC, number, number, challenger=0.5, champion=0.7)
        paired.lost(ETH, number - 10, number - 10, challenger=0.5, champion=0.7)
    found = paired.loss_gap()
    assert found is not None
    assert found.spans == 100
    assert found.value == pytest.approx(-0.2)


def test_profit_is_of_each_instrument_where_no_losses_are_compared() -> None:
    paired = Paired(span_ns=10)
    for number in range(101):
        for instrument in (BTC, ETH):
            paired.won(instrument, number, number, 1.0, challenger=True)
    found = paired.profit_gap_bps()
    assert found is not None
    assert found.value == pytest.approx(10.0)


def test_losses_beyond_the_bound_are_counted_and_gains_are_not() -> None:
    before, after = Paired(span_ns=10, profit_max_bps=50.0), Paired(span_ns=10, profit_max_bps=50.0)
    for paired in (before, after):
        for number, profit_bps in enumerate((60.0, -49.0, -51.0, 0.0, -50.0, 0.0)):
            paired.won(BTC, 10 * number, 10 * number, profit_bps, challenger=True)
    after.won(BTC, 60, 60, 51.0, challenger=False)
    after.won(BTC, 70, 70, 0.0, challenger=True)
    assert (before.beyond, after.beyond) == (1, 2)
    assert before.followed_by(after).beyond == 3


def test_losses_that_are_compared_have_a_bound() -> None:
    assert compared_loss(0.5, True) == pytest.approx(np.log(2))
    assert compared_loss(1e-9, True) - compared_loss(1 - 1e-9, True) == pytest.approx(LOSS_GAP_MAX)


def test_days_are_counted_once_also_over_sessions() -> None:
    def days(*at: int) -> Paired:
        made = Paired(span_ns=DAY_NS // 4)
        for number in at:
            made.lost(BTC, number * DAY_NS // 4, number * DAY_NS // 4, challenger=0.5, champion=0.6)
        return made

    first, second = days(0, 1, 2, 5, 6), days(7, 8, 9, 12)
    assert (first.days, first.first_day, first.last_day) == (2, 0, 1)
    assert (second.days, second.first_day, second.last_day) == (2, 1, 2)
    both = first.followed_by(second)
    assert (both.days, both.first_day, both.last_day) == (3, 0, 2)
    assert Paired(span_ns=1).followed_by(second).first_day == 1
