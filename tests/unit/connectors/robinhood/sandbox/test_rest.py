"""HTTP of the sandbox by a client that signs on its own: who may ask, what is told, listings, limits, faults.

Numbers in names are those of the venue's list of cases.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from connectors.robinhood.sandbox.settings import RateLimits, Switches
from tests.support.robinhood import ACCOUNT, Client, running

ACCOUNTS = "/api/v2/crypto/trading/accounts/"
ORDERS = f"/api/v2/crypto/trading/orders/?{ACCOUNT}"


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with running(tmp_path) as made:
        yield made


def first(body: Any) -> dict[str, Any]:
    """The one error of a refusal."""
    (error,) = body["errors"]
    assert set(error) == {"detail", "attr"}
    return error  # type: ignore[no-any-return]


async def test_1_both_generations_tell_the_account_to_a_valid_signature(client: Client) -> None:
    """v1 an object, v2 a list with fee tiers; other keys, missing headers and missing scopes have their statuses."""
    status, one = await client.get("/trading/accounts/", "v1")
    assert (status, one["buying_power"], one["status"]) == (200, "100000", "active")
    status, listed = await client.get("/trading/accounts/")
    assert status == 200
    assert listed["results"][0]["fee_tier_status"]["fee_ratio"] == "0.0085"
    good = client.headers("GET", ACCOUNTS)
    for name in good:
        status, body = await client.send("GET", ACCOUNTS, headers={k: v for k, v in good.items() if k != name})
        assert status == 400
        assert all(header in first(body)["detail"] for header in good)
    assert (await client.send("GET", ACCOUNTS, headers={**good, "x-api-key": "rh-api-other"}))[0] == 401
    assert (await client.send("GET", ACCOUNTS, headers={**good, "x-signature": "nonsense"}))[0] == 401
    await client.operate("permit", can_read=False)
    status, body = await client.get("/trading/accounts/")
    assert (status, body["type"]) == (403, "client_error")
    await client.operate("permit", can_read=True, can_trade=False)
    assert (await client.place(asset_quantity="0.01"))[0] == 403
    assert client.sandbox.exchange.orders == {}


@pytest.mark.parametrize(("late_s", "status"), [(-29, 200), (-32, 401), (32, 401), (28, 200)])
async def test_2_a_timestamp_is_good_for_thirty_seconds(client: Client, late_s: int, status: int) -> None:
    """Either way; how far is a switch."""
    assert (await client.send("GET", ACCOUNTS, headers=client.headers("GET", ACCOUNTS, late_s=late_s)))[0] == status
    await client.operate("skew", seconds="60")
    assert (await client.send("GET", ACCOUNTS, headers=client.headers("GET", ACCOUNTS, late_s=late_s)))[0] == 200


async def test_3_what_is_signed_is_what_is_sent(client: Client) -> None:
    """One space more in the body, or parameters in another order, and the signature is another's."""
    body = json.dumps(
        {
            "client_order_id": str(uuid.uuid4()),
            "side": "buy",
            "type": "market",
            "symbol": "BTC-USD",
            "market_order_config": {"asset_quantity": "0.001"},
        }
    )
    signed = client.headers("POST", ORDERS, body)
    assert (await client.send("POST", ORDERS, body.replace(":", ": ", 1) + " ", headers=signed))[0] == 401
    one, other = f"{ORDERS}&limit=2&side=buy", f"{ORDERS}&side=buy&limit=2"
    assert (await client.send("GET", other, headers=client.headers("GET", one)))[0] == 401
    assert (await client.send("GET", other))[0] == 200
    assert (await client.send("POST", ORDERS, body, headers=signed))[0] == 201


async def test_4_pairs_by_symbol_and_by_page(client: Client) -> None:
    """Each page leads to the next by a whole URL on this host, and every pair comes once."""
    _, body = await client.get("/trading/trading_pairs/?symbol=ETH-USD&symbol=BTC-USD")
    assert [row["symbol"] for row in body["results"]] == ["ETH-USD", "BTC-USD"]
    found: list[str] = []
    path = "/api/v1/crypto/trading/trading_pairs/?limit=1"
    while True:
        status, body = await client.send("GET", path)
        assert status == 200
        found += [row["symbol"] for row in body["results"]]
        assert "min_order_size" in body["results"][0]
        if body["next"] is None:
            break
        assert body["next"].startswith(client.sandbox.url)
        path = body["next"].removeprefix(client.sandbox.url)
    assert found == ["BTC-USD", "ETH-USD"]
    assert (await client.get("/trading/trading_pairs/?symbol=XXX-USD"))[0] == 400


