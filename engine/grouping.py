"""Orders that belong together: begun, shown the prices that they wait for, cancelled, taken over by the next session.

Owns which groups there are and what reaches them: wishes, prices, time, fates of orders, records.  Until their price
comes, and where the venue has no such order, exits wait here for it, also while trading is halted.  What is sent and
cancelled for a group is ``engine.group_course``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from engine.awaited_exits import AwaitedExits
from engine.carried import CarriedGroup
from engine.commands import (
    GroupEnded,
    GroupIntent,
    GroupMoved,
    GroupOpened,
    NewOrder,
    OrderIntent,
    Rejected,
    RiskState,
)
from engine.counters import Counters
from engine.group_book import GroupBook
from engine.group_course import GroupCourse, Orders
from engine.groups import DONE, NONE, ZERO, Group, calm_between, group_defect, move, new_group, restored
from engine.ladder import attached_prices
from engine.latch import RiskLatch
from engine.managed_order import ManagedOrder
from engine.offers import ALL_PLAIN, Offer
from engine.order_states import FINAL
from engine.orders import OrderManager
from engine.ports import Top
from engine.view import CoreView

GROUPS_MAX = 256
"""Groups at once; one more is refused with the reason ``groups``."""
UNFIT = frozenset(
    {
        "exit_refused",
        "exit_exists",
        "invalid_px",
        "invalid_px_precision",
        "too_far",
        "too_near",
        "unknown_trade",
        "unsupported",
    }
)
"""A venue's refusals (``engine.refusals``) that asking again does not change."""


