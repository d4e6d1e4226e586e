"""A core that trades one instrument, and everything that its bus put on record; a venue that does as it is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine import events as e
from engine.bus import EventBus
from engine.codec import Record
from engine.commands import CancelIntent, Intent, NewOrder, ReplaceOrder
from engine.core import KEEP, NullProbe, TradingCore
from engine.router import OrderRouter
from tests.support.core import MemoryJournal, OpenGate, Scripted, build_core, fill, intent, open_market, quote

D = Decimal


class QuietVenue:
    """Takes orders and says nothing."""

    venue = "coinbase"

    def __init__(self) -> None:
        self.orders: list[NewOrder] = []
        self.cancelled: list[str] = []
        self.replaced: list[ReplaceOrder] = []

    def submit(self, order: NewOrder) -> None:
        self.orders.append(order)

    def cancel(self, cancel: Any) -> None:
        self.cancelled.append(cancel.client_order_id)

    def replace(self, replace: ReplaceOrder) -> None:
        self.replaced.append(replace)


class Account:
    """``place`` and ``cancel`` are the strategy's wishes; the other methods are what the venue tells."""

    def __init__(
        self, *, opened: bool = True, state: dict[str, Any] | None = None, gate: Any = None, **options: Any
    ) -> None:
        self.now_ns = 10
        self._next: list[Intent] = []
        self.strategy = Remembering(self._next, state or {})
        self.journal = MemoryJournal()
        self.venue = QuietVenue()
        self.errors: list[str] = []
        self.may_fail = False
        self.bus = EventBus(self.journal, NullProbe(), self._on_error)
        self.gate = gate or OpenGate()
        self.core: TradingCore = build_core(self.bus, self.strategy, gate=self.gate, **options)
        self.bus.attach(self.core, OrderRouter(self.bus.publish, lambda: [self.venue]))
        if opened:
            self.open()

    def _on_error(self, text: str, error: Exception) -> None:
        if text.startswith("core failed") and not self.may_fail:  # a defect of ours, which no test may pass over
            raise error
        self.errors.append(f"{text}: {error}")

    def open(self, *, quoted: bool = True) -> None:
        """``quoted``: with a first price, which a venue sends after it has confirmed the account."""
        for event in _opening():
            self.bus.publish(event)
        if quoted:
            self.bus.publish(quote(self._at()))

    @property
    def records(self) -> list[Record]:
        return [written.record for written in self.journal.written]

    def _at(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def publish(self, event: e.InputEvent) -> None:
        self.bus.publish(event)

    def wish(self, *intents: Intent) -> None:
        self._next.extend(intents)
        self.bus.publish(quote(self._at()))

    def place(self, side: e.Side = e.Side.BUY, qty: str = "1") -> NewOrder:
        before = len(self.venue.orders)
        self.wish(intent(side, qty))
        assert len(self.venue.orders) == before + 1
        return self.venue.orders[-1]

    def cancel(self, order: NewOrder) -> None:
        self.wish(CancelIntent(self.now_ns, "s", order.client_order_id))

    def accept(self, order: NewOrder) -> None:
        at, name = self._at(), order.client_order_id
        self.publish(e.OrderAccepted(at, at, "coinbase", name, f"v-{name}"))

    def fill(self, order: NewOrder, qty: str, px: str, trade_id: str, fee: str = "0") -> None:
        self.publish(fill(order, qty, px, trade_id, fee, self._at()))

    def end(self, order: NewOrder, kind: type[Any], reason: str = "x") -> None:
        at, name = self._at(), order.client_order_id
        arguments = (reason,) if kind in (e.OrderRejected, e.CancelRejected, e.OrderOutcomeUnknown) else (f"v-{name}",)
        self.publish(kind(at, at, "coinbase", name, *arguments))

    def show(self, order: NewOrder, qty: str, px: str) -> None:
        """The venue shows this version of it."""
        at, name = self._at(), order.client_order_id
        self.publish(e.OrderReplaced(at, at, "coinbase", name, f"v-{name}", D(qty), D(px)))

    def refuse_change(self, order: NewOrder) -> None:
        at = self._at()
        self.publish(e.ReplaceRejected(at, at, "coinbase", order.client_order_id, "unknown_order"))

    def keep(self) -> e.StateKept:
        at = self._at()
        self.publish(e.Timer(at, at, KEEP))
        return next(record for record in reversed(self.records) if isinstance(record, e.StateKept))


class Remembering(Scripted):
    """Wishes what it is told to, and remembers how often it was asked."""

    def __init__(self, wishes: list[Intent], state: dict[str, Any]) -> None:
        super().__init__("s", on_quote=lambda *_: self._take(wishes))
        self.memory: dict[str, Any] = {"asked": 0, **state}

    def _take(self, wishes: list[Intent]) -> list[Intent]:
        self.memory["asked"] += 1
        found = list(wishes)
        wishes.clear()
        return found

    def state(self) -> dict[str, Any]:
        return dict(self.memory)

    def restore(self, state: dict[str, Any]) -> None:
        self.memory = dict(state)


def _opening() -> list[e.InputEvent]:
    seen: list[e.InputEvent] = []

    class Listening:
        def on_event(self, event: e.InputEvent) -> None:
            seen.append(event)

    open_market(Listening())  # type: ignore[arg-type]
    return seen
