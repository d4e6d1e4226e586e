"""The Coinbase sandbox on a simulated network, with its faults.

Owns the venue's process: its exchange, its HTTP application behind a layer that meddles with requests, its streams
behind one that meddles with messages, and what happens at the venue by itself.  The exchange, the handlers and the hub
are the sandbox's own.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiohttp import web

from connectors.coinbase.sandbox.auth import Verifier
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.keys import load_key_file
from connectors.coinbase.sandbox.market import SyntheticMarket
from connectors.coinbase.sandbox.records import OPEN_STATES
from connectors.coinbase.sandbox.rest import PREFIX, Rest
from connectors.coinbase.sandbox.settings import SandboxSettings, products_named
from connectors.coinbase.sandbox.stream import Connection, Hub
from connectors.coinbase.sandbox.translate import ACCOUNT
from connectors.simulation.faults import REQUEST, STREAM, Faults
from connectors.simulation.network import MemoryNetwork
from engine.events import Side

REST_PORT, MARKET_PORT, USER_PORT = 8001, 8002, 8003
PORTS = (REST_PORT, MARKET_PORT, USER_PORT)
STEP_S = 1.0
HEARTBEAT_STEPS = 2
LAG_S = 3.0
"""How long a listing may not show what just happened, at most."""
ORDER_TIMEOUT_S = 5.0
"""Of the connector: an answer that comes later finds nobody."""
NS = 1_000_000_000


class VenueFill(NamedTuple):
    """A fill as the venue has it; ``ours`` is False for what was traded by hand."""

    entry_id: str
    client_order_id: str
    ours: bool
    side: int
    qty: Decimal
    px: Decimal
    fee: Decimal


class SimulatedVenue:
    """``now_ns`` is the true time; the venue's clock may be off by ``skew_ns``.  ``run`` is its process."""

    def __init__(
        self,
        network: MemoryNetwork,
        faults: Faults,
        now_ns: Callable[[], int],
        key_file: Path,
        seed: int,
        *,
        product: str = "BTC-USD",
        rate_per_s: float = 0.6,
        balances: tuple[tuple[str, Decimal], ...] = (("USD", Decimal(100_000)), ("BTC", Decimal(1))),
    ) -> None:
        self._network = network
        self._faults = faults
        self._true_ns = now_ns
        self._random = random.Random(f"venue/{seed}")
        self.product = product
        self.skew_ns = 0
        self.settings = SandboxSettings(
            products=products_named([product]),
            rate_per_s=rate_per_s,
            seed=seed,
            key_file=key_file,
            balances=balances,
            duplicate_mode=self._random.choice(("original", "reject")),
        )
        self.exchange = Exchange(
            self.settings, now_ns=self.now_ns(), new_id=self._ids("v"), first_trade_id=1 + seed * 1_000_000
        )
        self._by_hand = self._ids("by-hand")
        self._verifier = Verifier([load_key_file(key_file)])
        self._market = SyntheticMarket(self.exchange, self.settings)
        self._market.step(self.now_ns())
        self.hub = _MeddlingHub(self.settings, self.exchange, self._verifier, self.now_ns, faults)
        self._rest = Rest(self.settings, self.exchange, self.hub, self._verifier, self.now_ns)
        self.disturbed_ns = 0
        """When the account was last changed by something else than the daemon's orders, true time."""

    def _ids(self, prefix: str) -> Callable[[], str]:
        count = 0

        def make() -> str:
            nonlocal count
            count += 1
            return f"{prefix}-{count}"

        return make

    def now_ns(self) -> int:
        return self._true_ns() + self.skew_ns

    # --- its process ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve and let the market live, for ever."""
        application = self._rest.application()
        application.middlewares.insert(0, self._meddle)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        assert runner.server is not None
        for port in PORTS:
            self._network.listen(port, runner.server)
        steps = 0
        while True:
            await asyncio.sleep(STEP_S)
            steps += 1
            self._market.step(self.now_ns())
            self.exchange.expire(self.now_ns())
            self.hub.pump()
            if steps % HEARTBEAT_STEPS == 0:
                self.hub.every_second()

    # --- requests -----------------------------------------------------------------------------------------------------

    @web.middleware
    async def _meddle(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let a request through, or do to it what the seed draws."""
        if request.headers.get("Upgrade"):
            return await handler(request)
        faults, path = self._faults, request.path
        group = "read_"
        if request.method == "POST":
            group = "order_" if path == f"{PREFIX}/orders" else "cancel_"
        name = faults.draw(REQUEST, group)
        if name:
            faults.note(name, *(("C14",) if path == f"{PREFIX}/accounts" else ()))
        what = name.removeprefix(group)
        if what in ("cut", "cut_before"):
            return _cut(request)
        if what in ("error", "error_before"):
            return _error(self._random.choice((500, 502, 503, 504)))
        if what == "limited":
            return web.Response(status=429, text="{}", headers={"Retry-After": str(self._random.randint(1, 5))})
        if what == "unauthorized":
            return web.Response(status=401, text="Unauthorized")
        if what == "refused":
            ids = json.loads(await request.read())["order_ids"]
            refusal = {"success": False, "failure_reason": "UNKNOWN_CANCEL_FAILURE_REASON"}
            return web.json_response({"results": [{**refusal, "order_id": order_id} for order_id in ids]})
        if what == "arrives_late":
            # It waits somewhere on the way in; the sender has given it up meanwhile.
            await asyncio.sleep(self._random.uniform(0.5, ORDER_TIMEOUT_S + 4.0))
        response = await handler(request)
        if what == "cut_after":
            return _cut(request)
        if what == "error_after":
            return _error(self._random.choice((500, 502, 504)))
        if what in ("answer_late", "late"):
            await asyncio.sleep(self._random.uniform(0.2, 2.5 * ORDER_TIMEOUT_S))
        if what == "truncated" and isinstance(response, web.Response) and isinstance(response.body, bytes):
            response.body = response.body[: self._random.randrange(len(response.body))]
        elif faults.enabled and path.startswith(f"{PREFIX}/orders/historical/"):
            return self._behind(path, response)
        return response

    def _behind(self, path: str, response: web.StreamResponse) -> web.StreamResponse:
        """A listing that does not show the newest yet, where the seed has that."""
        kinds = {"batch": "orders_listing_", "fills": "fills_listing_"}
        prefix = kinds.get(path.rpartition("/")[2])
        name = self._faults.draw(REQUEST, prefix) if prefix else ""
        if not name or response.status != 200 or not isinstance(response, web.Response):
            return response
        since_ns = self.now_ns() - int(self._random.uniform(0.0, LAG_S) * NS)
        body = msgspec.json.decode(response.body)  # type: ignore[arg-type]
        if path.endswith("/batch"):
            shown = [one for one in body["orders"] if self.exchange.orders[one["order_id"]].created_ns <= since_ns]
            hidden = len(body["orders"]) - len(shown)
            body["orders"] = shown
        else:
            times = {fill.entry_id: fill.ts_ns for fill in self.exchange.fills}
            shown = [one for one in body["fills"] if times[one["entry_id"]] <= since_ns]
            hidden = len(body["fills"]) - len(shown)
            body["fills"] = shown
        if not hidden:
            return response
        self._faults.note(name)
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    # --- what happens by itself ---------------------------------------------------------------------------------------

    def trade_by_hand(self) -> None:
        """Somebody trades on the same account, if he has the money."""
        side = self._random.choice(("BUY", "SELL"))
        size = Decimal(self._random.randint(1, 20)) / 10_000
        body = {
            "client_order_id": self._by_hand(),
            "product_id": self.product,
            "side": side,
            "order_configuration": {"market_market_ioc": {"base_size": str(size)}},
        }
        self.disturbed_ns = self._true_ns()
        self.exchange.place(body, self.now_ns())
        self.hub.pump()

    def deposit(self) -> None:
        currency, amount = self._random.choice((("USD", Decimal(1234)), ("BTC", Decimal("0.005"))))
        self.disturbed_ns = self._true_ns()
        self.exchange.wallets.ledger.deposit(ACCOUNT, currency, amount)

    # --- the truth ----------------------------------------------------------------------------------------------------

    def balances(self) -> dict[str, Decimal]:
        amounts = self.exchange.wallets.amounts
        return {wallet.currency: sum(amounts(wallet.currency), Decimal(0)) for wallet in self.exchange.wallets}

    def fills(self) -> list[VenueFill]:
        found = []
        for fill in self.exchange.fills:
            name = self.exchange.orders[fill.order_id].spec.client_order_id
            ours = not name.startswith("by-hand")
            found.append(VenueFill(fill.entry_id, name, ours, int(fill.side), fill.qty, fill.px, fill.commission))
        return found

    def open_orders(self) -> dict[str, Decimal]:
        """Client order id -> base units that may still fill, for orders that live."""
        return {
            record.spec.client_order_id: record.leaves_qty
            for record in self.exchange.open_orders.values()
            if record.status in OPEN_STATES
        }

    def order_count(self, client_order_id: str) -> int:
        """How many orders of that id there are."""
        return sum(record.spec.client_order_id == client_order_id for record in self.exchange.orders.values())

    def worst_base(self, side: Side) -> Decimal:
        """What the base balance becomes when every open order of ``side`` fills whole."""
        total = self.balances()[self.product.partition("-")[0]]
        for record in self.exchange.open_orders.values():
            if record.spec.side is side:
                total += int(side) * record.leaves_qty
        return total


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _error(status: int) -> web.Response:
    return web.Response(status=status, text='{"error":"INTERNAL","message":"try again"}')


class _MeddlingHub(Hub):
    """Streams on which messages get lost, doubled, swapped and garbled, after they were numbered."""

    def __init__(
        self,
        settings: SandboxSettings,
        exchange: Exchange,
        verifier: Verifier,
        now_ns: Callable[[], int],
        faults: Faults,
    ) -> None:
        super().__init__(settings, exchange, verifier, now_ns)
        self._faults = faults
        self._behind: dict[Connection, str] = {}

    def _send(self, connection: Connection, text: str) -> None:
        faults = self._faults
        stream = "user" if connection.user_host else "market"
        if faults.holds(f"mute {stream}"):
            return
        held = self._behind.pop(connection, None)
        name = faults.draw(STREAM, f"{stream}_") if held is None else ""
        if name:
            faults.note(name)
        if name.endswith("_lost"):
            return
        if name.endswith("_swapped"):
            self._behind[connection] = text
            return
        if name.endswith("_garbled"):
            text = text[: faults.rng.randrange(len(text))]
        if name.endswith("_surprising"):
            text = _surprising(text)
        super()._send(connection, text)
        if name.endswith("_twice"):
            super()._send(connection, text)
        if held is not None:
            super()._send(connection, held)


def _surprising(text: str) -> str:
    """With a word that nobody knows."""
    for known in ('"OPEN"', '"FILLED"', '"CANCELLED"', '"update"', '"user"'):
        if known in text:
            return text.replace(known, '"SURPRISING"', 1)
    return text.replace('"', "'", 1)


def timed_acts(venue: SimulatedVenue, faults: Faults, network: MemoryNetwork) -> dict[str, Callable[[], None]]:
    """What the timed kinds of network and venue do."""
    rng = faults.rng

    def some_ports() -> frozenset[int]:
        return frozenset(rng.choice(((REST_PORT,), (MARKET_PORT,), (USER_PORT,), PORTS)))

    def half_open() -> None:
        port = rng.choice(PORTS)
        seconds = rng.uniform(3.0, 60.0)
        faults.last(f"half_open {port}", seconds)
        network.stall(frozenset((port,)), seconds)

    def partition() -> None:
        seconds = rng.choice((5.0, 40.0, 200.0)) * rng.uniform(0.5, 1.5)
        faults.last("partition", seconds)
        network.stall(frozenset(PORTS), seconds)

    def refuse() -> None:
        faults.last("refused", rng.uniform(1.0, 60.0))
        network.break_all(some_ports())

    def cut_all() -> None:
        network.break_all(some_ports())

    def mute(stream: str) -> Callable[[], None]:
        return lambda: faults.last(f"mute {stream}", rng.uniform(1.0, 40.0))

    return {
        "connections_cut": cut_all,
        "cut_in_message": faults.cut_soon,
        "half_open": half_open,
        "partition": partition,
        "dials_refused": refuse,
        "user_stream_mute": mute("user"),
        "market_stream_mute": mute("market"),
        "traded_by_hand": venue.trade_by_hand,
        "deposited": venue.deposit,
    }
