"""The stream half of the Coinbase list, by the official library's two WebSocket clients, plain and over TLS."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import sdk
import websockets
from cases import List, eventually, operate
from coinbase.websocket import WebsocketResponse, WSClient, WSUserClient
from coinbase.websocket.websocket_base import WSBase
from cryptography.hazmat.primitives import serialization
from sdk import BTC

cases = List("coinbase", "coinbase-advanced-py")


class Ears:
    """Everything that one client heard, in order."""

    def __init__(self) -> None:
        self.raw: list[dict[str, Any]] = []
        self.opened = 0
        self.closed = 0
        self.client: WSBase | None = None

    def hear(self, text: str) -> None:
        self.raw.append(json.loads(text))

    def of(self, channel: str) -> list[dict[str, Any]]:
        return [message for message in list(self.raw) if message.get("channel") == channel]

    def events(self, channel: str) -> list[dict[str, Any]]:
        return [event for message in self.of(channel) for event in message["events"]]

    def errors(self) -> list[str]:
        return [message["message"] for message in list(self.raw) if message.get("type") == "error"]

    def orders(self, order_id: str) -> list[dict[str, Any]]:
        return [one for event in self.events("user") for one in event["orders"] if one["order_id"] == order_id]

    def on_open(self) -> None:
        self.opened += 1

    def on_close(self) -> None:
        self.closed += 1


@contextmanager
def listening(
    at: dict[str, Any], *, user: bool = False, keyed: bool = True, **options: Any
) -> Iterator[tuple[Any, Ears]]:
    ears = Ears()
    kind = WSUserClient if user else WSClient
    made = kind(
        key_file=at["key_file"] if keyed else None,
        base_url=at["ws_user" if user else "ws_market"],
        on_message=ears.hear,
        on_open=ears.on_open,
        on_close=ears.on_close,
        **options,
    )
    ears.client = made
    made.open()
    try:
        yield made, ears
    finally:
        if made.websocket is not None and made.websocket.open:
            made.close()


def in_sequence(ears: Ears) -> bool:
    numbers = [message["sequence_num"] for message in ears.raw if "sequence_num" in message]
    return numbers == list(range(len(numbers)))


@cases.case(22, "every channel, every message readable, numbers without a gap")
def channels(at: dict[str, Any]) -> None:
    names = ["heartbeats", "ticker", "ticker_batch", "level2", "market_trades", "candles", "status"]
    heard_as = {"level2": "l2_data"}
    for where in ("lively", "plain"):
        with listening(at[where]) as (client, ears):
            client.subscribe([BTC], names)
            wanted = [heard_as.get(name, name) for name in names]
            eventually(lambda ears=ears, wanted=wanted: all(ears.of(name) for name in wanted))
            if where == "lively":
                eventually(lambda ears=ears: len(ears.of("market_trades")) > 5 and len(ears.of("ticker")) > 5)
                eventually(lambda ears=ears: any(e["type"] == "update" for e in ears.events("ticker_batch")), 8)
        assert in_sequence(ears)
        assert ears.raw[0]["sequence_num"] == 0
        for message in ears.raw:
            read = WebsocketResponse(json.loads(json.dumps(message)))
            assert read.channel == message["channel"]
            assert read.events
        assert "best_bid" not in ears.events("ticker_batch")[0]["tickers"][0]
        assert Decimal(ears.events("ticker")[0]["tickers"][0]["best_bid"]) > 0


@cases.case(22, "the private channels")
def private_channels(at: dict[str, Any]) -> None:
    with listening(at["main"], user=True) as (client, ears):
        client.subscribe([BTC], ["user"])
        client.subscribe([], ["futures_balance_summary", "heartbeats"])
        eventually(lambda: ears.of("user") and ears.of("futures_balance_summary") and ears.of("heartbeats"))
        summary = ears.events("futures_balance_summary")[0]
        assert Decimal(summary["fcm_balance_summary"]["futures_buying_power"]) > 0
        rest = sdk.rest(at["main"])
        rest.market_order_buy(sdk.name(), sdk.PERPETUAL, base_size="1")
        bound = "initial_margin"
        eventually(lambda: Decimal(ears.events("futures_balance_summary")[-1]["fcm_balance_summary"][bound]) > 0)
        client.unsubscribe([BTC], ["user"])
        client.subscribe([sdk.PERPETUAL], ["user"])
        eventually(lambda: len(ears.events("user")) > 1)
        (position,) = ears.events("user")[-1]["positions"]["expiring_futures_positions"]
        assert (position["side"], position["number_of_contracts"]) == ("LONG", "1")
        rest.close_position(sdk.name(), sdk.PERPETUAL)
    assert in_sequence(ears)


@cases.case(23, "who says nothing is disconnected")
def silent(at: dict[str, Any]) -> None:
    with listening(at["strict"], retry=False) as (client, _):
        began_s = time.monotonic()
        eventually(lambda: client.websocket.closed)
        assert time.monotonic() - began_s > 0.5


@cases.case(24, "snapshot and updates are the book that REST shows")
def level2(at: dict[str, Any]) -> None:
    rest = sdk.rest(at["lively"])
    with listening(at["lively"]) as (client, ears):
        client.subscribe([BTC], ["level2"])
        eventually(lambda: len(ears.of("l2_data")) > 60, 30)

        def same() -> bool:
            book = rest.get_product_book(BTC, limit=5000).to_dict()["pricebook"]
            wanted = {
                side: {Decimal(level["price"]): Decimal(level["size"]) for level in book[name]}
                for side, name in (("bid", "bids"), ("offer", "asks"))
            }
            until_s = time.monotonic() + 0.2
            while time.monotonic() < until_s:
                if _book(ears.events("l2_data")) == wanted:
                    return True
                time.sleep(0.005)
            # The market may have moved between the two: what REST saw was the book at some message.
            return any(book == wanted for book in _books(ears.events("l2_data")))

        eventually(same, 20)
        deleted = [u for e in ears.events("l2_data")[1:] for u in e["updates"] if u["new_quantity"] == "0"]
        assert deleted


def _books(events: list[dict[str, Any]]) -> Iterator[dict[str, dict[Decimal, Decimal]]]:
    sides: dict[str, dict[Decimal, Decimal]] = {"bid": {}, "offer": {}}
    for event in events:
        if event["type"] == "snapshot":
            sides = {"bid": {}, "offer": {}}
        for update in event["updates"]:
            side, px, qty = sides[update["side"]], Decimal(update["price_level"]), Decimal(update["new_quantity"])
            if qty:
                side[px] = qty
            else:
                side.pop(px, None)
        yield sides


def _book(events: list[dict[str, Any]]) -> dict[str, dict[Decimal, Decimal]]:
    *_, last = _books(events)
    return last


@cases.case(25, "a user's snapshot in batches of 50, then every state of an order")
def user(at: dict[str, Any]) -> None:
    rest, door = sdk.rest(at["main"]), at["main"]["rest"]
    opened: list[str] = []
    for count in (0, 50, 51):
        while len(opened) < count:
            opened.append(sdk.order_id(rest.limit_order_gtc_buy(sdk.name(), BTC, "0.002", "1000")))
        with listening(at["main"], user=True) as (client, ears):
            client.subscribe([BTC], ["user"])
            batches = count // 50 + 1
            eventually(lambda ears=ears, batches=batches: len(ears.of("user")) >= batches)
            sizes = [len(event["orders"]) for event in ears.events("user")]
            assert sizes == [50] * (count // 50) + [count % 50]
            assert {event["type"] for event in ears.events("user")} == {"snapshot"}
    rest.cancel_orders(opened)
    with listening(at["main"], user=True) as (client, ears):
        client.subscribe([BTC], ["user"])
        eventually(lambda: ears.of("user"))
        _, ask = sdk.best(rest)
        inside = str(ask - Decimal("0.01"))
        one = sdk.order_id(rest.limit_order_gtc_sell(sdk.name(), BTC, "0.02", inside))
        operate(door, act="trade", product_id=BTC, side="BUY", price=inside, size="0.005")
        operate(door, act="trade", product_id=BTC, side="BUY", price=inside, size="0.015")
        gone = sdk.order_id(rest.limit_order_gtc_buy(sdk.name(), BTC, "0.002", "1000"))
        rest.cancel_orders([gone])
        eventually(lambda: ears.orders(one) and ears.orders(one)[-1]["status"] == "FILLED")
        eventually(lambda: ears.orders(gone) and ears.orders(gone)[-1]["status"] == "CANCELLED")
        told = [(o["status"], o["cumulative_quantity"], o["leaves_quantity"]) for o in ears.orders(one)]
        assert told == [
            ("PENDING", "0", "0.02"),
            ("OPEN", "0", "0.02"),
            ("OPEN", "0.005", "0.015"),
            ("FILLED", "0.02", "0"),
        ]
        assert [o["status"] for o in ears.orders(gone)] == ["PENDING", "OPEN", "CANCELLED"]
    assert in_sequence(ears)


@cases.case(26, "the user channel without a token, with an old one")
def unauthenticated(at: dict[str, Any]) -> None:
    key = json.loads(Path(at["main"]["key_file"]).read_text())
    private = serialization.load_pem_private_key(key["privateKey"].encode(), None)
    old_s = int(time.time()) - 300
    claims = {"sub": key["name"], "iss": "cdp", "nbf": old_s, "exp": old_s + 120}
    old = jwt.encode(claims, private, algorithm="ES256", headers={"kid": key["name"], "nonce": "1" * 64})

    async def told(message: dict[str, Any]) -> Any:
        async with websockets.connect(at["plain"]["ws_user"]) as ws:
            await ws.send(json.dumps({"type": "subscribe", "channel": "user"} | message))
            return json.loads(await ws.recv())

    # The library refuses to ask without a key, so its own socket library asks.
    for message in ({}, {"jwt": old}):
        assert asyncio.run(told(message)) == {"type": "error", "message": "authentication failure"}
    with listening(at["main"] | {"key_file": at["stranger"]}, user=True) as (client, ears):
        client.subscribe([BTC], ["user"])
        eventually(ears.errors)
        assert ears.errors() == ["authentication failure"]


@cases.case(27, "unsubscribe leaves the rest, the last one leaves nothing")
def unsubscribe(at: dict[str, Any]) -> None:
    with listening(at["main"]) as (client, ears):
        client.subscribe([BTC, "ETH-USD"], ["ticker"])
        client.subscribe([BTC], ["market_trades"])
        client.unsubscribe(["ETH-USD"], ["ticker"])
        eventually(lambda: len(ears.events("subscriptions")) == 3)
        assert ears.events("subscriptions")[-1]["subscriptions"] == {"ticker": [BTC], "market_trades": [BTC]}
        client.unsubscribe_all()
        eventually(lambda: len(ears.events("subscriptions")) == 5)
        assert ears.events("subscriptions")[-1]["subscriptions"] == {}


@cases.case(28, "a line that breaks is dialled again and subscribed again; a clean end is not")
def reconnects(at: dict[str, Any]) -> None:
    with listening(at["plain"]) as (client, ears):
        client.subscribe([BTC], ["ticker"])
        eventually(lambda: ears.of("ticker"))
        operate(at["plain"]["rest"], act="disconnect", code=1006)
        eventually(lambda: ears.opened == 2, 20)
        eventually(lambda: len([m for m in ears.of("ticker") if m["events"][0]["type"] == "snapshot"]) == 2)
        assert ears.raw[-1]["sequence_num"] < len(ears.raw) - 1, "numbers start over on a new line"
    with listening(at["plain"]) as (client, ears):
        client.subscribe([BTC], ["ticker"])
        eventually(lambda: ears.of("ticker"))
        operate(at["plain"]["rest"], act="disconnect", code=1001)
        eventually(lambda: client.websocket is None or client.websocket.closed)
        time.sleep(1.0)
        assert ears.opened == 1


@cases.case(30, "heartbeats each second keep a silent line; without them it ends")
def heartbeats(at: dict[str, Any]) -> None:
    with listening(at["strict"]) as (client, ears), listening(at["strict"]) as (without, silent_ears):
        client.subscribe([], ["heartbeats"])
        without.subscribe([BTC], ["status"])
        eventually(lambda: without.websocket is None or without.websocket.closed, 12)
        assert silent_ears.of("status")
        eventually(lambda: len(ears.of("heartbeats")) >= 4)
        assert client.websocket.open
    counters = [event["heartbeat_counter"] for event in ears.events("heartbeats")]
    assert counters == list(range(counters[0], counters[0] + len(counters)))


@cases.case(31, "messages stay below the client's limit, and are compressed")
def sizes(at: dict[str, Any]) -> None:
    with listening(at["main"]) as (client, ears):
        client.subscribe([BTC], ["level2"])
        eventually(lambda: ears.of("l2_data"))
        assert any(ext.name == "permessage-deflate" for ext in client.websocket.extensions)
        assert len(json.dumps(ears.of("l2_data")[0])) < client.max_size
    with listening(at["main"], max_size=1_000, retry=False) as (client, ears):
        client.subscribe([BTC], ["level2"])
        eventually(lambda: client.websocket.closed)
        assert not ears.of("l2_data")


@cases.case(29, "a lost number is seen by who counts")
def gap(at: dict[str, Any]) -> None:
    with listening(at["main"]) as (client, ears):
        client.subscribe([BTC], ["ticker"])
        eventually(lambda: ears.of("ticker"))
        operate(at["main"]["rest"], act="gap")
        client.subscribe(["ETH-USD"], ["ticker"])
        eventually(lambda: len(ears.of("ticker")) == 2)
        assert not in_sequence(ears)


if __name__ == "__main__":
    cases.main()
