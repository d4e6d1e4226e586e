"""The Coinbase sandbox on a simulated network, with its faults.

Owns the venue's process: its exchange, its HTTP application behind a layer that meddles with requests (``requests``),
its streams behind one that meddles with messages (``streams``), what happens at the venue by itself, and what is true
there.  The exchange, the handlers and the hub are the sandbox's own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Container, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web, web_app

from connectors.coinbase.sandbox.auth import Verifier
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.keys import load_key_file
from connectors.coinbase.sandbox.market import SyntheticMarket
from connectors.coinbase.sandbox.records import OPEN_STATES, OrderRecord
from connectors.coinbase.sandbox.rest import Rest
from connectors.coinbase.sandbox.settings import SandboxSettings, products_named
from connectors.coinbase.sandbox.translate import ACCOUNT
from connectors.simulation.faults import Faults
from connectors.simulation.interventions import Interventions
from connectors.simulation.network import MemoryNetwork
from connectors.simulation.requests import Requests
from connectors.simulation.streams import MeddlingHub
from engine.events import Side

REST_PORT, MARKET_PORT, USER_PORT = 8001, 8002, 8003
PORTS = (REST_PORT, MARKET_PORT, USER_PORT)
DIALS_MAX = {REST_PORT: 150, MARKET_PORT: 24, USER_PORT: 24}
"""Of one session in a minute.  A stream's budget is 12, and it is renewed besides; each of two order connections has
one of 30, and requests that are asked again have 60."""
STEP_S = 4.0
"""Of the market and of heartbeats."""


class VenueFill(NamedTuple):
    """A fill as the venue has it; ``ours`` is False for what was traded by hand."""

    entry_id: str
    client_order_id: str
    ours: bool
    side: int
    qty: Decimal
    px: Decimal
    fee: Decimal
    entry: str = ""
    """Client order id of the entry that its order came with."""


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
        products: Sequence[str],
        balances: tuple[tuple[str, Decimal], ...],
        rate_per_s: float = 0.2,
    ) -> None:
        _forget_servers()
        self._network = network
        self._faults = faults
        self._true_ns = now_ns
        self._random = random.Random(f"venue/{seed}")
        brackets = random.Random(f"brackets/{seed}")
        self.dials_max: Mapping[int, int] = DIALS_MAX
        self.attaches = brackets.random() < 0.6
        """Whether entries are to leave with their brackets."""
        self._products = tuple(products)
        self.skew_ns = 0
        self.settings = SandboxSettings(
            products=products_named(products),
            rate_per_s=rate_per_s,
            seed=seed,
            key_file=key_file,
            balances=balances,
            duplicate_mode=self._random.choice(("original", "reject")),
            attached_when=brackets.choice(("end", "fill", "start")),
            attached_names=brackets.choice(("both", "entry", "exit")),
            attached_client_id=brackets.choice(("own", "none")),
            attached_lag_s=brackets.choice((0.0, 2.0)),
            edit_lag_s=random.Random(f"edits/{seed}").choice((0.0, 0.0, 2.0, 8.0)),
        )
        self.exchange = Exchange(
            self.settings, now_ns=self.now_ns(), new_id=self._ids("v"), first_trade_id=1 + seed * 1_000_000
        )
        self._by_hand = self._ids("by-hand")
        self._verifier = Verifier([load_key_file(key_file)])
        self._market = SyntheticMarket(self.exchange, self.settings)
        self._market.step(self.now_ns())
        self.hub = MeddlingHub(self.settings, self.exchange, self._verifier, self.now_ns, faults, self._disturb)
        self.requests = Requests(faults, self.exchange, self.now_ns, self._random)
        self._rest = Rest(self.settings, self.exchange, self.hub, self._verifier, self.now_ns)
        self.interventions = Interventions(
            self.exchange, self.hub, self.now_ns, self._random, self._by_hand, self._disturb
        )
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

    def _disturb(self) -> None:
        self.disturbed_ns = self._true_ns()

    @property
    def overfilled(self) -> set[str]:
        return self.interventions.overfilled

    # --- its process ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve and let the market live, for ever."""
        application = self._rest.application()
        application.middlewares.insert(0, self.requests.meddle)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        assert runner.server is not None
        for port in PORTS:
            self._network.listen(port, runner.server)
        while True:
            await asyncio.sleep(STEP_S)
            self._market.step(self.now_ns())
            self.exchange.expire(self.now_ns())
            self.hub.pump()
            self.hub.every_second()

    # --- what happens by itself ---------------------------------------------------------------------------------------

    def trade_by_hand(self) -> bool:
        """Somebody trades on the same account; False when he has not the money."""
        side = self._random.choice(("BUY", "SELL"))
        size = Decimal(self._random.randint(1, 20)) / 10_000
        body = {
            "client_order_id": self._by_hand(),
            "product_id": self._random.choice(self._products),
            "side": side,
            "order_configuration": {"market_market_ioc": {"base_size": str(size)}},
        }
        self._disturb()
        answer = self.exchange.place(body, self.now_ns())
        self.hub.pump()
        return bool(answer["success"])

    def order_by_hand(self) -> str:
        """Somebody leaves an order in the book; its id, empty where the venue did not take it."""
        product = self._random.choice(self._products)
        best = self.exchange.markets[product].engine.best()
        if best is None:
            return ""
        side = self._random.choice(("BUY", "SELL"))
        away = Decimal(self._random.randint(-5, 30)) / 10_000
        px = best[0] * (1 - away) if side == "BUY" else best[2] * (1 + away)
        size = Decimal(self._random.randint(1, 20)) / 10_000
        limit = {"base_size": str(size), "limit_price": str(round(px, 2)), "post_only": False}
        body = {
            "client_order_id": self._by_hand(),
            "product_id": product,
            "side": side,
            "order_configuration": {"limit_limit_gtc": limit},
        }
        self._disturb()
        answer = self.exchange.place(body, self.now_ns())
        self.hub.pump()
        return str(answer["success_response"]["order_id"]) if answer["success"] else ""

    def cancel_by_hand(self, order_id: str) -> None:
        self._disturb()
        self.exchange.cancel(order_id, self.now_ns())
        self.hub.pump()

    def deposit(self) -> bool:
        return self._transfer(Decimal(1))

    def withdraw(self) -> bool:
        """False when there is not so much."""
        return self._transfer(Decimal(-1))

    def _transfer(self, sign: Decimal) -> bool:
        amounts = (("USD", Decimal(1234)), ("BTC", Decimal("0.005")), ("ETH", Decimal("0.1")))
        currency, amount = self._random.choice(amounts)
        if sign < 0 and self.exchange.wallets.amounts(currency)[0] < amount:
            return False
        self._disturb()
        self.exchange.wallets.ledger.deposit(ACCOUNT, currency, sign * amount)
        return True

    # --- the truth ----------------------------------------------------------------------------------------------------

    def balances(self) -> dict[str, Decimal]:
        amounts = self.exchange.wallets.amounts
        return {wallet.currency: sum(amounts(wallet.currency), Decimal(0)) for wallet in self.exchange.wallets}

    def fills(self) -> list[VenueFill]:
        found = []
        for fill in self.exchange.fills:
            name = self._name(self.exchange.orders[fill.order_id])
            ours, entry = not name.startswith("by-hand"), self.entry_of(fill.order_id)
            found.append(
                VenueFill(fill.entry_id, name, ours, int(fill.side), fill.qty, fill.px, fill.commission, entry)
            )
        return found

    @staticmethod
    def _name(record: OrderRecord) -> str:
        """Client order id; of one that came with its entry, which has none of ours, the venue's id."""
        return record.order_id if record.originating_order_id else record.spec.client_order_id

    def entry_of(self, order_id: str) -> str:
        """Client order id of the entry that an order (by the venue's id) came with; empty for any other."""
        record = self.exchange.orders.get(order_id)
        entry = None if record is None else self.exchange.orders.get(record.originating_order_id)
        return "" if entry is None else entry.spec.client_order_id

    def exits_of(self, entry: str) -> list[str]:
        """The venue's ids of what came with an entry."""
        return [
            one.order_id
            for one in self.exchange.orders.values()
            if one.originating_order_id and self.entry_of(one.order_id) == entry
        ]

    def open_orders(self) -> dict[str, Decimal]:
        """Client order id (of what came with its entry the venue's id) -> base units that may still fill, for orders
        that live."""
        return {
            self._name(record): record.leaves_qty
            for record in self.exchange.open_orders.values()
            if record.status in OPEN_STATES
        }

    def versions(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Client order id -> size and limit price, for limit orders that live."""
        return {
            record.spec.client_order_id: (record.spec.base_size, record.spec.limit_px)
            for record in self.exchange.open_orders.values()
            if record.status in OPEN_STATES and record.spec.base_size is not None and record.spec.limit_px is not None
        }

    def order_count(self, client_order_id: str) -> int:
        """How many orders of that id there are."""
        return sum(record.spec.client_order_id == client_order_id for record in self.exchange.orders.values())

    def is_told_unasked(self, client_order_id: str) -> bool:
        """Whether it is there, its answer never came in time, and nobody has asked about orders since."""
        return client_order_id in self.requests.unanswered

    def user_silence_s(self) -> float:
        """Since anything was sent on the account's stream."""
        return asyncio.get_running_loop().time() - self.hub.user_sent_s

    def rules(self, product_id: str) -> tuple[Decimal, ...]:
        """Price step, size step, least and greatest size, least value."""
        rules = self.exchange.markets[product_id].product
        sizes = (rules.base_increment, rules.base_min_size, rules.base_max_size)
        return (rules.price_increment, *sizes, rules.quote_min_size)

    def others(self, currency: str, disowned: Container[str]) -> Decimal:
        """What of a balance no order of ours has moved, but for those ``disowned``."""
        total = sum(self.exchange.wallets.amounts(currency), Decimal(0))
        for fill, record in zip(self.fills(), self.exchange.fills, strict=True):
            base, _, quote = record.product_id.partition("-")
            if not fill.ours or fill.client_order_id in disowned or fill.entry in disowned:
                continue
            if currency == base:
                total -= fill.side * fill.qty
            if currency == quote:
                total += fill.side * fill.qty * fill.px + fill.fee
        return total

    def mid_px(self, product_id: str) -> Decimal | None:
        best = self.exchange.markets[product_id].engine.best()
        return None if best is None else (best[0] + best[2]) / 2

    def heal(self) -> None:
        """Whatever is still wrong with it becomes right."""
        self.skew_ns = 0
        self.interventions.restore_rules()

    def worst_base(self, base: str, side: Side) -> Decimal:
        """What the balance of ``base`` becomes when every open order of ``side`` fills whole."""
        total = sum(self.exchange.wallets.amounts(base), Decimal(0))
        for record in self.exchange.open_orders.values():
            if record.spec.side is side and record.spec.product_id.partition("-")[0] == base:
                total += int(side) * record.leaves_qty
        return total


def _forget_servers() -> None:
    """aiohttp keeps the handlers of a thousand routes that were asked for last, of servers that are gone as well.  Each
    of ours holds its whole world: a sweep would keep some 85 of them, 6 GB."""
    kept: Any = getattr(web_app, "_cached_build_middleware", None)
    if kept is not None:
        kept.cache_clear()
