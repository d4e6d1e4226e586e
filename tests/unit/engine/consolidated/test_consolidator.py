"""The median of several venues: who votes, what comes out, what is said of it."""

from __future__ import annotations

from decimal import Decimal
from math import isnan

import pytest

from engine.consolidated import Consolidator
from engine.consolidated.consolidator import START_UP_NS
from engine.errors import ConfigError
from engine.events import Quote
from tests.support.consolidated import MS, NAME, START_NS, S, define, make, quote, rules, say, statuses, trade, venue
from tests.support.fake_view import make_instrument


def test_bid_ask_and_mid_are_the_medians_and_sizes_the_sums() -> None:
    """Three venues with spreads of their own; then a fourth: the mean of the middle two."""
    one = make(4)
    one.on_quote(Quote(START_NS, START_NS, venue(0), 99.0, 1.0, 101.0, 2.0))
    one.on_quote(Quote(START_NS, START_NS, venue(1), 99.5, 3.0, 100.1, 4.0))
    made = one.on_quote(Quote(START_NS, START_NS, venue(2), 99.9, 5.0, 100.3, 6.0))
    assert made == Quote(START_NS, START_NS, NAME, 99.5, 9.0, 100.3, 12.0)
    assert one.mid_px == 100.0
    made = one.on_quote(Quote(START_NS, START_NS, venue(3), 100.0, 1.0, 100.2, 1.0))
    assert made is not None
    assert (made.bid_px, made.ask_px) == pytest.approx((99.7, 100.25))


def test_a_change_of_nothing_makes_no_quote() -> None:
    """The same quote again, and one of an outer venue that moves outwards by itself."""
    one = make(3)
    say(one, [100.0, 100.1, 100.2])
    assert one.on_quote(quote(1, 100.1, MS)) is None
    assert one.on_quote(quote(2, 100.3, MS)) is None
    assert one.now_ns == START_NS + MS


def test_the_result_carries_receive_time_that_never_steps_back() -> None:
    """A message that was stamped earlier than the one before it."""
    one = make(2)
    one.on_quote(quote(0, 100.0, 5 * MS))
    made = one.on_quote(quote(1, 100.2, 3 * MS))
    assert made is not None
    assert made.ts_recv_ns == made.ts_event_ns == START_NS + 5 * MS


def test_a_mute_venue_leaves_by_the_timer_and_returns_with_its_next_quote() -> None:
    """Venue 2 says nothing for longer than 1 s: the timer makes the quote of the other two; its next votes again."""
    one = make(3)
    say(one, [100.0, 100.2, 100.1])
    for number, mid_px in ((0, 100.0), (1, 100.2)):
        one.on_quote(quote(number, mid_px, S))
    assert one.on_timer(START_NS + S) is None
    assert statuses(one, S) == ["live", "live", "live"]
    made = one.on_timer(START_NS + S + 1)
    assert made is not None
    assert (one.voters, made.bid_qty) == (2, 2.0)
    assert statuses(one, S + 1) == ["live", "live", "mute"]
    one.on_quote(quote(2, 100.1, S + 2))
    assert statuses(one, S + 2) == ["live", "live", "live"]


def test_a_mute_venue_changes_the_price_without_a_tick() -> None:
    """Of three unequal prices one expires: the timer brings the new median."""
    one = make(3)
    one.on_quote(quote(0, 100.0, 0))
    for number, mid_px in ((1, 100.2), (2, 100.3)):
        one.on_quote(quote(number, mid_px, 500 * MS))
    assert one.mid_px == 100.2
    made = one.on_timer(START_NS + S + 1)
    assert made is not None
    assert one.mid_px == pytest.approx(100.25)
    assert made.bid_qty == 2.0


def test_nobody_left_means_no_price_and_no_confidence() -> None:
    """All mute; the first that returns brings a price back, as a new quote even if it is the old one."""
    one = make(2)
    say(one, [100.0, 100.2])
    assert one.on_timer(START_NS + 2 * S) is None
    said = one.at(START_NS + 2 * S)
    assert (said.voters, said.confidence, said.suspect) == (0, 0.0, True)
    assert all(isnan(value) for value in (said.mid_px, said.bid_px, said.ask_px, one.mid_px))
    made = one.on_quote(quote(0, 100.0, 3 * S))
    assert made is not None
    assert one.voters == 1


