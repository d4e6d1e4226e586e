"""How much orders may fill: never more than was ordered without risk being reduced, replaced ones together no more than
was wished; and that an order which is changed in place is at the venue what the books take it for, or was asked for.

Owns its own count of what each order has filled, by execution, over all sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from engine.commands import NewOrder, ReplaceOrder, RiskState
from engine.events import OrderAttached, OrderFilled, OrderReplaced, ReplaceRejected
from engine.managed_order import ManagedOrder

ZERO = Decimal(0)


class VersionChecks:
    """``fail(invariant, text)``; ``count(fault_id)``: a row of the list happened that no kind is made for.
    ``is_cut(strategy)``: whether it may get less than it wishes for."""

    def __init__(
        self,
        fail: Callable[[str, str], None],
        count: Callable[[str], None],
        is_cut: Callable[[str], bool] = lambda _strategy: False,
    ) -> None:
        self._fail = fail
        self._count = count
        self._is_cut = is_cut
        self._cut: set[str] = set()
        self._qty: dict[str, Decimal] = {}
        self._asked: dict[str, Decimal] = {}
        """What an order is being changed to, while nobody knows whether it was."""
        self._under_way: set[str] = set()
        """Of those: by this session."""
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
        self._under_way.clear()
        self._overfilled.clear()

    def wished(self, client_order_id: str, qty: Decimal) -> None:
        """Somebody wants this order to become one of ``qty`` in all."""
        self._wished[client_order_id] = qty

    def on_new(self, order: NewOrder) -> None:
        name, before = order.client_order_id, order.intent.parent_id
        self._qty[name] = order.intent.qty
        self._ours.add(name)
        if self._is_cut(order.intent.strategy):
            self._cut.add(name)
        if before not in self._qty:
            return  # of a group, or of nobody
        self._before[name], self._after[before] = before, name
        wished, filled = self._wished.get(before), self._filled_up_to(before)
        if wished is not None and order.intent.qty + filled > wished:
            self._fail("B13", f"{name} is {order.intent.qty}: {filled} has filled already, {wished} was wished")

    def on_attached(self, attached: OrderAttached) -> None:
        self._qty[attached.client_order_id] = attached.qty
        self._ours.add(attached.client_order_id)

    def on_replace(self, replace: ReplaceOrder) -> None:
        """It is to be changed in place: to what was wished last, and nothing else is under way."""
        name = replace.client_order_id
        if name in self._under_way:
            self._fail("B13", f"{name} is to become {replace.qty} while it may become {self._asked[name]}")
        self._under_way.add(name)
        wished = self._wished.get(name)
        if replace.qty != wished and (wished is None or name not in self._cut or replace.qty > wished):
            self._fail("B13", f"{name} is to become {replace.qty}, {wished} was wished")
        self._asked[name] = replace.qty

    def on_replaced(self, event: OrderReplaced | ReplaceRejected) -> None:
        """The venue has shown which version lives."""
        name = event.client_order_id
        if isinstance(event, ReplaceRejected) or event.qty == self._asked.get(name):
            self._asked.pop(name, None)
            self._under_way.discard(name)
        if isinstance(event, OrderReplaced) and name in self._qty:
            self._qty[name] = event.qty  # of others, what they do to it is known when it is looked up

    def on_fill(self, fill: OrderFilled) -> None:
        name = fill.client_order_id
        if name not in self._qty or fill.trade_id in self._trades:
            return
        self._trades.add(fill.trade_id)
        filled = self._filled[name] = self._filled.get(name, ZERO) + fill.qty
        if name in self._after or name in self._asked:
            self._count("B13")
        if filled > max(self._qty[name], self._asked.get(name, ZERO)) and name in self._ours:
            self._overfilled.append(name)

    def look(self, state: RiskState) -> None:
        """An event is over: more executed than ordered stops new risk."""
        if not self._overfilled:
            return
        if state is RiskState.ACTIVE:
            self._fail("B7", f"order {self._overfilled[0]} has filled more than was ordered, and risk is active")
        self._overfilled.clear()

    def compare(self, orders: Mapping[str, ManagedOrder], there: Mapping[str, tuple[Decimal, Decimal]]) -> None:
        """Whatever lives at the venue, the books hold at least as much of it, at its price."""
        for name, (qty, limit_px) in there.items():
            order = orders.get(name)
            if order is None or name not in self._qty:
                continue
            known = {order.intent.limit_px} | ({order.edit.limit_px} if order.edit is not None else set())
            if qty > order.most_qty or limit_px not in known:
                text = f"order {name} is {qty} at {limit_px} at the venue, in the books at most {order.most_qty}"
                self._fail("B13", f"{text} at {', '.join(sorted(map(str, known)))}")

    def _filled_up_to(self, name: str) -> Decimal:
        """By a version and those before it."""
        total = ZERO
        while name:
            total += self._filled.get(name, ZERO)
            name = self._before.get(name, "")
        return total
