"""What the driver has happen: wishes of a strategy, what the venue does by itself, what ends streams and sessions."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine import events as e
from engine.commands import CancelIntent, GroupIntent, OrderIntent, OrderType, ReplaceIntent, TimeInForce
from tests.support.core import intent
from tests.support.groups import stop, target
from tests.support.lives.records import Order

if TYPE_CHECKING:
    from tests.support.lives.world import World

D = Decimal
OVERFILLED_NS = 90_000_000_000
"""An order that was filled earlier is not executed beyond its size any more."""
ACTS = {
    "buy": 5.0,
    "sell": 3.0,
    "take": 2.0,
    "enter": 12.0,
    "cancel": 4.0,
    "change": 9.0,
    "fill_some": 10.0,
    "fill_all": 6.0,
    "fill_and_end": 3.0,
    "end": 2.0,
    "fail": 0.5,
    "overfill": 1.5,
    "others_place": 2.0,
    "others_cancel": 1.0,
    "others_change": 0.3,
    "cut": 1.5,
    "mute": 0.7,
    "kill": 1.5,
    "power": 1.0,
    "stop": 0.7,
    "rest": 3.0,
}
"""How often each happens, beside the others."""


class Acts:
    """On one world.  ``focus``: of so many draws the order is one of the newest: it is in the middle of something."""

    def __init__(self, world: World, rng: random.Random, *, focus: float) -> None:
        self._world = world
        self._rng = rng
        self._focus = focus

    def act(self, name: str) -> None:
        """One of ``ACTS``."""
        getattr(self, f"_{name}")()

    def _wish(self, *wishes: Any) -> None:
        session = self._world.session
        if session is None or not session.is_ready or self._world.over.is_set():
            return
        session.wishes.extend(wishes)
        now_ns = self._world.clock.now_ns()
        self._world.publish(e.Timer(now_ns, now_ns, "heartbeat"))

    def _qty(self) -> Decimal:
        return D(self._rng.randint(1, 4))

    def _px(self, side: e.Side) -> Decimal:
        """Where nothing of ours trades with the other side."""
        return D(self._rng.randint(96, 99) if side > 0 else self._rng.randint(102, 105))

    def _order(self, side: e.Side, **more: Any) -> OrderIntent:
        fields = {
            "ts_ns": self._world.clock.now_ns(),
            "limit_px": self._px(side),
            "time_in_force": TimeInForce.GTC,
            **more,
        }
        return intent(side, str(self._qty()), **fields)

    def _buy(self) -> None:
        self._wish(self._order(e.Side.BUY))

    def _sell(self) -> None:
        self._wish(self._order(e.Side.SELL))

    def _take(self) -> None:
        self._wish(self._order(self._rng.choice((e.Side.BUY, e.Side.SELL)), time_in_force=TimeInForce.IOC))

    def _enter(self) -> None:
        tif = self._rng.choice((TimeInForce.IOC, TimeInForce.GTC, TimeInForce.GTC))
        entry = self._order(e.Side.BUY, time_in_force=tif)
        qty = str(entry.qty)
        self._wish(GroupIntent(self._world.clock.now_ns(), "s", (target(qty=qty), stop(qty=qty)), entry))

    def _mine(self) -> list[Any]:
        session = self._world.session
        if session is None or not session.is_ready:
            return []
        return [one for one in session.core.orders.open_orders() if one.intent.strategy == "s"]

    def _cancel(self) -> None:
        if mine := self._mine():
            self._wish(CancelIntent(self._world.clock.now_ns(), "s", self._one_of(mine).client_order_id))

    def _change(self) -> None:
        mine = [one for one in self._mine() if one.intent.order_type is OrderType.LIMIT]
        if mine:
            order = self._one_of(mine)
            qty = order.filled_qty + self._qty()
            self._wish(
                ReplaceIntent(self._world.clock.now_ns(), "s", order.client_order_id, qty, self._px(order.intent.side))
            )

    def _some(self) -> Order | None:
        found = [one for one in self._world.venue.open_orders() if one.filled_qty < one.qty]
        chosen: Order | None = self._one_of(found)
        return chosen

    def _one_of(self, found: list[Any]) -> Any:
        if not found:
            return None
        return self._rng.choice(found[-2:] if self._rng.random() < self._focus else found)

    def _fill_some(self) -> None:
        if (order := self._some()) is not None:
            left_qty = order.qty - order.filled_qty
            self._world.say(f"venue: {order.order_id} {order.client_id} fills {left_qty / 2}")
            self._world.venue.fill(order, [left_qty / 2])

    def _fill_all(self) -> None:
        if (order := self._some()) is not None:
            left_qty = order.qty - order.filled_qty
            self._world.say(f"venue: {order.order_id} {order.client_id} fills {left_qty}, all")
            self._world.venue.fill(order, [left_qty] if self._rng.random() < 0.5 else [left_qty / 4, left_qty * 3 / 4])

    def _fill_and_end(self) -> None:
        if (order := self._some()) is not None:
            left_qty = order.qty - order.filled_qty
            end = self._rng.choice(("CANCELLED", "CANCELLED", "EXPIRED"))
            self._world.say(f"venue: {order.order_id} {order.client_id} fills {left_qty / 2} and {end}")
            self._world.venue.fill(order, [left_qty / 2], end, "by the venue")

    def execute_at_once(self, order: Order) -> None:
        share = self._rng.choice((D(0), D("0.5"), D(1)))
        self._world.say(f"venue: {order.order_id} {order.client_id} executes {order.qty * share} at once")
        self._world.venue.fill(order, [order.qty * share] if share else [], "CANCELLED", "the rest of it")

    def _end(self) -> None:
        if (order := self._some()) is not None:
            end = self._rng.choice(("CANCELLED", "EXPIRED"))
            self._world.say(f"venue: {order.order_id} {order.client_id} {end}")
            self._world.venue.end(order, end, "by the venue")

    def _fail(self) -> None:
        if (order := self._some()) is not None:
            self._world.say(f"venue: {order.order_id} {order.client_id} FAILED")
            self._world.venue.end(order, "FAILED", "by the venue")

    def _overfill(self) -> None:
        since_ns = self._world.clock.now_ns() - OVERFILLED_NS
        found = [
            one
            for one in self._world.venue.orders.values()
            if one.status == "FILLED" and one.last_fill_ns >= since_ns and one.ours
        ]
        if found:
            order = self._rng.choice(found)
            self._world.say(f"venue: {order.order_id} {order.client_id} overfills {order.filled_qty / 2}")
            self._world.venue.fill(order, [order.filled_qty / 2])

    def _others_place(self) -> None:
        self._world.others += 1
        side = self._rng.choice(("BUY", "SELL"))
        self._world.say(f"venue: somebody places hand-{self._world.others}")
        made = self._world.venue.place(
            f"hand-{self._world.others}", side, "limit_limit_gtc", self._qty(), self._px(e.Side[side]), ours=False
        )
        made.ours = False

    def _others_cancel(self) -> None:
        found = [one for one in self._world.venue.open_orders() if not one.ours]
        if found:
            order = self._rng.choice(found)
            self._world.say(f"venue: {order.order_id} {order.client_id} cancelled by its owner")
            self._world.venue.cancel(order.order_id)

    def _others_change(self) -> None:
        followed = [one for one in self._world.venue.open_orders() if one.kind == "limit_limit_gtc"]
        found = [one for one in followed if not one.is_being_changed]
        if (order := self._one_of(found)) is not None and not order.is_being_cancelled:
            qty, px = order.filled_qty + self._qty(), self._px(e.Side[order.side])
            self._world.say(f"venue: {order.order_id} {order.client_id} is changed by hand to {qty} at {px}")
            self._world.venue.change(order, qty, px)

    def _cut(self) -> None:
        self._world.say("stream cut")
        self._world.streams.cut()

    def _mute(self) -> None:
        self._world.say("stream mute")
        self._world.streams.mute(self._rng.uniform(1.0, 15.0))

    def _kill(self) -> None:
        self._world.crash()

    def _power(self) -> None:
        self._world.crash(power=True)

    def _stop(self) -> None:
        session = self._world.session
        if session is not None and session.is_ready and not self._world.over.is_set():
            now_ns = self._world.clock.now_ns()
            self._world.publish(e.ShutdownRequested(now_ns, now_ns, "stopped"))
            self._world.later(self._rng.uniform(0.05, 3.0), self._world.crash)

    def _rest(self) -> None:
        pass
