"""Public answers of the Kraken sandbox, read by our own decoders as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.kraken.answers import is_good_answer
from connectors.kraken.sandbox.queries import start_of
from tests.support.local_venues import kraken


@pytest.mark.parametrize(
    "path",
    ["Time", "SystemStatus", "Assets", "AssetPairs", "Ticker?pair=XBTUSD", "Depth?pair=XBTUSD&count=5",
     "Trades?pair=XBTUSD&count=5", "OHLC?pair=XBTUSD&interval=5"],
)  # fmt: skip
async def test_our_decoders_take_every_answer(path: str, tmp_path: Path) -> None:
    """Typed, without a word unread."""
    async with kraken(tmp_path) as client:
        url = f"{client.venue.url}/0/public/{path}"
        async with client.session.get(url) as answer:
            assert is_good_answer(url, await answer.read())


async def test_lists_are_as_long_as_asked_and_what_is_unknown_is_told(tmp_path: Path) -> None:
    """Levels, trades from a time on, candles; assets and pairs that are none."""
    async with kraken(tmp_path) as client:

        async def ask(path: str, **params: object) -> object:
            said = (await client.get(f"/0/public/{path}", **params))[1]
            return said["error"] or said["result"]

        depth = await ask("Depth", pair="XXBTZUSD", count=3)
        assert isinstance(depth, dict)
        assert [len(depth["XXBTZUSD"][side]) for side in ("asks", "bids")] == [3, 3]
        trades = await ask("Trades", pair="XBTUSD", since=1)
        assert isinstance(trades, dict)
        assert await ask("Trades", pair="XBTUSD", since=trades["last"]) == {"XXBTZUSD": [], "last": trades["last"]}
        candles = await ask("OHLC", pair="XBTUSD", interval=1)
        assert isinstance(candles, dict)
        assert candles["last"] == candles["XXBTZUSD"][-2][0]
        later = await ask("OHLC", pair="XBTUSD", interval=1, since=candles["last"])
        assert isinstance(later, dict)
        starts, last = [row[0] for row in later["XXBTZUSD"]], candles["XXBTZUSD"][-1][0]
        assert starts in ([last], [last, last + 60]), "another minute may have begun meanwhile"
        assert await ask("OHLC", pair="XBTUSD", interval=7) == ["EGeneral:Invalid arguments:interval"]
        assert await ask("Depth", pair="NOSUCH") == ["EQuery:Unknown asset pair"]
        assert await ask("Assets", asset="XBT,NOSUCH") == ["EQuery:Unknown asset"]
        assert await ask("NoSuch") == ["EGeneral:Unknown method"]
        assert (await client.get("/0/private/Balance"))[1] == {"error": ["EGeneral:Unknown method"]}


def test_weeks_begin_on_monday() -> None:
    """2026-11-22 was a Sunday."""
    sunday_s = 1_795_305_600
    assert start_of(10_080, sunday_s) == sunday_s - 6 * 86_400
    assert start_of(1, sunday_s + 61) == sunday_s + 60