async def test_5_prices_estimates_and_holdings(client: Client) -> None:
    """v1's prices include the spread, v2's do not; eleven quantities are too many; v2's holdings want an account."""
    _, body = await client.get("/marketdata/best_bid_ask/?symbol=BTC-USD")
    assert body == {"results": [{"symbol": "BTC-USD", "bid": "60000", "ask": "60010"}]}
    _, body = await client.get("/marketdata/best_bid_ask/?symbol=BTC-USD", "v1")
    assert Decimal(body["results"][0]["ask_inclusive_of_buy_spread"]) == Decimal(60010) * Decimal("1.0085")
    assert "timestamp" in body["results"][0]
    _, body = await client.get("/trading/estimated_price/?symbol=BTC-USD&side=both&quantity=0.5,2")
    assert [(row["side"], row["price"]) for row in body["results"][2:]] == [("bid", "59995"), ("ask", "60015")]
    assert Decimal(body["results"][1]["est_total_cost"]) == Decimal(30005) * Decimal("1.0085")
    _, body = await client.get("/marketdata/estimated_price/?symbol=BTC-USD&side=ask&quantity=1", "v1")
    assert Decimal(body["results"][0]["price"]) == Decimal(60010) * Decimal("1.0085")
    many = ",".join("1" for _ in range(11))
    status, body = await client.get(f"/trading/estimated_price/?symbol=BTC-USD&side=ask&quantity={many}")
    assert (status, first(body)["attr"]) == (400, "quantity")
    status, body = await client.send("GET", "/api/v2/crypto/trading/holdings/")
    assert (status, first(body)["attr"]) == (400, "account_number")
    assert (await client.get("/trading/holdings/?account_number=other"))[0] == 404
    await client.operate("fund", currency="BTC", amount="0.5")
    _, body = await client.get("/trading/holdings/?asset_code=BTC")
    assert body["results"][0]["total_quantity"] == "0.5"
    _, body = await client.get("/trading/holdings/", "v1")
    assert body["results"][0]["quantity_available_for_trading"] == 0.5


async def test_8_an_order_fills_in_parts_and_adds_up(client: Client) -> None:
    """Somebody sells into it twice: open, partially filled, filled; executions, average, fees and money agree."""
    status, made = await client.place("limit", asset_quantity="0.5", limit_price="60005.00")
    assert status == 201
    assert (made["state"], made["executions"], made["average_price"]) == ("pending", [], None)
    assert (await client.order(made["id"]))["state"] == "open"
    await client.operate("trade", symbol="BTC-USD", side="sell", price="60005", quantity="0.2")
    part = await client.order(made["id"], "v1")
    assert (part["state"], part["filled_asset_quantity"]) == ("partially_filled", "0.2")
    assert (await client.order(made["id"]))["state"] == "open"
    await client.operate("trade", symbol="BTC-USD", side="sell", price="60005", quantity="1")
    done = await client.order(made["id"])
    assert done["state"] == "filled"
    assert sum(Decimal(one["quantity"]) for one in done["executions"]) == Decimal(done["filled_asset_quantity"])
    assert done["average_price"] == "60005"
    assert Decimal(done["fee_charged"]) == Decimal(60005) / 2 * Decimal("0.0085")
    _, body = await client.get("/trading/accounts/")
    left = 100_000 - Decimal(60005) / 2 - Decimal(done["fee_charged"])
    assert Decimal(body["results"][0]["buying_power"]) == left
    _, body = await client.get("/trading/holdings/")
    assert body["results"][0]["total_quantity"] == "0.5"


