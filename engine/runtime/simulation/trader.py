"""A strategy that trades all the time and in every way, whatever the market does.

Owns which order it wishes next: drawn from a seed and from what it is shown, so that the same session asks for the same
again.  It is there to make orders, not money.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from engine.commands import CancelIntent, Intent, OrderIntent, OrderType, ReplaceIntent, TimeInForce
from engine.events import OrderFilled, Prediction, Side, Timer
from engine.lanes import never_acts
from engine.ports import OpenOrder, View

CANCEL_SHARE = 0.02
"""Of the open orders at each timer."""
REPLACED_SHARE = 0.3
"""Of the orders that are called back: they are to become another."""
CHANGED_SHARE = 0.25
"""Of its own orders that rest, at each timer: they are to be changed where they are."""
CHASE_SHARE = 0.1
"""Of the fills that are answered with an order at once."""


class Told(NamedTuple):
    """Who hears of a strategy while it lives, by its name; in a replay nobody does.  ``broke``: it is about to.
    ``wished``: an order is to become one of so much.  ``entered``: by its reason, a new one is to be of so much."""

    asked: Callable[[str], None] = lambda _name: None
    broke: Callable[[str], None] = lambda _name: None
    wished: Callable[[str, Decimal], None] = lambda _client_order_id, _qty: None
    entered: Callable[[str, Decimal], None] = lambda _reason, _qty: None


class SimulatedStrategy:
    """What those of a simulation share: draws of their own, and nothing done but on timers and fills.

    ``lots``: quantities by instrument, in least ones.  Nothing new is wished for from ``until_ns`` on.
    """

    def __init__(
        self, name: str, lots: Mapping[str, int], seed: str, *, until_ns: int, told: Told | None = None
    ) -> None:
        self.name = name
        self.instruments = tuple(lots)
        self._random = random.Random(f"{name}/{seed}")
        self._lots = lots
        self._until_ns = until_ns
        self._told = told or Told()
        self._count = 0

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None: ...

    @never_acts
    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    @never_acts
    def on_row(self, instrument: str, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()

    @never_acts
    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:  # noqa: ARG002
        return ()


class SimulatedTrader(SimulatedStrategy):
    """``wishes_per_s`` on average, while there is a price, and none from ``until_ns`` on; timers come once a second.

    ``lots``: least quantity of an order by instrument.  ``breaks_per_s``: it raises, or answers nonsense.
    """

    def __init__(
        self,
        name: str,
        lots: Mapping[str, int],
        seed: str,
        *,
        wishes_per_s: float,
        until_ns: int,
        breaks_per_s: float = 0.0,
        told: Told | None = None,
    ) -> None:
        super().__init__(name, lots, seed, until_ns=until_ns, told=told)
        self._rate = wishes_per_s
        self._breaks = breaks_per_s
        self._changes = random.Random(f"{name}/{seed}/changes")

    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]:
        self._told.asked(self.name)
        if self._random.random() >= CHASE_SHARE:
            return ()
        return self._wish(fill.instrument, fill.side.opposite, view)

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]:  # noqa: ARG002
        self._told.asked(self.name)
        draw = self._random.random
        if self._breaks and view.now_ns < self._until_ns and draw() < self._breaks:
            return self._break(draw() < 0.5)  # type: ignore[no-any-return]
        wishes: list[Intent] = []
        for order in view.open_orders():
            if draw() < CANCEL_SHARE:
                wishes.append(self._call_back(order, view))
            elif self._rests(order, view) and self._changes.random() < CHANGED_SHARE:
                wishes.append(self._replace(order, view, self._changes))
        if draw() < self._rate:
            instrument = self._random.choice(self.instruments)
            for _ in range(1 + (draw() < 0.1)):
                wishes.extend(self._wish(instrument, Side.BUY if draw() < 0.5 else Side.SELL, view))
        return wishes

    def _break(self, loudly: bool) -> Any:
        self._told.broke(self.name)
        if loudly:
            raise RuntimeError("drawn")
        return [("buy", "everything")]

    def _call_back(self, order: OpenOrder, view: View) -> Intent:
        """Also of an order that is somebody else's: that must have no effect."""
        if not self._rests(order, view) or self._random.random() >= REPLACED_SHARE:
            return CancelIntent(view.now_ns, self.name, order.client_order_id, "drawn")
        return self._replace(order, view, self._random)

    def _rests(self, order: OpenOrder, view: View) -> bool:
        return order.limit_px is not None and order.strategy == self.name and view.now_ns < self._until_ns

    def _replace(self, order: OpenOrder, view: View, rng: random.Random) -> Intent:
        rules = view.instrument(order.instrument)
        self._count += 1
        qty = order.qty * rng.choice((1, 1, 2))
        if rng is self._changes and order.qty > 2 * rules.min_qty and rng.random() < 0.4:
            qty = rules.quantity(float(order.qty) * 0.6)
        limit_px = rules.price(float(order.limit_px or 0) * rng.choice((0.9995, 1.0, 1.0005)), order.side)
        self._told.wished(order.client_order_id, qty)
        return ReplaceIntent(view.now_ns, self.name, order.client_order_id, qty, limit_px, self._reason())

    def _reason(self) -> str:
        """One for each wish of a session."""
        return f"{self.name} {self._count}"

    def _wish(self, instrument: str, side: Side, view: View) -> list[Intent]:
        top = view.top(instrument)
        if view.now_ns >= self._until_ns or top is None or not (top.bid_px > 0.0 and top.ask_px > 0.0):
            return []
        rules = view.instrument(instrument)
        draw = self._random.random
        qty = rules.lot_qty * self._lots[instrument] * self._random.randint(1, 10)
        away = self._random.choice((-5.0, -1.0, 0.0, 1.0, 4.0, 20.0)) * 1e-4
        touch = top.ask_px if side is Side.SELL else top.bid_px
        limit_px = rules.price(touch * (1.0 + side.opposite * away), side)
        kind, time_in_force, post_only = OrderType.LIMIT, TimeInForce.GTC, away >= 0.0 and draw() < 0.5
        fate = draw()
        if fate < 0.15:
            time_in_force, post_only = TimeInForce.IOC, False
        elif fate < 0.25:
            kind, time_in_force, post_only = OrderType.MARKET, TimeInForce.IOC, False
        self._count += 1
        return [
            OrderIntent(
                view.now_ns,
                self.name,
                instrument,
                side,
                qty,
                kind,
                None if kind is OrderType.MARKET else limit_px,
                time_in_force,
                post_only,
                reduce_only=side is Side.SELL and draw() < 0.2,
                reason=self._reason(),
            )
        ]

    def state(self) -> dict[str, Any]:
        return {"count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = int(state["count"])
