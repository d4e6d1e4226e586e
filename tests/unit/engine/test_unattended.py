"""A strategy that the next session does not run: its entries go, its stops stay, and its position is told."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.carried import encode_carried
from engine.commands import CancelOrder, GroupIntent, NewOrder, OrderType, RiskStateChanged, TimeInForce
from engine.continuity import take
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.runtime.remarks import remarks
from engine.runtime.unattended import unattended_lines
from tests.support.core import (
    BTC,
    D,
    MemoryRecorder,
    OpenGate,
    Scripted,
    build_core,
    fill,
    intent,
    open_market,
    quote,
    spot,
)

ETH = "ETH/USD@coinbase"
GTC = TimeInForce.GTC


def stop_to(side: e.Side, *, reduce_only: bool) -> GroupIntent:
    px = D("100.2") if side > 0 else D("99.8")
    wish = intent(
        side, order_type=OrderType.STOP, limit_px=None, trigger_px=px, time_in_force=GTC, reduce_only=reduce_only
    )
    return GroupIntent(1, "s", (wish,))


def next_session(first: TradingCore, slots: list[StrategySlot]) -> tuple[TradingCore, MemoryRecorder]:
    recorder = MemoryRecorder()
    core = TradingCore(
        recorder=recorder, gate=OpenGate(), slots=slots, assembly=first.serving._assembly, currency="USD", id_prefix="l"
    )
    core.on_event(e.StateCarried(70, 70, "before", 9, encode_carried(take(first, ""))))
    open_market(core, cash="100000")
    return core, recorder


def after(*wishes: Any, slots: list[StrategySlot], held: bool = True) -> tuple[TradingCore, MemoryRecorder]:
    """A session of other strategies after one in which ``s`` had bought 1 and wished for more."""
    first = build_core(MemoryRecorder(), Scripted("s"))
    open_market(first, cash="100000")
    first.on_event(quote(10))
    if held:
        order = first.desk.place(intent())
        assert isinstance(order, NewOrder)
        first.on_event(fill(order, "1", "100", "t1"))
    first.desk.carry_out(wishes)
    core, recorder = next_session(first, slots)
    assert not unattended_lines(core)  # the venue may say another thing
    total = first.portfolio.balance("coinbase", "BTC")
    core.on_event(
        e.AccountSettled(
            71, 71, "coinbase", (("USD", first.portfolio.cash()["USD"]), *([("BTC", total)] if held else [])), ()
        )
    )
    return core, recorder


@pytest.mark.fault("A1")
@pytest.mark.parametrize(
    "slot", [StrategySlot(Scripted("other")), StrategySlot(Scripted("s"), instruments=frozenset({ETH}))]
)
def test_a_position_of_a_strategy_that_is_not_here_is_told(slot: StrategySlot) -> None:
    """Whose, how much and what to do, in status, log and summary, until it is closed; others go on."""
    core, recorder = after(slots=[slot])
    (line,) = unattended_lines(core).items()
    assert line[0] == f"s {BTC}"
    assert line[1].startswith("1 held for a strategy that does not trade it")
    assert f"close {BTC}" in line[1]
    assert [text for text in remarks(core, {}) if "nobody looks after" in text]
    assert recorder.of(RiskStateChanged) == []
    core.on_event(quote(72))
    request = e.OperatorRequested(73, 73, "close", "cli", "left over", instrument=BTC)
    (closing,) = [one for one in core.on_event(request) if isinstance(one, NewOrder)]
    core.on_event(fill(closing, "1", "100", "t2", ts_ns=74))
    assert not unattended_lines(core)


def test_of_an_instrument_that_is_not_listed_another_way_is_told() -> None:
    """``close`` cannot close it here."""
    core, _ = after(slots=[StrategySlot(Scripted("other"))])
    other = TradingCore(
        recorder=MemoryRecorder(),
        gate=OpenGate(),
        slots=[StrategySlot(Scripted("other"))],
        assembly=core.serving._assembly,
        currency="USD",
        id_prefix="m",
    )
    other.on_event(e.StateCarried(80, 80, "before", 9, encode_carried(take(core, ""))))
    open_market(other, spot(id=ETH, venue_symbol="ETH-USD", base="ETH"))
    other.on_event(e.AccountSettled(81, 81, "coinbase", (("USD", D(99900)), ("BTC", D(1))), ()))
    (text,) = unattended_lines(other).values()
    assert "list its symbol again" in text


def test_its_entries_go_and_its_stop_stays() -> None:
    """One that rests at the venue, one that waits here for its price, and the stop of what it holds."""
    resting = intent(limit_px=D(95), time_in_force=GTC)
    core, recorder = after(
        resting,
        stop_to(e.Side.BUY, reduce_only=False),
        stop_to(e.Side.SELL, reduce_only=True),
        slots=[StrategySlot(Scripted("other"))],
    )
    (cancel,) = recorder.of(CancelOrder)
    assert cancel.reason == f"strategy s does not trade {BTC} in this session"
    core.on_event(e.OrderCancelled(72, 72, "coinbase", cancel.client_order_id, "v"))
    core.on_event(quote(73, 100.3, 100.31))
    core.on_event(e.Timer(74, 74, "tick"))
    assert recorder.of(NewOrder) == []
    core.on_event(quote(75, 99.7, 99.71))
    (stop,) = recorder.of(NewOrder)
    assert (stop.intent.side, stop.intent.qty, stop.intent.reduce_only) == (e.Side.SELL, D(1), True)


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.STOP_LIMIT])
def test_an_order_that_only_reduces_stays_as_long_as_it_closes_what_is_held(kind: OrderType) -> None:
    """One of no group, that rests at the venue: it is all that protects the position.  Once that is closed by hand, it
    would close what others hold."""
    prices = {"limit_px": D(105)} if kind is OrderType.LIMIT else {"limit_px": D("99.7"), "trigger_px": D("99.8")}
    wish = intent(e.Side.SELL, order_type=kind, time_in_force=GTC, reduce_only=True, **prices)
    core, recorder = after(wish, slots=[StrategySlot(Scripted("other"))])
    core.on_event(quote(72))
    core.on_event(e.Timer(10**10, 10**10, "tick"))
    assert recorder.of(CancelOrder) == []
    sale = core.desk.place(intent(e.Side.SELL, strategy="operator"))
    assert isinstance(sale, NewOrder)
    core.on_event(fill(sale, "1", "100", "t2", ts_ns=10**10))
    core.on_event(e.Timer(2 * 10**10, 2 * 10**10, "tick"))
    assert [one.client_order_id for one in recorder.of(CancelOrder)] == ["k-2"]


def test_of_two_that_only_reduce_the_later_goes_when_one_closes_what_is_held() -> None:
    """0.5 each, of 1 that is held; when half of that was sold by hand, both together would sell what others hold."""
    wishes = [intent(e.Side.SELL, "0.5", limit_px=D(px), time_in_force=GTC, reduce_only=True) for px in ("105", "106")]
    core, recorder = after(*wishes, slots=[StrategySlot(Scripted("other"))])
    assert recorder.of(CancelOrder) == []
    sale = core.desk.place(intent(e.Side.SELL, "0.5", strategy="operator"))
    assert isinstance(sale, NewOrder)
    core.on_event(fill(sale, "0.5", "100", "t2", ts_ns=10**10))
    core.on_event(e.Timer(2 * 10**10, 2 * 10**10, "tick"))
    assert [one.client_order_id for one in recorder.of(CancelOrder)] == ["k-3"]


@pytest.mark.fault("B16")
def test_an_entry_that_was_given_up_goes_when_it_shows_itself_to_the_next_session() -> None:
    """It had ended when its session did, as far as was known; a twin that sleeps is nobody who is gone."""
    first = build_core(MemoryRecorder(), Scripted("s"))
    open_market(first, cash="100000")
    first.on_event(quote(10))
    for name in ("s", "other.canary"):
        order = first.desk.place(intent(strategy=name, limit_px=D(95), time_in_force=GTC))
        assert isinstance(order, NewOrder)
        first.on_event(e.OrderOutcomeUnknown(11, 11, "coinbase", order.client_order_id, "reset"))
        first.on_event(e.OrderRejected(12, 12, "coinbase", order.client_order_id, "never_arrived"))
    core, recorder = next_session(first, [StrategySlot(Scripted("other"))])
    for number in (1, 2):
        core.on_event(e.OrderAccepted(72, 72, "coinbase", f"k-{number}", f"v-{number}"))
    assert [one.client_order_id for one in recorder.of(CancelOrder)] == ["k-1"]


def test_elsewhere_the_same_strategy_goes_on() -> None:
    """It does not trade one instrument any more; in another one its orders stay."""
    core, recorder = after(
        intent(limit_px=D(95), time_in_force=GTC),
        slots=[StrategySlot(Scripted("s"), instruments=frozenset({ETH}))],
    )
    assert len(recorder.of(CancelOrder)) == 1
    core.on_event(e.InstrumentDefined(72, 72, spot(id=ETH, venue_symbol="ETH-USD", base="ETH")))
    core.on_event(quote(73, instrument=ETH))
    core.desk.carry_out([intent(instrument=ETH, time_in_force=GTC)])
    core.on_event(e.Timer(10**10, 10**10, "tick"))
    assert len(recorder.of(NewOrder)) == 1
    assert {one.client_order_id for one in recorder.of(CancelOrder)} == {"k-2"}
