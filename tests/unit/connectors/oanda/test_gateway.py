"""Orders and cancels over real connections to the sandbox, whose answers get lost, break and come late."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from connectors.http import OrderChannel
from connectors.oanda.gateway import CANCEL_TRIES, OandaGateway
from connectors.oanda.orders import define
from connectors.oanda.sandbox.settings import ACCOUNT_ID
from connectors.oanda.wire import decode_instruments
from connectors.ratelimit import TokenBucket
from connectors.reconnect import Backoff
from connectors.rest import RestClient
from engine.commands import CancelOrder, NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    Side,
)
from tests.support.oanda import TOKEN, running
from tests.unit.connectors.oanda.test_streams import HEADERS, QUICK, Account, until

EUR = "EUR/USD@oanda"


class Trader(Account):
    """The account's feed, and a gateway beside it on two connections."""

    gateway: OandaGateway
    channel: OrderChannel

    def order(self, client_id: str, **fields: Any) -> None:
        given = {"side": Side.BUY, "qty": Decimal(10), "order_type": OrderType.MARKET, **fields}
        intent = OrderIntent(
            0, "s", fields.pop("instrument", EUR), **{k: v for k, v in given.items() if k != "instrument"}
        )
        self.gateway.submit(NewOrder(0, client_id, "oanda", intent))

    def resting(self, client_id: str) -> None:
        kind, px = OrderType.LIMIT, Decimal("1.00000")
        self.order(client_id, order_type=kind, limit_px=px, time_in_force=TimeInForce.GTC)

    def cancel(self, client_id: str) -> None:
        self.gateway.cancel(CancelOrder(0, client_id, "oanda", "", EUR))


@asynccontextmanager
async def trader(*, grace_s: float = 0.2, bucket: TokenBucket | None = None, **settings: Any) -> AsyncIterator[Trader]:
    async with running(**{**QUICK, **settings}) as client:
        rest = RestClient(client.sandbox.url, authorize=lambda *_: HEADERS, timeout_s=2.0)
        await rest.start()
        made = Trader(client, rest, 5.0)
        rows = decode_instruments(await rest.get(f"/v3/accounts/{ACCOUNT_ID}/instruments")).instruments
        made.channel = OrderChannel(
            "127.0.0.1",
            client.sandbox.port,
            backoff=lambda: Backoff(random.Random(1), base_s=0.02, cap_s=0.05, budget_per_minute=10_000),
            connections=2,
            timeout_s=0.5,
        )
        made.gateway = OandaGateway(
            "oanda",
            host=f"127.0.0.1:{client.sandbox.port}",
            account=ACCOUNT_ID,
            token=TOKEN,
            instruments={made.id: made for made in (define(row, "oanda") for row in rows)},
            publish=made.events.append,
            now_ns=time.time_ns,
            writer=made.channel,
            protocol=made.protocol,
            look=made.feed.look,
            looks=lambda: made.feed.looks,
            bucket=bucket or TokenBucket(1e6, 100, reserve=10),
            grace_s=grace_s,
            look_every_s=0.05,
            retry_delay_s=0.05,
        )
        await made.channel.start()
        made.feed.start()
        try:
            await until(lambda: made.feed.up)
            yield made
        finally:
            made.gateway.stop()
            await made.channel.stop()
            await made.feed.stop()
            await rest.stop()


async def test_an_order_is_accepted_filled_and_told_once() -> None:
    """By the stream alone; the answer adds nothing."""
    async with trader() as made:
        made.order("a-1")
        await until(lambda: made.filled() == 10)
        assert [event.client_order_id for event in made.told(OrderAccepted)] == ["a-1"]
        assert made.told(OrderFilled)[0].fee_currency == "USD"


async def test_a_refusal_of_the_venue_is_told_once_with_its_word() -> None:
    """The answer and the reject transaction say the same: one order too many rests."""
    async with trader(max_pending=1) as made:
        made.resting("a-0")
        await until(lambda: made.told(OrderAccepted))
        made.resting("a-1")
        await until(lambda: made.told(OrderRejected))
        await made.client.order(units="1")
        await until(lambda: made.told(OrderFilled))
        assert [event.reason for event in made.told(OrderRejected)] == ["too_many_orders"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"qty": Decimal("0.5")}, "invalid_qty_precision"),
        ({"order_type": OrderType.STOP_LIMIT}, "unsupported"),
        ({"instrument": "XXX/USD@oanda"}, "unknown_instrument"),
        ({"qty": "ten"}, "unencodable"),
    ],
)
async def test_what_cannot_be_encoded_never_leaves(fields: dict[str, Any], reason: str) -> None:
    """One rejection, no request."""
    async with trader() as made:
        made.order("a-1", **fields)
        assert [event.reason for event in made.told(OrderRejected)] == [reason]
        assert made.client.sandbox.rest.orders_received == 0
        assert made.protocol.unresolved() == []


async def test_without_a_connection_an_order_is_refused_here() -> None:
    """Two connections, three orders at once."""
    async with trader() as made:
        for number in range(3):
            made.order(f"a-{number}")
        assert [(event.client_order_id, event.reason) for event in made.told(OrderRejected)] == [
            ("a-2", "no_connection")
        ]
        await until(lambda: made.filled() == 20)


