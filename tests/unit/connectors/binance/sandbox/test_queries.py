"""Public answers of the Binance sandbox: lists as long as asked, candles on their grid, and what is told when wrong."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import pytest

from connectors.binance.sandbox.wire import end_ms, start_of
from tests.support.local_venues import binance

DAY_S = 86_400


@pytest.mark.parametrize(
    ("interval", "second", "start_s", "end_s"),
    [
        ("1m", 1_795_305_661, 1_795_305_660, 1_795_305_720),
        ("3d", 1_795_305_600, 1_795_219_200, 1_795_219_200 + 3 * DAY_S),
        ("1w", 1_795_305_600, 1_795_305_600 - 6 * DAY_S, 1_795_305_600 + DAY_S),
        ("1M", 1_795_305_600, 1_793_491_200, 1_796_083_200),
        ("1M", 1_772_323_199, 1_769_904_000, 1_772_323_200),
    ],
)
def test_candles_begin_and_end_on_the_venues_grid(interval: str, second: int, start_s: int, end_s: int) -> None:
    """Weeks on Monday, months on the first; 2026-11-22 was a Sunday, and February has 28 days."""
    assert start_of(interval, second) == start_s
    assert end_ms(interval, start_s) == end_s * 1_000 - 1


async def test_lists_are_as_long_as_asked(tmp_path: Path) -> None:
    """One market, some, all; trades from a number on."""
    async with binance(tmp_path) as client:

        async def ask(path: str, **params: Any) -> Any:
            return (await client.get(f"/api/v3/{path}", **params))[1]

        assert await ask("ping") == {}
        assert [row["symbol"] for row in (await ask("exchangeInfo"))["symbols"]] == ["BTCUSDT", "ETHUSDT"]
        named = await ask("exchangeInfo", symbols='["ETHUSDT"]')
        assert [row["symbol"] for row in named["symbols"]] == ["ETHUSDT"]
        for path in ("ticker/price", "ticker/bookTicker", "ticker/24hr"):
            assert [row["symbol"] for row in await ask(path)] == ["BTCUSDT", "ETHUSDT"]
            assert (await ask(path, symbol="ETHUSDT"))["symbol"] == "ETHUSDT"
        await client.operate(act="trade", symbol="BTC/USDT", side="BUY", price="70000", size="5")
        trades = await ask("trades", symbol="BTCUSDT", limit=5)
        assert len(trades) == 5
        assert await ask("historicalTrades", symbol="BTCUSDT", limit=5) == trades
        assert await ask("historicalTrades", symbol="BTCUSDT", fromId=trades[2]["id"]) == trades[2:]
        groups = await ask("aggTrades", symbol="BTCUSDT")
        assert groups[-1]["l"] == trades[-1]["id"]
        later = await ask("aggTrades", symbol="BTCUSDT", startTime=groups[-1]["T"], limit=1)
        assert [row["T"] for row in later] == [groups[-1]["T"]]
        assert float((await ask("avgPrice", symbol="BTCUSDT"))["price"]) > 0
        for params, code in (
            ({}, -1102),
            ({"symbol": "BTCUSDT"}, -1102),
            ({"symbol": "BTCUSDT", "interval": "7m"}, -1120),
            ({"symbol": "BTCUSDT", "interval": "1m", "startTime": "soon"}, -1100),
        ):
            assert (await ask("klines", **params))["code"] == code
        assert (await ask("ticker/price", symbols="BTCUSDT"))["code"] == -1100
        rows = await ask("klines", symbol="BTCUSDT", interval="1m", limit=20)
        assert [after[0] - before[6] for before, after in itertools.pairwise(rows)] == [1] * 19


async def test_what_is_not_built_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With its path, so that one knows what a client wants."""
    async with binance(tmp_path) as client:
        with caplog.at_level(logging.WARNING):
            await client.get("/sapi/v1/something")
        assert "not built: GET /sapi/v1/something" in caplog.text


async def test_a_defect_of_ours_is_told_in_the_venues_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP 500, and the next request is answered."""
    async with binance(tmp_path) as client:
        monkeypatch.setattr(client.venue.venue.exchange.markets["BTC/USDT"].tape, "trades", None)  # type: ignore[attr-defined]
        status, said = await client.get("/api/v3/trades", symbol="BTCUSDT")
        assert (status, said["code"]) == (500, -1000)
        assert (await client.get("/api/v3/time"))[0] == 200
