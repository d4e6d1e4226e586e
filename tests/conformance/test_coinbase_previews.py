"""Previews of the Coinbase sandbox through the connector: what an order would cost, and why it would not be taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.venue import CoinbaseVenue
from engine.commands import OrderType, TimeInForce
from engine.errors import LocalProtocolError, VenueError
from engine.events import OrderFilled
from tests.support.coinbase import new_order
from tests.support.coinbase_account import Clock, D, session, still_exchange
from tests.support.waiting import until

MARKET: dict[str, Any] = {"order_type": OrderType.MARKET, "limit_px": None, "time_in_force": TimeInForce.IOC}


async def test_a_preview_is_what_then_happens_and_places_nothing(tmp_path: Path) -> None:
    """Cost and fee of a purchase are those of its execution; refusals have the names that refusals have."""
    async with still_exchange(tmp_path) as hand, session(hand) as one:
        ask = one.venue.preview
        told = await ask(new_order("x", qty=D("0.01"), **MARKET).intent)
        assert (told.reasons, told.warnings, hand.exchange.orders) == ((), (), {})
        before = hand.totals()["USD"]
        one.submit("bought", qty=D("0.01"), **MARKET)
        await until(lambda: sum(e.qty for e in one.of("bought") if type(e) is OrderFilled) == D("0.01"))
        assert told.total == before - hand.totals()["USD"]
        assert told.fee == sum(e.fee for e in one.of("bought") if type(e) is OrderFilled)
        limit: dict[str, Any] = {"qty": D("0.01"), "limit_px": D(1000), "time_in_force": TimeInForce.GTC}
        for changes, reason in (
            ({"qty": D(1000)}, "insufficient_funds"),
            ({"limit_px": D("1000.001")}, "invalid_px_precision"),
            ({"qty": D("0.0000001")}, "below_minimum"),
        ):
            assert (await ask(new_order("x", **{**limit, **changes}).intent)).reasons == (reason,)
        with pytest.raises(LocalProtocolError):
            await ask(new_order("x", **{**MARKET, "time_in_force": TimeInForce.FOK}).intent)


@pytest.mark.fault("C13")
async def test_a_preview_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    """Whatever is answered instead, in one line; the next one is answered."""
    wish = new_order("x", qty=D("0.01"), **MARKET).intent
    async with still_exchange(tmp_path) as hand, session(hand) as one, aiohttp.ClientSession() as http:
        for status, body in ((503, "<html>"), (200, "{"), (200, '{"errs":1}'), (0, "")):
            act = {"act": "answer", "path": "/orders/preview", "status": status, "body": body}
            async with http.post(f"{hand.sandbox.rest_url}/sandbox/operator", json=act) as answer:
                assert answer.status == 200
            with pytest.raises(VenueError):
                await one.venue.preview(wish)
        assert (await one.venue.preview(wish)).reasons == ()
    with pytest.raises(VenueError, match="key"):
        await CoinbaseVenue(CoinbaseSettings(), one.log, Clock()).preview(wish)
