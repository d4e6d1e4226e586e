"""What is due for a group: the exit that is sent, looked after, exchanged for another or sent again, and its end.

Owns the course of each group.  At most one of its exits is at the venue at any time, so that together they never close
more than is held: where the price of another one is reached, the first is cancelled, and what is left to close is sent
when it is gone.  A stop that does not fill is sent again, then across the spread, then at market, with longer and
longer pauses, until nothing is left.

Which exit rests at the venue: target and stop as one order where it has those, else the first of the list that it
takes.  While trading is halted none rests; orders that close at once still leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from engine.awaited_exits import AwaitedExits
from engine.commands import (
    EXIT_WAITS,
    IN_THE_WAY,
    GroupEnded,
    GroupMoved,
    GroupOpened,
    NewOrder,
    OrderIntent,
    Rejected,
    RiskState,
)
from engine.counters import Counters
from engine.group_book import GroupBook
from engine.groups import BOTH, DONE, NONE, ZERO, Group
from engine.instruments import FULLY_PAID
from engine.ladder import exit_order, resting_exit
from engine.latch import RiskLatch
from engine.managed_order import ManagedOrder
from engine.offers import ALL_PLAIN, Offer
from engine.order_ids import attached_id
from engine.order_states import FINAL, OrderState
from engine.orders import OrderManager
from engine.stakes import OPERATOR
from engine.view import CoreView

RETRY_NS = 200_000_000
DOUBLINGS_MAX = 4
"""The pause between two exit orders doubles that often, to 3.2 s, and never ends them."""
PATIENCE_NS = 2_000_000_000
"""How long a stop whose price was reached may stay at its own limit, or at the venue, before it crosses."""
RESIZE_NS = 1_000_000_000
"""The first exit waits that long for an entry that is still filling, and grows with it at most once in that time: each
step is a cancel and a new order.  Meanwhile prices are watched here."""
RESTS_DOUBLINGS_MAX = 8
"""The same while no price was reached, to 51 s: what the venue does not want to rest is watched here meanwhile."""
LOST_MAX = 5
LOST_NS = 600_000_000_000
"""So many exits cancelled by somebody else within that time, and none rests any more: whoever does that means it, or is
a program that never stops.  Prices are watched here."""
SPENT_MAX = 32
"""Exit orders of one group that closed nothing and are remembered."""
_RATES = frozenset({"order_rate", "order_rate_instrument"})
_PASSING = frozenset({IN_THE_WAY, EXIT_WAITS})
"""Refusals that are over once an order of ours is gone."""


class Orders(Protocol):
    """What the desk does for a group."""

    closing: bool

    def place(
        self, intent: OrderIntent, exits_px: tuple[Decimal, Decimal] | None = None
    ) -> NewOrder | Rejected | None: ...

    def withdraw(self, order: ManagedOrder, reason: str) -> None: ...

    def keep(self, client_order_id: str) -> None: ...

    def refuse(self, verdict: Rejected) -> None: ...


class GroupCourse:
    """Of the groups of one desk.  ``offers`` by venue; a venue that is not in it takes what every one does."""

    def __init__(
        self,
        *,
        desk: Orders,
        latch: RiskLatch,
        orders: OrderManager,
        view: CoreView,
        counters: Counters,
        offers: Mapping[str, Offer],
        book: GroupBook,
        awaited: AwaitedExits,
    ) -> None:
        self._desk = desk
        self._latch = latch
        self._orders = orders
        self._view = view
        self._counters = counters
        self._offers = offers
        self._book = book
        self._awaited = awaited
        self._crowded_ns = 0  # no exit is sent before then: there were too many at once
        self.waits = False
        """Nothing is sent: the account is an earlier session's until its venue has confirmed it."""

    def follow(self, group: Group) -> None:
        """Do what is due now."""
        if self.waits or self._desk.closing or group.instrument not in self._view.instruments():
            return  # of what is not traded in this session nothing is known
        order = self._orders.get(group.sent_id) if group.sent_id else None
        left_qty = self.left_qty(group)
        if not group.ending:
            group.ending = self._why_done(group)
        awaits = self._awaited.may_come(group)
        if group.ending or group.is_stopping:
            self._withdraw_entry(group, group.ending or "its stop was reached")
        elif awaits and group.fired != NONE:
            self._withdraw_entry(group, "its target was reached")  # what it has filled gets its exit when it has ended
        if len(group.left) > 1:
            self._withdraw_strays(group)
        if group.ending:
            if order is not None:
                self._desk.withdraw(order, group.ending)
            elif not awaits and not self.is_entering(group):
                self.end(group, group.ending)
        elif order is not None:
            self._look_after(group, order, left_qty)
        elif not awaits and self._is_due(group) and not self._is_small(group, left_qty):
            self._send(group, left_qty)

    def move(self, group: Group, fired: int) -> None:
        """Another exit's price was reached, or a trailing level came nearer: on record before anything is sent."""
        if fired != group.fired:
            group.fired = fired
            if group.is_stopping:
                # Where the venue has the stop as well, it is given its time before anything else is tried.
                group.attempts = 0
                group.next_ns = self._view.now_ns + (PATIENCE_NS if group.is_out else 0)
            elif fired != NONE:  # a long pause is for what finds no place to rest
                group.next_ns = min(group.next_ns, self._view.now_ns + (RETRY_NS << DOUBLINGS_MAX))
        for one in group.exits:
            one.told_px = one.level_px
        self.record(GroupMoved(self._view.now_ns, group.group_id, group.levels_px, group.fired))

    def gone(self, group: Group, order: ManagedOrder) -> None:
        """The exit order that was at the venue is not there any more: what is next, and how soon?"""
        group.sent_id, group.sent_exit = "", NONE
        now_ns = self._view.now_ns
        if order.cancel_sent:  # as was asked
            group.next_ns = now_ns
            if group.fired == NONE:
                group.attempts = 0
            return
        if order.state is OrderState.REJECTED and group.unfit and group.fired == NONE:
            if self._resting(group) is not None:
                group.next_ns = now_ns  # the next one of the list
                return
            group.unfit = frozenset()  # not one of them: all are asked for again, later and later
        if order.leaves_qty > ZERO and not self.waits and self._adds(group):
            group.ending = group.ending or f"its order is {order.state.value}"
        group.next_ns = now_ns + self._pause_ns(group)
        is_cut = order.state is OrderState.CANCELLED and order.leaves_qty > ZERO and order.intent.may_rest
        if is_cut and not self.waits and not group.is_stopping:
            self._count_lost(group)
        if group.fired != NONE and not group.exits[group.fired].is_stop and order.leaves_qty > ZERO:
            self.move(group, NONE)

    def _count_lost(self, group: Group) -> None:
        """Somebody else has cancelled an exit.  It is sent again, so that the position is not left without one, but not
        for ever."""
        now_ns = self._view.now_ns
        if not group.lost or (group.lost < LOST_MAX and now_ns - group.lost_ns > LOST_NS):
            group.lost, group.lost_ns = 0, now_ns
        group.lost += 1
        if group.lost == LOST_MAX and not group.ending:
            self._latch.reduce(
                f"exits of group {group.group_id} in {group.instrument} were cancelled by somebody else {LOST_MAX} "
                "times: none rests at the venue any more, its prices are watched here"
            )

    def leave(self, group: Group, reason: str) -> None:
        """Nothing more is sent; it ends when nothing of it is at the venue.  On record at once: a next session must not
        take up what somebody has ended."""
        group.ending = group.ending or reason or "cancelled"
        self._tell_end(group, group.ending)
        self._withdraw_entry(group, group.ending)
        self.follow(group)

    def end(self, group: Group, reason: str) -> None:
        """Nothing of it is at the venue any more; it stays where its end could not be put on record.  Nothing where it
        has ended already: an order that waits for the disk is gone at once when another group is in its way."""
        if group.group_id in self._book.groups and self._tell_end(group, reason):
            group.ending = reason
            self._book.forget(group)

    def _tell_end(self, group: Group, reason: str) -> bool:
        group.told = group.told or self.record(GroupEnded(self._view.now_ns, group.group_id, reason))
        return group.told

    def record(self, record: GroupOpened | GroupMoved | GroupEnded) -> bool:
        """Whether it is on record; where the journal takes nothing, trading halts."""
        return self._latch.put_on_record(record)

    # --- the exit that is at the venue, or is to be -------------------------------------------------------------------

    def _is_due(self, group: Group) -> bool:
        """Whether nothing speaks against an order now: no pause, and no entry that will be done in a moment."""
        return self._view.now_ns >= max(group.next_ns, self._crowded_ns) and not self._is_filling(group)

    def _look_after(self, group: Group, order: ManagedOrder, left_qty: Decimal) -> None:
        """An exit is at the venue: is it still the right one, and of the right size?"""
        now_ns, reason = self._view.now_ns, ""
        if order.state is OrderState.HELD:
            return
        if group.fired != NONE and not group.is_out:
            reason = "another exit's price was reached"
        elif group.fired != NONE and now_ns >= group.next_ns and self._has_gone_back(group, order):
            # What the venue watches goes by the venue's rule, and what is not a stop has time.
            self.move(group, NONE)
            return
        elif group.is_stopping:
            if group.reduce_only and now_ns >= group.next_ns:
                reason = "a stop that did not fill"
        elif group.fired == NONE and not self._may_rest(group):
            reason = "another exit rests"
        elif self._awaited.is_entering(group):
            return  # its size follows the entry at the venue
        elif order.leaves_qty > left_qty or (group.reduce_only and self._is_covered(group, order)):
            reason = "more than is left to close"
        elif order.leaves_qty < left_qty and now_ns - order.opened_ns >= RESIZE_NS:
            reason = "its entry has filled more"
        if reason:
            self._desk.withdraw(order, reason)

    def _is_covered(self, group: Group, order: ManagedOrder) -> bool:
        """Whether older exits of its strategy may close so much that too little is left for this one: several groups
        whose position was closed in part by somebody else."""
        held_qty = self._view.strategy_qty(group.strategy, group.instrument) * -group.side
        if self._view.open_qty(group.instrument, group.side) <= held_qty:
            return False
        for one in self._orders.open_orders(group.instrument):
            if one is order:
                break
            intent = one.intent
            if intent.reduce_only and intent.strategy == group.strategy and intent.side is group.side:
                held_qty -= one.leaves_qty
        return order.leaves_qty > held_qty

    def _has_gone_back(self, group: Group, order: ManagedOrder) -> bool:
        """Whether the price that fired the exit is not there any more, and the order that is out can wait for it."""
        top = self._view.top(group.instrument)
        if top is None or not top.is_readable or (group.is_stopping and order.intent.trigger_px is None):
            return False
        return not group.exits[group.fired].is_reached(top)

    def _why_done(self, group: Group) -> str:
        """Empty while there is something to do.  By the strategy's own books: what another strategy holds against it
        keeps an exit back, and does not end it."""
        left_qty = self._own_qty(group)
        if not group.reduce_only and self._view.risk_state is not RiskState.ACTIVE:
            return f"risk is {self._view.risk_state}"
        if left_qty > ZERO and group.sent_id:
            return ""  # however little is left: an order for it is out
        if self._is_small(group, left_qty) and not self.is_entering(group) and not self._awaited.may_come(group):
            return DONE
        return ""

    def _send(self, group: Group, qty: Decimal) -> None:
        index = self._due(group)
        if index is None:
            return
        rules = self._view.instrument(group.instrument)
        intent = exit_order(group, index, min(qty, rules.max_qty), self._view)
        made = self._desk.place(intent)
        if group.fired != NONE:
            self._counters.group_exits += 1
            if group.attempts:
                self._counters.exit_retries += 1
        group.attempts += 1
        if isinstance(made, NewOrder):
            self._book.link(made)
            group.sent_exit = index
            group.next_ns = self._view.now_ns + self._patience_ns(group, intent)
            return
        group.next_ns = self._view.now_ns + self._pause_ns(group)
        if made is not None:
            self._answer(group, made)

    def _answer(self, group: Group, refused: Rejected) -> None:
        """The gate has refused an order."""
        if refused.check in _PASSING:  # nobody was asked to trade: that is no step up the ladder
            group.attempts, group.next_ns = group.attempts - 1, self._view.now_ns + RETRY_NS
        elif self._adds(group):
            self.leave(group, f"its order was refused: {refused.check}")
        elif refused.check in _RATES:
            # Exits that are many at once are no strategy that asks without looking: they take turns.
            self._crowded_ns = self._view.now_ns + RETRY_NS
        elif refused.check == "reduce_only" and group.is_stopping:
            self._clear_side(group)

    def _clear_side(self, group: Group) -> None:
        """What a stop is to close is held by other orders to close it, its strategy's own or an operator's: they wait
        for better prices, and go.  Those of other groups last."""
        found = [
            order
            for order in self._orders.open_orders(group.instrument)
            if order.intent.side is group.side and order.intent.strategy in (group.strategy, OPERATOR)
        ]
        alone = [order for order in found if not self._book.is_exit(order.client_order_id)]
        for order in alone or [one for one in found if not self._book.of[one.client_order_id].is_stopping]:
            self._desk.withdraw(order, f"in the way of a stop of {group.strategy}")

    def _resting(self, group: Group, unfit: frozenset[int] | None = None) -> int | None:
        if group.lost >= LOST_MAX:
            return None
        offer = self._offers.get(self._view.instrument(group.instrument).venue, ALL_PLAIN)
        return resting_exit(group, offer, self._view.risk_state, group.unfit if unfit is None else unfit)

    def _may_rest(self, group: Group) -> bool:
        """Whether the exit that is out is the one that is to be, or the one that stands in for target and stop as one
        order: what protects is not taken away to ask for what may be refused again."""
        wanted = self._resting(group)
        if wanted == BOTH and wanted != group.sent_exit:
            wanted = self._resting(group, group.unfit | {BOTH})
        return wanted is None or wanted == group.sent_exit

    def _due(self, group: Group) -> int | None:
        """Which exit is to be at the venue now; None: all of them wait for their price."""
        return group.fired if group.fired != NONE else self._resting(group)

    @staticmethod
    def _patience_ns(group: Group, intent: OrderIntent) -> int:
        """For what ends by itself longer each time that it was called back: a venue that takes longer to fill than we
        wait would never let it out."""
        return PATIENCE_NS << (0 if intent.may_rest else min(group.attempts - 1, DOUBLINGS_MAX))

    @staticmethod
    def _pause_ns(group: Group) -> int:
        most = DOUBLINGS_MAX if group.fired != NONE else RESTS_DOUBLINGS_MAX
        return RETRY_NS << min(max(group.attempts - 1, 0), most)

    # --- what must go -------------------------------------------------------------------------------------------------

    def _withdraw_entry(self, group: Group, reason: str) -> None:
        """Asked for until it is gone, and nothing takes its place."""
        for client_order_id in list(group.entered):
            entry = self._orders.get(client_order_id)
            if entry is not None and entry.state not in FINAL:
                self._desk.keep(client_order_id)
                self._desk.withdraw(entry, reason)

    def _withdraw_strays(self, group: Group) -> None:
        """Exits that were given up and live; those that are known to be spent are forgotten in time."""
        spent, kept = [], {attached_id(name) for name in group.entered}
        for client_order_id, filled_qty in group.left.items():
            order = self._orders.get(client_order_id) if client_order_id != group.sent_id else None
            if order is not None and order.state not in FINAL:
                self._desk.withdraw(order, "another exit is in its place")
            elif client_order_id != group.sent_id and not filled_qty and client_order_id not in kept:
                spent.append(client_order_id)
        for client_order_id in spent[: -SPENT_MAX or None] if len(spent) > SPENT_MAX else ():
            self._book.unlink(group, client_order_id)

    # --- what is left to close ----------------------------------------------------------------------------------------

    def left_qty(self, group: Group) -> Decimal:
        """What the exits may close: never more than is held, where they may only reduce."""
        qty, name = self._own_qty(group), group.instrument
        if not group.reduce_only or not qty:
            return qty
        qty = min(qty, self._view.position(name).qty * -group.side)
        return qty - qty % self._view.instrument(name).lot_qty if qty > ZERO else ZERO

    def _own_qty(self, group: Group) -> Decimal:
        """The same by what the strategy holds, whatever the account does."""
        qty = group.open_qty
        if group.reduce_only:
            qty = min(qty, self._view.strategy_qty(group.strategy, group.instrument) * -group.side)
        return max(qty, ZERO)

    def _adds(self, group: Group) -> bool:
        """Whether its orders would enter rather than leave: nobody wants to enter at whatever the price is later."""
        if group.reduce_only:
            return False
        return self._view.strategy_qty(group.strategy, group.instrument) * -group.side < group.open_qty

    def is_entering(self, group: Group) -> bool:
        """Whether its entry may still fill."""
        for client_order_id in group.entered:
            entry = self._orders.get(client_order_id)
            if entry is not None and entry.state not in FINAL:
                return True
        return False

    def attached(self, group: Group) -> None:
        """The venue's own exit has shown itself."""
        group.next_ns = self._view.now_ns + PATIENCE_NS
        if group.sent_exit == BOTH and group.fired != NONE and not group.is_stopping:
            self.move(group, NONE)  # its target is at the venue now

    def _is_filling(self, group: Group) -> bool:
        """Whether its entry will probably be done in a moment, and no exit's price has come."""
        young = self._view.now_ns - group.entered_ns < RESIZE_NS
        return young and group.fired == NONE and self.is_entering(group)

    def _is_small(self, group: Group, qty: Decimal) -> bool:
        """Less than the venue takes in one order."""
        rules = self._view.instrument(group.instrument)
        if qty < rules.min_qty or qty <= ZERO:
            return True
        levels = [one.level_px for one in group.exits if one.level_px is not None]
        if rules.asset_class not in FULLY_PAID or not levels:
            return False
        return rules.notional(qty, max(levels)) < rules.min_notional
