"""The contract's rigs of the ccxt connector: Coinbase's sandbox, and those of Kraken and Binance."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from config.venue_kind import Connector
from connectors.ccxt_venue.client_ids import ClientIds
from connectors.local.exchange import ACCOUNT
from connectors.local.records import OrderRecord, OrderSpec
from engine.carried import CarriedOrder
from engine.commands import NewOrder, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from tests.support.ccxt_venue import QUICK, STILL_MS
from tests.support.venues.coinbase import CoinbaseRig
from tests.support.venues.rig import STRATEGY, BookRig, Rig, Truth

D = Decimal


class _Impatient(Rig):
    grace_s = 0.3

    @property
    def overrides(self) -> Mapping[str, Any]:
        symbol, _, venue = self.instrument.partition("@")
        return {"venue.name": venue.replace("_", ":"), "venue.symbols": [symbol]}

    def has_line(self, connector: Any) -> bool:
        """The library opens what it needs."""
        return connector is not None

    def impatient(self, connector: Connector) -> None:
        quick = QUICK | {"unknown_grace_s": self.grace_s, "poll_s": 0.1}
        connector.settings = msgspec.structs.replace(connector.settings, **quick)  # type: ignore[attr-defined]


class CcxtCoinbaseRig(_Impatient, CoinbaseRig):
    venue = "ccxt_coinbase"
    instrument = "BTC/USD@ccxt_coinbase"


class _LocalRig(_Impatient, BookRig):
    """A venue of ``connectors.local``."""

    exchange: str
    symbol: str
    qty = D("0.01")
    running: Any

    async def serve(self, **given: Any) -> Any:
        raise NotImplementedError

    async def start(self) -> str:
        base, quote = self.symbol.split("/")
        self.running = await self.serve(
            key_file=self.folder / "key.json", warmup_s=2.0, step_ms=STILL_MS, history_minutes=5,
            balances=((quote, D(100_000)), (base, D(0))),
        )  # fmt: skip
        market = self._exchange.markets[self.symbol]
        for side, share in ((Side.BUY, D("0.99")), (Side.SELL, D("1.01"))):  # there is somebody whatever is taken
            px = (self.best()[0] * share).quantize(market.product.tick_px)
            self._exchange.trade(market, side, px, D(1000), time.time_ns(), rest=True)
        self._began = self._base()
        return str(self.running.url)

    @property
    def _exchange(self) -> Any:
        return self.running.venue.exchange

    async def stop(self) -> None:
        await self.running.stop()

    def best(self) -> tuple[Decimal, Decimal]:
        found = self._exchange.markets[self.symbol].engine.best()
        assert found is not None
        return found[0], found[2]

    def _records(self, client_order_id: str) -> list[OrderRecord]:
        told = ClientIds(self.exchange).form(client_order_id)
        return [order for order in self._exchange.orders.values() if order.spec.client_id == told]

    def found(self, client_order_id: str) -> list[Truth]:
        return [Truth(order.is_open, order.filled_qty) for order in self._records(client_order_id)]

    def _base(self) -> Decimal:
        return self._exchange.ledger.balances(ACCOUNT)[self.symbol.partition("/")[0]].total  # type: ignore[no-any-return]

    def position(self) -> Decimal:
        """Fees of what was bought may be paid in it: what was traded counts."""
        return sum((o.spec.side * o.filled_qty for o in self._exchange.orders.values()), D(0))

    async def fill(self, client_order_id: str, qty: Decimal) -> None:
        (order,) = [one for one in self._records(client_order_id) if one.is_open]
        px = order.spec.limit_px
        assert px is not None
        tick = self._exchange.markets[self.symbol].product.tick_px
        side, better = ("SELL", px + tick) if order.spec.side is Side.BUY else ("BUY", px - tick)
        for at, size in ((better, D(10_000)), (px, qty)):  # whoever asks or bids a better price comes first
            await self.trade(side, at, size)

    @property
    def tick_px(self) -> Decimal:
        return self._exchange.markets[self.symbol].product.tick_px  # type: ignore[no-any-return]

    async def trade(self, side: str, px: Decimal, qty: Decimal, *, rest: bool = False) -> None:
        await self.operate("trade", symbol=self.symbol, side=side, price=str(px), size=str(qty), rest=rest)

    async def lose_message(self) -> None:
        await self.operate("gap")

    async def halt(self, *, halted: bool) -> None:
        await self.operate("halt" if halted else "open", symbol=self.symbol)

    async def move(self, steps: int) -> tuple[Decimal, Decimal]:
        bid, ask = self.best()
        px = ask + steps * self._exchange.markets[self.symbol].product.tick_px
        await self.operate("trade", symbol=self.symbol, side="BUY", price=str(px), size="10000", rest=True)
        assert self.best() != (bid, ask)
        return self.best()

    async def trade_before(self, count: int) -> list[CarriedOrder]:
        carried = []
        tick = self._exchange.markets[self.symbol].product.tick_px
        px = (self.best()[0] * D("0.999")).quantize(tick)
        ids = ClientIds(self.exchange)
        for number in range(count):
            client = f"before-{number}"
            now_ns = time.time_ns()
            spec = OrderSpec(self.symbol, Side.BUY, OrderType.LIMIT, self.limit, self.qty, limit_px=px,
                             client_id=ids.form(client))  # fmt: skip
            self._exchange.place(spec, now_ns)
            intent = OrderIntent(
                now_ns, STRATEGY, self.instrument, Side.BUY, self.qty, OrderType.LIMIT, px, TimeInForce.GTC
            )
            carried.append(CarriedOrder(NewOrder(now_ns, client, self.venue, intent), "accepted", "", D(0), D(0), ()))
        size = str(self.qty * count + 1000)
        await self.operate("trade", symbol=self.symbol, side="SELL", price=str(px), size=size)
        assert self.position() == self.qty * count
        return carried

    limit = "limit"


class CcxtKrakenRig(_LocalRig):
    venue = "ccxt_kraken"
    exchange = "kraken"
    symbol = "BTC/USD"
    instrument = "BTC/USD@ccxt_kraken"
    order_request = b"POST /0/private/AddOrder "

    async def serve(self, **given: Any) -> Any:
        from connectors.kraken.sandbox.server import serve
        from connectors.kraken.sandbox.settings import KrakenSettings

        return await serve(KrakenSettings(**given))

    @property
    def said(self) -> Mapping[str, Any]:
        at = self.wire.address
        return {"rest": f"http://{at}", "ws": f"ws://{at}/v2", "ws_auth": f"ws://{at}/auth/v2",
                "key_file": str(self.running.key_file)}  # fmt: skip


class CcxtBinanceRig(_LocalRig):
    venue = "ccxt_binance"
    exchange = "binance"
    symbol = "BTC/USD"
    instrument = "BTC/USD@ccxt_binance"
    order_request = b"POST /api/v3/order "
    limit = "LIMIT"

    async def serve(self, **given: Any) -> Any:
        from connectors.binance.sandbox.server import serve
        from connectors.binance.sandbox.settings import BinanceSettings
        from connectors.local.settings import SpotProduct

        products = (SpotProduct(self.symbol, D("61234.55")),)
        # Fees in what was bought would make the position another one than what was traded.
        return await serve(BinanceSettings(products=products, fees_in="quote", **given))

    @property
    def said(self) -> Mapping[str, Any]:
        at = self.wire.address
        return {"rest": f"http://{at}", "ws": f"ws://{at}/ws", "ws_api": f"ws://{at}/ws-api/v3",
                "key_file": str(self.running.key_file)}  # fmt: skip
