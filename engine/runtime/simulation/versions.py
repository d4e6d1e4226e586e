"""How much orders may fill: never more than was ordered without risk being reduced, replaced ones together no more than
was wished.

Owns its own count of what each order has filled, by execution, over all sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.commands import NewOrder, RiskState
from engine.events import OrderAttached, OrderFilled

ZERO = Decimal(0)


class VersionChecks:
    """``fail(invariant, text)``; ``count(fault_id)``: a row of the list happened that no kind is made for."""

    def __init__(self, fail: Callable[[str, str], None], count: Callable[[str], None]) -> None:
        self._fail = fail
        self._count = count
        self._qty: dict[str, Decimal] = {}
        self._filled: dict[str, Decimal] = {}
        self._before: dict[str, str] = {}
        self._after: dict[str, str] = {}
        self._wished: dict[str, Decimal] = {}
        self._trades: set[str] = set()
        self._ours: set[str] = set()
        self._overfilled: list[str] = []

    def begin(self) -> None:
        """Another session: it knows what it has ordered, and what it was told of the ones before."""
        self._ours.clear()
        self._wished.clear()
        self._overfilled.clear()

    def wished(self, client_order_id: str, qty: Decimal) -> None:
        """Somebody wants this order to become one of ``qty`` in all."""
        self._wished[client_order_id] = qty

    def on_new(self, order: NewOrder) -> None:
        name, before = order.client_order_id, order.intent.parent_id
        self._qty[name] = order.intent.qty
        self._ours.add(name)
        if before not in self._qty:
            return  # of a group, or of nobody
        self._before[name], self._after[before] = before, name
        wished, filled = self._wished.get(before), self._filled_up_to(before)
        if wished is not None and order.intent.qty + filled > wished:
            self._fail("B13", f"{name} is {order.intent.qty}: {filled} has filled already, {wished} was wished")

    def on_attached(self, attached: OrderAttached) -> None:
        self._qty[attached.client_order_id] = attached.qty
        self._ours.add(attached.client_order_id)

    def on_fill(self, fill: OrderFilled) -> None:
        name = fill.client_order_id
        if name not in self._qty or fill.trade_id in self._trades:
            return
        self._trades.add(fill.trade_id)
        filled = self._filled[name] = self._filled.get(name, ZERO) + fill.qty
        if name in self._after:
            self._count("B13")
        if filled > self._qty[name] and name in self._ours:
            self._overfilled.append(name)

    def look(self, state: RiskState) -> None:
        """An event is over: more executed than ordered stops new risk."""
        if not self._overfilled:
            return
        if state is RiskState.ACTIVE:
            self._fail("B7", f"order {self._overfilled[0]} has filled more than was ordered, and risk is active")
        self._overfilled.clear()

    def _filled_up_to(self, name: str) -> Decimal:
        """By a version and those before it."""
        total = ZERO
        while name:
            total += self._filled.get(name, ZERO)
            name = self._before.get(name, "")
        return total
