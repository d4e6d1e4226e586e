"""Pairs in USDC, which share the book of the pair in USD: prices come under the other's name, money is their own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors.coinbase.sandbox.server import serve
from connectors.coinbase.sandbox.settings import SandboxProduct, SandboxSettings, products_named
from engine.errors import ConfigError
from engine.events import InstrumentDefined, OrderAccepted, OrderFilled, Quote, Side, Trade
from tests.support.coinbase_account import D, Hand, session
from tests.support.coinbase_sandbox import STILL_MS
from tests.support.waiting import until

USDC = "BTC/USDC@coinbase"
USD = "BTC/USD@coinbase"


async def test_one_book_two_purses(tmp_path: Path) -> None:
    """Quotes and trades reach both instruments; an order in USDC rests in the book that an order in USD meets, and each
    pays in its own currency."""
    sandbox = await serve(
        SandboxSettings(
            key_file=tmp_path / "key.json",
            warmup_s=2.0,
            step_ms=STILL_MS,
            products=products_named(["BTC-USDC"]),
            balances=(("USD", D(10_000)), ("USDC", D(5_000)), ("BTC", D(1))),
        )
    )
    try:
        await asyncio.sleep(0.1)  # its market takes a last step
        hand = Hand(sandbox)
        async with session(hand, symbols=("BTC/USDC", "BTC/USD")) as one:
            names = {event.definition.id: event.definition for event in one.log.of(InstrumentDefined)}
            assert (names[USDC].quote, names[USDC].venue_symbol) == ("USDC", "BTC-USDC")
            assert {quote.instrument for quote in one.log.of(Quote)} == {USD, USDC}
            px = hand.best()[0] + D("0.05")
            one.submit("rests", instrument=USDC, qty=D("0.01"), limit_px=px)
            await until(lambda: OrderAccepted in one.kinds("rests"))
            assert hand.best()[0] == px
            hand.fill("rests", "0.01")
            await until(lambda: OrderFilled in one.kinds("rests"))
            (bought,) = [event for event in one.of("rests") if type(event) is OrderFilled]
            assert (bought.instrument, bought.side, bought.fee_currency) == (USDC, Side.BUY, "USDC")
            assert hand.totals() == {
                "USD": D(10_000), "USDC": D(5_000) - bought.qty * px - bought.fee, "BTC": D("1.01"),
            }  # fmt: skip
            await until(lambda: {trade.instrument for trade in one.log.of(Trade)} == {USD, USDC})
            before = len(one.settled())
            one.venue.confirm()
            await until(lambda: len(one.settled()) > before)
            assert dict(one.settled()[-1].balances) == hand.totals()
    finally:
        await sandbox.stop()


def test_a_book_that_is_shared_is_listed_first() -> None:
    """By the command it always is; in settings made by hand it is asked for."""
    assert [one.product_id for one in products_named(["ETH-USDC", "BTC-USD"])] == ["ETH-USD", "ETH-USDC", "BTC-USD"]
    assert [one.alias for one in products_named(["XYZ-USDC"])] == ["", "XYZ-USD"]
    with pytest.raises(ConfigError, match="shares the book of BTC-USD"):
        SandboxSettings(products=(SandboxProduct("BTC-USDC", D(1), alias="BTC-USD"),)).check()
