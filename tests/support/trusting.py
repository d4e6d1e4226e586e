"""A core whose strategies trade on what models say of one instrument."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine import events as e
from engine.commands import CancelOrder, NewOrder
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.seats import ServingRules
from tests.support.core import BTC, MemoryRecorder, OpenGate, Scripted, fill, intent, open_market
from tests.support.serving import Shelf

FAILED = e.PredictionStatus.FAILED
SECOND_NS = 1_000_000_000
# One failed answer ends a version for an hour, and what its strategies hold is closed.
FLAT = ServingRules(1, 3600 * SECOND_NS, "flat")


def trader(name: str = "s") -> Scripted:
    """Buys 1 on every good prediction, under the version's name."""

    def on_prediction(prediction, seq, view):
        if not prediction.values or prediction.status is not e.PredictionStatus.OK:
            return []
        return [intent(strategy=name, model=prediction.model, prediction_seq=seq)]

    return Scripted(name, on_prediction=on_prediction)


def opened(
    recorder: MemoryRecorder, shelf: Shelf, *strategies: Scripted, rules: ServingRules | None = None
) -> TradingCore:
    slots = [StrategySlot(one, make_twin=trader) for one in strategies or (trader(),)]
    core = TradingCore(
        recorder=recorder, gate=OpenGate(), slots=slots, assembly=shelf, currency="USD", id_prefix="k", rules=rules
    )
    open_market(core, cash="100000")
    return core


def alarm(ts_ns: int, action: str, factor: float = 1.0, model: str = "mid@1", source: str = "psi") -> e.ModelAlarmed:
    return e.ModelAlarmed(ts_ns, ts_ns, BTC, model, source, action, factor, "0.31")


def end_all(core: TradingCore, ts_ns: int) -> None:
    """Nothing rests any more."""
    for order in core.orders.open_orders():
        core.on_event(e.OrderCancelled(ts_ns, ts_ns, "coinbase", order.client_order_id, "v"))


def sizes(recorder: MemoryRecorder) -> list[tuple[str, str, Decimal]]:
    return [(one.intent.strategy, one.intent.model, one.intent.qty) for one in recorder.of(NewOrder)]


def states(recorder: MemoryRecorder) -> list[tuple[str, str, str, float]]:
    return [(one.role, one.model, one.state, one.factor) for one in recorder.of(e.ModelStanding)]


def held(core: TradingCore, qty: str = "1", strategy: str = "s", side: e.Side = e.Side.BUY) -> None:
    """The strategy holds so much, by an order of its own."""
    order = core.desk.place(intent(side, qty, strategy))
    assert isinstance(order, NewOrder)
    core.on_event(fill(order, qty, "100", f"t-{order.client_order_id}"))


def cancelled(core: TradingCore, ts_ns: int, out: Any) -> list[NewOrder]:
    """The venue confirms each cancel; returns what leaves on the timer after it."""
    for one in [one for one in out if isinstance(one, CancelOrder)]:
        core.on_event(e.OrderCancelled(ts_ns, ts_ns, "coinbase", one.client_order_id, "v"))
    return [one for one in core.on_event(e.Timer(ts_ns, ts_ns, "tick")) if isinstance(one, NewOrder)]
