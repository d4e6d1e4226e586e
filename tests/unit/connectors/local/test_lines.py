"""WebSocket lines of a local venue: how they end, and who reads too slowly."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.local_venues import binance, stream


@pytest.mark.parametrize("code", [1001, 1006, 1011])
async def test_lines_end_in_every_way(code: int, tmp_path: Path) -> None:
    """By a close frame of that code, without one at 1006."""
    async with binance(tmp_path) as client, stream(client, "/ws") as line:
        await line.say(method="LIST_SUBSCRIPTIONS", id=1)
        assert await line.read() == {"result": [], "id": 1}
        await client.operate(act="disconnect", code=code)
        assert await line.ended() == code


async def test_a_muted_line_stays_open_and_says_nothing(tmp_path: Path) -> None:
    """No answer, no pong."""
    async with binance(tmp_path) as client, stream(client, "/ws") as line:
        await line.say(method="LIST_SUBSCRIPTIONS", id=1)
        await line.read()
        await client.operate(act="mute")
        await line.say(method="LIST_SUBSCRIPTIONS", id=2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await line.ws.receive()
        assert not line.ws.closed


async def test_who_reads_too_slowly_is_cut_off(tmp_path: Path) -> None:
    """A queue of three, and one burst of trades in a single call."""
    async with binance(tmp_path, outbound_queue=3) as client, stream(client, "/ws/btcusdt@trade") as line:
        await line.say(method="LIST_SUBSCRIPTIONS", id=1)
        await line.read()
        lines = client.venue.venue.lines  # type: ignore[attr-defined]
        await client.operate(act="trade", symbol="BTC/USDT", side="BUY", price="70000.00", size="50")
        await line.ended()
        assert lines.slow_readers == 1
        assert len(lines) == 0
