"""What happens to orders of itself: rows of the list that no kind of fault is made for, told by what was recorded.

Owns when such a thing has happened, and that what was decided then is what the row says.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.codec import Record
from engine.commands import NewOrder, Rejected, RiskState, RiskStateChanged
from engine.events import (
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderOutcomeUnknown,
    OrderRejected,
    Resumed,
    Side,
)
from engine.order_states import OrderState
from engine.runtime.simulation.known import Known
from engine.runtime.simulation.truth import Truth
from engine.stakes import GUARDIAN

_LIVE = frozenset({OrderState.ACCEPTED, OrderState.PARTLY_FILLED})


class Witness:
    """``fail(invariant, text)``; ``count(fault_id)``; ``is_exit(order)``: whether a group has sent it."""

    def __init__(
        self,
        known: Known,
        truth: Truth,
        fail: Callable[[str, str], None],
        count: Callable[[str], None],
        is_exit: Callable[[NewOrder], bool],
    ) -> None:
        self._known = known
        self._truth = truth
        self._fail = fail
        self._count = count
        self._is_exit = is_exit
        self._strategy: dict[str, str] = {}
        """Of each order."""
        self._protects: dict[str, NewOrder] = {}
        """Ways out of this session of which nothing final was told."""
        self._told: set[str] = set()
        """Orders that this session knows to be at the venue."""
        self._last: Record | None = None
        """What was recorded before, market data and timers apart."""

    def begin(self) -> None:
        """Another session."""
        self._protects.clear()
        self._told.clear()
        self._last = None

    def recorded(self, record: Record) -> None:
        if isinstance(record, NewOrder):
            self._on_new(record)
        elif isinstance(record, OrderAccepted | OrderFilled):
            self._on_told(record)
        elif isinstance(record, OrderRejected | OrderCancelled | OrderExpired):
            self._on_end(record)
        elif isinstance(record, OrderOutcomeUnknown):
            if record.client_order_id in self._told:
                self._fail("B17", f"{record.client_order_id} was told to be at the venue and is held for unknown after")
        elif isinstance(record, Rejected):
            self._on_refused(record)
        elif isinstance(record, RiskStateChanged):
            self._on_risk(record)
        self._last = record

    def _on_risk(self, change: RiskStateChanged) -> None:
        """Loosened by an operator's word alone, which stands right before it."""
        if change.after is not RiskState.ACTIVE:
            return
        if not isinstance(self._last, Resumed) or self._last.source != "operator":
            self._fail("F8", f"risk goes from {change.before.value} to active, and no operator has said so")
        elif change.before is RiskState.HALTED:
            self._count("F8")

    # --- opposite wishes ----------------------------------------------------------------

    def _on_new(self, order: NewOrder) -> None:
        intent, name, view = order.intent, order.client_order_id, self._known.core.view
        self._strategy[name] = intent.strategy
        if self._is_exit(order) or (intent.strategy == GUARDIAN and intent.reduce_only):
            self._protects[name] = order
            return
        # On spot a purchase adds, but for what a version and its challenger share.
        if intent.side is not Side.BUY or view.strategy_qty(intent.strategy, intent.instrument) < 0:
            return
        for other in self._known.core.orders.open_orders(intent.instrument):
            wish = other.intent
            opposes = wish.side is Side.SELL and wish.strategy != intent.strategy and wish.trigger_px is None
            px, other_px = intent.limit_px, wish.limit_px
            if opposes and other.state in _LIVE and px is not None and other_px is not None and px >= other_px:
                text = f"{name} of {intent.strategy} buys at {px} what {wish.strategy} sells"
                self._fail("F12", f"{text} at {other_px} by {other.client_order_id}")

    def _on_refused(self, refused: Rejected) -> None:
        if refused.check == "opposing_strategy":
            self._count("F12")
        elif refused.check == "self_trade":
            owner = self._strategy.get(refused.seen.partition(" at ")[0])
            if owner is not None and owner != refused.intent.strategy:
                self._count("F12")

    # --- answers that never came --------------------------------------------------------------------------------------

    def _on_told(self, told: OrderAccepted | OrderFilled) -> None:
        name = told.client_order_id
        if name in self._told:
            return
        self._told.add(name)
        if self._truth.is_told_unasked(name):
            self._count("B17")

    # --- ways out -----------------------------------------------------------------------------------------------------

    def _on_end(self, ended: OrderRejected | OrderCancelled | OrderExpired) -> None:
        """A way out was refused, or one that had to fill at once has not."""
        order = self._protects.pop(ended.client_order_id, None)
        if order is not None and (isinstance(ended, OrderRejected) or not order.intent.may_rest):
            self._count("B19")
