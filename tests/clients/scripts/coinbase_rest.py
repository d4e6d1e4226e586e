"""The REST half of the Coinbase list but its orders, by the official library over TLS."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import requests
import sdk
from cases import List, operate
from cryptography.hazmat.primitives import serialization
from sdk import BTC

cases = List("coinbase", "coinbase-advanced-py")


@cases.case(1, "the venue's time without a key")
def unix_time(at: dict[str, Any]) -> None:
    for where in ("main", "plain"):
        said = sdk.public(at[where]).get_unix_time()
        assert abs(int(said["epoch_seconds"]) - time.time()) < 60
        assert said["epoch_millis"].startswith(said["epoch_seconds"])


@cases.case(2, "accounts page by page, one account, an unknown one")
def accounts(at: dict[str, Any]) -> None:
    for where in ("main", "plain"):
        client = sdk.rest(at[where])
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(50):
            page = client.get_accounts(limit=1, cursor=cursor).to_dict()
            assert page["size"] == len(page["accounts"]) == 1
            found += page["accounts"]
            cursor = page["cursor"]
            if not page["has_next"]:
                break
        assert {"USD", "BTC", "ETH"} <= {one["currency"] for one in found}
        assert client.get_account(found[0]["uuid"]).to_dict()["account"]["uuid"] == found[0]["uuid"]
        assert sdk.status_of(client.get_account, "nobody")[0] == 404


@cases.case(3, "both kinds of keys sign; wrong keys, times, paths and methods are 401")
def tokens(at: dict[str, Any]) -> None:
    main = at["main"]
    for key_file in (main["key_file"], at["ed25519"]):
        assert sdk.rest(main, key_file).get_accounts(limit=1).to_dict()["accounts"]
    assert sdk.status_of(sdk.rest(main, at["stranger"]).get_accounts)[0] == 401
    key = json.loads(Path(main["key_file"]).read_text())
    private = serialization.load_pem_private_key(key["privateKey"].encode(), None)
    now_s, host = int(time.time()), main["rest"].partition("://")[2]
    path = "/api/v3/brokerage/accounts"

    def asked(**changes: Any) -> int:
        claims = {"sub": key["name"], "iss": "cdp", "nbf": now_s, "exp": now_s + 120, "uri": f"GET {host}{path}"}
        token = jwt.encode(
            claims | changes, private, algorithm="ES256", headers={"kid": key["name"], "nonce": "1" * 64}
        )
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.get(main["rest"] + path, headers=headers, verify=main["authority"], timeout=20)
        assert answer.status_code == 200 or answer.text == "Unauthorized"
        return answer.status_code

    assert asked() == 200
    for changes in (
        {"nbf": now_s - 300, "exp": now_s - 180},
        {"nbf": now_s + 120, "exp": now_s + 240},
        {"uri": f"GET {host}/api/v3/brokerage/orders"},
        {"uri": f"POST {host}{path}"},
    ):
        assert asked(**changes) == 401, changes


@cases.case(4, "products with and without a key, by name and by kind")
def products(at: dict[str, Any]) -> None:
    client, anyone = sdk.rest(at["main"]), sdk.public(at["main"])
    for ask in (client.get_products, anyone.get_public_products):
        named = ask(product_ids=[BTC, "ETH-USD"]).to_dict()
        assert {one["product_id"] for one in named["products"]} == {BTC, "ETH-USD"}
        assert named["num_products"] == 2
        assert {one["product_type"] for one in ask(product_type="FUTURE").to_dict()["products"]} == {"FUTURE"}
        assert len(ask(get_all_products=True).to_dict()["products"]) >= 4
        page = ask(limit=1, offset=1).to_dict()["products"]
        assert len(page) == 1
    for one in (client.get_product(BTC), anyone.get_public_product(BTC)):
        made = one.to_dict()
        assert (made["base_increment"], made["quote_increment"], made["product_venue"]) == ("0.00000001", "0.01", "CBE")
    future = client.get_product(sdk.PERPETUAL).to_dict()
    terms = future["future_product_details"]
    assert (future["base_increment"], future["product_venue"], terms["contract_size"]) == ("1", "FCM", "0.01")
    assert terms["funding_rate"]
    assert future["fcm_trading_session_details"]["is_session_open"] is True
    expiring = client.get_products(product_type="FUTURE", contract_expiry_type="EXPIRING").to_dict()["products"]
    assert {sdk.PERPETUAL, sdk.DATED} <= {one["product_id"] for one in expiring}
    assert sdk.status_of(client.get_product, "NO-SUCH")[0] == 404


@cases.case(5, "candles of every width, newest first, 350 and no more")
def candles(at: dict[str, Any]) -> None:
    client, anyone = sdk.rest(at["main"]), sdk.public(at["main"])
    widths = {
        "ONE_MINUTE": 60,
        "FIVE_MINUTE": 300,
        "FIFTEEN_MINUTE": 900,
        "THIRTY_MINUTE": 1_800,
        "ONE_HOUR": 3_600,
        "TWO_HOUR": 7_200,
        "FOUR_HOUR": 14_400,
        "SIX_HOUR": 21_600,
        "ONE_DAY": 86_400,
    }
    end_s = int(time.time())
    for name, width_s in widths.items():
        for ask in (client.get_candles, anyone.get_public_candles):
            start_s = end_s // width_s * width_s - 349 * width_s
            rows = ask(BTC, start=str(start_s), end=str(end_s), granularity=name, limit=350).to_dict()["candles"]
            assert rows
            starts = [int(row["start"]) for row in rows]
            assert starts == sorted(starts, reverse=True)
            assert all(isinstance(row["start"], str) and int(row["start"]) % width_s == 0 for row in rows)
            assert all(Decimal(r["low"]) <= min(Decimal(r["open"]), Decimal(r["close"])) for r in rows)
            assert sdk.status_of(ask, BTC, str(start_s - 2 * width_s), str(end_s), name)[0] == 400


@cases.case(6, "trades, book and best prices, with and without a key")
def market_data(at: dict[str, Any]) -> None:
    client, anyone = sdk.rest(at["main"]), sdk.public(at["main"])
    for ask in (client.get_market_trades, anyone.get_public_market_trades):
        said = ask(BTC, limit=10).to_dict()
        assert 0 < len(said["trades"]) <= 10
        assert Decimal(said["best_bid"]) < Decimal(said["best_ask"])
        assert {one["side"] for one in said["trades"]} <= {"BUY", "SELL"}
    for ask in (client.get_product_book, anyone.get_public_product_book):
        book = ask(BTC, limit=5).to_dict()
        bids, asks = ([Decimal(level["price"]) for level in book["pricebook"][side]] for side in ("bids", "asks"))
        assert len(bids) == len(asks) == 5
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert Decimal(book["spread_absolute"]) == asks[0] - bids[0]
        wide = ask(BTC, limit=5, aggregation_price_increment="10").to_dict()["pricebook"]
        assert all(Decimal(level["price"]) % 10 == 0 for side in ("bids", "asks") for level in wide[side])
    books = client.get_best_bid_ask(product_ids=[BTC, "ETH-USD"]).to_dict()["pricebooks"]
    assert {one["product_id"] for one in books} == {BTC, "ETH-USD"}


@cases.case(18, "fees, permissions and portfolios")
def account(at: dict[str, Any]) -> None:
    client = sdk.rest(at["main"])
    summary = client.get_transaction_summary().to_dict()
    assert (summary["fee_tier"]["maker_fee_rate"], summary["fee_tier"]["taker_fee_rate"]) == ("0.004", "0.006")
    assert summary["total_volume"] >= 0
    may = client.get_api_key_permissions().to_dict()
    assert (may["can_view"], may["can_trade"], may["can_transfer"]) == (True, True, False)
    (portfolio,) = client.get_portfolios(portfolio_type="DEFAULT").to_dict()["portfolios"]
    assert portfolio["uuid"] == may["portfolio_uuid"]
    assert not client.get_portfolios(portfolio_type="INTX").to_dict()["portfolios"]
    breakdown = client.get_portfolio_breakdown(portfolio["uuid"]).to_dict()["breakdown"]
    assert {one["asset"] for one in breakdown["spot_positions"]} >= {"USD"}
    assert Decimal(breakdown["portfolio_balances"]["total_balance"]["value"]) > 0
    assert sdk.status_of(client.get_portfolio_breakdown, "nobody")[0] == 404


@cases.case(19, "futures: margin, positions, funding, close, sweeps")
def futures(at: dict[str, Any]) -> None:
    client, rest = sdk.rest(at["main"]), at["main"]["rest"]
    perpetual = sdk.PERPETUAL
    assert client.list_futures_positions().to_dict()["positions"] == []
    before = client.get_futures_balance_summary().to_dict()["balance_summary"]
    one = sdk.order_id(
        client.market_order_sell(sdk.name(), perpetual, base_size="3", leverage="2", margin_type="CROSS")
    )
    made = sdk.order(client, one)
    assert (made["status"], made["product_type"], made["leverage"], made["margin_type"]) == (
        "FILLED",
        "FUTURE",
        "2",
        "CROSS",
    )
    assert Decimal(made["filled_value"]) == Decimal(made["average_filled_price"]) * 3 * Decimal("0.01")
    position = client.get_futures_position(perpetual).to_dict()["position"]
    assert (position["side"], position["number_of_contracts"]) == ("SHORT", "3")
    assert Decimal(position["avg_entry_price"]) == Decimal(made["average_filled_price"])
    after = client.get_futures_balance_summary().to_dict()["balance_summary"]
    spent = Decimal(before["available_margin"]["value"]) - Decimal(after["available_margin"]["value"])
    assert spent > Decimal(after["initial_margin"]["value"]) > 0
    usd = sdk.total(client, "USD")
    operate(rest, act="fund", product_id=perpetual, rate="0.0001")
    funded = sdk.total(client, "USD") - usd
    assert funded > 0, "a short is paid a positive rate"
    assert abs(funded - Decimal(made["filled_value"]) * Decimal("0.0001")) < Decimal("0.01")
    part = sdk.order_id(client.close_position(sdk.name(), perpetual, size="1"))
    assert (sdk.order(client, part)["side"], sdk.order(client, part)["status"]) == ("BUY", "FILLED")
    assert client.get_futures_position(perpetual).to_dict()["position"]["number_of_contracts"] == "2"
    sdk.order_id(client.close_position(sdk.name(), perpetual))
    assert client.list_futures_positions().to_dict()["positions"] == []
    assert sdk.status_of(client.get_futures_position, perpetual)[0] == 404
    assert client.close_position(sdk.name(), perpetual).to_dict()["success"] is False
    assert (
        sdk.order(
            client,
            sdk.order_id(client.create_order(sdk.name(), perpetual, "BUY", {"market_market_fok": {"base_size": "1"}})),
        )["status"]
        == "FILLED"
    )
    sdk.order_id(client.close_position(sdk.name(), perpetual))
    reply = client.market_order_buy(sdk.name(), perpetual, base_size="1", leverage="500")
    assert sdk.refusal(reply)[0] == "INVALID_LEVERAGE"
    reply = client.market_order_buy(sdk.name(), perpetual, base_size="1", margin_type="NONE")
    assert sdk.refusal(reply)[0] == "INVALID_MARGIN_TYPE"
    assert sdk.refusal(client.limit_order_gtc_buy(sdk.name(), perpetual, "1", "60001"))[0] == "INVALID_PRICE_PRECISION"
    assert sdk.refusal(client.limit_order_gtc_buy(sdk.name(), perpetual, "9000", "60000"))[0] == "INSUFFICIENT_FUND"
    operate(rest, act="product", product_id=sdk.DATED, session_open=False)
    closed = client.market_order_buy(sdk.name(), sdk.DATED, base_size="1")
    assert sdk.refusal(closed)[0] == "INVALID_FCM_TRADING_SESSION"
    operate(rest, act="product", product_id=sdk.DATED, session_open=True)
    assert client.schedule_futures_sweep("25.5").to_dict()["success"] is True
    (sweep,) = client.list_futures_sweeps().to_dict()["sweeps"]
    assert (sweep["requested_amount"]["value"], sweep["status"]) == ("25.5", "PENDING")
    assert client.cancel_pending_futures_sweep().to_dict()["success"] is True
    assert client.list_futures_sweeps().to_dict()["sweeps"] == []
    client.set_intraday_margin_setting("INTRADAY_MARGIN_SETTING_INTRADAY")
    assert client.get_intraday_margin_setting().to_dict()["setting"] == "INTRADAY_MARGIN_SETTING_INTRADAY"
    window = client.get_current_margin_window("MARGIN_PROFILE_TYPE_RETAIL_REGULAR").to_dict()
    assert window["margin_window"]["margin_window_type"]
    assert sdk.status_of(client.get_perps_portfolio_summary, "x")[0] >= 400, "moved to another gateway"


@cases.case(20, "the rate limit is told in headers, then by 429")
def limited(at: dict[str, Any]) -> None:
    client = sdk.rest(at["limited"], rate_limit_headers=True)
    said = client.get_accounts(limit=1).to_dict()
    assert int(said["rate_limit_limit"]) == 2
    assert 0 <= int(said["rate_limit_remaining"]) < 2
    assert said["rate_limit_reset"] is not None
    refused = None
    for _ in range(40):
        try:
            client.get_accounts(limit=1)
        except requests.exceptions.HTTPError as error:
            refused = error.response
            break
    assert refused is not None, "40 requests in a row and no 429"
    assert refused.status_code == 429
    assert refused.json()["errors"][0]["id"] == "rate_limit_exceeded"


@cases.case(21, "a key without the scope is told of permissions")
def scopes(at: dict[str, Any]) -> None:
    client, rest = sdk.rest(at["late"]), at["late"]["rest"]
    operate(rest, act="permit", can_trade=False)
    try:
        status, text = sdk.status_of(client.limit_order_gtc_buy, sdk.name(), BTC, "0.01", "1000")
        assert status == 403
        assert "permissions" in text.lower()
        assert client.get_accounts(limit=1).to_dict()["accounts"]
    finally:
        operate(rest, act="permit", can_trade=True)


if __name__ == "__main__":
    cases.main()
