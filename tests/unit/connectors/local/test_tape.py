"""Candles and days of a local venue."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from connectors.local.tape import NS, PublicTrade, Tape, filled

START_S = 1_790_000_040 // 60 * 60


def trade(number: int, at_s: float, px: str, qty: str = "1", *, sold: bool = False) -> PublicTrade:
    return PublicTrade(number, Decimal(px), Decimal(qty), sold, int(at_s * NS))


def test_candles_of_any_width_are_made_of_minutes() -> None:
    """Three trades in two minutes, as minutes and as one hour."""
    tape = Tape(max_trades=10, max_minutes=10)
    tape.add(trade(1, START_S + 1, "10"))
    tape.add(trade(2, START_S + 2, "12", "2", sold=True))
    tape.add(trade(3, START_S + 61, "11"))
    minutes = tape.candles(lambda second: second, 0, 1 << 40)
    assert [(each.open_px, each.high_px, each.low_px, each.close_px) for each in minutes] == [
        (10, 12, 10, 12),
        (11, 11, 11, 11),
    ]
    (hour,) = tape.candles(lambda second: second // 3_600 * 3_600, 0, 1 << 40)
    assert (hour.volume_qty, hour.value, hour.trades, hour.taken_qty, hour.first, hour.last) == (4, 45, 3, 2, 1, 3)
    assert hour.mean_px == Decimal(45) / 4
    assert tape.last_px == 11


def test_an_old_trade_joins_the_last_minute() -> None:
    """History never runs backwards."""
    tape = Tape(max_trades=10, max_minutes=10)
    tape.add(trade(1, START_S + 60, "10"))
    tape.add(trade(2, START_S, "9"))
    (minute,) = tape.candles(lambda second: second, 0, 1 << 40)
    assert (minute.low_px, minute.trades) == (9, 2)


def test_the_day_forgets_what_is_older() -> None:
    """One trade 25 hours ago, one now."""
    tape = Tape(max_trades=10, max_minutes=10)
    assert tape.day(START_S * NS) is None
    tape.add(trade(1, START_S - 25 * 3_600, "5"))
    tape.add(trade(2, START_S, "10"))
    day = tape.day(START_S * NS)
    assert day is not None
    assert (day.open_px, day.trades) == (10, 1)


def test_the_made_up_past_ends_at_the_price_and_is_the_same_again() -> None:
    """Minute after minute, each from where the one before ended."""
    made = []
    for _ in range(2):
        tape = Tape(max_trades=10, max_minutes=1_000)
        tape.fabricate(START_S * NS, 500, Decimal("61234.55"), Decimal("0.01"), bps=8.0, seed="a")
        made.append(tape.candles(lambda second: second, 0, 1 << 40))
    assert made[0] == made[1]
    candles = made[0]
    assert len(candles) == 500
    assert candles[-1].close_px == Decimal("61234.55")
    assert candles[-1].start_s == START_S - 60
    for before, after in pairwise(candles):
        assert before.close_px == after.open_px
        assert after.start_s - before.start_s == 60
    assert all(each.low_px <= min(each.open_px, each.close_px) <= each.high_px for each in candles)


def test_holes_are_filled_at_the_price_before() -> None:
    """Up to the bucket that holds the last second; nothing before the first trade."""
    tape = Tape(max_trades=10, max_minutes=10)
    tape.add(trade(1, START_S, "10"))
    tape.add(trade(2, START_S + 180, "12"))
    found = filled(tape.candles(lambda second: second, 0, 1 << 40), 60, START_S + 250)
    assert [each.start_s - START_S for each in found] == [0, 60, 120, 180, 240]
    assert [each.close_px for each in found] == [10, 10, 10, 12, 12]
    assert [each.trades for each in found] == [1, 0, 0, 1, 0]
    assert filled([], 60, START_S) == []
