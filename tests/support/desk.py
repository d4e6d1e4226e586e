"""A core with orders at a venue, and what the venue says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine import events as e
from engine.commands import CancelOrder, OrderIntent, TimeInForce
from engine.core import TradingCore
from engine.order_states import OrderState
from engine.withdrawals import CANCEL_AGAIN_NS
from tests.support.core import (
    MemoryRecorder,
    OpenGate,
    Scripted,
    build_core,
    intent,
    open_market,
    perpetual,
    quote,
)

S = CANCEL_AGAIN_NS
"""One pace of repeated cancels; times below are in it."""
VENUE = "coinbase"


@dataclass
class Rig:
    core: TradingCore
    recorder: MemoryRecorder
    gate: OpenGate

    def cancels(self, event: e.InputEvent) -> list[str]:
        """Client order ids whose cancel leaves on this event."""
        return [c.client_order_id for c in self.core.on_event(event) if isinstance(c, CancelOrder)]

    def state(self, name: str = "k-1") -> OrderState:
        order = self.core.orders.get(name)
        assert order is not None
        return order.state


def rig(*wishes: OrderIntent, **options: Any) -> Rig:
    """A core whose orders ``k-1``, ``k-2``, ... have been sent at time ``S``, one for each wish."""
    gate, recorder = options.pop("gate", OpenGate()), MemoryRecorder()
    strategy = Scripted(on_quote=lambda *_: list(wishes))
    core = build_core(recorder, strategy, gate=gate, **options)
    open_market(core, perpetual())
    core.on_event(quote(S))
    strategy.answers = {}
    return Rig(core, recorder, gate)


def resting(**changes: Any) -> OrderIntent:
    return intent(time_in_force=TimeInForce.GTC, **changes)


def timer(at: int) -> e.Timer:
    return e.Timer(at, at, "tick")


def accepted(at: int, name: str = "k-1") -> e.OrderAccepted:
    return e.OrderAccepted(at, at, VENUE, name, f"v-{name}")


def refused(at: int, name: str = "k-1") -> e.CancelRejected:
    return e.CancelRejected(at, at, VENUE, name, "http_503")


def halted(at: int) -> e.Halted:
    return e.Halted(at, at, "operator", "test")