@pytest.mark.parametrize(("reply", "expected"), [("json", "application/json"), ("plain", "text/plain")])
async def test_9_a_cancel_is_an_acknowledgement_in_words(tmp_path: Path, reply: str, expected: str) -> None:
    """Then the order is canceled; one that is done is refused, one that is not there is 404."""
    async with running(tmp_path, switches=Switches(cancel_reply=reply, closed_cancel_status=409)) as client:
        _, made = await client.place("limit", asset_quantity="0.5", limit_price="50000.00")
        status, text = await client.cancel(made["id"])
        assert (status, text) == (200, f"Cancel request was submitted for order {made['id']}")
        while (await client.order(made["id"]))["state"] != "canceled":
            pass
        assert (await client.cancel(made["id"]))[0] == 409
        _, filled = await client.place(asset_quantity="0.1")
        assert (await client.order(filled["id"]))["state"] == "filled"
        assert (await client.cancel(filled["id"]))[0] == 409
        assert (await client.cancel(str(uuid.uuid4())))[0] == 404
        assert expected


async def test_9_a_cancel_may_lose_against_a_fill(tmp_path: Path) -> None:
    """Acknowledged, and filled before it had its effect."""
    async with running(tmp_path, cancel_delay_s=0.3) as client:
        _, made = await client.place("limit", asset_quantity="0.5", limit_price="60005.00")
        assert (await client.cancel(made["id"]))[0] == 200
        await client.operate("trade", symbol="BTC-USD", side="sell", price="60000", quantity="0.5")
        assert (await client.order(made["id"]))["state"] == "filled"


@pytest.mark.parametrize(
    ("mode", "status"),
    [(Switches(), 201), (Switches(duplicate_status=200), 200), (Switches(duplicate_mode="reject"), 400)],
)
async def test_10_a_client_order_id_makes_one_order(tmp_path: Path, mode: Switches, status: int) -> None:
    """Both answers that the venue might give."""
    name = str(uuid.uuid4())
    async with running(tmp_path, switches=mode) as client:
        _, made = await client.place("limit", name=name, asset_quantity="0.5", limit_price="50000.00")
        again, body = await client.place("limit", name=name, asset_quantity="0.5", limit_price="50000.00")
        assert again == status
        if status == 400:
            assert first(body)["attr"] == "client_order_id"
        else:
            assert body["id"] == made["id"]
        assert len(client.sandbox.exchange.orders) == 1


async def test_10_an_order_whose_answer_was_lost_is_in_the_window_of_its_time(client: Client) -> None:
    """Carried out, the connection cut: the listing since then shows it under its client id."""
    name, since = str(uuid.uuid4()), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 30))
    await client.operate("answer", path="/orders/", method="POST", status=0, apply="before")
    with pytest.raises(aiohttp.ClientError):
        await client.place("limit", name=name, asset_quantity="0.5", limit_price="50000.00")
    _, body = await client.get(f"/trading/orders/?created_at_start={since}")
    assert [row["client_order_id"] for row in body["results"]] == [name]


async def test_11_lists_are_filtered_and_their_pages_stand_still(tmp_path: Path) -> None:
    """Newest first; while orders arrive between two pages, each of the first ones comes once."""
    async with running(tmp_path, page_size=2) as client:
        made = []
        for place in range(5):
            side, symbol = ("buy", "BTC-USD") if place % 2 else ("buy", "ETH-USD")
            px = "50000.00" if place % 2 else "1000.00"
            _, order = await client.place("limit", side=side, symbol=symbol, asset_quantity="0.01", limit_price=px)
            made.append(order["id"])

        async def ids(query: str) -> list[str]:
            status, body = await client.get(f"/trading/orders/?limit=100&{query}")
            assert status == 200, body
            return [row["id"] for row in body["results"]]

        assert await ids("symbol=ETH-USD") == [made[4], made[2], made[0]]
        assert await ids("side=sell") == []
        assert await ids("type=limit&state=open") == made[::-1]
        assert await ids(f"id={made[1]}") == [made[1]]
        assert await ids("created_at_start=2100-01-01T00:00:00Z") == []
        assert await ids("updated_at_end=2100-01-01T00:00:00Z&updated_at_start=2020-01-01") == made[::-1]
        for bad in ("created_at_start=x", "limit=0", "cursor=x"):
            assert (await client.get(f"/trading/orders/?{bad}"))[0] == 400
        _, page = await client.get("/trading/orders/")
        found = [row["id"] for row in page["results"]]
        while page["next"] is not None:
            await client.place("limit", asset_quantity="0.01", limit_price="50000.00")
            _, page = await client.send("GET", page["next"].removeprefix(client.sandbox.url))
            found += [row["id"] for row in page["results"]]
        assert found == made[::-1]


