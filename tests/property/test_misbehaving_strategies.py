"""Strategies that answer nonsense, raise, ask without end or work against each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine import events as e
from engine.codec import decode, encode
from engine.commands import (
    Approved,
    CancelIntent,
    CancelOrder,
    NewOrder,
    OrderIntent,
    OrderType,
    Rejected,
    RiskState,
    StrategyQuarantined,
)
from engine.core import TradingCore
from engine.instruments import AssetClass
from risk.gate import Gate
from tests.support.core import BTC, D, MemoryRecorder, Scripted, build_core, intent, open_market, quote
from tests.support.fake_view import FakeView, make_instrument
from tests.support.limits import make_limits

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
A = "BTC/USDT@binance_usdm"
MS = 1_000_000
DAY = 1_700_000_000_000_000_000

scraps = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.decimals()
    | st.sampled_from([*e.Side, OrderType.MARKET, object, len, ValueError("x"), "\ud800", D("1E+999"), 10**400])
)


@st.composite
def answers(draw: st.DrawFn) -> Any:
    """Anything: scraps, containers of them, intents with a scrap in one of their fields."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(
            st.recursive(scraps, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner), max_leaves=6)
        )
    name = draw(st.sampled_from(OrderIntent.__struct_fields__ if kind < 3 else CancelIntent.__struct_fields__))
    sound: Any = intent(strategy="bad") if kind < 3 else CancelIntent(1, "bad", "k-1")
    return [*draw(st.lists(st.just(sound), max_size=1)), msgspec.structs.replace(sound, **{name: draw(scraps)})]


RAISES: dict[str, Any] = {
    "zero": lambda: 1 // 0,
    "exit": lambda: (_ for _ in ()).throw(SystemExit(1)),
    "end": lambda: (_ for _ in ()).throw(GeneratorExit()),
    "memory": lambda: (_ for _ in ()).throw(MemoryError()),
    "deep": lambda: RAISES["deep"](),
}


@pytest.mark.fault("A14")
@QUICK
@given(
    answer=answers() | st.sampled_from(sorted(RAISES)),
    where=st.sampled_from(["on_quote", "on_row", "on_timer", "on_fill"]),
)
@example(answer=[intent(strategy="bad", instrument="")], where="on_quote")
@example(answer=[intent(strategy="bad", instrument="ABC/USD@coinbase")], where="on_quote")
def test_whatever_one_strategy_answers_the_others_trade_on(answer: Any, where: str) -> None:
    """From each callback: nothing is raised, what is on record can be read back, an ill-formed answer ends that
    strategy and cancels its orders, and the other one's order leaves on the next quote."""
    bad = Scripted("bad", on_quote=lambda *_: [intent(strategy="bad")])
    good = Scripted("good")
    recorder = MemoryRecorder()
    core = build_core(recorder, bad, good)
    open_market(core)
    first = next(one for one in core.on_event(quote(10)) if isinstance(one, NewOrder))
    bad.answers = {where: lambda *_: RAISES[answer]() if isinstance(answer, str) and answer in RAISES else answer}
    left = list(core.on_event(quote(11)))
    left += core.on_event(e.Timer(12, 12, "tick"))
    fact = e.OrderFilled(
        13, 13, "coinbase", first.client_order_id, "v", "t1", BTC, e.Side.BUY, D("0.5"), D(100), D(0), "USD",
        e.Liquidity.TAKER,
    )  # fmt: skip
    left += core.on_event(fact)
    ended = [record.strategy for record in recorder.of(StrategyQuarantined)]
    assert ended in ([], ["bad"])
    if ended:
        assert [one.client_order_id for one in left if isinstance(one, CancelOrder)][:1] == [first.client_order_id]
    for record in recorder.records:
        assert encode(decode(encode(record))) == encode(record)
    good.answers = {"on_quote": lambda *_: [intent(strategy="good")]}
    assert any(
        isinstance(one, NewOrder) and one.intent.strategy == "good" for one in core.on_event(quote(14, 100.01, 100.02))
    )


# --- without end ----------------------------------------------------------------------------------------------------


