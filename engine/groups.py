"""Orders that belong together: which there are, what each still has to close, and at which prices its exits act.

Owns the state of groups and its form between sessions.  What is sent, cancelled and recorded because of it is
``engine.grouping``'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from math import inf, isnan

import msgspec

from engine.carried import CarriedGroup
from engine.commands import GroupIntent, OrderIntent, OrderType, TimeInForce
from engine.events import Side
from engine.instruments import Instrument
from engine.ports import OpenGroup, Top

ZERO = Decimal(0)
EXITS_MAX = 8
"""Exits of one group: target, stop, and a ladder of stops."""
BOTH = -2
"""In place of an exit's index: the venue's own bracket order, which is target and stop at once."""
NONE = -1
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)
DONE = "nothing is left to close"
"""Why a group ends that needs nobody any more."""


class Exit(msgspec.Struct, gc=False):
    """One way out.  ``level_px`` is where it acts, ``at_px`` the same as a float; NaN where it is not known yet."""

    intent: OrderIntent
    level_px: Decimal | None
    at_px: float
    told_px: Decimal | None
    """The level that is on record."""
    is_stop: bool
    sells: bool
    distance: float
    """Of a trailing level, as a float; 0 where it does not trail."""

    def set_level(self, level_px: Decimal | None) -> None:
        self.level_px = level_px
        self.at_px = float("nan") if level_px is None else float(level_px)

    def trail(self, top: Top, instrument: Instrument) -> bool:
        """Follow the price that the exit would be executed at; the level only ever comes nearer.  Whether it has."""
        distance_px, selling = self.intent.trailing_px, self.sells
        if distance_px is None:
            return False
        # Most prices move nothing, and floats say so at a tenth of the cost; what they leave open is worked out.
        if top.bid_px - self.distance < self.at_px if selling else top.ask_px + self.distance > self.at_px:
            return False
        touch_px = instrument.price(top.bid_px if selling else top.ask_px)
        level_px = touch_px - distance_px if selling else touch_px + distance_px
        if self.level_px is None or (level_px > self.level_px if selling else level_px < self.level_px):
            self.set_level(level_px)
            return True
        return False

    def is_reached(self, top: Top) -> bool:
        """Whether the side of the book that it would be executed at has come to its level."""
        if self.sells:
            return top.bid_px <= self.at_px if self.is_stop else top.bid_px >= self.at_px
        return top.ask_px >= self.at_px if self.is_stop else top.ask_px <= self.at_px


class Group(msgspec.Struct, gc=False, eq=False):
    """One group; written by ``engine.grouping.Grouping`` alone.  Exits are known by their index."""

    group_id: str
    intent: GroupIntent
    exits: tuple[Exit, ...]
    entered: dict[str, Decimal]
    """Filled quantity of each order of the entry, by client order id."""
    left: dict[str, Decimal]
    """The same of each order of an exit."""
    sent_id: str = ""
    """The exit order that is at the venue."""
    sent_exit: int = NONE
    fired: int = NONE
    """The exit whose price was reached."""
    attempts: int = 0
    """Exit orders in a row that have closed nothing."""
    next_ns: int = 0
    """No further exit order before then."""
    entered_ns: int = 0
    """When the entry began to fill, in this session."""
    lost: int = 0
    """Exit orders in a row that were cancelled and not by us, before their price came; the first of them at
    ``lost_ns``."""
    lost_ns: int = 0
    unfit: frozenset[int] = frozenset()
    """Exits that the venue cannot hold as things are, ``BOTH`` among them; looked at anew when anything fills."""
    ending: str = ""
    """Why it ends as soon as nothing of it is at the venue."""
    told: bool = False
    """Its end is on record."""

    @property
    def strategy(self) -> str:
        return self.intent.strategy

    @property
    def instrument(self) -> str:
        return self.intent.exits[0].instrument

    @property
    def side(self) -> Side:
        """Of the exits."""
        return self.intent.exits[0].side

    @property
    def reduce_only(self) -> bool:
        return self.intent.exits[0].reduce_only

    @property
    def open_qty(self) -> Decimal:
        """What the exits are still to close, whatever is held: never below zero."""
        asked_qty = self.intent.exits[0].qty if self.intent.entry is None else sum(self.entered.values(), ZERO)
        return max(asked_qty - sum(self.left.values(), ZERO), ZERO)

    @property
    def is_armed(self) -> bool:
        """Whether there is anything that its exits could close."""
        return self.intent.entry is None or any(self.entered.values())

    @property
    def is_stopping(self) -> bool:
        """Whether a stop's price was reached."""
        return self.fired != NONE and self.exits[self.fired].is_stop

    @property
    def is_out(self) -> bool:
        """Whether the order at the venue is the exit whose price was reached."""
        if self.sent_exit == BOTH:
            return self.is_stopping
        return self.sent_exit == self.fired

    def fires(self, top: Top) -> int:
        """Which exit's price is reached; a stop takes over from a target, and nothing takes over from a stop."""
        fired = self.fired
        if fired != NONE and self.exits[fired].is_stop:
            return fired
        for index, one in enumerate(self.exits):
            if one.is_stop and one.is_reached(top):
                return index
        if fired == NONE and self.sent_exit != BOTH:
            for index, one in enumerate(self.exits):
                if index != self.sent_exit and not one.is_stop and one.is_reached(top):
                    return index
        return fired

    @property
    def levels_px(self) -> tuple[Decimal | None, ...]:
        return tuple([one.level_px for one in self.exits])

    def has_moved(self) -> bool:
        """Whether a trailing level is a tenth of its distance away from what is on record, or is new."""
        for one in self.exits:
            distance_px = one.intent.trailing_px
            if distance_px is None or one.level_px is None:
                continue
            if one.told_px is None or abs(one.level_px - one.told_px) * 10 >= distance_px:
                return True
        return False

    @property
    def expire_ns(self) -> int | None:
        """The earliest end among the exits; None: they stay until they are done or cancelled."""
        ends = [one.expire_ns for one in self.intent.exits if one.expire_ns is not None]
        return min(ends) if ends else None

    def picture(self) -> OpenGroup:
        return OpenGroup(
            self.group_id,
            self.strategy,
            self.instrument,
            self.side,
            self.open_qty,
            tuple(self.entered),
            self.sent_id,
            self.levels_px,
            self.fired,
        )


