"""The sandbox seen by a client that only knows the protocol sheet: whole flows on a living market."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.matching.orders import BookOrder
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from tests.support.coinbase_sandbox import Client, Stream, running, sign

LIVELY = {"step_ms": 5.0, "rate_per_s": 300.0, "warmup_s": 5.0}


class Book:
    """A book rebuilt from level2 messages alone."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "offer": {}}

    def apply(self, message: dict[str, Any]) -> None:
        for event in message["events"]:
            if event["type"] == "snapshot":
                self.sides = {"bid": {}, "offer": {}}
            for update in event["updates"]:
                side, px, qty = (
                    self.sides[update["side"]],
                    Decimal(update["price_level"]),
                    Decimal(update["new_quantity"]),
                )
                if qty:
                    side[px] = qty
                else:
                    del side[px]

    def levels(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        bids, asks = self.sides["bid"], self.sides["offer"]
        return sorted(bids.items(), reverse=True), sorted(asks.items())


async def user_updates(stream: Stream, order_id: str, until: str) -> list[dict[str, Any]]:
    """Updates of one order until it has that status."""
    seen: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not seen or seen[-1]["status"] != until:
            message = await stream.read(60.0)
            if message["channel"] == "user":
                seen += [o for e in message["events"] for o in e["orders"] if o["order_id"] == order_id]
    return seen


async def subscribe_user(client: Client, stream: Stream) -> None:
    await stream.say(type="subscribe", channel="user", jwt=sign(client.key_file))
    await stream.until(lambda m: m["channel"] == "user")


@pytest.mark.parametrize("repeat", range(2))
async def test_level2_rebuilds_the_book_that_rest_shows(tmp_path: Path, repeat: int) -> None:
    """Sheet 24: after 200 updates of a lively market with orders of ours, both books are equal level by level."""
    async with running(tmp_path, **LIVELY, seed=repeat) as client, client.stream() as stream:
        book = Book()
        await stream.say(type="subscribe", channel="level2", product_ids=["BTC-USD"])
        applied = 0
        while applied < 200:
            message = await stream.read()
            if message["channel"] == "l2_data":
                book.apply(message)
                applied += 1
                bids, asks = book.levels()
                assert bids[0][0] < asks[0][0]
            if applied == 50:
                await client.order("BUY", limit_limit_gtc={"base_size": "0.01", "limit_price": "1000"})
                await client.order("BUY", market_market_ioc={"quote_size": "2000"})
        client.sandbox.market = type("Still", (), {"step": lambda self, now_ns: None})()
        rest = (await client.get("/product_book", {"product_id": "BTC-USD", "limit": "5000"}))["pricebook"]
        wanted = [
            [(Decimal(level["price"]), Decimal(level["size"])) for level in rest[side]] for side in ("bids", "asks")
        ]
        async with asyncio.timeout(30):
            while list(book.levels()) != wanted:
                book.apply(await stream.read())
        assert (Decimal(1000), Decimal("0.01")) in wanted[0]


async def test_tickers_follow_the_best_quote_and_every_trade_is_told_once(tmp_path: Path) -> None:
    """Sheet 22: consecutive trade ids, maker side against the book, quotes never crossed, sequence without a hole."""
    async with running(tmp_path, **LIVELY) as client, client.stream() as stream:
        for channel in ("ticker", "market_trades", "heartbeats"):
            await stream.say(type="subscribe", channel=channel, product_ids=["BTC-USD"])
        ids: list[int] = []
        last_bid = last_ask = Decimal(0)
        checked = 0
        async with asyncio.timeout(60):
            while len(ids) < 60:
                message = await stream.read()
                for event in message["events"]:
                    if message["channel"] == "market_trades" and event["type"] == "update":
                        trades = event["trades"][::-1]
                        ids += [int(trade["trade_id"]) for trade in trades]
                        for trade in trades:
                            if last_bid:
                                middle = (last_bid + last_ask) / 2
                                checked += (Decimal(trade["price"]) < middle) == (trade["side"] == "BUY")
                    if message["channel"] == "ticker":
                        ticker = event["tickers"][0]
                        last_bid, last_ask = Decimal(ticker["best_bid"]), Decimal(ticker["best_ask"])
                        assert last_bid < last_ask
                        assert Decimal(ticker["best_bid_quantity"]) > 0
                        assert Decimal(ticker["best_ask_quantity"]) > 0
        assert ids == sorted(set(ids))
        # A step may move the quote before its trade is told, so the middle is not always the trade's own.
        assert checked > 0.8 * len(ids)


async def test_an_order_is_told_from_pending_over_partial_fills_to_filled(tmp_path: Path) -> None:
    """Sheet 25: a bid just inside the spread is filled in parts by the living market; REST and balances agree."""
    async with running(tmp_path, **LIVELY) as client, client.stream(user=True) as stream:
        await subscribe_user(client, stream)
        answer: dict[str, Any] = {"success": False}
        updates: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while not answer["success"]:  # the market may have come down to it before it arrives
                bid, ask = await client.best()
                px = bid + (ask - bid) / 2 // Decimal("0.01") * Decimal("0.01")
                config = {"base_size": "0.4", "limit_price": str(px), "post_only": True}
                answer = await client.order("BUY", limit_limit_gtc=config)
            order_id = answer["success_response"]["order_id"]
            while not updates or updates[-1]["status"] != "FILLED":
                message = await stream.read(30)
                updates += [o for e in message["events"] for o in e.get("orders", ()) if o["order_id"] == order_id]
        assert [u["status"] for u in updates[:2]] == ["PENDING", "OPEN"]
        quantities = [Decimal(u["cumulative_quantity"]) for u in updates]
        assert quantities == sorted(quantities)
        assert all(Decimal(u["cumulative_quantity"]) + Decimal(u["leaves_quantity"]) == Decimal("0.4") for u in updates)
        order = (await client.get(f"/orders/historical/{order_id}"))["order"]
        fills = (await client.get("/orders/historical/fills", {"order_ids": order_id}))["fills"]
        assert sum(Decimal(f["size"]) for f in fills) == Decimal("0.4") == Decimal(order["filled_size"])
        assert updates[-1]["number_of_fills"] == str(len(fills)) == order["number_of_fills"]
        assert {f["liquidity_indicator"] for f in fills} == {"MAKER"}
        spent = sum(Decimal(f["size"]) * Decimal(f["price"]) + Decimal(f["commission"]) for f in fills)
        assert await client.balances() == {"USD": 100_000 - spent, "BTC": Decimal("0.4"), "ETH": 0}


async def test_a_cancelled_order_is_told_and_its_hold_returned(tmp_path: Path) -> None:
    """Open, hold visible, cancel acknowledged, CANCELLED on the stream, hold gone."""
    async with running(tmp_path) as client, client.stream(user=True) as stream:
        await subscribe_user(client, stream)
        config = {"base_size": "0.1", "limit_price": "1000", "post_only": True}
        order_id = (await client.order("BUY", limit_limit_gtc=config))["success_response"]["order_id"]
        usd = next(a for a in (await client.get("/accounts"))["accounts"] if a["currency"] == "USD")
        assert (Decimal(usd["hold"]["value"]), Decimal(usd["available_balance"]["value"])) == (
            Decimal("100.6"),
            Decimal("99899.4"),
        )
        await client.post("/orders/batch_cancel", {"order_ids": [order_id]})
        updates = await user_updates(stream, order_id, "CANCELLED")
        assert [u["status"] for u in updates] == ["PENDING", "OPEN", "CANCELLED"]
        assert updates[1]["post_only"] == "true"
        assert updates[-1]["leaves_quantity"] == updates[-1]["outstanding_hold_amount"] == "0"
        usd = next(a for a in (await client.get("/accounts"))["accounts"] if a["currency"] == "USD")
        assert (usd["hold"]["value"], usd["available_balance"]["value"]) == ("0", "100000")


async def test_market_orders_both_ways_leave_only_spread_and_fees(tmp_path: Path) -> None:
    """Sheet 7: buy by quote size, sell the base; the stream tells FILLED before REST is asked."""
    async with running(tmp_path) as client, client.stream(user=True) as stream:
        await subscribe_user(client, stream)
        bought = await client.order("BUY", market_market_ioc={"quote_size": "5000"})
        first = (await user_updates(stream, bought["success_response"]["order_id"], "FILLED"))[-1]
        assert Decimal("4999.9") < Decimal(first["filled_value"]) + Decimal(first["total_fees"]) <= 5_000
        sold = await client.order("SELL", market_market_ioc={"base_size": first["cumulative_quantity"]})
        second = (await user_updates(stream, sold["success_response"]["order_id"], "FILLED"))[-1]
        money = await client.balances()
        assert money["BTC"] == 0
        paid, got = (
            Decimal(first["filled_value"]) + Decimal(first["total_fees"]),
            Decimal(second["filled_value"]) - Decimal(second["total_fees"]),
        )
        assert money["USD"] == 100_000 - paid + got
        assert paid > got


async def test_immediate_stop_and_dated_orders_end_as_the_sheet_says(tmp_path: Path) -> None:
    """Sheet 8 to 10 on a still market: IOC remainder, FOK none, stop pending, good-till-date expired by the clock."""
    async with running(tmp_path) as client, client.stream(user=True) as stream:
        await subscribe_user(client, stream)
        bid, ask = await client.best()

        async def end(status: str, **configuration: Any) -> dict[str, Any]:
            reply = await client.order("BUY", **configuration)
            assert reply["success"], reply
            return (await user_updates(stream, reply["success_response"]["order_id"], status))[-1]

        low = {"base_size": "0.01", "limit_price": str(bid - 100)}
        ioc = await end("CANCELLED", sor_limit_ioc={"base_size": "1", "limit_price": str(ask)})
        assert 0 < Decimal(ioc["cumulative_quantity"]) < 1
        assert (await end("CANCELLED", limit_limit_fok=low))["cumulative_quantity"] == "0"
        up = str(ask + 5_000)
        stop = {"base_size": "0.01", "limit_price": up, "stop_price": up, "stop_direction": "STOP_DIRECTION_STOP_UP"}
        waiting = await end("OPEN", stop_limit_stop_limit_gtc=stop)
        assert (waiting["trigger_status"], waiting["order_type"]) == ("STOP_PENDING", "Stop Limit")
        soon = str(int((await client.get("/time"))["epochSeconds"]) + 2)
        expired = await end("EXPIRED", limit_limit_gtd=low | {"end_time": soon})
        assert expired["time_in_force"] == "GOOD_UNTIL_DATE_TIME"


def others_trade(client: Client, side: Side, px: Decimal) -> None:
    """Somebody else takes all there is up to ``px``."""
    exchange = client.sandbox.exchange
    market = exchange.markets["BTC-USD"]
    taker = BookOrder(
        f"other-{side.name}", "other", side, OrderType.LIMIT, Decimal(10_000), px, time_in_force=TimeInForce.IOC
    )
    now_ns = time.time_ns()
    exchange.absorb(market, market.engine.submit(taker, now_ns), now_ns)
    client.sandbox.hub.pump()


async def test_a_bracket_is_told_as_one_order_with_one_way_out(tmp_path: Path) -> None:
    """Sheet 11: of two brackets near the market one fires as others sell and sells below, one sells at its target as
    others buy; either is one order on the stream and in the listing, and holds its base once."""
    async with running(tmp_path) as client, client.stream(user=True) as stream:
        await subscribe_user(client, stream)
        await client.order("BUY", market_market_ioc={"base_size": "0.04"})
        ends = {}
        for way, up, down in (("fired", 5_000, -1), ("target", 1, -5_000)):
            bid, ask = await client.best()
            prices = {"limit_price": str(ask + up), "stop_trigger_price": str(bid + down)}
            reply = await client.order("SELL", trigger_bracket_gtc={"base_size": "0.02"} | prices)
            assert reply["success"], reply
            order_id = reply["success_response"]["order_id"]
            order = (await client.get(f"/orders/historical/{order_id}"))["order"]
            assert (order["order_type"], order["time_in_force"]) == ("BRACKET", "GOOD_UNTIL_CANCELLED")
            if way == "fired":
                others_trade(client, Side.SELL, bid - 40)
            else:
                others_trade(client, Side.BUY, ask + up)
            told = await user_updates(stream, order_id, "FILLED")
            assert {(one["order_type"], one["cumulative_quantity"]) for one in told[-1:]} == {("Bracket", "0.02")}
            assert (told[0]["trigger_status"], told[0]["outstanding_hold_amount"]) == ("STOP_PENDING", "0.02")
            ends[way] = (told[-1]["trigger_status"], Decimal(told[-1]["avg_price"]) - bid)
        assert ends["fired"][0] == "STOP_TRIGGERED"
        assert ends["fired"][1] < 0 < ends["target"][1]
        assert (await client.balances())["BTC"] == 0


async def test_a_repeated_client_order_id_makes_one_order(tmp_path: Path) -> None:
    """Sheet 17, sent at the same time on several connections."""
    async with running(tmp_path) as client:
        config = {"base_size": "0.01", "limit_price": "1000"}
        replies = await asyncio.gather(
            *(client.order("BUY", client_order_id="once", limit_limit_gtc=config) for _ in range(8))
        )
        assert len({reply["success_response"]["order_id"] for reply in replies}) == 1
        assert len((await client.get("/orders/historical/batch", {"order_status": "OPEN"}))["orders"]) == 1


async def test_the_same_seed_makes_the_same_market(tmp_path: Path) -> None:
    """Prices and sizes of the first trades of two sandboxes with one seed, and another with a different one."""
    tapes = []
    for seed in (3, 3, 4):
        async with running(tmp_path, seed=seed, warmup_s=20.0) as client:
            trades = list(client.sandbox.exchange.markets["BTC-USD"].tape.trades)
            tapes.append([(trade.px, trade.qty, trade.maker_side) for trade in trades[:50]])
    assert len(tapes[0]) > 20
    assert tapes[0][:20] == tapes[1][:20]
    assert tapes[0] != tapes[2]