def _storm(core: TradingCore, gate: Gate, every_ns: int) -> tuple[int, int, int]:
    """Quotes and timers from now on, until entries stop for good: how long, how many orders and cancels it took."""
    at_ns, orders, cancels, next_timer_ns = DAY, 0, 0, DAY
    while gate.state is not RiskState.HALTED and at_ns < DAY + 1_100 * MS:
        at_ns += every_ns
        left = list(core.on_event(quote(at_ns, 100.0, 100.01 + 0.01 * (at_ns // every_ns % 2))))
        if at_ns >= next_timer_ns:
            next_timer_ns += 100 * MS
            left += core.on_event(e.Timer(at_ns, at_ns, "tick"))
        orders += sum(isinstance(one, NewOrder) for one in left)
        cancels += sum(isinstance(one, CancelOrder) for one in left)
    return at_ns - DAY, orders, cancels


@pytest.mark.fault("F3")
@pytest.mark.fault("F4")
@settings(QUICK, max_examples=40)
@given(
    every_ms=st.integers(1, 20),
    how=st.sampled_from(["same", "other prices", "replace"]),
    per_second=st.integers(1, 15),
    refused=st.integers(1, 20),
)
def test_a_strategy_that_asks_without_end_is_halted_within_a_second(
    every_ms: int, how: str, per_second: int, refused: int
) -> None:
    """The same wish, one after the other at new prices, and each replaced by the next: at the latest one second after
    the first order nothing more leaves, and until then no more orders than the rate allows, each cancelled once."""
    turn = 0

    def ask(_: str, view: Any) -> list[Any]:
        nonlocal turn
        turn += 1
        wish = intent(qty="0.05", limit_px=D("99.50") + (D("0.01") * (turn % 50) if how != "same" else 0))
        old = [CancelIntent(1, "s", one.client_order_id) for one in view.open_orders() if one.strategy == "s"]
        return [*(old if how == "replace" else []), wish]

    gate = Gate(
        make_limits(
            max_orders_per_s=per_second, max_orders_per_s_instrument=per_second, max_rejections_per_s=refused,
            duplicate_window_ns=1_000 * MS, max_open_orders=1_000, collar_bps=200,
        )
    )  # fmt: skip
    core = build_core(MemoryRecorder(), Scripted("s", on_quote=ask), gate=gate)  # type: ignore[arg-type]
    open_market(core)
    core.on_event(e.Timer(DAY, DAY, "tick"))
    took_ns, orders, cancels = _storm(core, gate, every_ms * MS)
    assert gate.state is RiskState.HALTED
    assert took_ns <= 1_000 * MS
    assert orders <= per_second
    assert cancels == orders  # by the strategy or by the halt, each once
    core.on_event(quote(DAY + 5_000 * MS))
    assert not any(isinstance(one, NewOrder) for one in core.on_event(quote(DAY + 5_001 * MS, 99.0)))


# --- against each other ---------------------------------------------------------------------------------------------


@st.composite
def wishes(draw: st.DrawFn) -> OrderIntent:
    is_market = draw(st.integers(0, 5)) == 5
    return OrderIntent(
        ts_ns=1,
        strategy=draw(st.sampled_from(["s", "t"])),
        instrument=A,
        side=draw(st.sampled_from([*e.Side])),
        qty=D(draw(st.integers(1, 3))),
        order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        limit_px=None if is_market else draw(st.integers(9_990, 10_010).map(lambda ticks: D(ticks) / 100)),
    )


@pytest.mark.fault("F12")
@QUICK
@given(st.lists(st.tuples(wishes(), st.sampled_from(["rest", "rest", "fill", "part"])), min_size=1, max_size=15))
def test_no_entry_meets_an_order_of_ours_or_what_another_strategy_holds(steps: list[tuple[OrderIntent, str]]) -> None:
    """Two strategies, any wishes, some of which fill: an entry that passes could trade with no open order of the
    account, and lies in no other direction than what the other strategy holds."""
    view = FakeView(make_instrument(A, asset_class=AssetClass.PERPETUAL, can_short=True, settlement="USDT"))
    view.rates = {"USDT": D(1)}
    gate = Gate(make_limits(allowed_instruments=[A]))
    for wish, what in steps:
        verdict = gate.review(wish, view)
        assert isinstance(verdict, Approved | Rejected)
        if isinstance(verdict, Rejected):
            continue
        others_qty = view.position(A).qty - view.strategy_qty(wish.strategy, A)
        if gate._last_exit is not wish:
            assert others_qty * wish.side >= 0
            assert not [one for one in view.open_orders(A) if one.side != wish.side and _would_meet(wish, one.limit_px)]
        order = view.open(wish)
        gate.on_opened(order)
        if what != "rest":
            view.fill(order.client_order_id, wish.qty / (2 if what == "part" else 1), D(100))
        view.now_ns += 2


def _would_meet(wish: OrderIntent, other_px: Decimal | None) -> bool:
    return wish.limit_px is None or other_px is None or (wish.limit_px - other_px) * wish.side >= 0
