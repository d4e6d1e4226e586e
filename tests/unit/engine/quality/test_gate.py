"""Each check of the quality gate, by what it says of events that just pass and just fail."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.events import Bar, BookDelta, BookSnapshot, Quote, Trade
from engine.quality.gate import QualityGate, id_key
from tests.support.core import BTC, spot
from tests.support.quality import MS, START, S, bar, gate, quote, said, trade, warm

HOUR = 3600 * S


@pytest.mark.fault("D1")
@pytest.mark.parametrize(
    ("bid_px", "ask_px", "found"),
    [
        (100.0, 100.01, "accepted"),
        (100.0, 100.0, "accepted locked"),
        (100.02, 100.01, "dropped crossed"),
        (nan, 100.0, "dropped not_finite"),
        (100.0, nan, "dropped not_finite"),
        (100.0, inf, "dropped not_finite"),
        (-inf, 100.0, "dropped not_finite"),
        (0.0, 100.0, "dropped not_positive"),
        (-5.0, 100.0, "dropped not_positive"),
    ],
)
def test_quote_prices(bid_px: float, ask_px: float, found: str) -> None:
    """Each issue by name."""
    assert said(gate().quote(Quote(1, 1, BTC, bid_px, 1.0, ask_px, 1.0))) == found


@pytest.mark.fault("D1")
@pytest.mark.parametrize("size", [nan, 0.0, -1.0, inf])
def test_sizes_matter_only_where_the_instrument_has_them(size: float) -> None:
    """The same quote is good for a quote-only instrument, and after its rules were told anew."""
    one = Quote(1, 1, BTC, 100.0, size, 100.01, 1.0)
    judge = gate()
    assert said(judge.quote(one)) == "dropped bad_size"
    assert said(gate(has_quote_sizes=False).quote(one)) == "accepted"
    judge.redefine(spot(has_quote_sizes=False))
    assert said(judge.quote(one)) == "accepted"


@pytest.mark.fault("D1")
def test_negative_prices_only_where_allowed() -> None:
    """Oil did it; a spot pair may not.  Quotes, trades, candles and books."""
    events = (
        ("quote", Quote(1, 1, BTC, -3.0, 1.0, -2.5, 1.0)),
        ("trade", Trade(1, 1, BTC, -3.0, 1.0, 1, "")),
        ("bar", Bar(1, 1, BTC, 60, -3.0, -2.0, -4.0, -3.0, 1.0)),
        ("delta", BookDelta(1, 1, BTC, ((1, -3.0, 1.0),))),
        ("snapshot", BookSnapshot(1, 1, BTC, ((-3.0, 1.0),), ((-2.0, 1.0),))),
    )
    for method, event in events:
        assert said(getattr(gate(), method)(event)) == "dropped not_positive", method
        assert said(getattr(gate(allows_negative_px=True), method)(event)) == "accepted", method


@pytest.mark.fault("D1")
@pytest.mark.parametrize(
    ("px", "qty", "found"),
    [
        (1.0, 1.0, "accepted"),
        (nan, 1.0, "dropped not_finite"),
        (0.0, 1.0, "dropped not_positive"),
        (1.0, 0.0, "dropped bad_size"),
        (1.0, nan, "dropped bad_size"),
    ],
)
def test_trades(px: float, qty: float, found: str) -> None:
    """Each issue by name."""
    assert said(gate().trade(Trade(1, 1, BTC, px, qty, 1, "t"))) == found


@pytest.mark.fault("D1")
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "accepted"),
        ({"high_px": 10.5}, "dropped high_low"),
        ({"low_px": 10.5}, "dropped high_low"),
        ({"high_px": nan}, "dropped not_finite"),
        ({"open_px": nan}, "dropped not_finite"),
        ({"low_px": 0.0}, "dropped not_positive"),
        ({"volume_qty": -1.0}, "dropped bad_size"),
        ({"volume_qty": nan}, "dropped bad_size"),
        ({"volume_qty": 0.0}, "accepted"),
        ({"ts_event_ns": START + HOUR}, "dropped future"),
        ({"ts_event_ns": -1}, "dropped stale"),
    ],
)
def test_candles_enclose_their_open_and_close(changes: dict, found: str) -> None:
    """Relations, finiteness, volume, and no candle that is not over."""
    one = Bar(START, START, BTC, 60, 10.0, 12.0, 9.0, 11.0, 5.0)
    assert said(gate().bar(msgspec.structs.replace(one, **changes))) == found


@pytest.mark.fault("D1")
@pytest.mark.parametrize(
    ("px", "qty", "found"), [(nan, 1.0, "not_finite"), (0.0, 1.0, "not_positive"), (1.0, -1.0, "bad_size")]
)
def test_a_book_with_a_level_that_is_no_level(px: float, qty: float, found: str) -> None:
    """In a change and in either side of a snapshot; a size of 0 removes a level and is fine."""
    assert said(gate().delta(BookDelta(1, 1, BTC, ((1, 99.0, 0.0), (-1, px, qty))))) == f"dropped {found}"
    assert said(gate().snapshot(BookSnapshot(1, 1, BTC, ((px, qty),), ((101.0, 1.0),)))) == f"dropped {found}"
    assert said(gate().snapshot(BookSnapshot(1, 1, BTC, ((99.0, 1.0),), ((px, qty),)))) == f"dropped {found}"
    assert said(gate().delta(BookDelta(1, 1, BTC, ((1, 99.0, 0.0),)))) == "accepted"


# --- times ------------------------------------------------------------------------------------------------------


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


# --- repeats ----------------------------------------------------------------------------------------------------


@pytest.mark.fault("D5")
def test_a_quote_told_twice_is_a_duplicate() -> None:
    """All fields equal; another size or another time is news."""
    judge = gate()
    assert said(judge.quote(quote(0))) == "accepted"
    assert said(judge.quote(quote(0))) == "dropped duplicate"
    assert said(judge.quote(quote(0, delay_ns=5 * MS))) == "dropped duplicate"
    assert said(judge.quote(quote(0, qty=1.5))) == "accepted"
    assert said(judge.quote(quote(1, qty=1.5))) == "accepted"
    unsized = gate(has_quote_sizes=False)
    assert [said(unsized.quote(quote(0, qty=nan))) for _ in range(2)] == ["accepted", "dropped duplicate"]


def test_a_suspect_quote_is_not_confirmed_by_its_own_copy() -> None:
    """Sent twice by the wire it is still one tick, however often; the same prices a millisecond later are another."""
    for sizes in (True, False):
        judge = gate(has_quote_sizes=sizes)
        at = warm(judge)
        copies = [quote(at, 150.0), *[quote(at, 150.0, delay_ns=i * MS) for i in range(9)]]
        assert [said(judge.quote(one)) for one in copies] == ["suspect outlier"] + ["dropped duplicate"] * 9
        assert said(judge.quote(quote(at + MS, 150.0))) == "accepted confirmed"
    judge = gate()
    judge.quote(quote(warm(judge), 150.0))
    assert said(judge.quote(quote(warm(gate()), 150.0, qty=3.0))) == "accepted confirmed"


def test_identical_prints_without_ids_are_separate_trades() -> None:
    """As on the US tape: only an id tells a repeat."""
    judge = gate()
    assert [said(judge.trade(trade(0))) for _ in range(5)] == ["accepted"] * 5


@pytest.mark.fault("D5")
@pytest.mark.parametrize(
    "make", ["{}", "t{}", "9000000000000000{}", "a1b2-{}-" + "x" * 40], ids=["count", "word", "long", "uuid"]
)
def test_a_trade_told_again_is_a_duplicate(make: str) -> None:
    """By id, whatever it looks like, within the last 128; another id with the same numbers is another trade."""
    judge = gate()
    for number in range(100, 230):
        assert said(judge.trade(trade(number * MS, trade_id=make.format(number)))) == "accepted"
    for number in (102, 160, 229):
        assert said(judge.trade(trade(number * MS, trade_id=make.format(number)))) == "dropped duplicate"
    assert said(judge.trade(trade(229 * MS, trade_id=make.format(230)))) == "accepted"


def test_words_that_look_like_numbers_are_different_ids() -> None:
    """Hexadecimal ids with one e: as numbers all of them would be infinite.  The live door and arrays agree."""
    words = ["12e34567", "12e34568", "00e99999", "0e999999", "1e400", "nan", "inf", "-5", "-6", "1_0", "10"]
    judge = gate()
    assert [said(judge.trade(trade(0, trade_id=one))) for one in words] == ["accepted"] * len(words)
    assert [said(judge.trade(trade(0, trade_id=one))) for one in words] == ["dropped duplicate"] * len(words)
    keys = [id_key(one) for one in words]
    assert len(set(keys)) == len(words)
    assert all(0 <= key < 2**53 for key in keys)


def test_ids_beyond_a_floats_digits_keep_their_neighbours_apart() -> None:
    """19 digits that differ in the last; a word's key is the same on each run."""
    keys = [id_key(str(2**62 + i)) for i in range(1000)]
    assert len(set(keys)) == 1000
    assert (id_key(""), id_key("17"), id_key("t1")) == (-1.0, 17.0, 1606708132249766.0)