def test_a_wild_venue_leaves_the_median_and_returns_by_itself() -> None:
    """51 bps from the median of three, then 49."""
    one = make(3)
    say(one, [100.0, 100.0, 100.0])
    one.on_quote(quote(2, 100.51, MS))
    assert statuses(one, MS) == ["live", "live", "wild"]
    assert (one.mid_px, one.voters, one.suspect) == (100.0, 2, False)
    one.on_quote(quote(2, 100.49, 2 * MS))
    assert statuses(one, 2 * MS) == ["live", "live", "live"]


def test_a_wild_venue_does_not_come_back_because_the_others_tick() -> None:
    """Ticks of the two sane ones, and of the wild one while it stays wild."""
    one = make(3)
    say(one, [100.0, 100.0, 104.0])
    for at in range(1, 5):
        one.on_quote(quote(at % 3, 104.0 if at % 3 == 2 else 100.0 + at / 100, at * MS))
        assert one.voters == 2
        assert one.mid_px < 100.1


def test_the_others_that_follow_make_it_sane_again() -> None:
    """The market moves to where the first of them went; who stays behind is then the wild one."""
    one = make(3)
    say(one, [100.0, 100.0, 100.0])
    one.on_quote(quote(0, 101.0, MS))
    assert statuses(one, MS) == ["wild", "live", "live"]
    one.on_quote(quote(1, 101.0, 2 * MS))
    assert statuses(one, 2 * MS) == ["live", "live", "wild"]
    assert one.mid_px == 101.0


@pytest.mark.parametrize("mids", [[100.0, 102.0], [100.0, 100.0, 102.0, 102.0]])
def test_without_a_majority_all_stay_and_the_price_is_suspect(mids: list[float]) -> None:
    """Two venues, or two camps, 198 bps apart: nobody is called wild, confidence is low."""
    one = make(len(mids))
    say(one, mids)
    assert set(statuses(one)) == {"live"}
    assert (one.mid_px, one.suspect) == (101.0, True)
    said = one.at(START_NS)
    assert said.suspect
    assert said.confidence == pytest.approx(1.0 / (1.0 + said.dispersion_bps / 50.0))
    assert said.confidence < 0.21


def test_crossed_locked_and_broken_members_do_not_vote() -> None:
    """Each by its own event; a good quote brings each back; quality remembers."""
    one = make(3)
    say(one, [100.0, 100.1, 100.2])
    one.on_defect(venue(0), START_NS + 1, "crossed")
    one.on_quote(quote(1, 100.1, 2, half_px=0.0))
    one.on_break([venue(2)], START_NS + 3)
    assert statuses(one, 3) == ["crossed", "locked", "broken"]
    assert one.voters == 0
    say(one, [100.0, 100.1, 100.2], 4)
    assert statuses(one, 4) == ["live", "live", "live"]
    qualities = [source.quality for source in one.at(START_NS + 4).sources]
    assert qualities[0] < 1.0
    assert qualities[1] < 1.0
    assert qualities[2] == 1.0


def test_a_venue_that_delivers_late_is_as_old_as_its_news() -> None:
    """Venue 1's messages suddenly take 1.5 s longer: each comes now, none of them is true now."""
    one = make(3)
    say(one, [100.0, 100.0, 100.0])
    for number in (0, 2):
        one.on_quote(quote(number, 101.0, 1_500 * MS))
    one.on_quote(quote(1, 100.0, 1_500 * MS, delay_ns=1_500 * MS))
    assert statuses(one, 1_500 * MS) == ["live", "late", "live"]
    assert one.mid_px == 101.0
    source = one.at(START_NS + 1_500 * MS).sources[1]
    assert (source.age_ns, source.delay_ns) == (1_500 * MS, 1_500 * MS)


