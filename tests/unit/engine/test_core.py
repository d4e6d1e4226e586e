"""The pipeline of one tick, and what the core does when parts of it misbehave."""

from __future__ import annotations

from math import nan

import msgspec
import pytest

from engine import events as e
from engine.commands import (
    CancelOrder,
    NewOrder,
    Rejected,
    RiskState,
    RiskStateChanged,
)
from engine.order_states import OrderState
from tests.support.core import (
    BTC,
    D,
    EveryQuote,
    MemoryRecorder,
    MidModel,
    OpenGate,
    Scripted,
    build_core,
    buyer,
    fill,
    intent,
    open_market,
    quote,
)


def test_one_tick_walks_the_pipeline_in_order() -> None:
    """Quote in: prediction recorded, order recorded after it naming it, command out."""
    recorder = MemoryRecorder()
    core = build_core(recorder, buyer(), model=MidModel())
    open_market(core)
    commands = list(core.on_event(quote(10)))
    assigned, prediction, order = recorder.records
    assert assigned == e.ModelAssigned(1, 1, BTC, "mid@1", "{}", (("buy", 0.6),))
    assert core.slots[0].strategy.facts == {"buy": 0.6}
    assert isinstance(prediction, e.Prediction)
    assert commands == [order]
    assert isinstance(order, NewOrder)
    assert order.intent.prediction_seq == 2
    assert order.client_order_id == "k-1"
    assert core.view.open_qty(BTC, e.Side.BUY) == 1


@pytest.mark.fault("D1")
@pytest.mark.parametrize(
    ("bad", "defect"),
    [
        (quote(11, nan, 100.0), "not_finite"),
        (quote(11, 0.0, 100.0), "not_positive"),
        (quote(11, 101.0, 100.0), "crossed"),
    ],
)
def test_a_bad_tick_reaches_neither_features_nor_prices(bad: e.Quote, defect: str) -> None:
    """Counted by defect; the best prices stay but are suspect until the next good quote."""
    features = EveryQuote()
    core = build_core(MemoryRecorder(), Scripted(), features=lambda: features)
    open_market(core)
    core.on_event(quote(10))
    core.on_event(bad)
    top = core.view.top(BTC)
    assert core.counters.dropped == {defect: 1}
    assert (features.rows, top.bid_px, top.suspect) == (1, 100.0, True)
    core.on_event(quote(12))
    assert not top.suspect
    assert not top.crossed


@pytest.mark.fault("E8")
def test_nothing_is_predicted_before_the_features_are_warm_or_after_a_gap() -> None:
    """Warm after three rows; a gap starts again and its reason can be read."""
    model = MidModel()
    core = build_core(MemoryRecorder(), Scripted(), model=model, features=lambda: EveryQuote(3))
    open_market(core)
    for ts_ns in range(10, 14):
        core.on_event(quote(ts_ns))
    assert model.calls == 2
    core.on_event(e.Gap(14, 14, "coinbase", BTC, 7, 9))
    assert core.view.features(BTC).reason == "gap: expected 7, got 9"
    assert core.view.top(BTC).suspect
    core.on_event(quote(15))
    assert model.calls == 2


