"""Trades, candles and 24-hour figures against plain recomputation."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from connectors.coinbase.sandbox.tape import GRANULARITIES_S, NS, PublicTrade, Tape

START_S = 1_795_183_200


def trade(number: int, at_s: float, px: str, qty: str = "1") -> PublicTrade:
    return PublicTrade(str(number), Decimal(px), Decimal(qty), "BUY", round(at_s * NS))


@pytest.mark.parametrize("granularity_s", GRANULARITIES_S.values())
def test_candles_equal_a_plain_recomputation(granularity_s: int) -> None:
    """Random trades over two days, buckets made again from the list of trades."""
    rng = random.Random(7)
    tape = Tape()
    at_s, everything = float(START_S), []
    for number in range(800):
        at_s += rng.expovariate(1 / 200)
        made = trade(number, at_s, str(rng.randint(90, 110)), str(rng.randint(1, 9)))
        tape.add(made)
        everything.append(made)
    buckets: dict[int, list[PublicTrade]] = {}
    for made in everything:
        buckets.setdefault(made.ts_ns // NS // granularity_s * granularity_s, []).append(made)
    found = tape.candles(granularity_s, 0, 1 << 62)
    assert [c.start_s for c in found] == sorted(buckets, reverse=True)
    for candle in found:
        inside = buckets[candle.start_s]
        assert candle.open_px == inside[0].px
        assert candle.close_px == inside[-1].px
        assert candle.high_px == max(t.px for t in inside)
        assert candle.low_px == min(t.px for t in inside)
        assert candle.volume_qty == sum(t.qty for t in inside)


def test_the_day_forgets_what_is_older_than_24_hours() -> None:
    """A high that is 25 hours old is no longer the day's."""
    tape = Tape()
    tape.add(trade(1, START_S, "200", "5"))
    tape.add(trade(2, START_S + 3_600 * 2, "100"))
    assert tape.day() == (200, 100, 200)
    tape.add(trade(3, START_S + 3_600 * 25, "110", "2"))
    assert tape.day() == (110, 100, 100)
    assert tape.volume_24h == 3
    assert tape.quote_volume_24h == 320
    assert tape.change_24h_percent() == 10


def test_history_is_bounded_and_empty_figures_are_zero() -> None:
    """More trades than the bound keep the newest."""
    tape = Tape(max_trades=10)
    assert (tape.last_px, tape.day(), tape.change_24h_percent()) == (None, (0, 0, 0), 0)
    for number in range(100):
        tape.add(trade(number, START_S + 60 * number, "5"))
    assert [t.trade_id for t in tape.latest(1_000)] == [str(n) for n in range(99, 89, -1)]
    assert len(tape.candles(60, 0, 1 << 62)) == 10


def test_latest_cuts_the_window_and_the_count() -> None:
    """Newest first, both ends included."""
    tape = Tape()
    for number in range(10):
        tape.add(trade(number, START_S + number, "5"))
    assert [t.trade_id for t in tape.latest(3, START_S + 2, START_S + 7)] == ["7", "6", "5"]
    assert [t.trade_id for t in tape.latest(99, START_S + 8)] == ["9", "8"]