def test_a_venue_whose_clock_is_off_is_not_late() -> None:
    """1.27 s ahead all along, as the recorder of 2024-08-08 saw Binance."""
    one = make(2)
    for at in range(5):
        one.on_quote(quote(0, 100.0, at * 100 * MS))
        one.on_quote(quote(1, 100.0, at * 100 * MS, delay_ns=-1_270 * MS))
    assert statuses(one, 400 * MS) == ["live", "live"]
    assert one.at(START_NS + 400 * MS).sources[1].clock_offset_ns == -1_270 * MS


def test_a_confirmed_book_keeps_a_quiet_venue_in() -> None:
    """No new best price for 1.5 s, its book confirmed meanwhile; a venue whose last quote was bad gains nothing."""
    one = make(2)
    say(one, [100.0, 100.0])
    one.on_confirmed(venue(0), START_NS + 900 * MS, START_NS + 900 * MS)
    one.on_defect(venue(1), START_NS + 900 * MS, "crossed")
    one.on_confirmed(venue(1), START_NS + 950 * MS, START_NS + 950 * MS)
    one.on_timer(START_NS + 1_500 * MS)
    assert statuses(one, 1_500 * MS) == ["live", "crossed"]


@pytest.mark.parametrize("confirmed", [True, False])
def test_time_passes_with_the_word_of_a_venue_without_a_vote(confirmed: bool) -> None:
    """The last voter expires; before any timer one is heard of whose last was crossed, or one not let in."""
    one = make(3)
    say(one, [100.0, 100.2])
    one.on_defect(venue(0), START_NS, "crossed")
    one.on_quote(quote(1, 100.2, START_UP_NS + S))
    assert one.on_quote(quote(2, 120.0, START_UP_NS + S)) is None
    assert one.voters == 1
    late_ns = START_UP_NS + 2 * S + 1
    if confirmed:
        made = one.on_confirmed(venue(0), START_NS + late_ns, START_NS + late_ns)
    else:
        made = one.on_quote(quote(2, 120.0, late_ns))
    assert (made, one.voters, one.suspect) == (None, 0, True)
    assert isnan(one.mid_px)


@pytest.mark.fault("D10")
def test_at_first_sight_prices_must_be_within_the_band() -> None:
    """A venue that quotes in another unit ends the start with both names; the same later is only kept out."""
    one = make(3)
    one.on_quote(quote(0, 60_000.0, 0))
    with pytest.raises(ConfigError, match=r"BTC/USD@v1 is at 600, .* bps from BTC/USD@v0 60000") as raised:
        one.on_quote(quote(1, 600.0, MS))
    assert "consolidated.band_bps" in str(raised.value)
    one.on_quote(quote(0, 60_000.0, START_UP_NS + S))
    assert one.on_quote(quote(2, 600.0, START_UP_NS + S)) is None
    assert statuses(one, START_UP_NS + S) == ["live", "unseen", "refused"]
    one.on_quote(quote(2, 60_100.0, START_UP_NS + S + 1))
    assert statuses(one, START_UP_NS + S + 1)[2] == "live"


def test_at_first_sight_a_price_is_compared_with_what_a_slow_venue_said_before() -> None:
    """Venue 0 is mute already when venue 1 shows itself in another unit: at the start it ends it, later it is kept out;
    after a minute of silence nothing is known to compare with."""
    one = make(2)
    one.on_quote(quote(0, 60_000.0, 0))
    with pytest.raises(ConfigError, match=r"BTC/USD@v1 is at 600, .* bps from BTC/USD@v0 60000"):
        one.on_quote(quote(1, 600.0, 3 * S))
    later = make(2)
    later.on_quote(quote(0, 60_000.0, 0))
    later.on_quote(quote(0, 60_000.0, START_UP_NS))
    assert later.on_quote(quote(1, 600.0, START_UP_NS + 3 * S)) is None
    assert statuses(later, START_UP_NS + 3 * S) == ["mute", "refused"]
    later.on_quote(quote(1, 600.0, 2 * START_UP_NS + 1))
    assert statuses(later, 2 * START_UP_NS + 1) == ["mute", "live"]


