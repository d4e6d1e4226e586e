"""All that the watchdog can say to OANDA, against the sandbox, whose answers break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from connectors.oanda.cancel_only import CancelOnly, open_account
from connectors.oanda.sandbox.settings import ACCOUNT_ID
from engine.errors import ConfigError, VenueError
from tests.support.oanda import Client, running

T = TypeVar("T")


@asynccontextmanager
async def watched(folder: Path, **settings: Any) -> AsyncIterator[tuple[Client, CancelOnly]]:
    async with running() as client:
        path = folder / "token.txt"
        path.write_text(client.sandbox.token)
        told = {"rest_url": client.sandbox.url, "key_file": str(path), "timeout_s": 0.5, **settings}
        account = open_account(told)
        try:
            yield client, account
        finally:
            account.close()


async def beside(act: Callable[..., T], *arguments: Any) -> T:
    """It blocks, and the sandbox lives in this loop."""
    return await asyncio.to_thread(act, *arguments)


@pytest.mark.parametrize("account_id", [ACCOUNT_ID, ""])
async def test_entries_are_listed_and_cancelled_and_exits_of_trades_stay(tmp_path: Path, account_id: str) -> None:
    """Three kinds of entries and a position with a stop-loss; a second cancel is told as what it is."""
    async with watched(tmp_path, account=account_id) as (client, account):
        for kind, px in (("LIMIT", "1.00000"), ("STOP", "1.20000"), ("MARKET_IF_TOUCHED", "1.00000")):
            await client.order(kind, units="10", price=px)
        await client.order(units="10", stopLossOnFill={"price": "1.00000"})
        found = await beside(account.open_orders)
        assert len(found) == 3
        assert await beside(account.cancel, found) == dict.fromkeys(found, "")
        assert await beside(account.open_orders) == []
        assert await beside(account.cancel, found[:1]) == {found[0]: "ORDER_DOESNT_EXIST"}
        assert len(client.sandbox.exchange.accounts[ACCOUNT_ID].pending) == 1


@pytest.mark.fault("B18")
async def test_one_cancel_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    """The second of three is answered 503, an id that is no number is not even asked for."""
    async with watched(tmp_path, account=ACCOUNT_ID) as (client, account):
        for _ in range(3):
            await client.order("LIMIT", units="10", price="1.00000")
        first, second, third = await beside(account.open_orders)
        await client.operate("answer", path=f"/{second}/cancel", status=503)
        said = await beside(account.cancel, [first, second, third, "../../x"])
        assert said == {first: "", second: "HTTP 503", third: "", "../../x": "no number of an order"}


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "body": "<html>", "content_type": "text/html"},
        {"status": 200, "body": '{"orders":'},
        {"status": 200, "body": '{"orders":[{}]}'},
        {"status": 200, "body": '{"orders":[]}', "cut": 3},
        {"status": 0, "times": 2},
        {"status": 200, "delay_s": 1.0},
    ],
)
async def test_an_answer_that_is_none_is_an_error_in_one_line(tmp_path: Path, fault: dict[str, Any]) -> None:
    """What does not come, or is not understood, is not taken for no open order; the token is in no error."""
    async with watched(tmp_path, account=ACCOUNT_ID) as (client, account):
        await client.operate("answer", path="/pendingOrders", **fault)
        with pytest.raises(VenueError) as caught:
            await beside(account.open_orders)
        assert "\n" not in str(caught.value)
        assert client.sandbox.token not in str(caught.value)
        await client.operate("answers")
        assert await beside(account.open_orders) == []


async def test_a_connection_that_died_meanwhile_is_made_anew(tmp_path: Path) -> None:
    """Between two questions the venue closes it: the second one is asked again, once."""
    async with watched(tmp_path, account=ACCOUNT_ID) as (client, account):
        assert await beside(account.open_orders) == []
        await client.operate("answer", path="/pendingOrders", status=0)
        assert await beside(account.open_orders) == []


async def test_a_token_that_is_refused_or_none_is_said(tmp_path: Path) -> None:
    """By the venue, and before anything is asked."""
    async with watched(tmp_path) as (client, account):
        await client.operate("expire_key")
        with pytest.raises(VenueError, match="401"):
            await beside(account.open_orders)
    for content in ("", "two words", "x" * 5000, "ü"):
        (tmp_path / "bad.txt").write_text(content)
        with pytest.raises(ConfigError, match="token"):
            open_account({"rest_url": "http://127.0.0.1:1", "key_file": str(tmp_path / "bad.txt"), "timeout_s": 1})
    with pytest.raises(ConfigError, match="cannot be read"):
        open_account({"rest_url": "http://127.0.0.1:1", "key_file": str(tmp_path / "none"), "timeout_s": 1})
    with pytest.raises(ConfigError, match="no key_file"):
        open_account({"rest_url": "http://127.0.0.1:1", "key_file": "", "timeout_s": 1})
