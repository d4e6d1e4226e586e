"""A threshold strategy without costs, predictions for it and a market that moves, for its tests."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from engine.commands import Intent, OrderIntent
from engine.events import Prediction, PredictionStatus
from strategies.threshold import ThresholdParams, ThresholdStrategy
from tests.support.fake_view import FakeView
from tests.support.limits import NAME

D = Decimal
MS = 1_000_000
SECOND = 1_000_000_000
FREE: dict[str, Any] = {
    "buy": 0.55,
    "sell": 0.45,
    "return_scale_bps": 10.0,
    "cost_multiple": 0.0,
    "sizing": "fixed",
    "notional": 500.0,
    "slip_ticks": 2,
}


def make(name: str = NAME, **params: Any) -> ThresholdStrategy:
    """Thresholds 0.55 and 0.45, no costs asked, fixed size 500, unless changed; a model serves the instrument."""
    strategy = ThresholdStrategy("s", [name], ThresholdParams(**{**FREE, **params}))
    strategy.on_model(name, {"buy": 0.99, "sell": 0.01, "return_scale_bps": 1.0})
    return strategy


def predict(
    value: float,
    name: str = NAME,
    status: PredictionStatus = PredictionStatus.OK,
    values: tuple[float, ...] | None = None,
) -> Prediction:
    return Prediction(1, 1, name, "cnn@1", status, (value,) if values is None else values)


def one(intents: Sequence[Intent]) -> OrderIntent:
    assert len(intents) == 1
    assert isinstance(intents[0], OrderIntent)
    return intents[0]


def tick(view: FakeView, ns: int, bid: float = 99.99, ask: float = 100.01, name: str = NAME) -> None:
    view.now_ns += ns
    view.quote(name, bid, ask)


def enter(strategy: ThresholdStrategy, view: FakeView, value: float = 0.9, px: str = "100.00") -> None:
    """Signal, open, fill wholly."""
    name = strategy.instruments[0]
    intent = one(strategy.on_prediction(predict(value, name), 7, view))
    opened = view.open(intent)
    strategy.on_fill(view.fill(opened.client_order_id, intent.qty, D(px)), view)
