"""Candles of the past: whole ones only, oldest first, however many pages it takes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from connectors.coinbase.history import PAGE_BARS, fetch_bars, granularity

MINUTE = 60_000_000_000


class Venue:
    """Answers like the venue: newest first, buckets without trades left out, at most 350 buckets."""

    def __init__(self, empty: frozenset[int] = frozenset()) -> None:
        self.asked: list[dict[str, str]] = []
        self.empty = empty

    async def get(self, path: str, params: Sequence[tuple[str, str]]) -> bytes:
        wanted = dict(params)
        self.asked.append(wanted)
        assert wanted["granularity"] == "ONE_MINUTE"
        starts = range(int(wanted["start"]), int(wanted["end"]) + 1, 60)
        assert len(starts) <= 350
        candles = [
            {"start": str(at), "low": "1", "high": "4", "open": "2", "close": "3", "volume": "0.5"}
            for at in reversed(starts)
            if at not in self.empty
        ]
        return json.dumps({"candles": candles}).encode()


async def fetch(venue: Venue, bars: int, now_ns: int = 100_000 * MINUTE + 30_000_000_000):
    return await fetch_bars(
        venue.get, "/candles", "BTC/USD@coinbase", interval_ns=MINUTE, bars=bars, venue_now_ns=now_ns, recv_ns=7
    )


@pytest.mark.parametrize("bars", [1, PAGE_BARS, PAGE_BARS + 1, 2 * PAGE_BARS + 5])
async def test_pages_join_without_hole_or_overlap(bars: int) -> None:
    """Ends are consecutive minutes up to the last finished one; the bar under way is not told."""
    got = await fetch(Venue(), bars)
    assert [bar.ts_event_ns for bar in got] == [(100_000 - bars + 1 + i) * MINUTE for i in range(bars)]
    assert {bar.ts_recv_ns for bar in got} == {7}
    assert (got[0].open_px, got[0].high_px, got[0].low_px, got[0].close_px, got[0].volume_qty) == (2, 4, 1, 3, 0.5)


async def test_empty_buckets_stay_absent() -> None:
    """The hole is left for the feature buffer to see."""
    got = await fetch(Venue(frozenset({(100_000 - 3) * 60})), 5)
    assert len(got) == 4


def test_only_the_venues_own_lengths_have_a_name() -> None:
    """One second and seven minutes do not exist there."""
    assert granularity(MINUTE) == "ONE_MINUTE"
    assert granularity(1_000_000_000) == ""
    assert granularity(7 * MINUTE) == ""
