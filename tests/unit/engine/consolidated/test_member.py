"""One venue's clock, sizes and quality."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.consolidated.member import OFFSET_WINDOW_NS, QUALITY_QUOTES, Member
from tests.support.fake_view import make_instrument

MS = 1_000_000
START = 1_700_000_000_000_000_000


def member(**changes: object) -> Member:
    return Member(make_instrument("BTC/USD@v0", **changes), 0)


def test_the_clock_offset_is_the_least_difference_and_the_rest_is_delay() -> None:
    """A venue 1,270 ms ahead of us; its messages take 3, 1 and 5 ms: the second is on time, the third 4 ms late."""
    one = member()
    for late_ms in (3, 1, 5):
        one.take_time(START + 1_270 * MS - late_ms * MS, START)
    assert one.offset_ns == -1_269 * MS
    assert one.recv_ns - one.aligned_ns == 4 * MS


def test_a_clock_that_steps_forward_is_followed_at_once() -> None:
    """2 s: the next message is no older than it came."""
    one = member()
    one.take_time(START, START)
    one.take_time(START + 2_000 * MS, START + MS)
    assert one.aligned_ns == START + MS


def test_a_clock_that_steps_back_is_followed_within_two_windows() -> None:
    """2 s back looks like 2 s of delay until the old offset has left both windows; a message each second."""
    one = member()
    one.take_time(START, START)
    last = START
    seen = []
    for _ in range(2 * OFFSET_WINDOW_NS // (1_000 * MS) + 2):
        last += 1_000 * MS
        one.take_time(last - 2_000 * MS, last)
        seen.append(one.recv_ns - one.aligned_ns)
    assert seen[0] == 2_000 * MS
    assert seen[-1] == 0


def test_after_a_long_pause_the_clock_is_learned_anew() -> None:
    """Three windows of silence: the first message after them is on time, whatever it says."""
    one = member()
    one.take_time(START, START)
    one.take_time(START, START + 3 * OFFSET_WINDOW_NS)
    assert one.recv_ns - one.aligned_ns == 0


@pytest.mark.parametrize(
    ("changes", "base_qty"),
    [({}, 3.0), ({"multiplier": Decimal("0.01")}, 0.03), ({"multiplier": Decimal(100), "inverse": True}, 0.005)],
)
def test_sizes_are_turned_into_base_units(changes: dict[str, object], base_qty: float) -> None:
    """3 units at 60,000: spot, a contract of 0.01 base, an inverse contract of 100 quote."""
    assert member(**changes).base_qty(3.0, 60_000.0) == pytest.approx(base_qty)


def test_quality_is_the_share_of_good_quotes_and_forgets() -> None:
    """A tenth of bad ones settles near 0.9; good ones bring it back."""
    one = member()
    for number in range(5_000):
        one.judge(number % 10 != 0)
    assert one.quality == pytest.approx(0.9, abs=0.02)
    for _ in range(10 * QUALITY_QUOTES):
        one.judge(True)
    assert one.quality > 0.999
