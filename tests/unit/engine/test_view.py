"""What strategies and risk read is the core's own state, at once and never more than is known."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.commands import RiskState
from tests.support.core import BTC, D, MemoryRecorder, Scripted, build_core, fill, intent, open_market, quote, spot


def test_before_anything_is_known_nothing_is_answered() -> None:
    """No price, no mark, no equity, not tradable; an instrument nobody defined has no rules."""
    view = build_core(MemoryRecorder(), Scripted()).view
    assert (view.top(BTC), view.mark_px(BTC), view.equity(), view.features(BTC)) == (None, None, None, None)
    assert view.tradable(BTC) == "instrument not defined"
    assert (view.position(BTC).qty, list(view.held()), view.open_orders()) == (0, [], ())
    with pytest.raises(KeyError):
        view.instrument(BTC)


def test_a_defined_instrument_without_a_quote_has_no_top() -> None:
    """Its rules are known, its prices are not."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core)
    assert core.view.instrument(BTC) == spot()
    assert core.view.top(BTC) is None
    core.on_event(quote(10))
    top = core.view.top(BTC)
    assert top is not None
    assert (top.bid_px, top.ask_px, core.view.mark_px(BTC)) == (100.0, 100.01, D("100.00"))


def test_every_reading_follows_the_facts() -> None:
    """Order, fill, timer and halt, each seen right after its event through the same object."""
    core = build_core(MemoryRecorder(), Scripted(on_quote=lambda *_: [intent()]))
    view = core.view
    open_market(core)
    (order,) = core.on_event(quote(10))
    core.slots[0].strategy.answers = {}
    assert [shown.client_order_id for shown in view.open_orders(BTC)] == ["k-1"]
    assert (view.open_qty(BTC, e.Side.BUY), view.open_qty(BTC, e.Side.SELL)) == (1, 0)
    core.on_event(fill(order, "0.4", "100", "t1", ts_ns=20))
    assert (view.now_ns, view.open_qty(BTC, e.Side.BUY), view.position(BTC).qty) == (20, D("0.6"), D("0.4"))
    assert (list(view.held()), view.strategy_qty("s", BTC), view.equity()) == ([BTC], D("0.4"), 1000)
    assert (view.equity_peak(), view.equity_day_start(), view.rate("USD"), view.rate("EUR")) == (1000, 1000, 1, None)
    core.on_event(e.Halted(30, 30, "operator", ""))
    assert view.risk_state is RiskState.HALTED


def test_instruments_are_listed_as_they_are_defined() -> None:
    """Also those that come later."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core)
    assert list(core.view.instruments()) == [BTC]
    core.on_event(e.InstrumentDefined(2, 2, spot(id="ETH/USD@coinbase", base="ETH")))
    assert list(core.view.instruments()) == [BTC, "ETH/USD@coinbase"]