@pytest.mark.fault("C6")
def test_both_streams_must_be_up_to_trade() -> None:
    """tradable() names the stream that is missing."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core)
    assert core.view.tradable(BTC) == ""
    core.on_event(e.FeedDown(20, 20, "coinbase", "user", "reset"))
    assert core.view.tradable(BTC) == "user stream of coinbase is down: reset"
    core.on_event(e.FeedUp(21, 21, "coinbase", "user"))
    core.on_event(e.InstrumentStatus(22, 22, BTC, e.TradingStatus.CANCEL_ONLY))
    assert core.view.tradable(BTC) == f"{BTC} is cancel_only"


@pytest.mark.parametrize(
    ("changes", "defect"),
    [
        ({"qty": D("NaN")}, "not_finite"),
        ({"px": D("NaN")}, "not_finite"),
        ({"px": D("Infinity")}, "not_finite"),
        ({"fee": D("sNaN")}, "not_finite"),
        ({"fee": D("NaN")}, "not_finite"),
        ({"qty": D(0)}, "bad_size"),
        ({"qty": D(-1)}, "bad_size"),
        ({"px": D(0)}, "not_positive"),
        ({"px": D("1E+999999")}, "too_large"),
        ({"instrument": "XRP/USD@coinbase"}, "unknown_instrument"),
    ],
)
def test_a_fill_that_is_no_number_is_never_booked(changes: dict, defect: str) -> None:
    """Counted, HALTED with the reason, equity stays what it was; the same trade told right is booked afterwards."""
    gate = OpenGate()
    recorder = MemoryRecorder()
    core = build_core(recorder, buyer(), gate=gate, model=MidModel())
    open_market(core)
    (order,) = core.on_event(quote(10))
    good = fill(order, "0.5", "100", "t1")
    core.on_event(e.Timer(20, 20, "tick"))
    equity = core.portfolio.equity
    core.on_event(msgspec.structs.replace(good, **changes))
    assert core.counters.unreadable == {defect: 1}
    assert gate.state is RiskState.HALTED
    assert defect in recorder.of(RiskStateChanged)[0].reason
    core.on_event(e.Timer(21, 21, "tick"))
    assert (core.portfolio.equity, core.portfolio.qty(BTC)) == (equity, 0)
    core.on_event(good)
    assert core.portfolio.qty(BTC) == D("0.5")


@pytest.mark.parametrize(
    "fact",
    [
        e.BalanceReported(2, 2, "coinbase", "EUR", D("NaN"), D(1)),
        e.BalanceReported(2, 2, "coinbase", "EUR", D(1), D("Infinity")),
        e.PositionReported(2, 2, "coinbase", BTC, D("NaN"), D(1)),
        e.PositionReported(2, 2, "coinbase", BTC, D(1), D("-Infinity")),
    ],
)
def test_an_account_that_cannot_be_read_halts(fact: e.InputEvent) -> None:
    """Balance or position: nothing of it is booked."""
    gate = OpenGate()
    core = build_core(MemoryRecorder(), Scripted(), gate=gate)
    open_market(core)
    core.on_event(fact)
    assert gate.state is RiskState.HALTED
    assert core.counters.unreadable == {"not_finite": 1}
    assert (core.portfolio.cash(), core.portfolio.qty(BTC)) == ({"USD": D(1000)}, 0)


def test_a_rate_that_is_no_number_is_dropped() -> None:
    """The last good one stands."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core)
    core.on_event(e.RateReported(2, 2, "EUR", D("1.1")))
    core.on_event(e.RateReported(3, 3, "EUR", D("NaN")))
    assert core.view.rate("EUR") == D("1.1")
    assert core.counters.dropped == {"not_finite": 1}


@pytest.mark.fault("C6")
def test_a_lost_user_stream_closes_trading_and_leaves_books_and_features() -> None:
    """FeedDown of ``user`` breaks nothing of the market; of ``market`` it does."""
    features = EveryQuote()
    core = build_core(MemoryRecorder(), Scripted(), features=lambda: features)
    open_market(core)
    core.on_event(quote(10))
    core.on_event(e.FeedDown(11, 11, "coinbase", "user", "reset"))
    assert (features.warm, core.view.top(BTC).suspect, core.view.mark_px(BTC)) == (True, False, D("100.00"))
    assert "user stream" in core.view.tradable(BTC)
    core.on_event(e.FeedDown(12, 12, "coinbase", "market", "reset"))
    assert (features.reason, core.view.top(BTC).suspect) == ("feed down: reset", True)


@pytest.mark.fault("D1")
def test_a_price_beyond_all_numbers_is_no_mark() -> None:
    """1e27 cannot be put on the tick grid: equity is unknown while it stands, and known again after it."""
    core = build_core(MemoryRecorder(), buyer(), model=MidModel())
    open_market(core)
    (order,) = core.on_event(quote(10))
    core.on_event(fill(order, "0.5", "100", "t1"))
    core.slots[0].strategy.answers = {}
    for ts_ns in range(56, 61):  # an outlier, until it is told five times
        core.on_event(quote(ts_ns, 1e27, 1.1e27))
    for ts_ns in (61, 62):
        core.on_event(e.Timer(ts_ns, ts_ns, "tick"))
        assert (core.view.mark_px(BTC), core.portfolio.equity) == (None, None)
    for ts_ns in range(66, 71):
        core.on_event(quote(ts_ns))
    core.on_event(e.Timer(71, 71, "tick"))
    assert core.portfolio.equity == 1000


