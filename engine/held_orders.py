"""Orders that wait for the disk, where nothing may leave before its record is there (journal mode ``always``).

Owns which orders wait and when they are let go: after risk has judged them again, as time has passed, and not later
than a deadline.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.commands import Command, Rejected
from engine.events import JournalSynced
from engine.managed_order import ManagedOrder
from engine.order_states import Happening, OrderState
from engine.orders import OrderManager
from engine.ports import RiskGate
from engine.view import CoreView

HELD_MAX = 256
"""Orders that may wait for the disk at once; one more is refused with the reason ``durability_backlog``."""


class HeldOrders:
    """Of one desk.  ``out`` takes orders that are let go, ``reject`` why one is not; ``gone(order)`` hears of that."""

    def __init__(
        self,
        *,
        orders: OrderManager,
        gate: RiskGate,
        view: CoreView,
        deadline_ns: int,
        out: list[Command],
        reject: Callable[[Rejected], None],
        gone: Callable[[ManagedOrder], None],
    ) -> None:
        self._orders = orders
        self._gate = gate
        self._view = view
        self._deadline_ns = deadline_ns
        self._out = out
        self._reject = reject
        self._gone = gone
        self._seqs: dict[str, int] = {}  # client order id -> seq of its record

    def __len__(self) -> int:
        return len(self._seqs)

    def add(self, client_order_id: str, seq: int) -> None:
        """It waits until the record ``seq`` is on disk."""
        self._seqs[client_order_id] = seq

    def on_synced(self, event: JournalSynced) -> None:
        """Release every held order whose record is on disk, after risk has judged it again."""
        for client_order_id in [cid for cid, at in self._seqs.items() if at <= event.upto_seq]:
            order = self._orders.get(client_order_id)
            if order is None or order.state is not OrderState.HELD:
                self._seqs.pop(client_order_id, None)
                continue
            self._release(order)

    def drop(self, order: ManagedOrder, seen: str, limit: str, check: str = "dropped") -> None:
        """It will not leave."""
        self._seqs.pop(order.client_order_id, None)
        self._orders.happen(order.client_order_id, Happening.DROP)
        self._reject(Rejected(self._view.now_ns, order.intent, check, seen, limit))
        self._gone(order)

    def _release(self, order: ManagedOrder) -> None:
        waited_ns = self._view.now_ns - order.opened_ns
        if waited_ns > self._deadline_ns:
            self.drop(order, f"{waited_ns} ns", f"{self._deadline_ns} ns", check="durability_deadline")
            return
        self._orders.suspend(order)
        try:
            verdict = self._gate.review_again(order.intent, self._view)
        finally:
            self._orders.resume(order)
        if isinstance(verdict, Rejected):
            self.drop(order, verdict.seen, verdict.limit, check=verdict.check)
            return
        self._seqs.pop(order.client_order_id, None)
        self._orders.happen(order.client_order_id, Happening.SEND)
        self._out.append(order.new)
