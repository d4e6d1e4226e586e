"""Orders of the Coinbase list over REST, by the official library over TLS."""

from __future__ import annotations

import datetime
import itertools
from decimal import Decimal
from typing import Any

import sdk
from cases import List, eventually, operate
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


if __name__ == "__main__":
    cases.main()