def new_group(group_id: str, intent: GroupIntent) -> Group:
    """As it was wished for: nothing has been entered, and no price has come."""
    exits = []
    for wish in intent.exits:
        trailing = 0.0 if wish.trailing_px is None else float(wish.trailing_px)
        made = Exit(wish, None, float("nan"), None, wish.order_type in STOPS, wish.side is Side.SELL, trailing)
        made.set_level(wish.limit_px if wish.order_type is OrderType.LIMIT else wish.trigger_px)
        exits.append(made)
    return Group(group_id, intent, tuple(exits), {}, {})


def calm_between(exits: Sequence[Exit]) -> tuple[float, float, float, float]:
    """Bids and asks, as ``(above, below, above, below)``, at which no exit is reached and no level moves."""
    bid, ask = [-inf, inf], [-inf, inf]
    for one in exits:
        side = bid if one.sells else ask
        if one.distance:
            # Where it would follow; a level that is not known yet leaves nothing calm.
            follows_px = one.at_px + one.distance if one.sells else one.at_px - one.distance
            if one.sells:
                side[1] = min(side[1], follows_px) if not isnan(follows_px) else -inf
            else:
                side[0] = max(side[0], follows_px) if not isnan(follows_px) else inf
        if one.is_stop is one.sells:
            side[0] = max(side[0], one.at_px) if not isnan(one.at_px) else inf
        else:
            side[1] = min(side[1], one.at_px) if not isnan(one.at_px) else -inf
    return (bid[0], bid[1], ask[0], ask[1])


def carry(group: Group) -> CarriedGroup:
    """What a next session needs to go on with it."""
    return CarriedGroup(
        group.group_id,
        group.intent,
        group.levels_px,
        group.fired,
        tuple(group.entered.items()),
        tuple(group.left.items()),
        group.sent_id,
        group.sent_exit,
        group.ending,
    )


def restored(one: CarriedGroup) -> Group:
    """The group that an earlier session left."""
    group = new_group(one.group_id, one.intent)
    move(group, one.levels_px, one.fired)
    group.entered, group.left = dict(one.entered), dict(one.left)
    group.sent_id, group.sent_exit, group.ending = one.sent_id, one.sent_exit, one.ending
    return group


