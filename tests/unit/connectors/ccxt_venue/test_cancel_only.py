"""The watchdog's half: it lists and cancels, and can do nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors.ccxt_venue.cancel_only import open_account
from connectors.certificates import AUTHORITY
from engine.errors import ConfigError, VenueError
from engine.events import OrderAccepted, OrderCancelled
from tests.support.ccxt_venue import local_exchange, session
from tests.support.local_venues import kraken
from tests.support.proxies import running_proxy


@pytest.mark.parametrize("name", ["coinbase", "kraken", "binance"])
async def test_every_open_order_is_listed_and_cancelled_and_none_can_be_made(name: str, tmp_path: Path) -> None:
    """Two orders of a session, cancelled from beside it; what makes or changes anything is taken away."""
    async with local_exchange(name, tmp_path) as exchange, session(exchange.settings()) as s:
        sent = [s.order(), s.order()]
        for one in sent:
            await s.heard(one, OrderAccepted)
        told = {
            "exchange": name, "symbols": [exchange.symbol], "rest_url": exchange.said["rest"],
            "key_file": str(exchange.key_file), "timeout_s": 5.0,
        }  # fmt: skip
        account = await asyncio.to_thread(open_account, told)
        listed = await asyncio.to_thread(account.open_orders)
        assert set(listed) == {event.venue_order_id for event in s.of(OrderAccepted)}
        assert await asyncio.to_thread(account.cancel, listed) == dict.fromkeys(listed, "")
        for one in sent:
            await s.heard(one, OrderCancelled)
        assert await asyncio.to_thread(account.open_orders) == []
        for method in ("create_order", "create_orders", "edit_order", "withdraw", "transfer"):
            with pytest.raises(VenueError, match="does nothing else"):
                getattr(account._ex, method)(exchange.symbol, "limit", "buy", 1, 1)


async def test_it_takes_the_daemons_own_way(tmp_path: Path) -> None:
    """By the certificates of the settings and through their proxy; without the first the server is nobody's."""
    async with running_proxy("http") as proxy, kraken(tmp_path, tls_folder=tmp_path / "tls") as client:
        told = {"exchange": "kraken", "symbols": ["BTC/USD"], "rest_url": client.venue.url, "timeout_s": 5.0,
                "key_file": str(client.venue.key_file)}  # fmt: skip
        trust = {"ca_file": str(tmp_path / "tls" / AUTHORITY)}
        account = await asyncio.to_thread(open_account, told | trust | {"proxy": proxy.url})
        assert await asyncio.to_thread(account.open_orders) == []
        assert proxy.asked
        straight = await asyncio.to_thread(open_account, told | trust | {"proxy": "none"})
        assert await asyncio.to_thread(straight.open_orders) == []
        nobodys = await asyncio.to_thread(open_account, told)
        with pytest.raises(VenueError, match="NetworkError"):
            await asyncio.to_thread(nobodys.open_orders)


def test_a_key_or_exchange_that_is_none_and_a_server_that_is_gone_are_one_line(tmp_path: Path) -> None:
    """Nothing of the key is in it."""
    key = tmp_path / "key.json"
    key.write_text('{"apiKey": "sesame", "secret": "c2VzYW1l"}')
    told = {"exchange": "kraken", "symbols": ["BTC/USD"], "rest_url": "http://127.0.0.1:9", "key_file": str(key),
            "timeout_s": 0.5}  # fmt: skip
    with pytest.raises(VenueError) as failed:
        open_account(told).open_orders()
    assert "sesame" not in str(failed.value)
    with pytest.raises(ConfigError):
        open_account(told | {"exchange": "no_such"})
    with pytest.raises(ConfigError):
        open_account(told | {"key_file": str(tmp_path / "none.json")})
