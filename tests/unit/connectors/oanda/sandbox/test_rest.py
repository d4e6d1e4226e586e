"""HTTP of the sandbox: token, shapes of errors, limits, faults, times; by plain HTTP against a running server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from connectors.oanda.sandbox.log import TransactionLog
from connectors.oanda.sandbox.settings import RateLimits, Switches
from tests.support.oanda import Client, running

PINNED = {"instrument": "EUR_USD", "bids": [["1.08400", "1000000"]], "asks": [["1.08410", "1000000"]]}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    async with running() as made:
        await made.operate("pin", **PINNED)
        yield made


async def test_the_token_comes_before_everything(client: Client) -> None:
    """401 in the venue's words, also for a path that is not there; other schemes are no token."""
    for path in ("/summary", "/v3/nowhere", "/pricing/stream?instruments=EUR_USD"):
        status, body = await client.ask(path, token="wrong")
        assert (status, body) == (401, {"errorMessage": "Insufficient authorization to perform request."})
    assert (await client.ask("/summary", token="ä"))[0] == 401
    await client.operate("expire_key")
    assert (await client.ask("/summary"))[0] == 401
    await client.operate("restore_key")
    assert (await client.ask("/summary"))[0] == 200


async def test_paths_methods_and_bodies_that_are_wrong_have_the_venues_shape(client: Client) -> None:
    """404, 405 and 400 with an errorMessage; each answer has a RequestID."""
    assert (await client.ask("/v3/nowhere"))[0] == 404
    status, body = await client.ask("/summary", method="PUT")
    assert status == 405
    assert "errorMessage" in body
    for raw in (b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff"):
        url, headers = f"{client.base}/orders", {"Authorization": "Bearer sandbox-token"}
        async with client.session.post(url, data=raw, headers=headers) as answer:
            assert answer.status == 400, await answer.text()
            assert answer.headers["RequestID"].isdecimal()
    assert (await client.ask("/orders", {"order": {"type": "MARKET"}}, method="POST"))[0] == 400


@pytest.mark.parametrize("status", [403, 404])
async def test_somebody_elses_account_is_not_served(status: int) -> None:
    """A switch: sources differ about the status."""
    async with running(switches=Switches(foreign_account_status=status)) as client:
        assert (await client.ask("/v3/accounts/101-004-9-001/summary"))[0] == status


async def test_times_are_unix_seconds_for_who_asks(client: Client) -> None:
    """The header changes every time of an answer and nothing else; requests may use either form."""
    _, plain = await client.order(units="1")
    _, unix = await client.ask(f"/transactions/{plain['orderFillTransaction']['id']}", Accept_Datetime_Format="UNIX")
    assert unix["transaction"]["time"].replace(".", "").isdecimal()
    assert unix["transaction"]["fullPrice"]["timestamp"].replace(".", "").isdecimal()
    assert {**unix["transaction"], "time": 0, "fullPrice": 0} == {
        **plain["orderFillTransaction"],
        "time": 0,
        "fullPrice": 0,
    }


async def test_transactions_are_read_in_every_way(client: Client) -> None:
    """Pages lead to ranges on this host; since, range and type filters agree; what is not there is 404 or 416."""
    await client.order(units="1")
    await client.order("LIMIT", units="1", price="1")
    _, listed = await client.ask("/transactions?pageSize=3")
    found: list[Any] = []
    for page in listed["pages"]:
        assert page.startswith(client.base)
        _, part = await client.ask(page.removeprefix(client.base))
        found += part["transactions"]
    assert [each["id"] for each in found] == [str(n) for n in range(1, 7)]
    assert listed["count"] == len(found)
    _, since = await client.ask("/transactions/sinceid?id=3")
    assert since["transactions"] == found[3:]
    _, orders = await client.ask("/transactions/sinceid?id=1&type=ORDER,TRANSFER_FUNDS")
    assert [each["type"] for each in orders["transactions"]] == [
        "TRANSFER_FUNDS",
        "MARKET_ORDER",
        "ORDER_FILL",
        "LIMIT_ORDER",
    ]
    for path, status in (
        ("/transactions/99", 404),
        ("/transactions/x", 404),
        ("/transactions/sinceid?id=99", 416),
        ("/transactions/sinceid?id=x", 400),
        ("/transactions/idrange?from=5&to=4", 400),
        ("/transactions/idrange?from=1&to=99", 416),
        ("/transactions?pageSize=0", 400),
        ("/transactions?type=SOME", 400),
    ):
        assert (await client.ask(path))[0] == status, path


async def test_orders_and_trades_are_listed_by_state_and_page(client: Client) -> None:
    """Newest first, PENDING and OPEN by default; before an id, some ids, one instrument."""
    for price in ("1.00", "1.01", "1.02"):
        await client.order("LIMIT", units="1", price=price)
    await client.order(units="1")

    async def ids(path: str, key: str = "orders") -> list[str]:
        status, body = await client.ask(path)
        assert status == 200, body
        return [each["id"] for each in body[key]]

    assert await ids("/orders") == await ids("/pendingOrders") == ["6", "5", "4"]
    assert await ids("/orders?count=1") == ["6"]
    assert await ids("/orders?beforeID=6") == ["5", "4"]
    assert await ids("/orders?state=ALL") == ["7", "6", "5", "4"]
    assert await ids("/orders?state=FILLED") == await ids("/orders?ids=7") == ["7"]
    assert await ids("/orders?instrument=USD_JPY") == []
    assert await ids("/trades", "trades") == await ids("/openTrades", "trades") == ["8"]
    assert (await client.ask("/orders?count=501"))[0] == 400
    assert (await client.ask("/orders?state=SOME"))[0] == 400


@pytest.mark.parametrize(("finished", "status"), [("served", 200), ("missing", 404)])
async def test_a_finished_order_is_served_by_its_number_or_not(finished: str, status: int) -> None:
    """Sources conflict; by client id it is gone either way, and so is a duplicate of it never found."""
    async with running(switches=Switches(finished_orders=finished)) as client:
        _, made = await client.order("LIMIT", units="1", price="1", clientExtensions={"id": "a/b"})
        assert (await client.ask("/orders/%40a%2Fb"))[0] == 200
        assert (await client.ask("/orders/@a%2Fb/cancel", method="PUT"))[0] == 200
        assert (await client.ask(f"/orders/{made['orderCreateTransaction']['id']}"))[0] == status
        gone = await client.ask("/orders/%40a%2Fb")
        assert gone[0] == 404
        assert gone[1]["errorCode"] == "NO_SUCH_ORDER"


async def test_the_configuration_can_be_changed(client: Client) -> None:
    """Alias and leverage; what is refused is a transaction too."""
    status, made = await client.ask("/configuration", {"alias": "b", "marginRate": "0.05"}, method="PATCH")
    assert (status, made["clientConfigureTransaction"]["marginRate"]) == (200, "0.05")
    _, summary = await client.ask("/summary")
    assert (summary["account"]["alias"], summary["account"]["marginRate"]) == ("b", "0.05")
    status, refused = await client.ask("/configuration", {"marginRate": "7"}, method="PATCH")
    assert (status, refused["clientConfigureRejectTransaction"]["rejectReason"]) == (400, "MARGIN_RATE_INVALID")
    assert (await client.ask("/configuration", {}, method="PATCH"))[0] == 400


async def test_changes_since_a_transaction_list_each_thing_once(client: Client) -> None:
    """A filled market order, one that waits, one that was cancelled; and what the market alone moves."""
    await client.order(units="100", stopLossOnFill={"price": "1.07"})
    await client.order("LIMIT", units="1", price="1")
    await client.ask("/orders/7/cancel", method="PUT")
    _, body = await client.ask("/changes?sinceTransactionID=3")
    changes = body["changes"]
    assert {name: [each["id"] for each in changes[name]] for name in changes if name.startswith("orders")} == {
        "ordersCreated": ["4", "6", "7"],
        "ordersFilled": ["4"],
        "ordersCancelled": ["7"],
        "ordersTriggered": [],
    }
    assert [trade["stopLossOrderID"] for trade in changes["tradesOpened"]] == ["6"]
    assert [position["instrument"] for position in changes["positions"]] == ["EUR_USD"]
    assert len(changes["transactions"]) == 5
    assert body["state"]["trades"] == [{"id": "5", "unrealizedPL": "-0.0100", "marginUsed": "2.1681"}]
    assert body["state"]["orders"][0]["triggerDistance"] == "0.01405"
    _, account = await client.ask("")
    assert account["account"]["NAV"] == body["state"]["NAV"] == "99999.9900"
    assert account["account"]["openTradeCount"] == 1


async def test_prices_come_with_what_is_asked_for(client: Client) -> None:
    """In the order asked; conversions and units only when wanted; since leaves old ones out."""
    _, body = await client.ask("/pricing?instruments=USD_JPY,EUR_USD&includeHomeConversions=true")
    assert [price["instrument"] for price in body["prices"]] == ["USD_JPY", "EUR_USD"]
    assert {each["currency"] for each in body["homeConversions"]} == {"USD", "JPY", "EUR"}
    _, body = await client.ask("/pricing?instruments=EUR_USD&includeUnitsAvailable=true")
    assert "homeConversions" not in body
    assert body["prices"][0]["unitsAvailable"]["reduceOnly"] == {"long": "0", "short": "0"}
    most = int(body["prices"][0]["unitsAvailable"]["default"]["long"])
    assert 4_600_000 < most < 4_620_000
    _, body = await client.ask(f"/pricing?instruments=EUR_USD&since={body['time']}")
    assert body["prices"] == []
    assert (await client.ask("/pricing"))[0] == (await client.ask("/pricing?instruments=X"))[0] == 400


async def test_rates_are_limited_when_asked_for() -> None:
    """429 with an errorMessage for requests too fast and for connections too many; then it goes on."""
    async with running(rate_limits=RateLimits(rest_per_s=2, connections_per_s=100)) as client:
        answers = [(await client.ask("/summary"))[0] for _ in range(8)]
        assert answers[:2] == [200] * 2
        assert 429 in answers
        await asyncio.sleep(0.6)
        assert (await client.ask("/summary"))[0] == 200
    async with running(rate_limits=RateLimits(connections_per_s=2)) as client:
        codes = []
        for _ in range(8):
            async with aiohttp.ClientSession() as session:
                codes.append((await Client(client.sandbox, session).ask("/summary"))[0])
        assert codes[0] == 200
        assert 429 in codes


@pytest.mark.parametrize(
    ("fault", "status", "orders"),
    [
        ({"status": 503, "body": "<html>", "content_type": "text/html"}, 503, 0),
        ({"status": 504, "body": '{"errorMessage":"Timeout waiting for response."}', "apply": "before"}, 504, 1),
        ({"status": 0}, None, 0),
        ({"status": 0, "apply": "before"}, None, 1),
        ({"status": 201, "body": '{"orderCreateTransaction":{}}', "cut": 9, "apply": "before"}, None, 1),
        ({"status": 0, "apply": "after", "delay_s": 1.0}, None, 1),
        ({"late": True, "delay_s": 0.01}, 201, 1),
        ({"twice": True}, 201, 2),
        ({"status": 429, "headers": {"Retry-After": "1"}}, 429, 0),
    ],
    ids=str,
)
async def test_answers_go_wrong_as_the_script_says(
    client: Client, fault: dict[str, Any], status: int | None, orders: int
) -> None:
    """Refused, lost before or after the order was taken, late, twice: told by what there is afterwards."""
    await client.operate("answer", path="/orders", method="POST", **fault)
    try:
        got: int | None = (await client.order("LIMIT", units="1", price="1"))[0]
    except aiohttp.ClientError:
        got = None
    assert got == status
    if fault.get("apply") == "after":
        assert (await client.ask("/pendingOrders"))[1]["orders"] == []
        async with asyncio.timeout(30):
            while not (await client.ask("/pendingOrders"))[1]["orders"]:
                await asyncio.sleep(0.05)
    assert len((await client.ask("/pendingOrders"))[1]["orders"]) == orders
    assert (await client.order("LIMIT", units="1", price="1"))[0] == 201


async def test_maintenance_is_a_page_of_html_for_everything(client: Client) -> None:
    """Until it is over; trades that were open still are."""
    await client.order(units="1")
    await client.operate("maintenance")
    for path in ("/summary", "/pricing/stream?instruments=EUR_USD"):
        status, body = await client.ask(path)
        assert status == 503
        assert body.startswith("<html>")
    await client.operate("maintenance", on=False)
    assert len((await client.ask("/openTrades"))[1]["trades"]) == 1


async def test_a_new_order_says_where_it_is(client: Client) -> None:
    """The header of a 201 is the path of the order."""
    url, headers = f"{client.base}/orders", {"Authorization": "Bearer sandbox-token"}
    body = {"order": {"type": "LIMIT", "instrument": "EUR_USD", "units": "1", "price": "1"}}
    async with client.session.post(url, json=body, headers=headers) as answer:
        where = answer.headers["Location"]
    assert (await client.ask(where))[1]["order"]["units"] == "1"


async def test_the_operators_door_refuses_nonsense(client: Client) -> None:
    """400 with one line each."""
    for act in (
        {"act": "dance"},
        {"act": "answer"},
        {"act": "answer", "path": "x", "status": 7},
        {"act": "answer", "path": "x", "apply": "sometimes"},
        {"act": "pin", "instrument": "EUR_USD", "bids": [["1.2", "1"]], "asks": [["1.1", "1"]]},
        {"act": "pin", "instrument": "EUR_USD", "bids": [["1.2"]], "asks": []},
        {"act": "price", "instrument": "EUR_USD", "price": "0"},
        {"act": "fund", "amount": "x"},
        {"act": "fund", "amount": "1", "account": "nobody"},
        {"act": "mute", "kind": "all"},
    ):
        status, body = await client.ask("/sandbox/operator", act, method="POST")
        assert status == 400, act
        assert "\n" not in body["errorMessage"]


def a_minute_passes(log: TransactionLog) -> None:
    """For what it holds until now."""
    for number, entry in enumerate(log._entries):
        log._entries[number] = msgspec.structs.replace(entry, ts_ns=entry.ts_ns - 60 * 10**9)


async def test_a_transaction_is_readable_only_after_a_while() -> None:
    """Read-after-write lag: the answer has it, sinceid does not yet, and no id is told that cannot be read."""
    async with running(switches=Switches(read_lag_s=60.0)) as client:
        (log,) = [account.log for account in client.sandbox.exchange.accounts.values()]
        a_minute_passes(log)
        _, made = await client.order(units="1")
        _, since = await client.ask("/transactions/sinceid?id=3")
        assert (since["transactions"], since["lastTransactionID"]) == ([], "3")
        assert (await client.ask(f"/transactions/{made['lastTransactionID']}"))[0] == 404
        a_minute_passes(log)
        _, since = await client.ask("/transactions/sinceid?id=3")
        assert [each["id"] for each in since["transactions"]] == made["relatedTransactionIDs"]
