"""Laws of the matching engine under arbitrary orders: each is checked after every single call."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.matching.engine import MatchingEngine
from connectors.matching.orders import (
    BookOrder,
    Closed,
    CloseReason,
    Filled,
    Opened,
    Refused,
    SelfTrade,
    Triggered,
    bracket_stop_px,
)
from engine.commands import OrderType, TimeInForce
from engine.events import Side
from tests.support.matching import SPOT, book

BUY, SELL = Side.BUY, Side.SELL
HALF = Decimal("0.5")
LOT = Decimal("0.1")

sides = st.sampled_from([BUY, SELL])
accounts = st.sampled_from(["ann", "bob", "cem", "market"])
prices = st.integers(197, 203).map(lambda n: n * HALF)
sizes = st.integers(1, 40).map(lambda n: n * LOT)


@st.composite
def actions(draw):
    """``("cancel", n)``, ``("withdraw", n)``, ``("resume", n)``, ``("reduce", n, qty)``, ``("expire",)``, ``("price",
    up, down)`` or ``("submit", fields)``."""
    kind = draw(st.sampled_from(["submit"] * 9 + ["cancel", "reduce", "expire", "withdraw", "resume", "price"]))
    if kind in ("cancel", "withdraw", "resume"):
        return (kind, draw(st.integers(0, 30)))
    if kind == "reduce":
        return (kind, draw(st.integers(0, 30)), draw(sizes))
    if kind == "expire":
        return (kind,)
    if kind == "price":
        return (kind, *sorted((draw(prices), draw(prices)), reverse=True))
    kinds = [OrderType.LIMIT] * 4 + [OrderType.MARKET, OrderType.STOP_LIMIT] + [OrderType.BRACKET] * 2
    order_type = draw(st.sampled_from(kinds))
    fields = {"account": draw(accounts), "side": draw(sides), "order_type": order_type, "qty": draw(sizes)}
    if order_type is OrderType.MARKET:
        if draw(st.booleans()):
            fields |= {"qty": Decimal(0), "quote_qty": draw(st.integers(1, 2000).map(Decimal))}
        fields["time_in_force"] = draw(st.sampled_from([TimeInForce.IOC, TimeInForce.FOK]))
        return (kind, fields)
    if order_type is OrderType.BRACKET:
        near, far = sorted((draw(prices), draw(prices.map(lambda px: px + HALF / 5))))
        fields["limit_px"], fields["trigger_px"] = (near, far) if fields["side"] is BUY else (far, near)
        fields["time_in_force"] = draw(st.sampled_from([TimeInForce.GTC, TimeInForce.GTD]))
        if fields["time_in_force"] is TimeInForce.GTD:
            fields["lifetime_ns"] = draw(st.integers(1, 10))
        return (kind, fields)
    fields["limit_px"] = draw(prices)
    fields["time_in_force"] = draw(st.sampled_from(list(TimeInForce)))
    if fields["time_in_force"] is TimeInForce.GTD:
        fields["lifetime_ns"] = draw(st.integers(1, 10))
    if fields["time_in_force"] in (TimeInForce.GTC, TimeInForce.GTD):
        fields["post_only"] = draw(st.booleans())
    if order_type is OrderType.STOP_LIMIT:
        fields |= {"trigger_px": draw(prices), "stop_up": draw(st.sampled_from([None, True, False]))}
    return (kind, fields)


class Auditor:
    """Follows the engine by its outcomes alone and holds it to the laws."""

    def __init__(self, engine: MatchingEngine) -> None:
        self.engine = engine
        self.orders: dict[str, BookOrder] = {}
        self.open: set[str] = set()
        self.filled: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.spent: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.reduced: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.match_ids: set[str] = set()
        self.limit_px: dict[str, Decimal | None] = {}
        self.fired: set[str] = set()

    def run(self, n: int, action) -> None:
        kind, *rest = action
        engine = self.engine
        before = {order_id: (o.limit_px, o.seq, o.waiting) for order_id, o in engine._orders.items()}
        if kind == "submit":
            fields = dict(rest[0])
            lifetime_ns = fields.pop("lifetime_ns", None)
            order = BookOrder(f"o{n}", expire_ns=None if lifetime_ns is None else n + lifetime_ns, **fields)
            self.orders[order.order_id] = order
            self.limit_px[order.order_id] = order.limit_px
            self.follow(engine.submit(order, n), n, before)
        elif kind == "cancel":
            closed = engine.cancel(f"o{rest[0]}", n)
            self.follow([closed] if closed else [], n, before)
        elif kind == "reduce":
            order_id = f"o{rest[0]}"
            live = engine.order(order_id)
            if live is not None:
                self.reduced[order_id] += min(rest[1], live.leaves_qty)
                closed = engine.reduce(order_id, rest[1])
                self.follow([closed] if closed else [], n, before)
        elif kind == "withdraw":
            engine.withdraw(f"o{rest[0]}")
        elif kind == "resume":
            self.follow(engine.resume(f"o{rest[0]}", n), n, before)
        elif kind == "price":
            self.follow(engine.trigger(*rest, n), n, before)
        else:
            self.follow(engine.expire(n), n, before)
        self.check_book(n)

    def follow(self, outcomes, now_ns, before) -> None:
        triggered = set()
        for outcome in outcomes:
            match outcome:
                case Opened(order_id):
                    assert order_id not in self.open
                    self.open.add(order_id)
                case Refused(order_id):
                    assert order_id not in self.open
                case Triggered(order_id):
                    assert order_id in self.open
                    triggered.add(order_id)
                    order = self.orders[order_id]
                    if order.order_type is OrderType.BRACKET:
                        assert order_id not in self.fired, "one way out or the other, once"
                        self.limit_px[order_id] = bracket_stop_px(order, self.engine.instrument)
                    self.fired.add(order_id)
                case Closed(order_id, reason, _, filled_qty):
                    assert order_id in self.open
                    self.open.discard(order_id)
                    assert filled_qty == self.filled[order_id]
                    self.check_end(order_id, reason)
                case Filled():
                    self.check_fill(outcome, now_ns)
        self.check_priority(outcomes, before, triggered)

    def check_fill(self, fill: Filled, now_ns: int) -> None:
        maker, taker = self.orders[fill.maker_id], self.orders[fill.taker_id]
        assert {fill.maker_id, fill.taker_id} <= self.open
        assert fill.match_id not in self.match_ids
        self.match_ids.add(fill.match_id)
        assert maker.side is not taker.side
        assert fill.aggressor is taker.side
        assert fill.px == self.limit_px[maker.order_id], "the price is the maker's"
        if taker.order_type is not OrderType.MARKET:
            limit_px = self.limit_px[taker.order_id]
            assert (fill.px - limit_px) * taker.side <= 0, "never worse than the taker's limit"
        assert maker.account != taker.account or maker.account == "market", "no self trade"
        assert not taker.post_only, "neither on arrival nor when its stop triggers"
        assert maker.expire_ns is None or maker.expire_ns > now_ns, "nobody trades with an expired order"
        assert fill.qty > 0
        for order in (maker, taker):
            self.filled[order.order_id] += fill.qty
            self.spent[order.order_id] += fill.qty * fill.px
            if order.quote_qty is None:
                assert self.filled[order.order_id] + self.reduced[order.order_id] <= order.qty
            else:
                assert self.spent[order.order_id] <= order.quote_qty

    def check_end(self, order_id: str, reason: CloseReason) -> None:
        order = self.orders[order_id]
        if order.time_in_force is TimeInForce.FOK:
            whole = reason is CloseReason.FILLED
            assert whole or self.filled[order_id] == 0, "all or none"
        if reason is CloseReason.FILLED and order.quote_qty is None:
            assert self.filled[order_id] + self.reduced[order_id] == order.qty

    def check_priority(self, outcomes, before, triggered) -> None:
        """Among orders that rested before the call, the better price and then the older order fills first."""
        order = {}
        for outcome in outcomes:
            if isinstance(outcome, Filled) and outcome.maker_id in before and outcome.maker_id not in triggered:
                order.setdefault(outcome.taker_id, []).append(outcome.maker_id)
        for makers in order.values():
            keys = [(-self.orders[m].side * before[m][0], before[m][1]) for m in makers if not before[m][2]]
            assert keys == sorted(keys)
        first = {self.orders[m].side: m for makers in order.values() for m in makers[:1]}
        for side, maker_id in first.items():
            closed_otherwise = {
                o.order_id for o in outcomes if isinstance(o, Closed) and o.reason is not CloseReason.FILLED
            }
            for other, (px, seq, waiting) in before.items():
                rival = self.orders[other]
                gone = other in closed_otherwise or other in triggered
                if waiting or rival.side is not side or gone or other == maker_id:
                    continue
                ahead = (-side * px, seq) < (-side * before[maker_id][0], before[maker_id][1])
                touched = any(isinstance(o, Filled) and o.maker_id == other for o in outcomes)
                assert not ahead or touched, f"{other} stood before {maker_id} and got nothing"

    def check_book(self, now_ns: int) -> None:
        engine = self.engine
        bid_px, ask_px = engine.best_px(BUY), engine.best_px(SELL)
        assert bid_px is None or ask_px is None or bid_px < ask_px, "crossed or locked"
        assert set(engine._orders) == self.open
        armed = {order_id for order_id in self.open if engine.order(order_id).armed}
        assert armed == {i for i in self.open if self.orders[i].trigger_px is not None} - self.fired
        assert len(engine._stops) == len(armed), "whoever is gone or has fired waits for nothing"
        for side in (BUY, SELL):
            resting: defaultdict[Decimal, Decimal] = defaultdict(Decimal)
            for order_id in self.open:
                live = engine.order(order_id)
                assert live.leaves_qty > 0
                left = live.order.qty - self.filled[order_id] - self.reduced[order_id]
                assert live.leaves_qty == left, "quantity is conserved"
                if live.side is side and not live.waiting:
                    resting[live.limit_px] += live.leaves_qty
            levels = engine.levels(side, 99)
            assert dict(levels) == dict(resting)
            assert [px for px, _ in levels] == sorted(resting, reverse=side is BUY)


@settings(max_examples=150, deadline=None)
@given(st.lists(actions(), min_size=8, max_size=50), st.sampled_from(list(SelfTrade)))
def test_the_laws_hold_after_every_call(script, self_trade):
    """Arbitrary scripts: open spread, conserved quantity, price-time priority, limits, all-or-none, no self trade."""
    auditor = Auditor(book(SPOT, self_trade=self_trade))
    for n, action in enumerate(script):
        auditor.run(n, action)


@settings(max_examples=50, deadline=None)
@given(st.lists(actions(), max_size=40))
def test_level_changes_are_exactly_the_difference(script):
    """Whoever applies drained changes, at any moments, has the engine's levels."""
    engine = book(SPOT)
    auditor = Auditor(engine)
    copy: dict[tuple[Side, Decimal], Decimal] = {}
    for n, action in enumerate(script):
        auditor.run(n, action)
        if n % 3:
            continue
        for side, px, qty in engine.drain_changes():
            assert copy.get((side, px), Decimal(0)) != qty, "a change that is none"
            copy[side, px] = qty
        assert {k: q for k, q in copy.items() if q} == {(s, p): q for s in (BUY, SELL) for p, q in engine.levels(s, 99)}


@settings(max_examples=50, deadline=None)
@given(st.lists(actions(), max_size=30))
def test_equal_scripts_give_equal_outcomes(script):
    """Two engines, one script."""

    def outcomes():
        engine = book(SPOT)
        out = []
        for n, (kind, *rest) in enumerate(script):
            if kind == "submit":
                fields = {k: v for k, v in rest[0].items() if k != "lifetime_ns"}
                expire_ns = n + rest[0]["lifetime_ns"] if "lifetime_ns" in rest[0] else None
                out += engine.submit(BookOrder(f"o{n}", expire_ns=expire_ns, **fields), n)
            elif kind == "price":
                out += engine.trigger(*rest, n)
            elif kind == "cancel":
                out.append(engine.cancel(f"o{rest[0]}", n))
        return out

    assert outcomes() == outcomes()
