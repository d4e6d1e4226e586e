"""The contract's rigs of Binance's native connector: its market, on the built-in servers, with orders matched here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

from config.venue_kind import Connector
from connectors.binance.sandbox.server import serve
from connectors.binance.sandbox.settings import DEFAULT_PRODUCTS, USDM_PRODUCTS, BinanceSettings
from connectors.binance.streams import SPOT, USDM
from connectors.local.serving import RunningVenue
from engine.carried import CarriedOrder
from engine.events import Side
from tests.support.ccxt_venue import STILL_MS
from tests.support.venues.rig import BookRig, Truth

D = Decimal
NEWS_S = 0.05


class _MarketRig(BookRig):
    """A venue without accounts.  Its touch stands still; far from it somebody else is busy, so that streams speak."""

    symbol = "BTC/USD"
    qty = D("0.01")
    order_request = b"nothing is ordered there "
    running_venue: RunningVenue

    @property
    def overrides(self) -> Mapping[str, Any]:
        channels = ["level2", "market_trades"]
        return {"venue.name": self.venue, "venue.symbols": [self.symbol], "venue.channels": channels,
                "venue.feed": "live", "paper.latency_ms": 0}  # fmt: skip

    @property
    def said(self) -> Mapping[str, Any]:
        return {"rest": f"http://{self.wire.address}", "ws": f"ws://{self.wire.address}/ws"}

    async def start(self) -> str:
        product = (DEFAULT_PRODUCTS if self.venue == SPOT else USDM_PRODUCTS)[0]
        made: dict[str, Any] = {
            "products": (msgspec.structs.replace(product, symbol=self.symbol),),
            "key_file": self.folder / "key.json",
        }
        self.running_venue = await serve(
            BinanceSettings(venue=self.venue, warmup_s=2.0, step_ms=STILL_MS, history_minutes=5, **made)
        )
        for side, share in ((Side.BUY, D("0.99")), (Side.SELL, D("1.01"))):
            self._rest(side, share, "1000")
        self._busy = asyncio.get_running_loop().create_task(self._be_busy(), name="somebody-else")
        return self.running_venue.url

    async def stop(self) -> None:
        self._busy.cancel()
        await asyncio.gather(self._busy, return_exceptions=True)
        await self.running_venue.stop()

    @property
    def _market(self) -> Any:
        return self.running_venue.venue.exchange.markets[self.symbol]  # type: ignore[attr-defined]

    def _rest(self, side: Side, share: Decimal, qty: str) -> None:
        px = (self.best()[0] * share).quantize(self._market.product.tick_px)
        venue: Any = self.running_venue.venue
        venue.exchange.trade(self._market, side, px, D(qty), time.time_ns(), rest=True)
        venue.pump()

    async def _be_busy(self) -> None:
        while True:
            await asyncio.sleep(NEWS_S)
            if not self._market.halted:
                self._rest(Side.BUY, D("0.98"), "0.01")

    def impatient(self, connector: Connector) -> None:
        """It waits for nothing."""

    def best(self) -> tuple[Decimal, Decimal]:
        found = self._market.engine.best()
        assert found is not None
        return found[0], found[2]

    @property
    def tick_px(self) -> Decimal:
        return self._market.product.tick_px  # type: ignore[no-any-return]

    async def trade(self, side: str, px: Decimal, qty: Decimal, *, rest: bool = False) -> None:
        await self.operate("trade", symbol=self.symbol, side=side, price=str(px), size=str(qty), rest=rest)

    async def lose_message(self) -> None:
        await self.operate("gap")

    async def halt(self, *, halted: bool) -> None:
        await self.operate("halt" if halted else "open", symbol=self.symbol)

    async def move(self, steps: int) -> tuple[Decimal, Decimal]:
        before = self.best()
        px = before[1] + steps * self._market.product.tick_px
        await self.operate("trade", symbol=self.symbol, side="BUY", price=str(px), size="900", rest=True)
        assert self.best() != before
        return self.best()

    # --- of accounts, which there are none of ------------------------------------------------------------------------

    def found(self, client_order_id: str) -> list[Truth]:
        """No order of ours is ever there."""
        assert client_order_id
        return []

    def position(self) -> Decimal:
        return D(0)

    async def fill(self, client_order_id: str, qty: Decimal) -> NoReturn:
        raise NotImplementedError

    async def trade_before(self, count: int) -> list[CarriedOrder]:
        raise NotImplementedError


class BinanceSpotRig(_MarketRig):
    venue = SPOT
    instrument = "BTC/USD@binance_spot"


class BinanceUsdmRig(_MarketRig):
    venue = USDM
    instrument = "BTC/USD@binance_usdm"
