"""Somebody at a daemon of a chain and at its exchange: orders by hand, what the daemon says of itself, faults."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp

from connectors.coinbase.sandbox.records import OrderRecord
from engine.carried import Carried, CarriedOrder
from engine.events import OrderFilled, Side
from engine.runtime.control import ask, running_sessions
from tests.support.kills.books import Told, left_by
from tests.support.kills.matrix import KILLS, Chain, Daemon
from tests.support.kills.spots import Spot

PRODUCT = "BTC-USD"
INSTRUMENT = "BTC/USD@coinbase"
WAIT_S = 30.0


def quiet(*, wants: bool = False) -> dict[str, object]:
    """Settings of a chain in a market that may stand still, on which nothing trades but what is sent by hand, and the
    group that ``patient`` ``wants``."""
    patient = {
        "name": "patient",
        "path": f"{KILLS / 'patient.py'}:Patient",
        "model": "none",
        "params": {"wants": wants},
    }
    return {"strategies": json.dumps([patient]), "risk.stale_quote_ns": 60_000_000_000}


class Hand:
    """``async with by_hand(chain) as hand``: on a daemon that may trade, while the market stands still."""

    def __init__(self, chain: Chain, daemon: Daemon, http: aiohttp.ClientSession) -> None:
        self.chain = chain
        self.daemon = daemon
        self._http = http

    # --- the exchange -------------------------------------------------------------------------------------------

    async def act(self, **fields: Any) -> None:
        """Something that the exchange's own people can do, or a fault."""
        async with self._http.post(f"{self.chain.sandbox.rest_url}/sandbox/operator", json=fields) as answer:
            assert answer.status == 200, await answer.text()

    async def others(self, side: str, px: Decimal, qty: str, *, rest: bool = False) -> None:
        """Somebody else trades up to a price."""
        await self.act(act="trade", product_id=PRODUCT, side=side, price=str(px), size=qty, rest=rest)

    async def sell_down_to(self, px: Decimal, qty: str) -> None:
        """Somebody else takes every bid above a price, and so much of what is bid there."""
        bids = self.chain.sandbox.exchange.markets[PRODUCT].engine.levels(Side.BUY, 20_000)
        above_qty = sum((level_qty for level_px, level_qty in bids if level_px > px), Decimal(0))
        await self.others("SELL", px, str(above_qty + Decimal(qty)))

    async def offers_gone(self) -> Decimal:
        """Nobody offers within 10 of the best offer that there was any more; its price."""
        ask_px = self.best_px(Side.SELL)
        await self.others("BUY", ask_px + 10, "10000")
        return ask_px

    def best_px(self, side: Side) -> Decimal:
        return self.chain.sandbox.exchange.markets[PRODUCT].engine.levels(side, 1)[0][0]

    def there(self, name: str) -> OrderRecord:
        """An order as the exchange has it."""
        (found,) = [o for o in self.chain.sandbox.exchange.orders.values() if o.spec.client_order_id == name]
        return found

    # --- the daemon ---------------------------------------------------------------------------------------------

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        (socket,) = running_sessions(self.chain.folder / "run")
        return await asyncio.to_thread(ask, socket, command, arguments, WAIT_S)

    async def order(self, side: str, qty: str, **more: Any) -> dict[str, Any]:
        """``orders`` and ``refused`` of ``order``."""
        return await self.ask("order", side=side, instrument=INSTRUMENT, qty=qty, **more)

    async def sent(self, side: str, qty: str, **more: Any) -> str:
        """Our id of an order that nothing refuses."""
        said = await self.order(side, qty, **more)
        assert said["refused"] == [], said
        (name,) = said["orders"]
        return str(name)

    async def metrics(self) -> dict[str, float]:
        """``name{labels}`` -> value."""
        url = re.findall(r"metrics +(http\S+)", self.said())[0]
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=WAIT_S).read().decode())
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def said(self) -> str:
        """On its terminal."""
        return (self.chain.folder / f"{self.daemon.session.name}.log").read_text()

    # --- the journal --------------------------------------------------------------------------------------------

    @property
    def told(self) -> Told:
        return Told(self.daemon.session)

    def fills(self, name: str) -> list[OrderFilled]:
        return [fill for fill in self.told.of(OrderFilled) if fill.client_order_id == name]

    def left(self) -> Carried:
        """What the daemon would leave if it were killed now."""
        left = left_by(self.daemon.session, self.chain.folder / "scratch")
        assert left is not None
        return left.state

    def booked(self, name: str) -> CarriedOrder:
        (found,) = [order for order in self.left().orders if order.new.client_order_id == name]
        return found

    async def until(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not what():
                await asyncio.sleep(0.05)


@asynccontextmanager
async def by_hand(chain: Chain) -> AsyncIterator[Hand]:
    """At its end nothing may have been wrong with the daemon, and it is killed.  One with a planted defect need not
    replay: what replays it has none."""
    async with aiohttp.ClientSession() as http:
        async with chain.running(Spot("", 1, ()), still=True) as daemon:
            chain.market.still = True
            assert daemon.confirmed_s, (chain.folder / f"{daemon.session.name}.log").read_text()[-600:]
            hand = Hand(chain, daemon, http)
            async with asyncio.timeout(WAIT_S):
                while (status := await hand.ask("status"))["not_trading"] or not status["ticks"]:
                    await asyncio.sleep(0.05)
            yield hand
        found = [text for text in daemon.violations if not (chain.plant and text.startswith("replay: "))]
        assert found == [], found