@pytest.mark.fault("D5")
@pytest.mark.fault("D7")
def test_candles_told_again_backwards_or_otherwise() -> None:
    """The first version stands; another interval is another series."""
    judge = gate()
    assert said(judge.bar(bar(0))) == "accepted"
    assert said(judge.bar(bar(60 * S))) == "accepted"
    assert said(judge.bar(bar(60 * S))) == "dropped duplicate"
    assert said(judge.bar(bar(60 * S, 100.5))) == "dropped revised"
    assert said(judge.bar(bar(0))) == "dropped late"
    assert said(judge.bar(bar(0, interval_ns=300 * S))) == "accepted"


# --- prices against recent prices -------------------------------------------------------------------------------


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


def test_a_trade_at_the_quoted_price_needs_no_second_one() -> None:
    """The quotes have moved while nobody traded."""
    judge = gate()
    at = warm(judge, trades=True)
    judge.quote(quote(at, 110.0))
    assert said(judge.trade(trade(at + MS, 110.01))) == "accepted confirmed"
    assert said(judge.trade(trade(at + 2 * MS, 120.0))) == "suspect outlier"


def test_the_first_trade_is_measured_by_the_quotes() -> None:
    """No trade came before it: half the quoted price is held back, the quoted price is not."""
    judge = gate()
    start = warm(judge)
    assert said(judge.trade(trade(start, 50.0))) == "suspect outlier"
    assert said(judge.trade(trade(start + MS, 100.0))) == "accepted spike"


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