def test_a_refused_intent_is_a_recorded_decision() -> None:
    """Nothing leaves; the check is counted and journaled."""
    gate = OpenGate()
    gate.refuse = "stale_quote"
    recorder = MemoryRecorder()
    core = build_core(recorder, buyer(), gate=gate, model=MidModel())
    open_market(core)
    assert not core.on_event(quote(10))
    assert core.counters.rejected == {"stale_quote": 1}
    assert [record.check for record in recorder.of(Rejected)] == ["stale_quote"]


@pytest.mark.fault("A8")
def test_an_order_that_cannot_be_recorded_never_leaves() -> None:
    """The journal refuses the order record: no command, no held risk, HALTED."""
    recorder = MemoryRecorder()
    recorder.fails_on = NewOrder
    gate = OpenGate()
    core = build_core(recorder, buyer(), gate=gate, model=MidModel())
    open_market(core)
    assert not core.on_event(quote(10))
    assert gate.state is RiskState.HALTED
    assert core.view.open_qty(BTC, e.Side.BUY) == 0


def test_an_order_that_cannot_be_written_down_does_not_look_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder raises on the order, as it does on a field of a foreign type: the defect goes up, nothing is open,
    and the halt that follows cancels nothing at the venue."""
    recorder = MemoryRecorder()
    core = build_core(recorder, buyer(), model=MidModel())
    open_market(core)
    write = recorder.record

    def refuse(record: object) -> int:
        if isinstance(record, NewOrder):
            raise TypeError("Encoding objects of type object is unsupported")
        return write(record)

    monkeypatch.setattr(recorder, "record", refuse)
    with pytest.raises(TypeError):
        core.on_event(quote(10))
    assert core.view.open_qty(BTC, e.Side.BUY) == 0
    assert not core.view.open_orders()
    assert not core.on_event(e.Halted(11, 11, "core", "TypeError"))
    assert core.orders.get("k-1").state is OrderState.REJECTED


@pytest.mark.fault("A8")
@pytest.mark.parametrize("refused", [e.Prediction, Rejected])
def test_a_decision_that_cannot_be_recorded_halts(refused: type) -> None:
    """The journal keeps its reserve for cancels and account facts: predictions and refusals find no room first."""
    recorder = MemoryRecorder()
    recorder.fails_on = refused
    gate = OpenGate()
    gate.refuse = "stale_quote"
    core = build_core(recorder, buyer(), gate=gate, model=MidModel())
    open_market(core)
    assert not core.on_event(quote(10))
    assert gate.state is RiskState.HALTED


@pytest.mark.fault("F7")
def test_halting_cancels_everything_and_blocks_entries() -> None:
    """One cancel for each open order; a second halt sends none again."""
    gate = OpenGate()
    core = build_core(MemoryRecorder(), buyer(), gate=gate, model=MidModel())
    open_market(core)
    core.on_event(quote(10))
    core.on_event(quote(11))
    commands = list(core.on_event(e.Halted(12, 12, "operator", "test")))
    assert [command.client_order_id for command in commands if isinstance(command, CancelOrder)] == ["k-1", "k-2"]
    assert not core.on_event(e.Halted(13, 13, "operator", "again"))
    assert not core.on_event(quote(14))
    assert core.counters.rejected == {"state": 1}


def test_reducing_cancels_only_what_can_add_risk() -> None:
    """The reduce-only order stays."""
    wishes = iter([[intent()], [intent(e.Side.SELL, reduce_only=True)]])
    core = build_core(MemoryRecorder(), Scripted(on_quote=lambda *_: next(wishes, [])))
    open_market(core)
    core.on_event(quote(10))
    core.on_event(quote(11))
    commands = list(core.on_event(e.Reduced(12, 12, "operator", "test")))
    assert [command.client_order_id for command in commands] == ["k-1"]


@pytest.mark.fault("F6")
def test_a_breach_after_a_fill_latches() -> None:
    """The breaker is asked after each fill and on each timer."""
    gate = OpenGate()
    core = build_core(MemoryRecorder(), buyer(), gate=gate, model=MidModel())
    open_market(core)
    (order,) = core.on_event(quote(10))
    gate.breach_next = (RiskState.HALTED, "daily loss 10 over 5")
    core.on_event(fill(order, "0.5", "100", "t1"))
    assert gate.state is RiskState.HALTED


@pytest.mark.fault("B7")
def test_an_overfill_leads_to_reducing() -> None:
    """Booked as the venue says, then REDUCING."""
    gate = OpenGate()
    core = build_core(MemoryRecorder(), buyer(), gate=gate, model=MidModel())
    open_market(core)
    (order,) = core.on_event(quote(10))
    core.on_event(fill(order, "1.5", "100", "t1"))
    assert gate.state is RiskState.REDUCING
    assert core.portfolio.qty(BTC) == D("1.5")


@pytest.mark.fault("B1")
def test_a_duplicate_fill_moves_no_money_and_tells_nobody() -> None:
    """Position, equity and the strategy see one fill."""
    strategy = buyer()
    core = build_core(MemoryRecorder(), strategy, model=MidModel())
    open_market(core)
    (order,) = core.on_event(quote(10))
    for _ in range(2):
        core.on_event(fill(order, "0.5", "100", "t1", fee="1"))
    assert core.portfolio.qty(BTC) == D("0.5")
    assert core.portfolio.cash()["USD"] == 949
    assert [method for method, _ in strategy.calls].count("on_fill") == 1


@pytest.mark.fault("B8")
def test_a_fill_of_an_order_that_is_not_ours_is_booked() -> None:
    """Position moves, counted as external, no strategy holds it."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core)
    foreign = NewOrder(1, "not-ours", "coinbase", intent())
    core.on_event(fill(foreign, "0.5", "100", "t1"))
    assert core.portfolio.qty(BTC) == D("0.5")
    assert core.counters.external_fills == 1
    assert core.view.strategy_qty("s", BTC) == 0