async def test_orders_leave_the_cancels_their_budget() -> None:
    """One request and one in reserve: the second order is refused, the cancel goes."""
    async with trader(bucket=TokenBucket(1e-6, 2, reserve=1)) as made:
        made.resting("a-1")
        made.resting("a-2")
        assert [event.reason for event in made.told(OrderRejected)] == ["rate_limited"]
        await until(lambda: made.told(OrderAccepted))
        made.cancel("a-1")
        await until(lambda: made.told(OrderCancelled))


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 0, "apply": "before"},
        {"status": 504, "body": '{"errorMessage":"Timeout waiting for response."}', "apply": "before"},
        {"status": 201, "body": '{"orderCreateTransaction":{}}', "cut": 5, "apply": "before"},
        {"status": 503, "body": "<html>", "content_type": "text/html", "apply": "before"},
        {"status": 0, "apply": "after", "delay_s": 0.1},
        {"late": True, "delay_s": 0.7},
    ],
    ids=str,
)
async def test_an_order_whose_answer_is_lost_is_found_and_never_sent_again(fault: dict[str, Any]) -> None:
    """Carried out before, later, or answered too late: there is one order, told as ours."""
    async with trader(grace_s=2.0) as made:
        await made.client.operate("answer", path="/orders", method="POST", **fault)
        made.order("a-1")
        await until(lambda: made.filled() == 10)
        await until(lambda: not made.gateway.unresolved())
        assert made.client.sandbox.rest.orders_received == 1
        assert made.told(OrderFilled)[0].client_order_id == "a-1"
        assert made.told(OrderRejected) == []


async def test_an_order_that_never_arrived_is_given_up_after_evidence() -> None:
    """Unknown first; rejected when complete looks after the grace do not show it."""
    async with trader() as made:
        await made.client.operate("answer", path="/orders", method="POST", status=0)
        made.order("a-1")
        await until(lambda: made.told(OrderRejected))
        assert len(made.told(OrderOutcomeUnknown)) == 1
        assert [event.reason for event in made.told(OrderRejected)] == ["never_arrived"]
        assert made.protocol.unresolved() == []


async def test_without_evidence_an_unknown_order_stays_unknown() -> None:
    """REST answers 503 for as long as the fault lasts: nothing is assumed."""
    async with trader() as made:
        await made.client.operate("answer", path="/sinceid", status=503, times=100)
        await made.client.operate("answer", path="/orders", method="POST", status=0)
        made.order("a-1")
        looks = made.feed.looks
        await until(lambda: made.told(OrderOutcomeUnknown))
        await made.client.order(units="1")
        await until(lambda: made.told(OrderFilled))
        assert made.feed.looks == looks
        assert made.gateway.unresolved() == ["a-1"]
        await made.client.operate("answers")
        await until(lambda: made.told(OrderRejected))


async def test_a_cancel_names_the_newest_number() -> None:
    """Of an order that rests, and of one that filled in part and went on under another number."""
    async with trader() as made:
        pinned = {"instrument": "EUR_USD", "bids": [["1.08400", "5"]], "asks": [["1.08410", "5"]]}
        await made.client.operate("pin", **pinned)
        made.resting("a-1")
        await until(lambda: made.told(OrderAccepted))
        made.cancel("a-1")
        await until(lambda: made.told(OrderCancelled))
        limit = {"order_type": OrderType.LIMIT, "limit_px": Decimal("1.08410"), "time_in_force": TimeInForce.GTC}
        made.order("a-2", **limit)
        await until(lambda: made.filled() == 5)
        made.cancel("a-2")
        made.cancel("a-2")
        await until(lambda: len(made.told(OrderCancelled)) == 2)
        assert made.told(CancelRejected) == []
        made.cancel("a-2")
        await until(lambda: made.told(CancelRejected))
        assert made.told(CancelRejected)[0].reason == "ORDER_DOESNT_EXIST"


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"status": 429}, {"status": 0}, {"status": 0, "apply": "before"}], ids=str
)
async def test_a_cancel_that_fails_is_repeated(fault: dict[str, Any]) -> None:
    """It does no harm: the order ends once, whatever the second one finds."""
    async with trader() as made:
        made.resting("a-1")
        await until(lambda: made.told(OrderAccepted))
        await made.client.operate("answer", path="/cancel", **fault)
        made.cancel("a-1")
        await until(lambda: made.told(OrderCancelled) and not made.gateway._cancels)
        assert len(made.told(OrderCancelled)) == 1
        assert made.gateway.counters.cancel_retries == 1


async def test_a_cancel_that_fails_for_good_is_reported() -> None:
    """After the last try; the order still rests."""
    async with trader() as made:
        made.resting("a-1")
        await until(lambda: made.told(OrderAccepted))
        await made.client.operate("answer", path="/cancel", status=503, times=CANCEL_TRIES)
        made.cancel("a-1")
        await until(lambda: made.told(CancelRejected))
        assert made.told(CancelRejected)[0].reason == "HTTP 503"
        assert made.told(OrderCancelled) == []


async def test_the_token_is_in_no_event_and_no_repr() -> None:
    """Refusals quote requests; the token is in none of them."""
    async with trader() as made:
        await made.client.operate("expire_key")
        made.order("a-1")
        await until(lambda: made.told(OrderRejected))
        assert TOKEN not in repr(made.events)
        assert made.told(OrderRejected)[0].reason == "unauthorized"
