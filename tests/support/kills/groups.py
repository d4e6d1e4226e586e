"""What became of orders that belong together, by the exchange's own orders and the journals of all sessions.

Owns the rules that hold at any time for every group.  That the books are the exchange's is ``books``'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.records import OPEN_STATES, OrderRecord
from engine.carried import Carried, CarriedGroup
from engine.commands import GroupEnded, GroupOpened, NewOrder
from engine.events import Side
from engine.groups import DONE, STOPS
from engine.instruments import Instrument
from engine.order_ids import attached_id

ZERO = Decimal(0)


class Journal(Protocol):
    """The records of one session."""

    def of(self, kind: type) -> list[Any]: ...


def name_of(exchange: Exchange, order: OrderRecord) -> str:
    """What the journals call an order of the exchange: one that came with an entry has no client order id of ours."""
    entry = exchange.orders.get(order.originating_order_id)
    return order.spec.client_order_id if entry is None else attached_id(entry.spec.client_order_id)


class ToldGroups:
    """Every group that a session has opened, with its orders, and what the exchange has filled of them."""

    def __init__(self, exchange: Exchange, told: Iterable[Journal]) -> None:
        self.opened: dict[str, GroupOpened] = {}
        self.ended: dict[str, str] = {}
        self.entries: dict[str, list[str]] = defaultdict(list)
        self.exits: dict[str, list[str]] = defaultdict(list)
        orders: list[NewOrder] = []
        for one in told:
            for record in one.of(GroupOpened):
                self.opened.setdefault(record.group_id, record)
                self.ended.pop(record.group_id, None)  # a late fill of its entry has brought it back
            self._end(one)
            orders += one.of(NewOrder)
        for order in orders:
            group = self.opened.get(order.intent.parent_id)
            if group is not None:
                is_exit = order.intent.side is group.intent.exits[0].side
                (self.exits if is_exit else self.entries)[group.group_id].append(order.client_order_id)
        self._at_exchange = {name_of(exchange, order): order for order in exchange.orders.values()}
        for group_id, entries in self.entries.items():
            self.exits[group_id] += [name for name in map(attached_id, entries) if name in self._at_exchange]

    def _end(self, one: Journal) -> None:
        """Ended in this session, unless it was opened again after that."""
        last: dict[str, int] = {record.group_id: record.ts_ns for record in one.of(GroupOpened)}
        for record in one.of(GroupEnded):
            if record.ts_ns >= last.get(record.group_id, 0):
                self.ended[record.group_id] = record.reason

    def filled_qty(self, names: Iterable[str]) -> Decimal:
        there = [self._at_exchange[name] for name in names if name in self._at_exchange]
        return sum([order.filled_qty for order in there], ZERO)

    def open_exits(self, group_id: str) -> list[str]:
        return [
            name
            for name in self.exits[group_id]
            if name in self._at_exchange and self._at_exchange[name].status in OPEN_STATES
        ]

    def held_qty(self, group_id: str) -> Decimal:
        """What its entry has bought and its exits have not sold, by the exchange."""
        return self.filled_qty(self.entries[group_id]) - self.filled_qty(self.exits[group_id])


def never(groups: ToldGroups, alongside: Mapping[str, Sequence[str]], excused: Container[str]) -> list[str]:
    """What must never have happened.  ``alongside``: what was open at the exchange when an order came to be there."""
    found = []
    for group_id, opened in groups.opened.items():
        if group_id in excused:
            continue
        exits = set(groups.exits[group_id])
        for name in exits:
            found += [
                f"exit {name} of {group_id} beside {other}" for other in alongside.get(name, ()) if other in exits
            ]
        if len(exits) > 1 and len(groups.open_exits(group_id)) > 1:
            found.append(f"group {group_id} has exits {groups.open_exits(group_id)} open at the exchange")
        if opened.intent.entry is not None and groups.held_qty(group_id) < ZERO:
            found.append(f"exits of {group_id} have closed {-groups.held_qty(group_id)} more than its entry has filled")
        if opened.intent.entry is None and groups.filled_qty(exits) > opened.intent.exits[0].qty:
            found.append(f"group {group_id} has done {groups.filled_qty(exits)} of {opened.intent.exits[0].qty}")
    return found


def unguarded(exchange: Exchange, groups: ToldGroups, state: Carried, excused: Container[str]) -> list[str]:
    """Positions of groups that nobody looks after, once a session has its account confirmed and the market stands
    still."""
    least_qty = max([_least_qty(exchange, one) for one in state.instruments], default=ZERO)
    known = {one.group_id: one for one in state.groups}
    found = []
    for group_id in groups.opened:
        if group_id in excused:
            continue
        opened, reason = groups.opened[group_id], groups.ended.get(group_id)
        held_qty = groups.held_qty(group_id) if opened.intent.entry is not None else ZERO
        if group_id not in known:
            if reason is None:
                found.append(f"group {group_id} was opened and is forgotten without its end on record")
            elif reason == DONE and held_qty >= least_qty:
                found.append(f"group {group_id} is done by the books and {held_qty} of it are held")
        elif held_qty >= least_qty and not known[group_id].ending and not groups.open_exits(group_id):
            found += _not_watched(exchange, known[group_id], held_qty)
    return found + [f"group {name} is in the books and in no journal" for name in known.keys() - groups.opened.keys()]


def _not_watched(exchange: Exchange, group: CarriedGroup, held_qty: Decimal) -> list[str]:
    """Nothing of it is at the exchange: there is a level, and its price has not come."""
    if all(level_px is None for level_px in group.levels_px):
        return [f"{held_qty} of group {group.group_id} have neither an exit nor a level"]
    first = group.intent.exits[0]
    bid_px = _bid_px(exchange)
    if first.side is not Side.SELL:
        return []
    return [
        f"{held_qty} of group {group.group_id}: the stop at {level_px} is reached by {bid_px} and nothing is sent"
        for level_px, one in zip(group.levels_px, group.intent.exits, strict=True)
        if one.order_type in STOPS and level_px is not None and bid_px <= level_px
    ]


def _bid_px(exchange: Exchange) -> Decimal:
    """Of the one market; 0 where nobody bids."""
    bids = next(iter(exchange.markets.values())).engine.levels(Side.BUY, 1)
    return bids[0][0] if bids else ZERO


def _least_qty(exchange: Exchange, instrument: Instrument) -> Decimal:
    """What the exchange takes in one order, and a little more: its price moves."""
    bid_px = _bid_px(exchange)
    by_value = instrument.min_notional * Decimal("1.1") / bid_px if bid_px else ZERO
    return max(instrument.min_qty, by_value)
