"""The contract's rig of OANDA."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from config.venue_kind import Connector
from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.market import Level
from connectors.oanda.sandbox.server import RunningSandbox, serve
from connectors.oanda.sandbox.settings import ACCOUNT_ID, SandboxSettings
from engine.carried import VERSION, Carried, CarriedMoney, CarriedOrder
from engine.commands import NewOrder, OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import Side
from tests.support.oanda import STILL_MS
from tests.support.venues.rig import STRATEGY, Rig, Truth

D = Decimal
NAME = "EUR_USD"
TICK = D("0.00001")
DEEP = D(10_000_000)
"""Behind the touch: there is somebody whatever is taken."""


class OandaRig(Rig):
    venue = "oanda"
    instrument = "EUR/USD@oanda"
    qty = D(100)
    order_request = (b"POST /v3/accounts/", f"PUT /v3/accounts/{ACCOUNT_ID}/trades/".encode())
    sandbox: RunningSandbox
    _pins = 0
    changes: ClassVar[dict[str, Any]] = {}
    """Of the sandbox's settings."""

    async def start(self) -> str:
        self.sandbox = await serve(
            SandboxSettings(
                token_file=self.folder / "token.txt", warmup_s=1.0, step_ms=STILL_MS, history_days=0, heartbeat_s=0.1,
                price_window_s=0.02, **self.changes,
            )
        )  # fmt: skip
        self._touch = D("1.08400"), D("1.08410")
        self._pin()
        return self.sandbox.url

    async def stop(self) -> None:
        await self.sandbox.stop()

    @property
    def said(self) -> Mapping[str, Any]:
        at = f"http://{self.wire.address}"
        return {**self.sandbox.addresses(), "rest": at, "stream": at}

    @property
    def overrides(self) -> Mapping[str, Any]:
        return {"venue.name": "oanda", "venue.symbols": ["EUR/USD"]}

    def left(self, carried: Sequence[CarriedOrder]) -> dict[str, Any]:
        """Books that were flat when the oldest of the orders was sent."""
        money = CarriedMoney("USD", (), ((self.instrument, ""),), (), (), None, -1, None)
        state = Carried(VERSION, (), tuple(carried), (), money, RiskState.ACTIVE, "", ())
        return {"earlier": state, "earlier_ns": min(one.new.ts_ns for one in carried)}

    def impatient(self, connector: Connector) -> None:
        connector.settings = msgspec.structs.replace(  # type: ignore[attr-defined]
            connector.settings,  # type: ignore[attr-defined]
            unknown_grace_s=self.grace_s,
            backoff_base_s=0.02,
            backoff_cap_s=0.1,
        )

    # --- the market ---------------------------------------------------------------------------------------------------

    def _pin(self, ask: Level | None = None, bid: Level | None = None) -> None:
        """The touch and what is behind it; ``ask`` and ``bid`` stand before it."""
        bids, asks = [(self._touch[0], D(1_000_000))], [(self._touch[1], D(1_000_000))]
        self._pins += 1  # levels that differ are told again
        bids.append((self._touch[0] - 100 * TICK, DEEP + self._pins))
        asks.append((self._touch[1] + 100 * TICK, DEEP))
        if ask is not None:
            asks, bids = [ask, (ask[0] + 500 * TICK, DEEP)], [(ask[0] - 10 * TICK, DEEP)]
        if bid is not None:
            bids, asks = [bid, (bid[0] - 500 * TICK, DEEP)], [(bid[0] + 10 * TICK, DEEP)]
        now_ns = time.time_ns()
        self.sandbox.exchange.markets.by_name[NAME].pin(bids, asks, now_ns)
        self.sandbox.exchange.look(now_ns)

    def best(self) -> tuple[Decimal, Decimal]:
        return self._touch

    async def move(self, steps: int) -> tuple[Decimal, Decimal]:
        self._touch = self._touch[0] + steps * TICK, self._touch[1] + steps * TICK
        self._pin()
        return self._touch

    async def reach(self, px: Decimal) -> None:
        self._touch = px, px + 10 * TICK
        self._pin()

    def repeat(self) -> None:
        self._pin()

    def has_line(self, connector: Any) -> bool:
        return connector.trading.channel.free > 0  # type: ignore[no-any-return]

    async def halt(self, *, halted: bool) -> None:
        await self.operate("halt" if halted else "open", instrument=NAME)

    async def lose_message(self) -> None:
        """Two transactions of somebody else's are not told by the stream."""
        await self.operate("mute", kind="transactions")
        made = self.place("LIMIT", units="1", price="1.00000", clientExtensions={"id": f"hand-{time.time_ns()}"})
        self.sandbox.exchange.desk.cancel(self.account, made["orderCreateTransaction"]["id"], time.time_ns())
        await asyncio.sleep(0.05)
        await self.operate("unmute", kind="transactions")

    # --- the account --------------------------------------------------------------------------------------------------

    def resting(self) -> list[str]:
        """Kinds of the orders that are open, oldest first."""
        return [one.spec.kind for one in self.account.pending.values()]

    @property
    def account(self) -> Account:
        return next(iter(self.sandbox.exchange.accounts.values()))

    def place(self, kind: str, **fields: Any) -> dict[str, Any]:
        """By somebody else on the account."""
        self.account.log.begin("1")
        order = {"type": kind, **({} if "tradeID" in fields else {"instrument": NAME}), **fields}
        return self.sandbox.exchange.desk.place(self.account, {"order": order}, time.time_ns())

    def cancel(self, number: int) -> None:
        """By somebody else."""
        self.account.log.begin("1")
        self.sandbox.exchange.desk.cancel(self.account, str(number), time.time_ns())

    def found(self, client_order_id: str) -> list[Truth]:
        """An order that goes on under another number after a part is the same one."""
        mine = [one for one in self.account.orders.values() if one.spec.client_id == client_order_id]
        first = [one for one in mine if "replacesOrderID" not in one.outcome]
        filled = [
            abs(D(entry.body["units"]))
            for entry in self.account.log.since(0)
            if entry.body["type"] == "ORDER_FILL" and entry.body.get("clientOrderID") == client_order_id
        ]
        is_open = any(one.number in self.account.pending for one in mine)
        return [Truth(is_open, sum(filled, D(0)))] * len(first)

    def position(self) -> Decimal:
        longs, shorts = self.account.units_of(NAME)
        return longs - shorts

    async def fill(self, client_order_id: str, qty: Decimal) -> None:
        """Just as much comes to its price, and the touch is where it was before."""
        order = next(one for one in self.account.pending.values() if one.spec.client_id == client_order_id)
        assert order.spec.px is not None
        assert order.spec.units is not None
        level = (order.spec.px, qty)
        self._pin(ask=level) if order.spec.units > 0 else self._pin(bid=level)
        self._pin()

    async def trade_before(self, count: int) -> list[CarriedOrder]:
        carried = []
        px = self._touch[0] - 50 * TICK
        for number in range(count):
            client, now_ns = f"before-{number}", time.time_ns()
            intent = OrderIntent(
                now_ns, STRATEGY, self.instrument, Side.BUY, self.qty, OrderType.LIMIT, px, TimeInForce.GTC
            )
            self.place("LIMIT", units=str(self.qty), price=f"{px:.5f}", clientExtensions={"id": client})
            carried.append(CarriedOrder(NewOrder(now_ns, client, self.venue, intent), "accepted", "", D(0), D(0), ()))
        self._pin(ask=(px, DEEP))
        self._pin()
        assert self.position() == self.qty * count
        return carried
