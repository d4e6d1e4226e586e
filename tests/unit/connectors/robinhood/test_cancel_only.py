"""All that the watchdog can say to this venue, against the sandbox over real sockets."""

from __future__ import annotations

import ast
import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.robinhood import cancel_only
from connectors.robinhood.cancel_only import CancelOnly, open_account
from connectors.robinhood.sandbox.settings import Switches
from engine.errors import ConfigError, VenueError
from tests.support.robinhood import Client, running


def account(client: Client, **more: Any) -> CancelOnly:
    told = {"rest_url": client.sandbox.url, "key_file": str(client.sandbox.key_file), "timeout_s": 2.0}
    return open_account(told | more)


@pytest.mark.parametrize(
    ("generation", "switches"),
    [
        ("v1", Switches()),
        ("v2", Switches()),
        ("auto", Switches(v2_partial_state="partially_filled")),
    ],
)
async def test_every_open_order_is_listed_and_cancelled(tmp_path: Path, generation: str, switches: Switches) -> None:
    """In more pages than one, one of them filled in part; those that ended are not asked for."""
    async with running(tmp_path, page_size=2, switches=switches) as client:
        made = [(await client.place("limit", asset_quantity="0.01", limit_price="50000.00"))[1]["id"] for _ in range(4)]
        _, part = await client.place("limit", asset_quantity="0.5", limit_price="60005.00")
        await client.operate("trade", symbol="BTC-USD", side="sell", price="60005", quantity="0.1")
        await client.place("market", asset_quantity="0.01")
        only = account(client, generation=generation)
        found = await asyncio.to_thread(only.open_orders)
        assert sorted(found) == sorted([*made, part["id"]])
        assert await asyncio.to_thread(only.cancel, found) == dict.fromkeys(found, "")
        async with asyncio.timeout(30):
            while await asyncio.to_thread(only.open_orders):
                await asyncio.sleep(0.01)
        refused = await asyncio.to_thread(only.cancel, [found[0], "none"])
        assert "400" in refused[found[0]]
        assert "404" in refused["none"]


@pytest.mark.parametrize("access", ["forbidden", "missing"])
async def test_a_key_that_may_not_use_v2_cancels_by_v1(tmp_path: Path, access: str) -> None:
    """As the connector does: by either refusal; one that may use neither is an error."""
    async with running(tmp_path, switches=Switches(v2_access=access)) as client:
        _, made = await client.place("limit", api="v1", asset_quantity="0.01", limit_price="50000.00")
        only = account(client)
        assert await asyncio.to_thread(only.open_orders) == [made["id"]]
        assert await asyncio.to_thread(only.cancel, [made["id"]]) == {made["id"]: ""}
        await client.operate("permit", can_read=False)
        with pytest.raises(VenueError, match="403"):
            await asyncio.to_thread(account(client).open_orders)


async def test_what_is_not_understood_raises(tmp_path: Path) -> None:
    """No listing is an empty listing: errors, nonsense, an end without one, a page elsewhere, nobody there."""
    async with running(tmp_path) as client:
        only = account(client, account_number=client.sandbox.settings.account_number)
        for fault in (
            {"status": 500},
            {"status": 400, "times": 3},
            {"status": 200, "body": "{}"},
            {"status": 200, "body": "["},
            {"status": 200, "body": '{"results":[],"next":"http://elsewhere/x"}'},
            {"status": 0},
        ):
            await client.operate("answer", path="/orders/", **fault)
            with pytest.raises(VenueError):
                await asyncio.to_thread(only.open_orders)
            await client.operate("answers")
        await client.operate("expire_key")
        with pytest.raises(VenueError, match="401"):
            await asyncio.to_thread(only.open_orders)
    with pytest.raises(VenueError):
        await asyncio.to_thread(only.open_orders)
    with pytest.raises(ConfigError):
        open_account({"rest_url": "http://127.0.0.1:9", "key_file": str(tmp_path / "none"), "timeout_s": 1.0})


async def test_a_clock_that_is_wrong_is_corrected_by_the_venues_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour behind: the first answer is a refusal that says what time it is."""
    async with running(tmp_path) as client:
        only = account(client)
        real_ns = time.time_ns

        class Late:
            monotonic = staticmethod(time.monotonic)

            @staticmethod
            def time_ns() -> int:
                return real_ns() - 3_600_000_000_000

        monkeypatch.setattr(cancel_only, "time", Late)
        assert await asyncio.to_thread(only.open_orders) == []


def test_nothing_here_can_make_an_order() -> None:
    """Of ours it loads what signs and what connects; and the only paths it posts to are those of cancels."""
    source = Path(cancel_only.__file__).read_text()
    tree = ast.parse(source)
    ours = {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("connectors", "engine"))
    }
    assert ours == {"connectors.blocking", "connectors.robinhood.auth", "connectors.route", "engine.errors"}
    assert source.count('"POST"') == 1
    assert "/cancel/" in source
