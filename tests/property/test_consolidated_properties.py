"""What holds of a consolidated price whatever the venues do."""

from __future__ import annotations

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.consolidated import ConsolidatedDefinition, Consolidator
from engine.consolidated.confidence import age_factor, count_factor, dispersion_factor, quality_factor
from engine.events import Quote
from tests.support.consolidated import MS, NAME, START_NS, S, rules, statuses, venue

COUNT = 5

ticks = st.lists(
    st.tuples(
        st.integers(0, COUNT - 1),
        st.floats(95.0, 105.0),
        st.floats(0.001, 2.0),
        st.floats(0.1, 10.0),
        st.integers(0, 700),  # ms since the last event
        st.sampled_from(["quote"] * 8 + ["crossed", "break", "timer"]),
    ),
    min_size=1,
    max_size=40,
)


Steps = list[tuple[int, float, float, float, int, str]]


def drive(order: list[int], steps: Steps) -> tuple[Consolidator, list[object]]:
    """One consolidator with its members named in ``order``, through all steps; what came out."""
    definition = ConsolidatedDefinition(
        NAME, tuple(venue(number) for number in order), stale_ns=S, wild_bps=100.0, band_bps=9_000.0
    )
    one = Consolidator(definition, rules(COUNT))
    now_ns, made = START_NS, []
    for number, mid_px, half_px, qty, wait_ms, what in steps:
        now_ns += wait_ms * MS
        if what == "quote":
            made.append(
                one.on_quote(Quote(now_ns, now_ns, venue(number), mid_px - half_px, qty, mid_px + half_px, 2 * qty))
            )
        elif what == "crossed":
            made.append(one.on_defect(venue(number), now_ns, "crossed"))
        elif what == "break":
            made.append(one.on_break([venue(number)], now_ns))
        else:
            made.append(one.on_timer(now_ns))
        check(one, now_ns)
    return one, made


def check(one: Consolidator, now_ns: int) -> None:
    """The invariants, on the state after an event; they also compare the quick way of a tick with a full count."""
    said = one.at(now_ns)
    assert said.voters == one.voters
    assert 0.0 <= said.confidence <= 1.0
    if not one.voters:
        assert isnan(one.mid_px)
        assert isnan(said.bid_px)
        return
    live = [source for source in said.sources if source.status == "live"]
    assert len(live) == said.voters
    low_px, high_px = min(source.mid_px for source in live), max(source.mid_px for source in live)
    assert low_px <= one.mid_px <= high_px
    assert one.bid_px < one.ask_px
    assert one.bid_px <= one.mid_px <= one.ask_px
    assert (said.mid_px, said.bid_px, said.ask_px) == (one.mid_px, one.bid_px, one.ask_px)
    assert (said.bid_qty, said.ask_qty, said.suspect) == (one.bid_qty, one.ask_qty, one.suspect)


@given(ticks)
def test_the_price_is_the_live_members_own_and_never_unknown_while_there_is_one(
    steps: Steps,
) -> None:
    """Random quotes, bad quotes, holes and pauses of five venues; every invariant after every event."""
    drive(list(range(COUNT)), steps)


@given(ticks, st.permutations(range(COUNT)))
def test_the_order_in_which_members_are_named_does_not_matter(steps: Steps, order: list[int]) -> None:
    """The same events, the members named in another order: bit for bit the same quotes and confidence."""
    one, made = drive(list(range(COUNT)), steps)
    other, made_again = drive(order, steps)
    assert made == made_again
    assert one.at(one.now_ns).confidence == pytest.approx(other.at(one.now_ns).confidence, rel=1e-12)


@given(st.integers(2, COUNT), st.integers(0, COUNT - 1), st.integers(1, 5_000))
def test_a_mute_venue_leaves_within_its_limit_and_returns_with_a_word(count: int, mute: int, late_ms: int) -> None:
    """All tick but one, up to and beyond the limit; then it says one thing."""
    mute %= count
    definition = ConsolidatedDefinition(NAME, tuple(map(venue, range(count))), stale_ns=S)
    one = Consolidator(definition, rules(count))
    mids = [100.0 + number / 100 for number in range(count)]

    def say(at_ns: int, *, without: int | None = None) -> None:
        for number, mid_px in enumerate(mids):
            if number != without:
                now_ns = START_NS + at_ns
                one.on_quote(Quote(now_ns, now_ns, venue(number), mid_px - 0.5, 1.0, mid_px + 0.5, 1.0))

    say(0)
    say(late_ms * MS, without=mute)
    one.on_timer(START_NS + late_ms * MS)
    assert (statuses(one, late_ms * MS)[mute] == "mute") == (late_ms > 1_000)
    assert one.voters == count - (late_ms > 1_000)
    say(late_ms * MS + 1)
    assert statuses(one, late_ms * MS + 1) == ["live"] * count


unit = st.floats(0.0, 1.0)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_confidence_rises_with_the_number_of_venues(members: int, fewer: int, more: int) -> None:
    """``count_factor`` by itself."""
    low, high = sorted((min(fewer, members), min(more, members)))
    assert 0.0 <= count_factor(low, members) <= count_factor(high, members) <= 1.0


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.integers(1, 10**12))
def test_confidence_falls_with_age(one: float, other: float, stale_ns: int) -> None:
    """``age_factor`` by itself."""
    young, old = sorted((one, other))
    assert 1.0 >= age_factor(young, stale_ns) >= age_factor(old, stale_ns) >= 0.0


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.001, 1e4))
def test_confidence_falls_with_dispersion(one: float, other: float, wild_bps: float) -> None:
    """``dispersion_factor`` by itself."""
    close, far = sorted((one, other))
    assert 1.0 >= dispersion_factor(close, wild_bps) >= dispersion_factor(far, wild_bps) >= 0.0


@given(unit, unit)
def test_confidence_rises_with_quality(one: float, other: float) -> None:
    """``quality_factor`` by itself."""
    low, high = sorted((one, other))
    assert 0.0 <= quality_factor(low) <= quality_factor(high) <= 1.0
