"""What becomes of open orders when their instrument's rules change, or when it stops trading.

Owns the declared policy (fault D9, C10); asking for cancels is the desk's.

- New price or size steps, minima or maxima: an open order that they would refuse is cancelled, an exit too, so that
  whoever wants it places it anew; one that fits them stays.  A group goes on: its other exits protect what it holds.
- Halted or cancel-only, the instrument or its whole venue: orders that add risk are cancelled, exits stay.
- The id means another thing than before (currencies, multiplier, ...): the new definition is not taken, nothing may be
  ordered, and every order of ours is cancelled.
"""

from __future__ import annotations

from decimal import Decimal

from engine.desk import Desk
from engine.instruments import Instrument
from engine.managed_order import EXTERNAL, ManagedOrder
from engine.order_states import FINAL
from engine.orders import OrderManager
from engine.venues import VenueStates

_IDENTITY = (
    "venue",
    "venue_symbol",
    "base",
    "quote",
    "settlement",
    "asset_class",
    "multiplier",
    "inverse",
    "expiry_ns",
    "strike_px",
    "allows_negative_px",
)
"""What an id stands for; the rest is rules, and rules may change."""


class Closures:
    """Of one core."""

    def __init__(self, *, desk: Desk, orders: OrderManager, venues: VenueStates) -> None:
        self._desk = desk
        self._orders = orders
        self._venues = venues
        self._wanted: dict[str, str] = {}  # client order id -> why it must go

    def take(self, before: Instrument, after: Instrument) -> bool:
        """Whether a definition that is told again may be used; where it may not, the id is in doubt from now on."""
        for field in _IDENTITY:
            old, new = getattr(before, field), getattr(after, field)
            if old != new:
                self._venues.doubt(after.id, f"{after.id} was defined anew as another thing: {field} {old} -> {new}")
                self._look(after.id)
                return False
        return True

    def on_redefined(self, instrument: Instrument) -> None:
        """New rules hold: open orders that they would refuse go."""
        for order in self._own(instrument.id):
            why = misfit(order, instrument)
            if why:
                self._wanted[order.client_order_id] = f"rules changed: {why}"
        self.insist()

    def on_status(self, instrument: str = "") -> None:
        """Something was closed or opened; empty: a venue."""
        self._look(instrument)

    def _look(self, instrument: str) -> None:
        for order in self._own(instrument):
            why = self._venues.why_shut(order.intent.instrument)
            if why and (not order.intent.reduce_only or self._venues.is_doubtful(order.intent.instrument)):
                self._wanted[order.client_order_id] = why
        self.insist()

    def _own(self, instrument: str) -> list[ManagedOrder]:
        """Open orders of ours; what others have at the venue is theirs."""
        found = self._orders.open_orders(instrument or None)
        return [order for order in found if order.intent.strategy != EXTERNAL]

    def insist(self) -> None:
        """Ask for what is wanted and not gone, paced by the desk; called on each timer too."""
        if not self._wanted:
            return
        by_reason: dict[str, list[ManagedOrder]] = {}
        for name, why in list(self._wanted.items()):
            order = self._orders.get(name)
            if order is None or order.state in FINAL:
                del self._wanted[name]
            else:
                by_reason.setdefault(why, []).append(order)
        for why, orders in by_reason.items():
            groups_own = [order for order in orders if self._is_to_follow(order)]
            for order in groups_own:
                self._desk.withdraw(order, why)
            self._desk.cancel_these([order for order in orders if order not in groups_own], why)

    def _is_to_follow(self, order: ManagedOrder) -> bool:
        """Whether it is an exit of a group that goes on: with what the rules take, or with prices that are watched."""
        is_exit = order.intent.reduce_only and self._desk.groups.is_exit(order.client_order_id)
        return is_exit and not self._venues.is_doubtful(order.intent.instrument)


def misfit(order: ManagedOrder, instrument: Instrument) -> str:
    """Why the instrument's rules would refuse the order, or what it is being changed to; empty when they would not."""
    intent, edit = order.intent, order.edit
    found = _misfit(intent.qty, intent.limit_px, intent.trigger_px, instrument)
    return found or ("" if edit is None else _misfit(edit.qty, edit.limit_px, None, instrument))


def _misfit(qty: Decimal, limit_px: Decimal | None, trigger_px: Decimal | None, instrument: Instrument) -> str:
    for px in (limit_px, trigger_px):
        if px is not None and not _fits(px, instrument.tick_px):
            return f"price {px} is no multiple of {instrument.tick_px}"
    if not _fits(qty, instrument.lot_qty):
        return f"quantity {qty} is no multiple of {instrument.lot_qty}"
    if qty < instrument.min_qty:
        return f"quantity {qty} is below {instrument.min_qty}"
    if instrument.max_qty > 0 and qty > instrument.max_qty:
        return f"quantity {qty} is above {instrument.max_qty}"
    if limit_px is not None and instrument.worth_in_quote(qty, limit_px) < instrument.min_notional:
        return f"{qty} at {limit_px} is worth less than {instrument.min_notional}"
    return ""


def _fits(value: Decimal, step: Decimal) -> bool:
    return step <= 0 or not value % step