# --- volumes ----------------------------------------------------------------------------------------------------


def test_a_large_volume_is_a_fact_and_an_absurd_one_is_held_back() -> None:
    """Sizes 1 to 4: IQR 2, median 2: a spike beyond 2 + 1000 x 2/1.349; absurd beyond 1000 x 4."""
    judge = gate()
    for i in range(64):
        assert said(judge.trade(trade(i * MS, qty=1.0 + i % 4))) == "accepted"
    assert said(judge.trade(trade(65 * MS, qty=1_400.0))) == "accepted"
    judge = gate()
    for i in range(64):
        judge.trade(trade(i * MS, qty=1.0 + i % 4))
    assert said(judge.trade(trade(65 * MS, qty=1_500.0))) == "accepted volume_spike"
    judge = gate()
    for i in range(64):
        judge.trade(trade(i * MS, qty=1.0 + i % 4))
    found = [said(judge.trade(trade((66 + i) * MS, qty=1e7))) for i in range(6)]
    assert found == ["suspect volume_spike"] * 4 + ["accepted volume_spike"] + ["accepted volume_spike"]


# --- failing closed, counting -----------------------------------------------------------------------------------


@pytest.mark.fault("D1")
def test_what_cannot_be_judged_is_dropped() -> None:
    """Values of foreign types, and a gate that is broken: dropped and counted, never accepted, never raised."""
    judge = gate()
    bad = [
        judge.quote(Quote(1, 1, BTC, None, 1.0, 101.0, 1.0)),  # type: ignore[arg-type]
        judge.quote(Quote(None, 1, BTC, 100.0, 1.0, 101.0, 1.0)),  # type: ignore[arg-type]
        judge.trade(Trade(1, 1, BTC, 1.0, 1.0, 1, None)),  # type: ignore[arg-type]
        judge.bar(Bar(1, 1, BTC, None, 1.0, 1.0, 1.0, 1.0, 1.0)),  # type: ignore[arg-type]
        judge.delta(BookDelta(1, 1, BTC, ((1, None, 1.0),))),  # type: ignore[arg-type]
        judge.snapshot(BookSnapshot(1, 1, BTC, None, ())),  # type: ignore[arg-type]
        judge.quote(Quote(2**70, 1, BTC, 100.0, 1.0, 101.0, 1.0)),
    ]
    assert {said(code) for code in bad} == {"dropped gate_failed"}
    assert judge.counts[2] == len(bad)
    assert said(judge.quote(quote(0))) == "accepted"


def test_counts_of_all_time_and_of_hours_agree_with_what_was_said() -> None:
    """Three hours apart: each in its hour of receive time; after two days the oldest hours are gone."""
    judge = gate()
    judge.quote(quote(0))
    judge.quote(quote(0))
    judge.quote(quote(3 * HOUR, 100.01))
    judge.delta(BookDelta(1, START + 3 * HOUR, BTC, ((1, nan, 1.0),)))
    hour = START // HOUR
    assert judge.counts[:3].tolist() == [2, 0, 2]
    assert judge.newest_hour == hour + 3
    assert judge.counts_since(hour)[:3].tolist() == [2, 0, 2]
    assert judge.counts_since(hour + 1)[:3].tolist() == [1, 0, 1]
    judge.quote(quote(48 * HOUR, 100.02))
    assert judge.counts_since(0)[:3].tolist() == [2, 0, 1]
    assert judge.counts[:3].tolist() == [3, 0, 2]


def test_arrays_of_different_lengths_are_refused() -> None:
    """Before anything is judged."""
    judge = gate()
    times = np.arange(3) + START
    with pytest.raises(ValueError, match="lengths"):
        judge.judge_quotes(times, times, np.ones(3), np.ones(2))
    assert judge.counts.sum() == 0
