"""Positions of strategies whose model does not serve, on their way to nothing (``ServingRules.fallback: flat``).

Owns the steps, which are an operator's close (``engine.manual``) for one strategy's own position: what is open of it
there is cancelled first, then market orders in its name close what it holds, again and again as long as something is
left that can be sold.  What others hold of the same instrument is theirs.  While no order at market can leave, exits
that are open stay where they are: they are all that protects it.

Meanwhile the strategy's own wishes there are refused, cancels too: one that sends its exit again at each event would
have it in the place of the closing order for ever.  Where nothing moves for ``TRIES`` seconds (an outcome that nobody
knows, a venue that takes no order at market now), they are let through again until something does, and what
the position waits for is told.  One that so many orders could not close is told to the operator; from then on it is
tried once after each pause, and in between the strategy is heard.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.commands import NewOrder, OrderIntent, OrderType
from engine.desk import Desk
from engine.events import Side
from engine.managed_order import ManagedOrder
from engine.manual import TRIES, TRY_AGAIN_NS, closable
from engine.orders import OrderManager
from engine.reconciliation import Reconciliation
from engine.venues import Restriction
from engine.view import CoreView

_ZERO = Decimal(0)
_RATE = "order_rate"
_NOBODYS_FAULT = (
    "tradable",
    "exit_waits",
    "in_the_way",
    "no_quote",
    "no_price",
    "rate_unknown",
    "equity_unknown",
    "stale_quote",
    "suspect_book",
    "crossed_book",
    "reference_unknown",
    "exit_awaited",
    _RATE,
    "order_rate_instrument",
)
"""Checks that refuse a closing order now, and are no reason to give up."""


class _Closing(msgspec.Struct):
    reason: str
    next_ns: int = 0
    tries: int = 0
    last_qty: Decimal = _ZERO
    sent_id: str = ""
    waits: int = 0  # seconds in which nothing has moved
    waits_ns: int = 0
    open_qty: Decimal = _ZERO


class Flattening:
    """Of one core; ``advance`` is called when one begins and on each timer.  ``pause_ns``: between two tries, once so
    many were in vain."""

    def __init__(
        self, *, desk: Desk, orders: OrderManager, view: CoreView, reconciliation: Reconciliation, pause_ns: int
    ) -> None:
        self._desk = desk
        self._orders = orders
        self._view = view
        self._reconciliation = reconciliation
        self._pause_ns = max(pause_ns, TRY_AGAIN_NS)
        self._closing: dict[tuple[str, str], _Closing] = {}
        self._held_off = desk.held_off.table
        self._turn_ns = 0
        """Until when nothing is asked for: as many orders have left as may."""
        self.given_up: dict[tuple[str, str], str] = {}
        """Positions that many orders could not close, by strategy and instrument, and why."""
        self.waiting: dict[tuple[str, str], str] = {}
        """Those of which nothing has moved for ``TRIES`` seconds, and what they wait for.  For telling only."""

    @property
    def is_busy(self) -> bool:
        return bool(self._closing)

    def begin(self, strategy: str, instrument: str, reason: str) -> None:
        one = self._closing.setdefault((strategy, instrument), _Closing(reason))
        self._hold_off((strategy, instrument), one)

    def stop(self, strategy: str, instrument: str) -> None:
        """Its model serves again: the position is the strategy's own affair."""
        self._end((strategy, instrument))

    def advance(self) -> None:
        if self._desk.closing:
            return
        for key, one in list(self._closing.items()):
            if self._step(*key, one):
                self._end(key)
            else:
                self._hold_off(key, one)

    def _hold_off(self, key: tuple[str, str], one: _Closing) -> None:
        if one.waits <= TRIES and not self._pauses(key, one):
            self._held_off[key] = one.reason
        else:
            self._held_off.pop(key, None)

    def _end(self, key: tuple[str, str]) -> None:
        self._closing.pop(key, None)
        self._held_off.pop(key, None)
        self.given_up.pop(key, None)
        self.waiting.pop(key, None)

    def _pauses(self, key: tuple[str, str], one: _Closing) -> bool:
        """Many orders were in vain, and the next try is not due."""
        return key in self.given_up and self._view.now_ns < one.next_ns

    def _step(self, strategy: str, name: str, one: _Closing) -> bool:
        """True when it is done."""
        view, now_ns, key = self._view, self._view.now_ns, (strategy, name)
        if name.rpartition("@")[2] in self._reconciliation.awaited or name in self._desk.shut:
            return False  # what is held is not known yet, or an operator closes all of it
        held_qty = view.strategy_qty(strategy, name)
        if held_qty != one.last_qty:
            one.tries, one.last_qty = 0, held_qty
            self._moves(key, one)
            if self.given_up.pop(key, ""):
                one.next_ns = now_ns
        if self._pauses(key, one):
            return False
        qty = closable(view.instrument(name), abs(held_qty)) if held_qty else _ZERO
        side = Side.SELL if held_qty > _ZERO else Side.BUY
        intent = OrderIntent(now_ns, strategy, name, side, qty, OrderType.MARKET, reduce_only=True, reason=one.reason)
        closed = view.tradable(name)
        if (
            (qty or self._open_of(strategy, name))
            and closed
            and not (isinstance(closed, Restriction) and not closed.stops(intent))
        ):
            one.open_qty = _ZERO
            self._wait(key, one, f"the market: {closed}")  # exits stay; entries are cancelled in any case
            return False
        for group in view.groups(name):
            if group.strategy == strategy:
                self._desk.groups.cancel(group.group_id, "", one.reason)
        its = self._open_of(strategy, name)
        if its:
            others = [order for order in its if order.client_order_id != one.sent_id and not _closes(order)]
            for order in others:
                self._desk.keep(order.client_order_id)  # nothing takes its place
            self._desk.cancel_these(others, one.reason)
            self._count_wait(key, one, its)
            return False
        if one.open_qty:
            one.open_qty = _ZERO
            self._moves(key, one)
        if not qty:
            return True
        if now_ns < max(one.next_ns, self._turn_ns):
            return False
        one.tries, one.next_ns = one.tries + 1, now_ns + TRY_AGAIN_NS
        if one.tries > TRIES:
            one.next_ns = now_ns + self._pause_ns
            if key not in self.given_up:
                self.given_up[key] = f"{held_qty:f} left after {TRIES} tries"
                return False
        made = self._desk.place(intent)
        if isinstance(made, NewOrder):
            one.sent_id = made.client_order_id
            self._moves(key, one)
        elif made is not None and made.check in _NOBODYS_FAULT:
            one.tries -= 1
            if made.check == _RATE:  # all of them asking again at once would be a runaway loop
                self._turn_ns = now_ns + TRY_AGAIN_NS
            self._wait(key, one, f"the gate: {made.check} {made.seen}")
        return False

    def _open_of(self, strategy: str, name: str) -> list[ManagedOrder]:
        return [order for order in self._orders.open_orders(name) if order.intent.strategy == strategy]

    def _count_wait(self, key: tuple[str, str], one: _Closing, its: list[ManagedOrder]) -> None:
        """What is open becomes less, or another second has passed in which it did not."""
        open_qty = sum([order.leaves_qty for order in its], _ZERO)
        if not one.open_qty or open_qty < one.open_qty:
            self._moves(key, one)
            one.waits_ns = self._view.now_ns + TRY_AGAIN_NS
        else:
            self._wait(key, one, "the end of " + ", ".join([order.client_order_id for order in its]))
        one.open_qty = open_qty

    def _wait(self, key: tuple[str, str], one: _Closing, what: str) -> None:
        """Nothing moves; counted once a second."""
        now_ns = self._view.now_ns
        if now_ns < one.waits_ns:
            return
        one.waits, one.waits_ns = one.waits + 1, now_ns + TRY_AGAIN_NS
        if one.waits > TRIES:
            self.waiting.setdefault(key, f"waits for {what}")

    def _moves(self, key: tuple[str, str], one: _Closing) -> None:
        one.waits = 0
        self.waiting.pop(key, None)


def _closes(order: ManagedOrder) -> bool:
    """Whether it does what a closing order would."""
    return order.intent.reduce_only and order.intent.order_type is OrderType.MARKET
