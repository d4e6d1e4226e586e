"""The contract's rig of Coinbase."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from config.venue_kind import Connector
from connectors.coinbase.sandbox.server import RunningSandbox, serve
from connectors.coinbase.sandbox.settings import SandboxSettings
from connectors.coinbase.sandbox.translate import ACCOUNT
from connectors.coinbase.sandbox.wire import is_open
from connectors.matching.orders import BookOrder
from engine.carried import CarriedOrder
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from tests.support.coinbase_sandbox import STILL_MS
from tests.support.venues.rig import STRATEGY, BookRig, Truth

D = Decimal
PRODUCT = "BTC-USD"


class CoinbaseRig(BookRig):
    venue = "coinbase"
    instrument = "BTC/USD@coinbase"
    qty = D("0.01")
    order_request = b"POST /api/v3/brokerage/orders "
    sandbox: RunningSandbox

    async def start(self) -> str:
        settings = SandboxSettings(key_file=self.folder / "key.json", warmup_s=2.0, step_ms=STILL_MS)
        self.sandbox = await serve(settings)
        await asyncio.sleep(0.1)  # its market takes a last step
        market = self.sandbox.exchange.markets[PRODUCT]
        for side, share in ((Side.BUY, D("0.99")), (Side.SELL, D("1.01"))):  # there is somebody whatever is taken
            px = (self.best()[0] * share).quantize(D("0.01"))
            order = BookOrder(f"~deep-{side}", "others", side, OrderType.LIMIT, D(1000), px, TimeInForce.GTC)
            self.sandbox.exchange.absorb(market, market.engine.submit(order, time.time_ns()), time.time_ns())
        self._began = self._base()
        return self.sandbox.rest_url

    async def stop(self) -> None:
        await self.sandbox.stop()

    @property
    def said(self) -> Mapping[str, Any]:
        at = self.wire.address
        return {
            "rest": f"http://{at}",
            "ws_market": f"ws://{at}/ws",
            "ws_user": f"ws://{at}/ws-user",
            "key_file": str(self.sandbox.key_file),
        }

    @property
    def overrides(self) -> Mapping[str, Any]:
        return {"venue.name": "coinbase", "venue.symbols": ["BTC/USD"]}

    def impatient(self, connector: Connector) -> None:
        import msgspec

        connector.settings = msgspec.structs.replace(  # type: ignore[attr-defined]
            connector.settings,  # type: ignore[attr-defined]
            unknown_grace_s=self.grace_s,
            backoff_base_s=0.05,
            backoff_cap_s=0.2,
        )

    def best(self) -> tuple[Decimal, Decimal]:
        found = self.sandbox.exchange.markets[PRODUCT].engine.best()
        assert found is not None
        return found[0], found[2]

    def found(self, client_order_id: str) -> list[Truth]:
        return [
            Truth(is_open(order), order.filled_qty)
            for order in self.sandbox.exchange.orders.values()
            if order.spec.client_order_id == client_order_id
        ]

    def _base(self) -> Decimal:
        return self.sandbox.exchange.wallets.ledger.balances(ACCOUNT)["BTC"].total

    def position(self) -> Decimal:
        return self._base() - self._began

    async def fill(self, client_order_id: str, qty: Decimal) -> None:
        order = next(o for o in self.sandbox.exchange.orders.values() if o.spec.client_order_id == client_order_id)
        assert order.spec.limit_px is not None
        px = order.spec.limit_px
        tick = self.sandbox.exchange.markets[PRODUCT].product.price_increment
        side, better = ("SELL", px + tick) if order.spec.side is Side.BUY else ("BUY", px - tick)
        for at, size in ((better, D(10_000)), (px, qty)):  # whoever asks or bids a better price comes first
            await self.trade(side, at, size)

    @property
    def tick_px(self) -> Decimal:
        return self.sandbox.exchange.markets[PRODUCT].product.price_increment

    async def trade(self, side: str, px: Decimal, qty: Decimal, *, rest: bool = False) -> None:
        await self.operate("trade", product_id=PRODUCT, side=side, price=str(px), size=str(qty), rest=rest)

    def has_line(self, connector: Any) -> bool:
        return connector.trading.channel.free > 0  # type: ignore[no-any-return]

    async def lose_message(self) -> None:
        await self.operate("gap")

    async def halt(self, *, halted: bool) -> None:
        await self.operate("product", product_id=PRODUCT, trading_disabled=halted)

    async def move(self, steps: int) -> tuple[Decimal, Decimal]:
        """Somebody takes what there is up to the new price, and bids there."""
        market = self.sandbox.exchange.markets[PRODUCT]
        bid, ask = self.best()
        px = ask + steps * market.product.price_increment
        await self.operate("trade", product_id=PRODUCT, side="BUY", price=str(px), rest=True)
        assert self.best() != (bid, ask)
        return self.best()

    async def trade_before(self, count: int) -> list[CarriedOrder]:
        carried = []
        bid, _ = self.best()
        px = (bid * D("0.999")).quantize(D("0.01"))
        for number in range(count):
            client = f"before-{number}"
            intent = OrderIntent(
                time.time_ns(), STRATEGY, self.instrument, Side.BUY, self.qty, OrderType.LIMIT, px, TimeInForce.GTC
            )
            body = {
                "client_order_id": client,
                "product_id": PRODUCT,
                "side": "BUY",
                "order_configuration": {
                    "limit_limit_gtc": {"base_size": str(self.qty), "limit_price": str(px), "post_only": False}
                },
            }
            assert self.sandbox.exchange.place(body, time.time_ns())["success"]
            order = NewOrder(time.time_ns(), client, self.venue, intent)
            carried.append(CarriedOrder(order, "accepted", "", D(0), D(0), ()))
        await self.operate("trade", product_id=PRODUCT, side="SELL", price=str(px), size=str(self.qty * count + 1000))
        assert self.position() == self.qty * count
        return carried
