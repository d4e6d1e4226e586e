"""REST over a real socket: shapes, authentication, errors, paging."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.coinbase.sandbox.keys import load_key_file, make_key_file
from connectors.coinbase.sandbox.settings import RateLimits
from tests.support.coinbase_sandbox import PREFIX, Client, running, sign

BUY = {"base_size": "0.001", "limit_price": "1000"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with running(tmp_path) as made:
        yield made


async def test_time_and_public_market_data_need_no_token(client: Client) -> None:
    """Plain requests without any header."""
    paths = ["/time", "/market/products", "/market/products/BTC-USD", "/market/product_book?product_id=BTC-USD"]
    now_s = int(time.time())
    paths += [
        "/market/products/BTC-USD/ticker?limit=5",
        f"/market/products/BTC-USD/candles?start={now_s - 600}&end={now_s}&granularity=ONE_MINUTE",
    ]
    for path in paths:
        async with client.session.get(client.sandbox.rest_url + PREFIX + path) as answer:
            assert answer.status == 200, path
            body = await answer.json()
    async with client.session.get(client.sandbox.rest_url + PREFIX + "/time") as answer:
        body = await answer.json()
    assert abs(int(body["epochSeconds"]) - time.time()) < 60
    assert body["epochMillis"].startswith(body["epochSeconds"])
    assert body["iso"].endswith("Z")


async def test_every_private_endpoint_refuses_a_request_without_token(client: Client) -> None:
    """401 with the plain text the venue sends; the body is not JSON."""
    for method, path in [
        ("GET", "/products"),
        ("GET", "/products/BTC-USD"),
        ("GET", "/products/BTC-USD/candles"),
        ("GET", "/products/BTC-USD/ticker"),
        ("GET", "/product_book"),
        ("GET", "/best_bid_ask"),
        ("GET", "/accounts"),
        ("GET", "/accounts/x"),
        ("GET", "/key_permissions"),
        ("GET", "/transaction_summary"),
        ("POST", "/orders"),
        ("POST", "/orders/preview"),
        ("POST", "/orders/batch_cancel"),
        ("GET", "/orders/historical/batch"),
        ("GET", "/orders/historical/fills"),
        ("GET", "/orders/historical/x"),
    ]:
        async with client.session.request(method, client.sandbox.rest_url + PREFIX + path, json={}) as answer:
            assert (answer.status, await answer.text()) == (401, "Unauthorized"), path


async def test_the_token_must_fit_key_time_method_and_path(client: Client, tmp_path: Path) -> None:
    """The table of section 2 through the socket."""
    path = PREFIX + "/accounts"
    other = tmp_path / "other.json"
    make_key_file(other)
    bad = {
        "wrong key": sign(other, f"GET x{path}"),
        "expired": client.token("GET", path, ago_s=300),
        "future": client.token("GET", path, ago_s=-300),
        "wrong path": client.token("GET", PREFIX + "/orders"),
        "wrong method": client.token("POST", path),
        "garbage": "x.y.z",
    }
    for name, token in bad.items():
        status, text, _ = await client.raw("GET", "/accounts", token=token)
        assert (status, text) == (401, "Unauthorized"), name
    good = client.token("GET", path)
    for _ in range(3):
        status, _, _ = await client.raw("GET", "/accounts", token=good)
        assert status == 200


async def test_a_key_that_may_not_trade_gets_the_scopes_error(tmp_path: Path) -> None:
    """A second, view-only key; reading works, an order is 403 with the text clients look for."""
    async with running(tmp_path) as client:
        extra = tmp_path / "view.json"
        make_key_file(extra)
        client.sandbox.verifier.add(load_key_file(extra, can_trade=False))
        client.key_file = extra
        assert (await client.get("/key_permissions"))["can_trade"] is False
        status, text, _ = await client.raw("POST", "/orders", body={})
        assert status == 403
        assert '"error_details":"Missing required scopes"' in text


async def test_products_have_all_fields_and_filters(client: Client) -> None:
    """Ids repeated, capitalised booleans, futures (none), offset and limit, one product, an unknown one."""
    listed = await client.get(
        "/products", [("product_ids", "BTC-USD"), ("product_ids", "X"), ("get_all_products", "True")]
    )
    assert [p["product_id"] for p in listed["products"]] == ["BTC-USD"]
    product = listed["products"][0]
    assert product == await client.get("/products/BTC-USD")
    assert {"price", "base_increment", "price_increment", "quote_increment", "quote_min_size", "status"} <= set(product)
    assert (product["status"], product["product_type"], product["product_venue"]) == ("online", "SPOT", "CBE")
    assert (await client.get("/products", {"product_type": "FUTURE"}))["products"] == []
    assert [p["product_id"] for p in (await client.get("/products", {"limit": "1", "offset": "1"}))["products"]] == [
        "ETH-USD"
    ]
    assert (await client.get("/products/BTC-USDC"))["product_id"] == "BTC-USD"
    status, text, _ = await client.raw("GET", "/products/NO-PE")
    assert (status, json.loads(text)["error"]) == (404, "NOT_FOUND")


async def test_candles_are_newest_first_and_350_at_most(client: Client) -> None:
    """Every granularity; 350 buckets pass, 351 are an INVALID_ARGUMENT; so are missing and wrong parameters."""
    end = int(time.time()) + 60
    for name in ("ONE_MINUTE", "FIVE_MINUTE", "FIFTEEN_MINUTE", "THIRTY_MINUTE", "ONE_HOUR", "SIX_HOUR", "ONE_DAY"):
        params = {"start": str(end - 300), "end": str(end), "granularity": name}
        for candle in (await client.get("/products/BTC-USD/candles", params))["candles"]:
            assert Decimal(candle["low"]) <= Decimal(candle["open"]) <= Decimal(candle["high"])
            assert Decimal(candle["volume"]) > 0
    for buckets, status_wanted in ((350, 200), (351, 400)):
        params = {"start": str(end - 60 * buckets), "end": str(end), "granularity": "ONE_MINUTE"}
        status, text, _ = await client.raw("GET", "/products/BTC-USD/candles", params=params)
        assert status == status_wanted, text
    starts = [
        int(c["start"])
        for c in (await client.get("/products/BTC-USD/candles", params | {"start": str(end - 600)}))["candles"]
    ]
    assert starts == sorted(starts, reverse=True)
    assert starts
    for wrong in ({}, {"start": "a", "end": "b", "granularity": "ONE_MINUTE"}, params | {"granularity": "ONE_YEAR"}):
        status, text, _ = await client.raw("GET", "/products/BTC-USD/candles", params=wrong)
        assert (status, json.loads(text)["error"]) == (400, "INVALID_ARGUMENT")


async def test_trades_book_and_best_prices_agree(client: Client) -> None:
    """Three views of one still market."""
    trades = await client.get("/products/BTC-USD/ticker", {"limit": "3"})
    book = await client.get("/product_book", {"product_id": "BTC-USD", "limit": "2"})
    best = await client.get("/best_bid_ask", [("product_ids", "ETH-USD"), ("product_ids", "BTC-USD")])
    bids, asks = book["pricebook"]["bids"], book["pricebook"]["asks"]
    assert (trades["best_bid"], trades["best_ask"]) == (bids[0]["price"], asks[0]["price"])
    assert best["pricebooks"][0]["bids"] == bids[:1]
    assert len(bids) == len(asks) == 2
    assert Decimal(bids[1]["price"]) < Decimal(bids[0]["price"]) < Decimal(asks[0]["price"]) < Decimal(asks[1]["price"])
    assert Decimal(book["spread_absolute"]) == Decimal(asks[0]["price"]) - Decimal(bids[0]["price"])
    assert {"trade_id", "price", "size", "time", "side", "product_id"} <= set(trades["trades"][0])
    ids = [int(trade["trade_id"]) for trade in trades["trades"]]
    assert ids == sorted(ids, reverse=True)


async def test_accounts_are_paged_and_found_by_id(client: Client) -> None:
    """Pages of one, ended by has_next; the default money; an unknown id."""
    seen, cursor = [], ""
    while True:
        page = await client.get("/accounts", {"limit": "1", "cursor": cursor})
        seen += page["accounts"]
        assert page["size"] == 1
        if not page["has_next"]:
            break
        cursor = page["cursor"]
    assert {a["currency"]: a["available_balance"]["value"] for a in seen} == {"USD": "100000", "BTC": "0", "ETH": "0"}
    assert {a["type"] for a in seen} == {"ACCOUNT_TYPE_FIAT", "ACCOUNT_TYPE_CRYPTO"}
    one = await client.get(f"/accounts/{seen[1]['uuid']}")
    assert one["account"] == seen[1]
    status, text, _ = await client.raw("GET", "/accounts/nobody")
    assert (status, json.loads(text)["error"]) == (404, "NOT_FOUND")


async def test_orders_can_be_listed_in_pages_by_state_product_and_window(client: Client) -> None:
    """Five orders, two cancelled: filters alone and together, pages of two, singular spelling."""
    ids = [(await client.order("BUY", limit_limit_gtc=BUY))["success_response"]["order_id"] for _ in range(4)]
    ids.append((await client.order("BUY", "ETH-USD", limit_limit_gtc=BUY))["success_response"]["order_id"])
    answer = await client.post("/orders/batch_cancel", {"order_ids": [*ids[:2], "nobody", ids[0]]})
    assert [(r["success"], r["failure_reason"]) for r in answer["results"]] == [
        (True, "UNKNOWN_CANCEL_FAILURE_REASON"),
        (True, "UNKNOWN_CANCEL_FAILURE_REASON"),
        (False, "UNKNOWN_CANCEL_ORDER"),
        (False, "DUPLICATE_CANCEL_REQUEST"),
    ]
    seen, cursor = [], ""
    while True:
        page = await client.get("/orders/historical/batch", {"limit": "2", "cursor": cursor})
        seen += [order["order_id"] for order in page["orders"]]
        if not page["has_next"]:
            break
        cursor = page["cursor"]
    assert seen == ids[::-1]

    async def listed(*params: tuple[str, str]) -> list[str]:
        return [o["order_id"] for o in (await client.get("/orders/historical/batch", list(params)))["orders"]]

    assert await listed(("order_status", "OPEN")) == ids[:1:-1]
    assert await listed(("order_status", "CANCELLED"), ("order_status", "FILLED")) == [ids[1], ids[0]]
    assert await listed(("product_id", "ETH-USD"), ("order_status", "OPEN")) == [ids[4]]
    assert await listed(("product_ids", "BTC-USD"), ("product_ids", "ETH-USD")) == ids[::-1]
    assert await listed(("order_ids", ids[3]), ("order_ids", ids[1])) == [ids[3], ids[1]]
    assert await listed(("order_side", "SELL")) == []
    created = (await client.get(f"/orders/historical/{ids[2]}"))["order"]["created_time"]
    assert set(ids[3:]) <= set(await listed(("start_date", created)))
    assert ids[4] not in await listed(("end_date", created))
    status, text, _ = await client.raw(
        "GET", "/orders/historical/batch", params=[("order_status", "OPEN"), ("order_status", "FILLED")]
    )
    assert (status, json.loads(text)["error"]) == (400, "INVALID_ARGUMENT")


async def test_an_order_is_found_by_id_with_its_configuration_and_hold(client: Client) -> None:
    """The order object against the request; an unknown id."""
    reply = await client.order("BUY", client_order_id="mine", limit_limit_gtc=BUY | {"post_only": True})
    order = (await client.get(f"/orders/historical/{reply['success_response']['order_id']}"))["order"]
    assert reply["success_response"]["client_order_id"] == order["client_order_id"] == "mine"
    assert (
        order["order_configuration"] == {"limit_limit_gtc": BUY | {"post_only": True}} == reply["order_configuration"]
    )
    assert (order["status"], order["order_type"], order["time_in_force"]) == ("OPEN", "LIMIT", "GOOD_UNTIL_CANCELLED")
    assert Decimal(order["outstanding_hold_amount"]) == Decimal("1.006")
    assert (order["filled_size"], order["last_fill_time"], order["settled"]) == ("0", None, False)
    status, text, _ = await client.raw("GET", "/orders/historical/nobody")
    assert (status, json.loads(text)["error"]) == (404, "NOT_FOUND")


async def test_fills_are_paged_filtered_and_sum_to_the_order(client: Client) -> None:
    """Three market orders; pages of one until the cursor is empty."""
    ids = []
    for size in ("0.5", "0.3", "0.2"):
        reply = await client.order("BUY", "ETH-USD", market_market_ioc={"base_size": size})
        ids.append(reply["success_response"]["order_id"])
    seen, cursor = [], ""
    while True:
        page = await client.get("/orders/historical/fills", {"limit": "1", "cursor": cursor})
        seen += page["fills"]
        cursor = page["cursor"]
        if not cursor:
            break
    assert len({fill["entry_id"] for fill in seen}) == len(seen)
    for order_id in ids:
        order = (await client.get(f"/orders/historical/{order_id}"))["order"]
        fills = (await client.get("/orders/historical/fills", {"order_ids": order_id}))["fills"]
        assert sorted(f["entry_id"] for f in fills) == sorted(f["entry_id"] for f in seen if f["order_id"] == order_id)
        assert sum(Decimal(f["size"]) for f in fills) == Decimal(order["filled_size"])
        assert sum(Decimal(f["commission"]) for f in fills) == Decimal(order["total_fees"])
        assert sum(Decimal(f["size"]) * Decimal(f["price"]) for f in fills) == Decimal(order["filled_value"])
        assert {f["liquidity_indicator"] for f in fills} == {"TAKER"}
    assert (await client.get("/orders/historical/fills", {"product_id": "BTC-USD"}))["fills"] == []
    status, _, _ = await client.raw("GET", "/orders/historical/fills", params={"cursor": "unknown"})
    assert status == 400
    summary = await client.get("/transaction_summary")
    assert summary["total_fees"] == pytest.approx(float(sum(Decimal(f["commission"]) for f in seen)))
    assert summary["fee_tier"]["taker_fee_rate"] == "0.006"


async def test_refused_orders_are_200_and_malformed_ones_400(client: Client) -> None:
    """The two kinds of no; the preview names the same reason."""
    refused = await client.order("BUY", "NO-PE", limit_limit_gtc=BUY)
    assert refused["success"] is False
    assert refused["error_response"]["error"] == "INVALID_PRODUCT_ID"
    assert refused["order_configuration"] == {"limit_limit_gtc": BUY}
    body = {
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": {"limit_limit_gtc": BUY | {"base_size": "900"}},
    }
    assert (await client.post("/orders/preview", body))["errs"] == ["PREVIEW_INSUFFICIENT_FUND"]
    path = PREFIX + "/orders"
    headers = {"Authorization": f"Bearer {client.token('POST', path)}"}
    for data in (b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"client_order_id":"a"}' * 2):
        async with client.session.post(client.sandbox.rest_url + path, data=data, headers=headers) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"] == "INVALID_ARGUMENT"
    for order_ids in (None, [], "x", [1], ["x"] * 101):
        status, _, _ = await client.raw("POST", "/orders/batch_cancel", body={"order_ids": order_ids})
        assert status == 400


async def test_unknown_paths_methods_and_huge_bodies_have_the_venues_error_shape(client: Client) -> None:
    """404, 405 and 413 with JSON bodies."""
    for method, path, wanted in (("GET", "/nothing", 404), ("PUT", "/orders", 405)):
        status, text, _ = await client.raw(method, path)
        assert status == wanted
        assert set(json.loads(text)) == {"error", "error_details", "message"}
    status, text, _ = await client.raw("POST", "/orders", body={"x": "y" * (2 << 20)})
    assert (status, json.loads(text)["error"]) == (413, "INVALID_ARGUMENT")


async def test_limits_answer_429_and_tell_what_is_left(tmp_path: Path) -> None:
    """Two private requests a second: the burst is cut, headers count down, the public lane is its own."""
    async with running(tmp_path, rate_limits=RateLimits(private_per_s=2, public_per_s=5)) as client:
        answers = [await client.raw("GET", "/key_permissions") for _ in range(12)]
        refused = [answer for answer in answers if answer[0] == 429]
        assert refused
        assert json.loads(refused[0][1]) == {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
        assert (refused[0][2]["X-RateLimit-Limit"], refused[0][2]["X-RateLimit-Remaining"]) == ("2", "0")
        assert answers[0][2]["X-RateLimit-Remaining"] == "1"
        async with client.session.get(client.sandbox.rest_url + PREFIX + "/time") as answer:
            assert (answer.status, answer.headers["x-ratelimit-limit"]) == (200, "5")


async def test_an_order_may_be_listed_later_than_it_was_accepted(tmp_path: Path) -> None:
    """Asked by its id it is there at once; the list has it when its lag has passed, under filters that are its own."""
    async with running(tmp_path, listing_lag_s=60.0) as client:
        order_id = (await client.order("BUY", limit_limit_gtc=BUY))["order_id"]
        assert (await client.get(f"/orders/historical/{order_id}"))["order"]["status"] == "OPEN"
        assert (await client.get("/orders/historical/batch"))["orders"] == []
        client.sandbox.exchange.orders[order_id].created_ns -= 60 * 10**9
        found = (await client.get("/orders/historical/batch"))["orders"]
        assert [order["order_id"] for order in found] == [order_id]
        for params in ({"asset_filters": "ETH"}, {"contract_expiry_type": "EXPIRING"}, {"product_type": "FUTURE"}):
            assert (await client.get("/orders/historical/batch", params))["orders"] == []
        assert (await client.get("/orders/historical/batch", {"asset_filters": "BTC"}))["orders"] == found


async def test_the_older_paths_and_the_portfolio_tell_the_same_account(client: Client) -> None:
    """Wallets without what is held, a portfolio with it; the older time needs no key."""
    await client.order("BUY", limit_limit_gtc={"base_size": "1", "limit_price": "1000"})
    path = "/v2/accounts"
    headers = {"Authorization": f"Bearer {sign(client.key_file, f'GET 127.0.0.1{path}')}"}
    async with client.session.get(client.sandbox.rest_url + path, headers=headers) as answer:
        rows = (await answer.json())["data"]
    assert {row["currency"]["code"]: row["balance"]["amount"] for row in rows}["USD"] == "98994"
    (portfolio,) = (await client.get("/portfolios"))["portfolios"]
    breakdown = (await client.get(f"/portfolios/{portfolio['uuid']}"))["breakdown"]
    assert breakdown["portfolio_balances"]["total_balance"]["value"] == "100000"
    async with client.session.get(client.sandbox.rest_url + "/v2/time") as answer:
        assert abs((await answer.json())["data"]["epoch"] - time.time()) < 60
    async with client.session.get(client.sandbox.rest_url + path) as answer:
        assert answer.status == 401