@pytest.mark.fault("D9")
def test_a_member_whose_rules_become_another_thing_is_out_until_they_are_right() -> None:
    """A price step beyond all comparison, then the old one again."""
    one = make(2)
    say(one, [100.0, 100.2])
    one.redefine(make_instrument(venue(1), tick_px=Decimal(1000)))
    one.on_quote(quote(0, 100.0, 1))
    one.on_quote(quote(1, 100.2, 2))
    assert (statuses(one, 2), one.mid_px) == (["live", "refused"], 100.0)
    one.redefine(make_instrument(venue(1)))
    one.on_quote(quote(1, 100.2, 3))
    assert statuses(one, 3) == ["live", "live"]


def test_trades_count_in_base_units_where_their_price_is_sane() -> None:
    """A contract of 0.01; a print 60 bps off; and one before there is any price."""
    one = Consolidator(define(2), [rules(1)[0], make_instrument(venue(1), multiplier=Decimal("0.01"))])
    assert one.on_trade(trade(0, 100.0, 0)) is None
    say(one, [100.0, 100.0])
    made = one.on_trade(trade(1, 100.0, 1, qty=300.0))
    assert made is not None
    assert (made.instrument, made.qty, made.aggressor) == (NAME, 3.0, 1)
    assert one.on_trade(trade(0, 100.6, 2)) is None


def test_sizes_are_unknown_where_one_member_gives_none() -> None:
    """Half a sum would be taken for the whole."""
    one = Consolidator(define(2), [rules(1)[0], make_instrument(venue(1), has_quote_sizes=False)])
    made = one.on_quote(quote(0, 100.0, 0))
    assert made is not None
    assert isnan(made.bid_qty)
    assert one.on_quote(quote(0, 100.0, 1, qty=5.0)) is None


def test_what_is_said_of_the_price_is_what_the_formulas_give() -> None:
    """Mids 100, 100.1 and 100.3, ages 0, 100 and 200 ms: every number by hand."""
    one = make(4)
    for number, mid_px, at in ((2, 100.3, 0), (1, 100.1, 100 * MS), (0, 100.0, 200 * MS)):
        one.on_quote(quote(number, mid_px, at))
    said = one.at(START_NS + 200 * MS)
    assert (said.voters, said.mid_px, said.ts_ns) == (3, 100.1, START_NS + 200 * MS)
    assert said.dispersion_bps == pytest.approx(1e4 * 0.3 / 100.1)
    assert said.robust_std_bps == pytest.approx(1e4 * 1.4826 * 0.1 / 100.1)
    assert said.confidence == pytest.approx((3 / 4) * (1 - 0.1) * (1 / (1 + said.dispersion_bps / 50.0)))
    assert [(source.instrument, source.status, source.age_ns) for source in said.sources] == [
        (venue(0), "live", 0),
        (venue(1), "live", 100 * MS),
        (venue(2), "live", 200 * MS),
        (venue(3), "unseen", 0),
    ]


def test_asking_changes_nothing() -> None:
    """Far in the future everybody is mute; back at the present the price stands."""
    one = make(2)
    say(one, [100.0, 100.2])
    assert one.at(START_NS + 10 * S).voters == 0
    assert one.at(START_NS).voters == 2
    assert one.mid_px == pytest.approx(100.1)


def test_bars_come_with_what_is_said() -> None:
    """Two seconds of mids and a trade; the last finished bar is part of the answer."""
    one = make(2, bar_ns=S)
    base = -(START_NS % S)
    for at, mid_px in ((0, 100.0), (1_000, 100.2), (1_500, 100.4), (2_000, 100.0)):
        say(one, [mid_px, mid_px], base + S + at * MS)
        one.on_trade(trade(0, mid_px, base + S + at * MS, qty=0.5))
    bar = one.at(one.now_ns).bar
    assert bar is not None
    # Both venues move one after the other: the mid between them is part of the bar.
    assert (bar.open_px, bar.high_px, bar.low_px, bar.close_px) == pytest.approx((100.1, 100.4, 100.1, 100.4))
    assert bar.volume_qty == 1.0
