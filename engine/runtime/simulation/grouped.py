"""The invariants of orders that belong together, by what was recorded and what the venue holds.

Owns its own count of what each group's entry and exits have filled, by execution, over all sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from engine.codec import Record
from engine.commands import GroupIntent, GroupOpened, NewOrder
from engine.core import TradingCore
from engine.events import OrderAttached, OrderFilled, Side, Timer
from engine.groups import STOPS
from engine.order_states import OrderState
from engine.ports import OpenGroup

ZERO = Decimal(0)
RESTING = frozenset({OrderState.ACCEPTED, OrderState.PARTLY_FILLED})
LEFT_MOST_NS = 15_000_000_000
"""How long a stop whose price stands may be without an order: the pauses between two are 3 s at most."""


AWAITED_MOST_NS = 90_000_000_000
"""The same while the venue may have made one that does not show itself: a grace, and questions that fail."""


class OpenAtVenue(Protocol):
    @property
    def overfilled(self) -> Container[str]: ...

    def open_orders(self) -> Mapping[str, Decimal]: ...

    def exits_of(self, entry: str) -> Sequence[str]: ...


class GroupChecks:
    """``fail(invariant, text)``; ``excused(now_ns)``: whether risk or the disk is made to refuse everything."""

    def __init__(self, truth: OpenAtVenue, fail: Callable[[str, str], None], excused: Callable[[int], bool]) -> None:
        self._truth = truth
        self._fail = fail
        self._excused = excused
        self._intents: dict[str, GroupIntent] = {}
        self._group_of: dict[str, str] = {}
        self._exits: dict[str, list[str]] = {}
        self._entries: dict[str, list[str]] = {}
        self._filled: dict[str, list[Decimal]] = {}
        """By group: what its entry has filled, and what its exits have."""
        self._trades: set[str] = set()
        self._beyond: set[str] = set()
        """Groups of which the venue has executed an order beyond its size."""
        self._since_ns: dict[str, int] = {}

    def recorded(self, record: Record) -> None:
        if isinstance(record, GroupOpened):
            self._intents[record.group_id] = record.intent
            self._filled.setdefault(record.group_id, [ZERO, ZERO])
        elif isinstance(record, NewOrder):
            self._on_new(record)
        elif isinstance(record, OrderAttached):
            self._on_attached(record)
        elif isinstance(record, OrderFilled):
            self._on_fill(record)

    def is_exit(self, order: NewOrder) -> bool:
        """Whether a group has sent it, as often as it takes."""
        parent_id = order.intent.parent_id
        wish = self._intents.get(self._group_of.get(parent_id, parent_id))
        return wish is not None and order.intent.side is wish.exits[0].side

    def _on_new(self, order: NewOrder) -> None:
        parent_id, name = order.intent.parent_id, order.client_order_id
        # An entry that is repriced goes on as another order, in place of the one before.
        group_id = self._group_of.get(parent_id, parent_id)
        if group_id not in self._intents:
            return
        self._group_of[name] = group_id
        if not self.is_exit(order):
            self._entries.setdefault(group_id, []).append(name)
            return
        before = self._exits.setdefault(group_id, [])
        there = self._truth.open_orders()
        for other in (*before, *self._made(group_id)):
            if other in there:
                self._fail("B19", f"exit {name} of {group_id} was made while {other} is at the venue")
        before.append(name)

    def _made(self, group_id: str) -> list[str]:
        """What the venue itself has made for the group's entries, told or not."""
        return [made for entry in self._entries.get(group_id, ()) for made in self._truth.exits_of(entry)]

    def _on_attached(self, attached: OrderAttached) -> None:
        group_id = self._group_of.get(attached.parent_id)
        if group_id is None:
            return
        self._group_of[attached.client_order_id] = group_id
        there = self._truth.open_orders()
        for other in self._exits.get(group_id, ()):
            if other in there and attached.venue_order_id in there:
                self._fail("B19", f"{attached.client_order_id} of {group_id} shows itself, {other} is at the venue")

    def _on_fill(self, fill: OrderFilled) -> None:
        group_id = self._group_of.get(fill.client_order_id)
        if group_id is None or fill.trade_id in self._trades:
            return
        self._trades.add(fill.trade_id)
        filled = self._filled[group_id]
        filled[0 if fill.side is not self._intents[group_id].exits[0].side else 1] += fill.qty
        if self._beyond_size(group_id, fill):
            self._beyond.add(group_id)
        if filled[1] > filled[0] and self._intents[group_id].entry is not None and group_id not in self._beyond:
            self._fail("B12", f"exits of {group_id} have closed {filled[1]}, its entry has filled {filled[0]}")

    def _beyond_size(self, group_id: str, fill: OrderFilled) -> bool:
        """Whether the venue has executed this order, or an entry of the group, beyond its size: an exit of the venue's
        own is as large as what the entry has filled, and may be told before the entry's last execution."""
        names = (fill.client_order_id, fill.venue_order_id, *self._entries.get(group_id, ()))
        return any(name in self._truth.overfilled for name in names)

    def disown(self) -> None:
        """Nobody follows them any more."""
        for known in (self._intents, self._group_of, self._exits, self._filled):
            known.clear()
        self._entries.clear()

    def begin(self) -> None:
        """Another session: it has its own time."""
        self._since_ns.clear()

    def look(self, core: TradingCore, timer: Timer) -> None:
        """On a timer: is there a stop whose price has stood for long, and nothing at the venue that closes it?"""
        groups = core.view.groups()
        if not groups and not self._since_ns:
            return
        now_ns = timer.ts_recv_ns
        late = {one.group_id for one in groups if self._is_left(core, one)} if not self._excused(now_ns) else set()
        self._since_ns = {one: self._since_ns.get(one, now_ns) for one in late}
        for group_id, since_ns in self._since_ns.items():
            name = next(one.instrument for one in groups if one.group_id == group_id)
            most_ns = AWAITED_MOST_NS if core.desk.groups.awaits_exits(name) else LEFT_MOST_NS
            if now_ns - since_ns > most_ns:
                self._fail("groups", f"the stop of {group_id} was reached at {since_ns} and nothing is sent")

    def _is_left(self, core: TradingCore, group: OpenGroup) -> bool:
        view, name = core.view, group.instrument
        wish = self._intents.get(group.group_id)
        if wish is None or core.closing or core.reconciliation.awaited or view.tradable(name) != "":
            return False
        held_qty = min(group.open_qty, view.strategy_qty(group.strategy, name), view.position(name).qty)
        rules, top = view.instrument(name), view.top(name)
        held_qty -= held_qty % rules.lot_qty  # what is less than a lot nobody takes (rules may have changed)
        if top is None or not top.is_readable or held_qty < rules.min_qty or not held_qty:
            return False
        if float(rules.notional(held_qty, rules.price(top.bid_px))) < 1.1 * float(rules.min_notional):
            return False
        for order in core.orders.open_orders(name):
            # A target that nobody calls back closes nothing at this price.
            px = order.intent.limit_px if order.intent.trigger_px is None else None
            rests = order.state in RESTING and order.client_order_id == group.exit_id
            if order.intent.side is Side.SELL and not (rests and px is not None and float(px) > top.bid_px):
                return False
        stops = [px for px, one in zip(group.levels_px, wish.exits, strict=True) if one.order_type in STOPS]
        return any(px is not None and top.bid_px <= float(px) for px in stops)
