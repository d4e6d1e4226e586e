"""The streams' shells against the running sandbox: they come back from whatever happens, and nothing is lost."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from connectors.oanda.account_protocol import AccountProtocol
from connectors.oanda.protocol import PriceProtocol
from connectors.oanda.sandbox.settings import ACCOUNT_ID, RateLimits, Switches
from connectors.oanda.streams import AccountFeed, PriceFeed
from connectors.reconnect import Backoff
from connectors.rest import RestClient
from engine.events import FeedDown, FeedUp, Gap, InputEvent, OrderFilled, Quote
from tests.support.oanda import TOKEN, Client, running
from tests.support.oanda_session import until

NAMES = {"EUR_USD": "EUR/USD@oanda", "USD_JPY": "USD/JPY@oanda"}
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
QUICK: dict[str, Any] = {"heartbeat_s": 0.1, "price_window_s": 0.02}


def backoff() -> Backoff:
    return Backoff(random.Random(1), base_s=0.02, cap_s=0.05, budget_per_minute=10_000)


class Account:
    """An account's feed beside the client that trades on it."""

    def __init__(self, client: Client, rest: RestClient, silence_s: float) -> None:
        self.client = client
        self.events: list[InputEvent] = []
        self.protocol = AccountProtocol("oanda", NAMES, "USD")
        self.protocol.start(next(iter(client.sandbox.exchange.accounts.values())).log.last)
        self.feed = AccountFeed(
            client.sandbox.url,
            ACCOUNT_ID,
            self.protocol,
            rest=rest,
            authorize=lambda: HEADERS,
            publish=self.events.append,
            now_ns=time.time_ns,
            backoff=backoff(),
            rest_backoff=backoff,
            silence_s=silence_s,
        )

    def told(self, kind: type[InputEvent]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    def filled(self) -> Decimal:
        return sum((fill.qty * fill.side for fill in self.told(OrderFilled)), Decimal(0))


@asynccontextmanager
async def account(*, silence_s: float = 5.0, **settings: Any) -> AsyncIterator[Account]:
    async with running(**{**QUICK, **settings}) as client:
        rest = RestClient(client.sandbox.url, authorize=lambda *_: HEADERS, timeout_s=2.0)
        await rest.start()
        made = Account(client, rest, silence_s)
        made.feed.start()
        try:
            await until(lambda: made.feed.up)
            yield made
        finally:
            await made.feed.stop()
            await rest.stop()


async def test_what_happens_is_told_and_the_stream_is_up_once() -> None:
    """FeedUp after the first reading, executions as they come."""
    async with account() as made:
        await made.client.order(units="10")
        await until(lambda: made.filled() == 10)
        assert len(made.told(FeedUp)) == 1
        assert made.told(FeedDown) == made.told(Gap) == []


@pytest.mark.parametrize("act", ["disconnect", "end"])
async def test_what_happened_while_it_was_away_is_told_before_it_is_up_again(act: str) -> None:
    """The stream breaks, somebody trades, the next connection begins with what was missed."""
    async with account() as made:
        await made.client.operate("expire_key")
        await made.client.operate(act, kind="transactions")
        await until(lambda: made.told(FeedDown))
        await made.client.operate("restore_key")
        await made.client.order(units="10")
        await until(lambda: len(made.told(FeedUp)) == 2)
        assert made.filled() == 10
        kinds = [type(event) for event in made.events]
        assert kinds.index(OrderFilled) > kinds.index(FeedDown)
        assert made.feed.stream.connections == 2


async def test_a_silent_stream_is_given_up() -> None:
    """No byte for the time of silence: another connection, and nothing is lost."""
    async with account(silence_s=0.5) as made:
        await made.client.operate("mute")
        await made.client.order(units="10")
        await until(lambda: made.filled() == 10)
        assert "silent" in made.told(FeedDown)[0].reason


async def test_a_stammering_stream_tells_everything_once() -> None:
    """Each line twice, and lines that are none."""
    async with account() as made:
        await made.client.operate("double")
        await made.client.operate("say", text="{broken")
        for _ in range(3):
            await made.client.order(units="10")
        await until(lambda: made.filled() == 30)
        assert len(made.told(OrderFilled)) == 3
        assert made.protocol.counters.repeated


async def test_answers_that_are_none_are_asked_for_again() -> None:
    """503, a cut answer, broken JSON, and a venue whose REST lags behind its stream."""
    async with account(silence_s=0.5, switches=Switches(read_lag_s=0.2)) as made:
        for fault in (
            {"status": 503, "body": "<html>", "content_type": "text/html"},
            {"status": 200, "body": '{"transactions":[]}', "cut": 5},
            {"status": 200, "body": '{"transactions":'},
        ):
            await made.client.operate("answer", path="/sinceid", **fault)
        await made.client.operate("mute")
        await made.client.order(units="10")
        await until(lambda: made.filled() == 10)
        assert made.protocol.missing_since is None


async def test_an_hour_of_transactions_is_read_page_by_page_without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five an answer: as long as each brings something, the next is asked at once."""
    async with account(silence_s=30.0, switches=Switches(since_max=5)) as made:
        monkeypatch.setattr(made.feed, "_rest_backoff", lambda: Backoff(random.Random(1), base_s=900.0, cap_s=900.0))
        await made.client.operate("mute")
        for _ in range(12):
            await made.client.order(units="1")
        made.feed.look()
        await until(lambda: made.filled() == 12)
        assert made.protocol.missing_since is None


@pytest.mark.parametrize("where", ["a line", "an answer"])
async def test_a_defect_in_what_reads_ends_neither_stream_nor_questions(
    where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Something raises that should not: it is said, and the account is read on."""
    async with account() as made:
        name = "receive_frame" if where == "a line" else "receive_since"
        whole, failures = getattr(made.protocol, name), [KeyError("a defect")]

        def fail(*args: Any, **given: Any) -> Any:
            if failures:
                raise failures.pop()
            return whole(*args, **given)

        monkeypatch.setattr(made.protocol, name, fail)
        if where == "an answer":
            await made.client.operate("mute")
        await made.client.order(units="10")
        made.feed.look()
        await until(lambda: made.filled() == 10 and not failures)
        assert "a defect" in caplog.text


async def test_a_lost_answers_order_is_found_by_looking() -> None:
    """The request was carried out, its answer and the stream are lost: a look tells."""
    async with account(silence_s=30.0) as made:
        made.protocol.sent("eng-1")
        await made.client.operate("mute")
        await made.client.operate("answer", path="/orders", status=504, apply="before")
        status, _ = await made.client.order(units="10", clientExtensions={"id": "eng-1"})
        assert status == 504
        assert made.protocol.unresolved() == ["eng-1"]
        looks = made.feed.looks
        made.feed.look()
        await until(lambda: made.feed.looks > looks)
        assert made.protocol.unresolved() == []
        assert made.told(OrderFilled)[0].client_order_id == "eng-1"


async def test_a_refused_stream_is_dialled_again() -> None:
    """One stream is allowed and somebody has it: 429, until it is free."""
    limits = RateLimits(streams=1, connections_per_s=1_000, rest_per_s=1_000)
    async with account(rate_limits=limits) as made:
        other = PriceFeed(
            made.client.sandbox.url,
            ACCOUNT_ID,
            PriceProtocol("oanda", NAMES),
            instruments=list(NAMES),
            authorize=lambda: HEADERS,
            publish=made.events.append,
            now_ns=time.time_ns,
            backoff=backoff(),
        )
        other.stream.start()
        try:
            await until(lambda: "429" in other.stream.last_error)
            await made.feed.stop()
            await until(lambda: made.told(Quote))
        finally:
            await other.stream.stop()


async def test_prices_come_back_after_a_break() -> None:
    """Up, down with a reason, up again with a snapshot."""
    async with running(**QUICK) as client:
        events: list[InputEvent] = []
        feed = PriceFeed(
            client.sandbox.url,
            ACCOUNT_ID,
            PriceProtocol("oanda", NAMES),
            instruments=list(NAMES),
            authorize=lambda: HEADERS,
            publish=events.append,
            now_ns=time.time_ns,
            backoff=backoff(),
        )
        feed.stream.start()
        try:
            for count in (1, 2):
                await until(lambda count=count: sum(type(event) is FeedUp for event in events) == count)
                if count == 1:
                    await client.operate("disconnect", kind="prices")
            kinds = [type(event) for event in events if type(event) in (FeedUp, FeedDown)]
            assert kinds == [FeedUp, FeedDown, FeedUp]
            assert {event.instrument for event in events if type(event) is Quote} == set(NAMES.values())
        finally:
            await feed.stream.stop()
