"""The exchange's own dead man's switch: when it is asked, and that Kraken's protocol is spoken."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from connectors.ccxt_venue.dead_man import DeadMansSwitch
from engine.errors import VenueError
from engine.events import OrderAccepted, OrderCancelled
from tests.support.ccxt_venue import Session, local_exchange
from tests.support.waiting import until


class Exchange:
    """Answers, or does not."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.answers = True

    async def __call__(self, timeout_ms: int) -> None:
        self.asked.append(timeout_ms)
        if not self.answers:
            raise VenueError("no answer")


async def test_nothing_is_asked_before_an_order_has_left_and_it_is_taken_back_at_the_end() -> None:
    exchange, sent = Exchange(), []
    switch = DeadMansSwitch("venue", exchange, timeout_s=0.03, is_needed=lambda: bool(sent))
    switch.start()
    await asyncio.sleep(0.05)
    assert exchange.asked == []
    sent.append("an order")
    await until(lambda: len(exchange.asked) >= 3)
    await switch.stop()
    assert set(exchange.asked[:-1]) == {30}
    assert exchange.asked[-1] == 0
    count = len(exchange.asked)
    await switch.stop()
    assert len(exchange.asked) == count


async def test_a_session_without_orders_asks_nothing_at_its_end_either() -> None:
    exchange = Exchange()
    switch = DeadMansSwitch("venue", exchange, timeout_s=0.03, is_needed=lambda: False)
    switch.start()
    await switch.stop()
    assert exchange.asked == []


async def test_an_exchange_that_does_not_answer_is_asked_on_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Also at the end: what then happens there is said."""
    exchange = Exchange()
    exchange.answers = False
    switch = DeadMansSwitch("venue", exchange, timeout_s=0.03, is_needed=lambda: True)
    with caplog.at_level(logging.INFO):
        switch.start()
        await until(lambda: len(exchange.asked) >= 3)
        exchange.answers = True
        await until(lambda: switch.asked)
        exchange.answers = False
        await switch.stop()
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "not set" in line] == [
        "venue: its dead man's switch is not set: no answer; asked again"
    ]
    assert any("set again" in line for line in said)
    assert "it cancels what is open there" in said[-1]


@pytest.mark.fault("F7")
async def test_kraken_cancels_by_itself_what_nobody_looks_after_any_more(tmp_path: Path) -> None:
    """Asked while the session lives; when it asks no more, the order goes."""
    async with local_exchange("kraken", tmp_path) as exchange:
        session = Session(exchange.settings(dead_man_s=1.0))
        await session.venue.start()
        try:
            order = session.order()
            await until(lambda: OrderAccepted in session.kinds(order))
            trading = session.venue.trading
            assert trading is not None
            asked = trading.dead_man.asked
            await until(lambda: trading.dead_man.asked >= asked + 3)  # its time was over, had it been asked only once
            assert OrderCancelled not in session.kinds(order)
            assert trading.dead_man._task is not None
            trading.dead_man._task.cancel()
            await until(lambda: OrderCancelled in session.kinds(order))
        finally:
            await session.venue.stop()
