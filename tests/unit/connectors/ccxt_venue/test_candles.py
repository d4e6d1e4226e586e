"""Candles of the past as bars."""

from __future__ import annotations

from typing import Any

from connectors.ccxt_venue.candles import fetch_bars, timeframe

MINUTE_MS = 60_000
NOW_MS = 1_795_183_387_000


class FakeHandle:
    def __init__(self, *, junk: bool = False) -> None:
        self.ex = type("Ex", (), {"timeframes": {"1m": 1, "1h": 60, "1d": 1440}})()
        self.asked = 0
        self._junk = junk

    async def ask(self, _name: str, _symbol: str, _frame: str, since: int, limit: int) -> list[Any]:
        self.asked += 1
        first = -(-since // MINUTE_MS) * MINUTE_MS
        rows: list[Any] = [
            [first + number * MINUTE_MS, 1.0, 3.0, 0.5, 2.0, 9.0]
            for number in range(limit)
            if first + number * MINUTE_MS <= NOW_MS
        ]
        return [*rows, None, [1], ["x"] * 6, [first, None, 1, 1, 1, 1]] if self._junk else rows


async def test_whole_bars_only_oldest_first_page_by_page() -> None:
    """Five hundred minutes in pages of 200; the one that is not over is not among them; junk is left out."""
    for junk in (False, True):
        handle = FakeHandle(junk=junk)
        bars = await fetch_bars(
            handle, "BTC/USD", "BTC/USD@x", interval_ns=60_000_000_000, bars=500,  # type: ignore[arg-type]
            venue_now_ns=NOW_MS * 1_000_000, recv_ns=7,
        )  # fmt: skip
        assert len(bars) == 500
        assert bars[-1].ts_event_ns == NOW_MS // MINUTE_MS * MINUTE_MS * 1_000_000
        assert [bar.ts_event_ns for bar in bars] == sorted({bar.ts_event_ns for bar in bars})
        assert (bars[0].open_px, bars[0].high_px, bars[0].low_px, bars[0].close_px) == (1.0, 3.0, 0.5, 2.0)
        assert handle.asked == 3


def test_lengths_have_the_librarys_names() -> None:
    """Those that the exchange has; others are none."""
    known = {"1m": 1, "1h": 1, "1d": 1, "1w": 1}
    assert [timeframe(known, seconds * 1_000_000_000) for seconds in (60, 3600, 86_400, 604_800, 300, 0)] == [
        "1m", "1h", "1d", "1w", "", "",
    ]  # fmt: skip
    assert timeframe(None, 60_000_000_000) == ""
    assert timeframe(known, 1) == ""
