"""The REST half of the Coinbase list, by the official library over TLS."""

from __future__ import annotations

import datetime
import itertools
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import requests
import sdk
from cases import List, eventually, operate
from cryptography.hazmat.primitives import serialization
from sdk import BTC, ZERO

cases = List("coinbase", "coinbase-advanced-py")
UP, DOWN = "STOP_DIRECTION_STOP_UP", "STOP_DIRECTION_STOP_DOWN"


def in_time(seconds: float) -> str:
    return (
        (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    )


def trade_at(rest: str, side: str, px: Decimal) -> None:
    """Others trade through the book until the last trade is at this price, where one of them rests."""
    against = "SELL" if side == "BUY" else "BUY"
    operate(rest, act="trade", product_id=BTC, side=against, price=str(px), size="1", rest=True)
    operate(rest, act="trade", product_id=BTC, side=side, price=str(px), size="1000")


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


@cases.case(7, "market orders fill, their fills add up, balances move")
def market_orders(at: dict[str, Any]) -> None:
    for where in ("main", "plain"):
        client = sdk.rest(at[where])
        before = sdk.total(client, "USD"), sdk.total(client, "BTC")
        bought = sdk.order(client, sdk.order_id(client.market_order_buy(sdk.name(), BTC, quote_size="1000")))
        assert (bought["status"], bought["order_type"]) == ("FILLED", "MARKET")
        made = sdk.fills(client, bought["order_id"])
        assert sum((Decimal(f["size"]) for f in made), ZERO) == Decimal(bought["filled_size"])
        assert sum((Decimal(f["commission"]) for f in made), ZERO) == Decimal(bought["total_fees"])
        sold = client.market_order_sell(sdk.name(), BTC, base_size=bought["filled_size"])
        sold = sdk.order(client, sdk.order_id(sold))
        assert (sold["status"], sold["side"]) == ("FILLED", "SELL")
        paid, got = Decimal(bought["total_value_after_fees"]), Decimal(sold["total_value_after_fees"])
        assert (sdk.total(client, "USD"), sdk.total(client, "BTC")) == (before[0] - paid + got, before[1])


@cases.case(8, "post-only rests or is refused, either way; good till a date expires")
def resting(at: dict[str, Any]) -> None:
    for where in ("main", "late"):
        client = sdk.rest(at[where])
        bid, ask = sdk.best(client)
        low = {"base_size": "0.01", "limit_price": str(bid - 100)}
        rests = sdk.order_id(client.limit_order_gtc_buy(sdk.name(), BTC, post_only=True, **low))
        assert sdk.order(client, rests)["status"] == "OPEN"
        client.cancel_orders([rests])
        crossing = client.limit_order_gtc_buy(sdk.name(), BTC, base_size="0.01", limit_price=str(ask), post_only=True)
        if where == "main":
            reasons = sdk.refusal(crossing)
            assert reasons == ("INVALID_LIMIT_PRICE_POST_ONLY", "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY")
        else:
            failed = sdk.order(client, sdk.order_id(crossing))
            assert (failed["status"], failed["filled_size"]) == ("FAILED", "0")
            assert failed["reject_reason"] == "INVALID_LIMIT_PRICE_POST_ONLY"
            assert failed["reject_message"]
    dated = sdk.order_id(client.limit_order_gtd_buy(sdk.name(), BTC, end_time=in_time(1.2), **low))
    kept = sdk.order_id(client.limit_order_gtd_sell(sdk.name(), BTC, "0.01", str(ask + 5_000), in_time(600)))
    eventually(lambda: sdk.order(client, dated)["status"] == "EXPIRED")
    assert sdk.order(client, kept)["status"] == "OPEN"
    client.cancel_orders([kept])


@cases.case(9, "immediate-or-cancel keeps its part, fill-or-kill takes all or nothing")
def immediate(at: dict[str, Any]) -> None:
    client = sdk.rest(at["main"])
    bid, ask = sdk.best(client)
    there = sum(
        Decimal(level["size"]) for level in client.get_product_book(BTC, limit=1).to_dict()["pricebook"]["asks"]
    )
    more = str((there + 1).quantize(Decimal("0.00000001")))
    part = sdk.order(client, sdk.order_id(client.limit_order_ioc_buy(sdk.name(), BTC, more, str(ask))))
    assert part["status"] == "CANCELLED"
    assert Decimal(part["filled_size"]) == there
    none = sdk.order(
        client, sdk.order_id(client.limit_order_fok_sell(sdk.name(), BTC, part["filled_size"], str(bid + 9_000)))
    )
    assert (none["status"], none["filled_size"]) == ("CANCELLED", "0")
    deep = str(bid - 2_000)
    whole = sdk.order(client, sdk.order_id(client.limit_order_fok_sell(sdk.name(), BTC, part["filled_size"], deep)))
    assert (whole["status"], whole["filled_size"]) == ("FILLED", part["filled_size"])
    refused = sdk.order_id(client.limit_order_ioc_sell(sdk.name(), BTC, "0.01", str(bid + 9_000)))
    assert sdk.order(client, refused)["status"] == "CANCELLED"


@cases.case(10, "stop-limits wait above and below and fire at a trade")
def stops(at: dict[str, Any]) -> None:
    client, rest = sdk.rest(at["stops"]), at["stops"]["rest"]
    bid, ask = sdk.best(client)
    up, down = str(ask + 300), str(bid - 300)
    buy = {"base_size": "0.01", "stop_price": up, "limit_price": str(ask + 400), "stop_direction": UP}
    sell = {"base_size": "0.01", "stop_price": down, "limit_price": str(bid - 400), "stop_direction": DOWN}
    waiting = [
        sdk.order_id(client.stop_limit_order_gtc_buy(sdk.name(), BTC, **buy)),
        sdk.order_id(client.stop_limit_order_gtd_buy(sdk.name(), BTC, end_time=in_time(600), **buy)),
        sdk.order_id(client.stop_limit_order_gtc_sell(sdk.name(), BTC, **sell)),
        sdk.order_id(client.stop_limit_order_gtd_sell(sdk.name(), BTC, end_time=in_time(600), **sell)),
    ]
    for one in waiting:
        made = sdk.order(client, one)
        assert (made["status"], made["trigger_status"], made["order_type"]) == ("OPEN", "STOP_PENDING", "STOP_LIMIT")
    trade_at(rest, "BUY", Decimal(up))
    assert {sdk.order(client, one)["trigger_status"] for one in waiting[:2]} == {"STOP_TRIGGERED"}
    assert {sdk.order(client, one)["trigger_status"] for one in waiting[2:]} == {"STOP_PENDING"}
    trade_at(rest, "SELL", Decimal(down))
    assert {sdk.order(client, one)["trigger_status"] for one in waiting} == {"STOP_TRIGGERED"}
    client.cancel_orders(waiting)
    wrong = client.stop_limit_order_gtc_buy(sdk.name(), BTC, **(buy | {"stop_price": "1000"}))
    assert sdk.refusal(wrong)[1].startswith("PREVIEW_STOP_PRICE")


@cases.case(11, "a bracket leaves by one of its two ways")
def brackets(at: dict[str, Any]) -> None:
    client, rest = sdk.rest(at["lively"]), at["lively"]["rest"]
    client.market_order_buy(sdk.name(), BTC, base_size="0.04")
    for way, up, down in (("target", 80, 9_000), ("stop", 9_000, 80)):
        bid, ask = sdk.best(client)
        prices = {"limit_price": str(ask + up), "stop_trigger_price": str(bid - down)}
        if way == "target":
            reply = client.trigger_bracket_order_gtc_sell(sdk.name(), BTC, "0.02", **prices)
        else:
            reply = client.trigger_bracket_order_gtd_sell(sdk.name(), BTC, "0.02", end_time=in_time(600), **prices)
        one = sdk.order_id(reply)
        if way == "target":
            trade_at(rest, "BUY", ask + up)
        else:
            trade_at(rest, "SELL", bid - down)
        eventually(lambda one=one: sdk.order(client, one)["status"] == "FILLED", 20)
        made = sdk.order(client, one)
        assert made["order_type"] == "BRACKET"
        assert made["filled_size"] == "0.02"
        assert made["trigger_status"] == ("STOP_PENDING" if way == "target" else "STOP_TRIGGERED")


@cases.case(11, "an attached bracket follows the order that it protects")
def attached(at: dict[str, Any]) -> None:
    client, rest = sdk.rest(at["lively"]), at["lively"]["rest"]
    bid, ask = sdk.best(client)
    bracket = {"trigger_bracket_gtc": {"limit_price": str(ask + 5_000), "stop_trigger_price": str(bid - 90)}}
    reply = client.market_order_buy(sdk.name(), BTC, base_size="0.02", attached_order_configuration=bracket)
    parent = sdk.order(client, sdk.order_id(reply))
    child_id = reply.to_dict()["success_response"]["attached_order_id"]
    child = sdk.order(client, child_id)
    assert (parent["status"], parent["attached_order_id"]) == ("FILLED", child_id)
    assert (child["status"], child["side"], child["order_type"]) == ("OPEN", "SELL", "BRACKET")
    assert child["originating_order_id"] == parent["order_id"]
    assert child["order_configuration"]["trigger_bracket_gtc"]["base_size"] == parent["filled_size"] == "0.02"
    trade_at(rest, "SELL", bid - 90)
    eventually(lambda: sdk.order(client, child_id)["status"] == "FILLED", 20)
    wrong = {"trigger_bracket_gtc": {"limit_price": "1000", "stop_trigger_price": "900000"}}
    reply = client.market_order_buy(sdk.name(), BTC, base_size="0.02", attached_order_configuration=wrong)
    assert sdk.refusal(reply)[0] == "INVALID_BRACKET_PRICES"


@cases.case(12, "a time-sliced order trades its slices; what spot does not have is refused")
def raw(at: dict[str, Any]) -> None:
    client = sdk.rest(at["lively"])
    _, ask = sdk.best(client)
    fields = {
        "base_size": "0.02",
        "limit_price": str(ask + 3_000),
        "start_time": in_time(0),
        "end_time": in_time(4),
        "number_buckets": "2",
        "bucket_size": "0.01",
        "bucket_duration": "1s",
    }
    sliced = sdk.order_id(client.create_order(sdk.name(), BTC, "BUY", {"twap_limit_gtd": fields}))
    assert sdk.order(client, sliced)["order_type"] == "TWAP"
    eventually(lambda: sdk.order(client, sliced)["status"] == "FILLED", 15)
    made = sdk.fills(client, sliced)
    assert sum((Decimal(one["size"]) for one in made), ZERO) == Decimal("0.02")
    for configuration in ({"market_market_fok": {"base_size": "0.01"}}, {"scaled_limit_gtc": {"num_orders": "3"}}):
        reply = client.create_order(sdk.name(), BTC, "BUY", configuration)
        assert sdk.refusal(reply)[0] == "UNSUPPORTED_ORDER_CONFIGURATION"


@cases.case(13, "refusals of the venue's rules arrive as HTTP 200")
def refusals(at: dict[str, Any]) -> None:
    client = sdk.rest(at["main"])
    for product, size, px, reasons in (
        (BTC, "0.000000001", "60000", "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL"),
        (BTC, "0.0100000001", "60000", "INVALID_SIZE_PRECISION"),
        (BTC, "0.01", "60000.001", "INVALID_PRICE_PRECISION"),
        (BTC, "0.00001", "1000", "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL"),
        ("NO-SUCH", "1", "1", "INVALID_PRODUCT_ID"),
        (BTC, "3000", "50000", "INSUFFICIENT_FUND"),
    ):
        said = sdk.refusal(client.limit_order_gtc_buy(sdk.name(), product, size, px))
        assert reasons in said, (reasons, said)
    assert sdk.refusal(client.limit_order_gtc_sell(sdk.name(), BTC, "500", "90000"))[0] == "INSUFFICIENT_FUND"
    past = client.limit_order_gtd_buy(sdk.name(), BTC, "0.01", "1000", in_time(-60))
    assert sdk.refusal(past)[0] == "END_TIME_IS_IN_THE_PAST"
    levered = client.limit_order_gtc_buy(sdk.name(), BTC, "0.01", "1000", leverage="5")
    assert sdk.refusal(levered)[0] == "INVALID_LEVERAGE"


@cases.case(14, "previews say what then happens")
def previews(at: dict[str, Any]) -> None:
    client = sdk.rest(at["main"])
    said = client.preview_market_order_buy(BTC, quote_size="500").to_dict()
    assert said["errs"] == []
    made = sdk.order(client, sdk.order_id(client.market_order_buy(sdk.name(), BTC, quote_size="500")))
    assert Decimal(said["base_size"]) == Decimal(made["filled_size"])
    assert abs(Decimal(said["order_total"]) - Decimal(made["total_value_after_fees"])) < 1
    _, ask = sdk.best(client)
    calls = (
        (client.preview_limit_order_gtc_buy, ("0.01", "1000")),
        (client.preview_limit_order_gtd_sell, ("0.001", str(ask + 900), in_time(60))),
        (client.preview_limit_order_ioc_buy, ("0.01", str(ask))),
        (client.preview_limit_order_fok_buy, ("0.01", str(ask))),
        (client.preview_stop_limit_order_gtc_buy, ("0.01", str(ask + 900), str(ask + 800), UP)),
        (client.preview_trigger_bracket_order_gtc_sell, ("0.001", str(ask + 900), "1000")),
    )
    for call, arguments in calls:
        said = call(BTC, *arguments).to_dict()
        assert said["errs"] == [], (call, said)
        assert Decimal(said["order_total"]) > 0
        assert said["preview_id"]
    assert client.preview_limit_order_gtc_buy(BTC, "3000", "50000").to_dict()["errs"] == ["PREVIEW_INSUFFICIENT_FUND"]


@cases.case(14, "an order is edited in place, or not, with the reason")
def edits(at: dict[str, Any]) -> None:
    client = sdk.rest(at["main"])
    one = sdk.order_id(client.limit_order_gtc_buy(sdk.name(), BTC, "0.02", "1000"))
    said = client.preview_edit_order(one, size="0.03", price="1100").to_dict()
    assert said["errors"] == []
    assert Decimal(said["order_total"]) > Decimal("33")
    hold = sdk.money(client)["USD"][1]
    edited = client.edit_order(one, size="0.03", price="1100").to_dict()
    assert edited["success"], edited
    made = sdk.order(client, one)
    fields = made["order_configuration"]["limit_limit_gtc"]
    assert (made["order_id"], made["status"], fields["base_size"], fields["limit_price"]) == (
        one,
        "OPEN",
        "0.03",
        "1100",
    )
    assert [(step["size"], step["price"]) for step in made["edit_history"]] == [("0.03", "1100")]
    assert sdk.money(client)["USD"][1] - hold == (Decimal(33) - 20) * Decimal("1.006")

    def refused(of: str, size: str | None, price: str | None) -> str:
        for call in (client.preview_edit_order, client.edit_order):
            reply = call(of, size=size, price=price).to_dict()
            assert not reply.get("success", False)
            reason = reply["errors"][0]["edit_failure_reason"]
        return reason  # type: ignore[no-any-return]

    assert refused("nobody", "1", "1000") == "ORDER_NOT_FOUND"
    assert refused(one, "0.03", "1100") == "EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST"
    assert refused(one, None, "1200") == "INVALID_EDITED_SIZE"
    assert refused(one, "0.03", "1100.001") == "INVALID_EDITED_PRICE"
    assert refused(one, "1000", "50000") == "COMMANDER_REJECTED_EDIT_ORDER"
    _, ask = sdk.best(client)
    dated = sdk.order_id(client.limit_order_gtd_buy(sdk.name(), BTC, "0.02", "1000", in_time(600)))
    assert refused(dated, "0.01", "1000") == "ONLY_LIMIT_ORDER_EDITS_SUPPORTED"
    client.cancel_orders([one, dated])
    assert refused(one, "0.01", "1000") == "ONLY_OPEN_ORDERS_CAN_BE_EDITED"
    # An edit across the spread trades, and below what has traded there is no edit.
    there = Decimal(client.get_product_book(BTC, limit=1).to_dict()["pricebook"]["asks"][0]["size"])
    whole = str((there + Decimal("0.01")).quantize(Decimal("0.00000001")))
    taker = sdk.order_id(client.limit_order_gtc_buy(sdk.name(), BTC, whole, "1000"))
    assert client.edit_order(taker, size=whole, price=str(ask)).to_dict()["success"]
    assert Decimal(sdk.order(client, taker)["filled_size"]) == there
    assert refused(taker, str(there), str(ask)) == "CANNOT_EDIT_TO_BELOW_FILLED_SIZE"
    client.cancel_orders([taker])


@cases.case(15, "cancels answer one by one; a second one says why not")
def cancels(at: dict[str, Any]) -> None:
    client = sdk.rest(at["main"])
    alone = sdk.order_id(client.limit_order_gtc_buy(sdk.name(), BTC, "0.01", "1000"))
    assert client.cancel_orders([alone]).to_dict()["results"][0]["success"] is True
    again = client.cancel_orders([alone]).to_dict()["results"][0]
    assert (again["success"], again["failure_reason"]) == (False, "DUPLICATE_CANCEL_REQUEST")
    opened = [sdk.order_id(client.limit_order_gtc_buy(sdk.name(), BTC, "0.002", "1000")) for _ in range(30)]
    mixed = list(itertools.chain(*((one, f"unknown-{one}") for one in opened))) + [f"more-{n}" for n in range(40)]
    results = client.cancel_orders(mixed).to_dict()["results"]
    assert [one["order_id"] for one in results] == mixed
    assert [one["success"] for one in results] == [name in opened for name in mixed]
    assert {one["failure_reason"] for one in results if not one["success"]} == {"UNKNOWN_CANCEL_ORDER"}
    filled = sdk.order_id(client.market_order_buy(sdk.name(), BTC, quote_size="10"))
    assert client.cancel_orders([filled]).to_dict()["results"][0]["failure_reason"] == "ORDER_IS_FULLY_FILLED"
    assert sdk.status_of(client.cancel_orders, ["x"] * 101)[0] == 400


@cases.case(16, "orders and fills by state, window and page")
def listings(at: dict[str, Any]) -> None:
    client = sdk.rest(at["main"])
    began = in_time(0)
    opened = [sdk.order_id(client.limit_order_gtc_buy(sdk.name(), BTC, "0.002", "1000")) for _ in range(5)]
    for _ in range(3):
        client.market_order_buy(sdk.name(), BTC, quote_size="20")
    listed: list[str] = []
    cursor: str | None = None
    while True:
        page = client.list_orders(product_ids=[BTC], order_status=["OPEN"], limit=2, cursor=cursor).to_dict()
        listed += [one["order_id"] for one in page["orders"]]
        cursor = page["cursor"]
        if not page["has_next"]:
            break
    assert set(opened) <= set(listed)
    assert len(listed) == len(set(listed))
    window = client.list_orders(product_ids=[BTC], start_date=began, end_date=in_time(1)).to_dict()["orders"]
    assert len(window) == 8
    assert not client.list_orders(product_ids=[BTC], start_date=in_time(60)).to_dict()["orders"]
    assert len(client.list_orders(order_ids=opened[:2]).to_dict()["orders"]) == 2
    assert not client.list_orders(order_status=["OPEN"], product_type="FUTURE").to_dict()["orders"]
    both = sdk.status_of(client.list_orders, order_status=["OPEN", "FILLED"])
    assert both[0] == 400
    pages: list[str] = []
    cursor = None
    while True:
        page = client.get_fills(product_ids=[BTC], limit=2, cursor=cursor).to_dict()
        pages += [one["entry_id"] for one in page["fills"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert len(pages) == len(set(pages)) >= 3
    assert sdk.status_of(client.get_order, "nobody")[0] == 404
    client.cancel_orders(opened)


@cases.case(17, "a client order id makes one order, in both of the venue's ways to answer")
def duplicates(at: dict[str, Any]) -> None:
    for where in ("main", "late"):
        client = sdk.rest(at[where])
        once = sdk.name()
        first = sdk.order_id(client.limit_order_gtc_buy(once, BTC, "0.01", "1000"))
        second = client.limit_order_gtc_buy(once, BTC, "0.02", "1001")
        if where == "main":
            assert sdk.order_id(second) == first
        else:
            assert sdk.refusal(second)[0] == "DUPLICATE_CLIENT_ORDER_ID"
        found = client.list_orders(order_status=["OPEN"]).to_dict()["orders"]
        assert [one["order_id"] for one in found if one["client_order_id"] == once] == [first]
        client.cancel_orders([first])


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
