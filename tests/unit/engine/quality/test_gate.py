"""Each check of the quality gate, by what it says of events that just pass and just fail."""

from __future__ import annotations

from math import inf, nan

import msgspec
import numpy as np
import pytest

from engine.events import Bar, BookDelta, BookSnapshot, Quote, Trade
from engine.quality.gate import id_key
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
        copies = [quote(at, 115.0), *[quote(at, 115.0, delay_ns=i * MS) for i in range(9)]]
        assert [said(judge.quote(one)) for one in copies] == ["suspect outlier"] + ["dropped duplicate"] * 9
        assert said(judge.quote(quote(at + MS, 115.0))) == "accepted confirmed"
    judge = gate()
    judge.quote(quote(warm(judge), 115.0))
    assert said(judge.quote(quote(warm(gate()), 115.0, qty=3.0))) == "accepted confirmed"


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
