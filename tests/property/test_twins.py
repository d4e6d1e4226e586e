"""A strategy and its canary's twin behind the real gate, whatever they ask for and whatever serving tells: never above
their limits together, nothing added where nothing may be, exits turn nothing, and what is to be flat becomes flat."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import events as e
from engine.commands import CancelIntent, CancelOrder, NewOrder, OrderType, TimeInForce
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.seats import ServingRules
from risk.gate import Gate
from tests.support.core import BTC, D, MemoryRecorder, Scripted, fill, intent, perpetual, quote
from tests.support.limits import make_limits
from tests.support.serving import Answers, Shelf

SECOND_NS = 1_000_000_000
NAMES = ("s", "s.canary")
MOST_QTY = D(5)  # 500 of notional at 100
LOT_QTY = D("0.01")
TARGETS = st.sampled_from([0, 0, 1, 3, 6, -1, -4, 9])
STYLES = st.sampled_from(["once", "rests", "halves", "plain_exit", "cancels", "market"])
FILLS = st.tuples(st.just("fill"), st.integers(0, 5), st.sampled_from([D("0.3"), D(1), D(1)]))
WANTS = st.tuples(st.just("want"), st.sampled_from(NAMES), TARGETS, STYLES)
VERSIONS = st.sampled_from(["a@1", "b@1", "c@1"])
CANARIES = st.tuples(
    st.just("offer"), st.sampled_from(["b@1", "c@1", ""]), st.just("canary"), st.sampled_from([0.1, 0.25, 0.5])
)
TOLD = st.one_of(
    CANARIES,
    st.tuples(st.just("offer"), st.sampled_from(["a@1", "b@1", ""]), st.just("champion"), st.just(0.0)),
    st.tuples(st.just("alarm"), VERSIONS, st.sampled_from(["stop", "size_down", "clear"])),
    st.sampled_from([("fail",), ("gap",), ("timer",), ("gone", 0), ("gone", 1)]),
)
BOUTS = st.tuples(TOLD, st.lists(st.one_of(WANTS, FILLS), min_size=4, max_size=12)).map(lambda one: [one[0], *one[1]])
"""Something is told, and then strategies and venue go on for a while."""
LIMITS = {
    "allowed_instruments": [BTC],
    "strategy_limits": {"s": {"max_position_notional": 500, "max_gross_notional": 500}, "*": {"max_order_notional": 1}},
    "max_orders_per_s": 10**6,
    "max_orders_per_s_instrument": 10**6,
    "max_rejections_per_s": 10**6,
    "max_order_qty": {"*": 100},
    "max_position_qty": {"*": 100},
    "max_order_notional": 10_000,
    "max_position_notional": 10_000,
    "max_gross_notional": 10_000,
    "max_net_notional": 10_000,
    "max_daily_loss": 10**6,
    "collar_bps": 100,
}


class Venue:
    """A core, and what its orders become.  ``wants``: the position that each strategy is after, and how it asks."""

    def __init__(self, fallback: Any) -> None:
        self.recorder = MemoryRecorder()
        self.models = Shelf(Answers("a@1"), Answers("b@1", 0.1), Answers("c@1", 0.2))
        self.wants: dict[str, tuple[Decimal, str]] = {name: (D(0), "once") for name in NAMES}
        self.most_twin_qty = D(0)
        self.now_ns = 1_000
        self.open: dict[str, NewOrder] = {}
        self.left: dict[str, Decimal] = {}
        self.strategies: dict[str, str] = {}
        self.only_closing: set[str] = set()
        """Orders that were opened where their strategy could add nothing, and could not since."""
        self.count = 0
        self.core = TradingCore(
            recorder=self.recorder,
            gate=Gate(make_limits(**LIMITS)),
            slots=[StrategySlot(self.trader("s"), make_twin=self.trader)],
            assembly=self.models,
            currency="USD",
            id_prefix="k",
            rules=ServingRules(2, 500, fallback),
        )
        for event in (
            e.InstrumentDefined(1, 1, perpetual(lot_qty=LOT_QTY, min_qty=LOT_QTY)),
            e.BalanceReported(1, 1, "coinbase", "USD", D(10**6), D(10**6)),
            e.FeedUp(1, 1, "coinbase", "market"),
            e.FeedUp(1, 1, "coinbase", "user"),
        ):
            self.core.on_event(event)
        self.publish(quote(self.now_ns))
        self.publish(e.Timer(self.now_ns, self.now_ns, "tick"))  # equity is known from here on

    # --- the strategies ---------------------------------------------------------------------------------------------

    def trader(self, name: str) -> Scripted:
        return Scripted(name, on_quote=lambda instrument, view: self.ask(name, view))

    def ask(self, name: str, view: Any) -> list[Any]:
        """What is missing of its target, beside what is open in that direction."""
        target, style = self.wants[name]
        own = [one for one in view.open_orders(BTC) if one.strategy == name]
        held_qty = view.strategy_qty(name, BTC)
        side = e.Side.BUY if target >= held_qty else e.Side.SELL
        open_qty = sum((one.leaves_qty for one in own if one.side is side), D(0))
        missing_qty = abs(target - held_qty) - open_qty
        wishes: list[Any] = [CancelIntent(1, name, one.client_order_id) for one in own if style == "cancels"]
        if missing_qty <= 0:
            return wishes
        leaves = target * held_qty >= 0 and abs(target) < abs(held_qty)
        size = self.core.desk.sizes.table.get((name, BTC))
        changes: dict[str, Any] = {
            "reduce_only": leaves and style != "plain_exit",
            "time_in_force": TimeInForce.GTC if style in ("rests", "cancels", "plain_exit") else TimeInForce.IOC,
        }
        if style == "market":
            changes |= {"order_type": OrderType.MARKET, "limit_px": None}
        parts = [missing_qty, missing_qty] if style in ("halves", "plain_exit") else [missing_qty]
        if name == "s.canary" and size is not None:
            asked_qty = max(held_qty * side, D(0)) + open_qty + sum(parts)
            self.most_twin_qty = max(self.most_twin_qty, size.factor * asked_qty)
        # Twice the same, as one does that does not look: each has to be judged beside the other.
        return [*wishes, *[intent(side, str(qty), name, ts_ns=number, **changes) for number, qty in enumerate(parts)]]

    # --- what happens -----------------------------------------------------------------------------------------------

    def publish(self, event: e.InputEvent) -> None:
        before = self.zeros()
        out = list(self.core.on_event(event))
        never = before & self.zeros()
        self.only_closing -= {name for name in self.only_closing if self.strategies[name] not in never}
        for one in out:
            if isinstance(one, NewOrder):
                self.open[one.client_order_id], self.left[one.client_order_id] = one, one.intent.qty
                self.strategies[one.client_order_id] = one.intent.strategy
                if one.intent.strategy in never:
                    self.only_closing.add(one.client_order_id)
        assert self.core.counters.core_errors == 0
        assert all(slot.alive for slot in self.core.slots), [slot.reason for slot in self.core.slots]
        self.look()

    def zeros(self) -> set[str]:
        return {name for (name, _), size in self.core.desk.sizes.table.items() if not size.factor}

    def take(self, step: tuple[Any, ...]) -> None:
        self.now_ns += 100
        now_ns, kind, rest = self.now_ns, step[0], step[1:]
        if kind == "want":
            self.wants[rest[0]] = D(rest[1]), rest[2]
            self.publish(quote(now_ns))
        elif kind == "fill" and self.open:
            self.fill(list(self.open)[rest[0] % len(self.open)], rest[1])
        elif kind == "gone" and self.open:
            self.end(list(self.open)[rest[0] % len(self.open)])
        elif kind == "offer":
            self.publish(self.models.offer(now_ns, rest[0], rest[1], rest[2]))
        elif kind == "alarm":
            self.publish(e.ModelAlarmed(now_ns, now_ns, BTC, rest[0], "psi", rest[1], 0.5, "0.31"))
        elif kind == "fail":
            for one in self.models.models.values():
                one.statuses = [e.PredictionStatus.FAILED] * 2
            self.publish(quote(now_ns))
        elif kind == "gap":
            self.publish(e.Gap(now_ns, now_ns, "coinbase", BTC, 3, 5))
        elif kind == "timer":
            self.publish(e.Timer(now_ns, now_ns, "tick"))

    def fill(self, name: str, share: Decimal) -> None:
        """A part of an order; of one that may only reduce, no more than the account has."""
        order = self.open[name]
        wish, view = order.intent, self.core.view
        qty = max((self.left[name] * share) // LOT_QTY * LOT_QTY, LOT_QTY)
        if wish.reduce_only:
            qty = min(qty, max(-view.position(BTC).qty * wish.side, D(0)))
            if not qty:
                self.end(name)
                return
        held_qty = view.strategy_qty(wish.strategy, BTC)
        if name in self.only_closing:
            assert qty <= max(-held_qty * wish.side, D(0)), (order, held_qty)
        self.left[name] -= qty
        if not self.left[name]:
            del self.open[name]
        self.count += 1
        self.publish(fill(order, str(qty), "100", f"t{self.count}", ts_ns=self.now_ns))

    def end(self, name: str) -> None:
        del self.open[name]
        self.publish(e.OrderCancelled(self.now_ns, self.now_ns, "coinbase", name, f"v-{name}"))

    def settle(self) -> None:
        """Two minutes in which the venue does what it is asked to do, and strategies ask on."""
        for _ in range(12):
            self.now_ns += SECOND_NS
            self.publish(quote(self.now_ns))
            self.publish(e.Timer(self.now_ns, self.now_ns, "tick"))
            asked = {one.client_order_id for one in self.recorder.of(CancelOrder)}
            for name in list(self.open):
                if name in asked:
                    self.end(name)
                elif self.open[name].intent.order_type is OrderType.MARKET:
                    self.fill(name, D(1))

    def look(self) -> None:
        """Both together, in either direction, and the twin's part."""
        qty_of = self.core.view.strategy_qty
        for side in (1, -1):
            assert sum(max(qty_of(name, BTC) * side, D(0)) for name in NAMES) <= MOST_QTY
        assert abs(qty_of("s.canary", BTC)) <= self.most_twin_qty


@pytest.mark.fault("E4")
@pytest.mark.fault("E10")
@pytest.mark.fault("F4")
@settings(max_examples=150, deadline=None)
@given(bouts=st.lists(BOUTS, min_size=2, max_size=8), fallback=st.sampled_from(["hold", "flat"]))
def test_a_strategy_and_its_twin_keep_what_is_promised_of_both(bouts: list[list[Any]], fallback: Any) -> None:
    """Limits and parts at each event; at the end nobody whose model is gone for good holds anything under ``flat``."""
    venue = Venue(fallback)
    venue.take(("offer", "b@1", "canary", 0.5))
    for bout in bouts:
        for step in bout:
            venue.take(step)
    if fallback == "flat":
        venue.publish(venue.models.offer(venue.now_ns + 1, "", "champion"))
        for name in NAMES:
            venue.wants[name] = D(9), "rests"
        venue.settle()
        assert [venue.core.view.strategy_qty(name, BTC) for name in NAMES] == [0, 0]
        assert not venue.core.flattening.given_up