def move(group: Group, levels_px: Sequence[Decimal | None], fired: int) -> None:
    """As a record tells it."""
    for found, level_px in zip(group.exits, levels_px, strict=True):
        found.set_level(level_px)
        found.told_px = level_px
    group.fired = fired


def group_defect(intent: GroupIntent, instrument: Instrument, now_ns: int) -> tuple[str, str] | None:
    """What cannot be carried out in a well-formed wish, as ``(seen, expected)``; None when nothing is in its way.

    Prices and quantities are looked at now: a stop that no venue takes must not come to light when it is needed.
    """
    exits, entry = intent.exits, intent.entry
    if not 1 <= len(exits) <= EXITS_MAX:
        return (f"{len(exits)} exits", f"1 to {EXITS_MAX}")
    first = exits[0]
    for one in exits:
        if (one.instrument, one.side, one.qty, one.reduce_only) != (
            first.instrument,
            first.side,
            first.qty,
            first.reduce_only,
        ):
            return ("exits that differ", "one instrument, side, quantity and reduce_only")
        found = _exit_defect(one, now_ns) or _grid_defect(one, instrument)
        if found is not None:
            return found
    for target in [px for px in map(_target_px, exits) if px is not None]:
        for trigger in [one.trigger_px for one in exits if one.order_type in STOPS and one.trigger_px is not None]:
            if (trigger - target) * first.side <= ZERO:
                return (f"target {target} on the stop's side of {trigger}", "prices that lie between the two")
    if entry is None:
        return None
    if (entry.instrument, entry.side, entry.qty) != (first.instrument, first.side.opposite, first.qty):
        return ("an entry that its exits do not close", "one instrument and quantity, opposite sides")
    if not first.reduce_only:
        return ("exits of an entry that may do more than close it", "reduce_only")
    if entry.order_type is OrderType.BRACKET or entry.trailing_px is not None:
        return (f"an entry of type {entry.order_type}", "market, limit, or one with a trigger")
    return None


def _target_px(one: OrderIntent) -> Decimal | None:
    if one.order_type is OrderType.MARKET_IF_TOUCHED:
        return one.trigger_px
    return one.limit_px if one.order_type is OrderType.LIMIT else None


def _exit_defect(one: OrderIntent, now_ns: int) -> tuple[str, str] | None:
    kind = one.order_type
    if kind is OrderType.LIMIT:
        fits = one.limit_px is not None and one.trigger_px is None and one.trailing_px is None
    elif kind is OrderType.MARKET_IF_TOUCHED:
        fits = one.limit_px is None and one.trigger_px is not None and one.trailing_px is None
    elif kind is OrderType.STOP:
        fits = one.limit_px is None and (one.trigger_px is not None or one.trailing_px is not None)
    else:
        fits = kind is OrderType.STOP_LIMIT and one.limit_px is not None and one.trigger_px is not None
        fits = fits and one.trailing_px is None
    if not fits or one.post_only:
        return (
            f"an exit of type {kind}, limit {one.limit_px}, trigger {one.trigger_px}, trailing {one.trailing_px}",
            "a limit, a market_if_touched, a stop (at a trigger, or trailing) or a stop_limit, without post_only",
        )
    if one.trailing_px is not None and one.trailing_px <= ZERO:
        return (f"trailing_px {one.trailing_px}", "above 0")
    if one.time_in_force not in (TimeInForce.GTC, TimeInForce.GTD):
        return (f"an exit with {one.time_in_force}", "gtc or gtd: it waits for its price")
    expires = one.time_in_force is TimeInForce.GTD
    if expires is (one.expire_ns is None) or (one.expire_ns is not None and one.expire_ns <= now_ns):
        seen = f"an exit with {one.time_in_force} and expire_ns {one.expire_ns}"
        return (seen, "a later time with gtd, none with gtc")
    return None


def _grid_defect(one: OrderIntent, instrument: Instrument) -> tuple[str, str] | None:
    if one.qty % instrument.lot_qty or not instrument.min_qty <= one.qty <= instrument.max_qty:
        return (f"qty {one.qty}", f"{instrument.min_qty} to {instrument.max_qty} in steps of {instrument.lot_qty}")
    for px in (one.limit_px, one.trigger_px):
        if px is not None and (px % instrument.tick_px or (px <= ZERO and not instrument.allows_negative_px)):
            return (f"price {px}", f"a positive multiple of {instrument.tick_px}")
    return None