@pytest.mark.fault("B14")
def test_an_unknown_outcome_keeps_its_risk_until_evidence() -> None:
    """Reset before the answer: the order still holds its quantity; an acknowledgement resolves it."""
    core = build_core(MemoryRecorder(), buyer(), model=MidModel())
    open_market(core)
    (order,) = core.on_event(quote(10))
    core.on_event(e.OrderOutcomeUnknown(11, 11, "coinbase", order.client_order_id, "reset"))
    assert core.view.open_qty(BTC, e.Side.BUY) == 1
    assert core.view.open_orders(BTC)[0].state == "unknown"
    core.on_event(e.OrderAccepted(12, 12, "coinbase", order.client_order_id, "v1"))
    assert core.view.open_orders(BTC)[0].state == "accepted"


def test_shutdown_stops_entries_and_cancels() -> None:
    """After ShutdownRequested no strategy is called."""
    strategy = buyer()
    core = build_core(MemoryRecorder(), strategy, model=MidModel())
    open_market(core)
    core.on_event(quote(10))
    (cancel,) = core.on_event(e.ShutdownRequested(11, 11, "SIGINT"))
    assert isinstance(cancel, CancelOrder)
    calls = len(strategy.calls)
    assert not core.on_event(quote(12))
    assert len(strategy.calls) == calls


def test_an_event_of_an_unknown_instrument_is_counted() -> None:
    """Never an exception."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core)
    core.on_event(quote(10, instrument="XRP/USD@coinbase"))
    core.on_event(e.Trade(10, 10, "XRP/USD@coinbase", 1.0, 1.0, 1, "t"))
    assert core.counters.dropped == {"unknown_instrument": 2}


def test_book_changes_are_ticks_too() -> None:
    """Snapshot and delta feed the same features as quotes do."""
    features = EveryQuote()
    core = build_core(MemoryRecorder(), Scripted(), features=lambda: features)
    open_market(core)
    core.on_event(e.BookSnapshot(10, 10, BTC, ((99.0, 1.0),), ((101.0, 1.0),)))
    core.on_event(e.BookDelta(11, 11, BTC, ((1, 98.0, 4.0),)))
    core.on_event(e.BookDelta(12, 12, BTC, ((1, 99.5, 4.0),)))
    assert features.rows == 2
    assert features.latest("mid") == 100.25
