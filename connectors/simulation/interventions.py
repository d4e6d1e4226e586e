"""What the venue does to the account and to its products by itself: rules that change, positions closed, overfills.

Owns how each of them looks at the sandbox's exchange.  When it happens is drawn by ``faults``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any

import msgspec

from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.records import Market, OrderRecord, OrderSpec
from connectors.coinbase.sandbox.settings import SandboxProduct
from connectors.coinbase.sandbox.stream import Hub
from connectors.matching.orders import Closed, CloseReason, Filled
from engine.commands import OrderType
from engine.events import Side

NS = 1_000_000_000
RULES: tuple[dict[str, Any], ...] = (
    {"price_increment": Decimal("0.05")},
    {"price_increment": Decimal("0.5")},
    {"base_increment": Decimal("0.0001")},
    {"base_min_size": Decimal("0.004")},
    {"base_max_size": Decimal("0.05")},
    {"quote_min_size": Decimal(100)},
)
SWITCHES: tuple[dict[str, Any], ...] = (
    {"trading_disabled": True},
    {"cancel_only": True},
    {"post_only": True},
    {"limit_only": True},
    {"listed": False},
)
LEAST_LEFT = (Decimal(0), Decimal("0.001"), Decimal("0.01"))
"""Base units that are left of a position that the venue closes."""
RECENT_NS = 90 * NS
"""An order that ended earlier is not overfilled any more."""


class Interventions:
    """``now_ns`` is the venue's clock; ``new_id()`` names an order that is nobody's; ``disturb()`` is called before
    the account changes."""

    def __init__(
        self,
        exchange: Exchange,
        hub: Hub,
        now_ns: Callable[[], int],
        rng: random.Random,
        new_id: Callable[[], str],
        disturb: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._hub = hub
        self._now_ns = now_ns
        self._random = rng
        self._new_id = new_id
        self._disturb = disturb
        self._first = dict(exchange.products)
        self.overfilled: set[str] = set()
        """Client ids of orders that were executed beyond their size."""

    # --- rules (D9) ---------------------------------------------------------------------------------------------------

    def change_rules(self) -> str:
        """Other rules or switches for one product; its id, empty where it has others already."""
        name = self._random.choice(tuple(self._first))
        before = self._first[name]
        if self._exchange.markets[name].product != before:
            return ""
        changes = self._random.choice((*RULES, *SWITCHES))
        self._relist(msgspec.structs.replace(before, **changes))
        return name

    def restore_rules(self, product_id: str = "") -> None:
        """As they were; empty: of each product."""
        for name, before in self._first.items():
            if product_id in ("", name) and self._exchange.markets[name].product != before:
                self._relist(before)

    def _relist(self, product: SandboxProduct) -> None:
        self._exchange.relist(product, self._now_ns())
        self._hub.pump()
        self._hub.tell_status(product.product_id)

    # --- executions that nobody asked for -----------------------------------------------------------------------------

    def close_position(self) -> bool:
        """What is free of a base currency is sold, all but very little (B20); False when there is not more."""
        market = self._market()
        best = market.engine.best()
        free = self._exchange.wallets.amounts(market.instrument.base)[0]
        qty = (free - self._random.choice(LEAST_LEFT)).quantize(Decimal("0.00000001"), ROUND_DOWN)
        if best is None or qty <= 0:
            return False
        self._disturb()
        exchange, now_ns = self._exchange, self._now_ns()
        spec = OrderSpec(
            self._new_id(),
            market.product.product_id,
            Side.SELL,
            OrderType.MARKET,
            "IMMEDIATE_OR_CANCEL",
            {"market_market_ioc": {"base_size": str(qty)}},
            qty,
            None,
        )
        record = OrderRecord(self._new_id(), spec, now_ns)
        exchange.orders[record.order_id] = exchange.open_orders[record.order_id] = record
        self._execute(market, record, (best[0] + best[2]) / 2, qty)
        exchange.absorb(market, [Closed(record.order_id, CloseReason.FILLED, filled_qty=qty)], now_ns)
        self._hub.pump()
        return True

    def overfill(self) -> bool:
        """An order of ours that has just filled whole is executed once more (B7); False when there is none, or not the
        money for it."""
        since_ns = self._now_ns() - RECENT_NS
        found = [
            record
            for record in self._exchange.orders.values()
            if record.status == "FILLED" and record.last_fill_ns >= since_ns and record.spec.base_size is not None
            and not record.spec.client_order_id.startswith("by-hand")
        ]  # fmt: skip
        if not found:
            return False
        record = self._random.choice(found)
        market, spec = self._exchange.markets[record.spec.product_id], record.spec
        px = self._exchange.fills_of[record.order_id][-1].px
        qty = (record.filled_qty / 2).quantize(Decimal("0.00000001"), ROUND_DOWN)
        currency, needed = (market.instrument.base, qty)
        if spec.side is Side.BUY:
            currency, needed = market.instrument.quote, qty * px * Decimal("1.01")
        if qty <= 0 or self._exchange.wallets.amounts(currency)[0] < needed:
            return False
        self._disturb()
        self.overfilled |= {spec.client_order_id, record.order_id}
        self._execute(market, record, px, qty)
        self._hub.pump()
        return True

    def _execute(self, market: Market, record: OrderRecord, px: Decimal, qty: Decimal) -> None:
        now_ns = self._now_ns()
        match = Filled("", record.order_id, px, qty, record.spec.side, self._new_id(), now_ns)
        self._exchange.absorb(market, [match], now_ns)

    def _market(self) -> Market:
        return self._exchange.markets[self._random.choice(tuple(self._first))]