async def test_11_an_order_may_be_listed_late(tmp_path: Path) -> None:
    """Asked by its id it is there at once."""
    async with running(tmp_path, listing_lag_s=60.0) as client:
        _, made = await client.place("limit", asset_quantity="0.01", limit_price="50000.00")
        assert (await client.order(made["id"]))["state"] == "open"
        _, body = await client.get("/trading/orders/")
        assert body["results"] == []


@pytest.mark.parametrize("retry_after_s", [None, 7])
async def test_12_requests_beyond_the_bucket_are_throttled(tmp_path: Path, retry_after_s: int | None) -> None:
    """The bucket's worth passes, the next one is 429; whether it says how long is a switch."""
    limits, switches = RateLimits(burst=20), Switches(retry_after_s=retry_after_s)
    async with running(tmp_path, rate_limits=limits, switches=switches) as client:
        statuses = [(await client.get("/trading/accounts/"))[0] for _ in range(21)]
        assert statuses == [200] * 20 + [429]
        async with client.session.get(client.sandbox.url + ACCOUNTS, headers=client.headers("GET", ACCOUNTS)) as answer:
            assert answer.status == 429
            assert answer.headers.get("Retry-After") == (None if retry_after_s is None else "7")
            assert (await answer.json())["type"] == "client_error"


async def test_12_answers_go_wrong_as_they_are_told_to(client: Client) -> None:
    """500, a page of HTML, a body cut short, a late one; maintenance answers everything."""
    await client.operate("answer", path="/accounts/", status=500, body="{}")
    assert (await client.get("/trading/accounts/"))[0] == 500
    await client.operate("answer", path="/accounts/", status=503, body="<html>", content_type="text/html")
    assert await client.get("/trading/accounts/") == (503, "<html>")
    await client.operate("answer", path="/accounts/", status=200, body='{"results":[]}', cut=5)
    with pytest.raises(aiohttp.ClientError):
        await client.get("/trading/accounts/")
    await client.operate("answer", path="/accounts/", late=True, delay_s=0.01)
    assert (await client.get("/trading/accounts/"))[0] == 200
    await client.operate("maintenance")
    status, text = await client.get("/trading/accounts/")
    assert status == 503
    assert "<html>" in text
    await client.operate("maintenance", on=False)
    await client.operate("expire_key")
    assert (await client.get("/trading/accounts/"))[0] == 401
    await client.operate("restore_key")
    assert (await client.get("/trading/accounts/"))[0] == 200


@pytest.mark.parametrize("raw", [b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff"])
async def test_bodies_that_are_none_are_400(client: Client, raw: bytes) -> None:
    """Signed as they are; also where they nest deeply."""
    stamp = str(int(time.time()))
    import base64

    signature = client.private.sign(f"{client.api_key}{stamp}{ORDERS}POST".encode() + raw)
    headers = {
        "x-api-key": client.api_key,
        "x-timestamp": stamp,
        "x-signature": base64.b64encode(signature).decode(),
        "Content-Type": "application/json",
    }
    async with client.session.post(client.sandbox.url + ORDERS, data=raw, headers=headers) as answer:
        assert answer.status == 400, await answer.text()
        assert (await answer.json())["type"] == "validation_error"


async def test_paths_and_methods_that_are_not_there(client: Client) -> None:
    """404 and 405 in the venue's shape; the operator's door takes only what it knows."""
    status, body = await client.send("GET", "/api/v2/crypto/trading/nothing/")
    assert (status, body["type"]) == (404, "client_error")
    assert (await client.send("POST", ACCOUNTS))[0] == 405
    for act in (
        {"act": "x"},
        {"act": "pin"},
        {"act": "trade", "side": "up"},
        {"act": "pair", "symbol": "BTC-USD", "a": 1},
    ):
        async with client.session.post(f"{client.sandbox.url}/sandbox/operator", json=act) as answer:
            assert answer.status == 400
