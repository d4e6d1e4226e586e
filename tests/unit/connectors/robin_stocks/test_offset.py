"""The venue's clock from whole seconds."""

from __future__ import annotations

from connectors.robin_stocks.offset import NS_PER_S, ClockOffset

NOW_NS = 1_795_183_387_000_000_000


def fed(ahead_ns: int, count: int = 20, flight_ns: int = 30_000_000) -> ClockOffset:
    """Answers at odd moments of a clock that is so far ahead of ours."""
    made = ClockOffset()
    for number in range(count):
        asked_ns = NOW_NS + number * 170_000_000
        made.add((asked_ns + flight_ns // 2 + ahead_ns) // NS_PER_S, asked_ns, asked_ns + flight_ns)
    return made


def test_clocks_that_agree_have_no_offset() -> None:
    """Dates are cut to the second, which proves nothing."""
    assert fed(0).ns == 0
    assert fed(300_000_000).ns <= 300_000_000


def test_an_offset_is_found_within_the_flight_of_an_answer() -> None:
    """Twenty seconds ahead and behind."""
    for ahead_ns in (20 * NS_PER_S, -20 * NS_PER_S):
        assert abs(fed(ahead_ns).ns - ahead_ns) < NS_PER_S // 5


def test_a_clock_that_steps_begins_anew_and_no_date_says_nothing() -> None:
    """The range that was cannot hold any more."""
    made = fed(0)
    made.add(NOW_NS // NS_PER_S + 100, NOW_NS, NOW_NS + 1)
    assert made.ns > 99 * NS_PER_S
    before = made.ns
    made.add(0, NOW_NS, NOW_NS + 1)
    made.add(5, NOW_NS, NOW_NS - 1)
    assert made.ns == before