class Grouping:
    """The groups of one desk.  ``offers`` by venue; a venue that is not in it takes what every one does."""

    def __init__(
        self,
        *,
        desk: Orders,
        latch: RiskLatch,
        orders: OrderManager,
        view: CoreView,
        counters: Counters,
        id_prefix: str,
        offers: Mapping[str, Offer],
    ) -> None:
        self._desk = desk
        self._orders = orders
        self._view = view
        self._offers = offers
        self._id_prefix = id_prefix
        self._count = 0
        self.book = book = GroupBook(orders)
        self.watched = book.watched
        """By instrument: whose prices ``on_price`` wants to know.  Read-only for everybody else."""
        self._groups, self._of, self._late = book.groups, book.of, book.late
        self.link, self.carried, self.pictures = book.link, book.carried, book.pictures
        self.knows, self.has, self.is_exit, self.protects, self.why_stray = (
            book.knows,
            book.has,
            book.is_exit,
            book.protects,
            book.why_stray,
        )
        self._calm: dict[str, tuple[float, float, float, float]] = {}  # prices that concern no exit, by instrument
        self._awaited = awaited = AwaitedExits(orders, view, book)
        self.refusal_beside_awaited = awaited.refusal
        self._course = GroupCourse(
            desk=desk,
            latch=latch,
            orders=orders,
            view=view,
            counters=counters,
            offers=offers,
            book=book,
            awaited=awaited,
        )

    @property
    def waits(self) -> bool:
        """Nothing is sent: the account is an earlier session's until its venue has confirmed it."""
        return self._course.waits

    @waits.setter
    def waits(self, waits: bool) -> None:
        self._course.waits = waits

    # --- wishes -----------------------------------------------------------------------------------------------------

    def open(self, intent: GroupIntent) -> Group | None:
        """Begin to watch; None where it was refused, or its entry was."""
        view, first = self._view, intent.exits[0] if intent.exits else intent.entry
        if first is None:
            return None
        refused = self._refusal(intent, first)
        if refused is not None:
            self._desk.refuse(Rejected(view.now_ns, first, *refused))
            return None
        self._count += 1
        group = new_group(f"{self._id_prefix}-g{self._count}", intent)
        if not self._course.record(GroupOpened(view.now_ns, group.group_id, intent)):
            return None
        self._take(group)
        if intent.entry is None:
            self._course.follow(group)
            return group
        rules = view.instrument(group.instrument)
        exits_px = attached_prices(group, self._offers.get(rules.venue, ALL_PLAIN), rules)
        made = self._desk.place(msgspec.structs.replace(intent.entry, parent_id=group.group_id), exits_px)
        if not isinstance(made, NewOrder):
            self._course.end(group, "its entry was refused")
            return None
        self.link(made)
        return group

    def _refusal(self, intent: GroupIntent, first: OrderIntent) -> tuple[str, str, str] | None:
        if len(self._groups) >= GROUPS_MAX:
            return ("groups", str(len(self._groups)), f"less than {GROUPS_MAX}")
        try:
            instrument = self._view.instrument(first.instrument)
        except KeyError:
            return ("instrument", first.instrument, "a defined instrument")
        if self._view.risk_state is not RiskState.ACTIVE and not (first.reduce_only and intent.entry is None):
            return ("risk_state", str(self._view.risk_state), "active, or exits that reduce")
        found = group_defect(intent, instrument, self._view.now_ns)
        return None if found is None else ("group", *found)

    def cancel(self, group_or_order_id: str, strategy: str, reason: str) -> bool:
        """End the group of that id, or the one of whose exits this is an order.  False: there is none, or it is not
        this strategy's; an entry is an order like any other."""
        group = self._groups.get(group_or_order_id) or self._of.get(group_or_order_id)
        if group is None or group_or_order_id in group.entered or strategy not in ("", group.strategy):
            return False
        self._course.leave(group, reason)
        return True

    def end_of(self, instrument: str, reason: str) -> None:
        """Somebody else closes what is held there."""
        for group in list(self.watched.get(instrument, ())):
            self._course.leave(group, reason)

    def abandon(self, strategy: str, instrument: str = "") -> None:
        """A strategy is not trusted any more, or is not there (in one instrument, where that is named): what could add
        risk ends, what protects its position stays."""
        reason = f"strategy {strategy} " + (
            f"does not trade {instrument} in this session" if instrument else "quarantined"
        )
        for group in list(self._groups.values()):
            if group.strategy == strategy and not group.reduce_only and instrument in ("", group.instrument):
                self._course.leave(group, reason)

    # --- what happens -----------------------------------------------------------------------------------------------

    def on_price(self, instrument: str, top: Top) -> None:
        """Prices that are shown to exits."""
        calm = self._calm.get(instrument)
        if calm is not None and calm[0] < top.bid_px < calm[1] and calm[2] < top.ask_px < calm[3]:
            return
        groups = self.watched.get(instrument)
        if not groups or self.waits or self._desk.closing or not top.is_readable:
            return
        rules = self._view.instrument(instrument)
        for group in list(groups):
            if group.ending or not group.is_armed:
                continue
            trailed = False
            for one in group.exits:
                if one.distance and one.trail(top, rules):
                    trailed = True
            fired = group.fires(top)
            if fired != group.fired and self._course.left_qty(group) <= ZERO:
                fired = group.fired
            if fired != group.fired or (trailed and group.has_moved()):
                self._course.move(group, fired)
                self._course.follow(group)
        self._calm[instrument] = calm_between([one for group in groups for one in group.exits])

    def on_timer(self) -> None:
        """Pauses end, times run out."""
        if not self._groups or self.waits or self._desk.closing:
            return
        for instrument in list(self.watched):
            # An entry may have filled where its stop had been reached before, and no price may come for long.
            top = self._view.top(instrument)
            if top is not None:
                self.on_price(instrument, top)
        now_ns = self._view.now_ns
        for group in list(self._groups.values()):
            expire_ns = group.expire_ns
            if expire_ns is not None and now_ns >= expire_ns and not group.ending and not group.is_stopping:
                self._course.leave(group, "expired")
            else:
                self._course.follow(group)

    def moved(self, order: ManagedOrder) -> None:
        """An order has filled, or is gone."""
        group = self._of.get(order.client_order_id)
        if group is None:
            group = self._late.get(order.client_order_id)
            if group is None or order.filled_qty <= group.entered.get(order.client_order_id, order.filled_qty):
                return
            if group.ending != DONE:
                return
            # Its entry had ended with less, as far as was known: what has come of it late has its exits again.
            if not self._course.record(GroupOpened(self._view.now_ns, group.group_id, group.intent)):
                return
            self._again(group)
        part = group.entered if order.client_order_id in group.entered else group.left
        if order.filled_qty != part[order.client_order_id]:
            part[order.client_order_id] = order.filled_qty
            group.unfit = frozenset()
            group.entered_ns = group.entered_ns or self._view.now_ns
            if part is group.left:
                group.attempts = group.lost = 0
        if order.client_order_id == group.sent_id and order.state in FINAL:
            self._course.gone(group, order)
        self._course.follow(group)

    def attached(self, order: ManagedOrder, entry_id: str) -> None:
        """The venue has made the exit that came with an entry."""
        group = self._entered_by(entry_id)
        if group is not None:
            self.book.link_attached(group, entry_id, order.new)
            if group.sent_id == order.client_order_id:
                self._course.attached(group)

    def unattached(self, entry_id: str) -> None:
        """It has made none: exits are sent from here."""
        group = self._entered_by(entry_id)
        if group is not None:
            self.book.link_attached(group, entry_id, None)
            if group.group_id in self.book.groups:  # one that was called back has nothing more to send
                self._course.follow(group)

    def _entered_by(self, entry_id: str) -> Group | None:
        """The group of an entry; one that was done lives again: what came with its entry says that there is more."""
        group = self._of.get(entry_id)
        if group is None:
            group = self._late.get(entry_id)
            if group is not None and group.ending == DONE:
                if not self._course.record(GroupOpened(self._view.now_ns, group.group_id, group.intent)):
                    return None
                self._again(group)
        return group

    def awaits_exits(self, instrument: str = "") -> bool:
        """Whether the venue may still make an exit of itself, in an instrument or anywhere."""
        groups = self.watched.get(instrument, ()) if instrument else self._groups.values()
        return any(self._awaited.may_come(group) for group in groups)

    def refused(self, client_order_id: str, reason: str) -> None:
        """The venue has refused an order: an exit that it cannot hold as things are makes way for the next one."""
        group = self._of.get(client_order_id)
        if group is not None and reason in UNFIT and client_order_id == group.sent_id and group.fired == NONE:
            group.unfit |= {group.sent_exit}

    # --- from one session to the next -------------------------------------------------------------------------------

    def restore(self, carried: Iterable[CarriedGroup]) -> None:
        """After the orders: what those have filled since counts."""
        for one in carried:
            self._take(restored(one))

    def opened(self, record: GroupOpened) -> None:
        """As on record; likewise ``changed`` and ``ended``."""
        if record.group_id in self._groups:
            return
        ended = self.book.ended.get(record.group_id)
        if ended is not None:
            self._again(ended)
            return
        self._take(new_group(record.group_id, record.intent))
        for order in self._orders.of_parent(record.group_id):  # it was opened before, and has ended since
            self.link(order.new)
            self.moved(order)

    def changed(self, record: GroupMoved) -> None:
        group = self._groups.get(record.group_id)
        if group is not None:
            move(group, record.levels_px, record.fired)
            self._calm.pop(group.instrument, None)

    def ended(self, record: GroupEnded) -> None:
        group = self._groups.get(record.group_id)
        if group is not None:
            group.ending, group.told = record.reason, True
            if not group.sent_id and not self._course.is_entering(group) and not self._awaited.may_come(group):
                self.book.forget(group)

    def _again(self, group: Group) -> None:
        self._calm.pop(group.instrument, None)
        self.book.reopen(group)

    def _take(self, group: Group) -> None:
        self._calm.pop(group.instrument, None)
        self.book.add(group)
