"""Candles that warm features up."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from connectors.oanda.candles import NS, fetch_bars, granularity
from connectors.oanda.requests import Request

MINUTE_NS = 60 * NS


def candle(minute: int, px: float, *, complete: bool = True) -> dict[str, Any]:
    ohlc = dict.fromkeys("ohlc", str(px))
    return {"complete": complete, "volume": 3, "time": f"2026-11-20T14:{minute:02d}:00.000000000Z", "mid": ohlc}


async def test_the_last_finished_ones_come_oldest_first() -> None:
    """Asked for by count, as spans without a quote have none; unfinished, broken and repeated ones are left out."""
    asked: list[Request] = []
    rows = [candle(3, 1.3), candle(1, 1.1), candle(2, 1.2), candle(2, 9.0), candle(0, 1.0), candle(4, -1.0)]
    rows.append(candle(5, 1.5, complete=False))

    async def get(request: Request) -> bytes:
        asked.append(request)
        return msgspec.json.encode({"candles": rows})

    bars = await fetch_bars(get, "EUR_USD", "EUR/USD@oanda", interval_ns=MINUTE_NS, bars=3, recv_ns=7)
    assert [bar.close_px for bar in bars] == [1.1, 1.2, 1.3]
    assert bars[0].ts_event_ns % MINUTE_NS == 0
    assert bars[1].ts_event_ns - bars[0].ts_event_ns == MINUTE_NS
    assert dict(asked[0].params)["count"] == "4"


@pytest.mark.parametrize(("interval_ns", "bars"), [(7 * NS, 3), (MINUTE_NS, 0), (NS // 2, 3)])
async def test_what_the_venue_does_not_make_is_not_asked_for(interval_ns: int, bars: int) -> None:
    """No request leaves."""

    async def get(_: Request) -> bytes:
        raise AssertionError

    assert await fetch_bars(get, "EUR_USD", "e", interval_ns=interval_ns, bars=bars, recv_ns=7) == []
    assert granularity(86_400 * NS) == "D"
