"""The pipeline of one tick, and what the core does when parts of it misbehave."""

from __future__ import annotations

import re
import sys
from math import nan

import msgspec
import numpy as np
import pytest

from engine import events as e
from engine.commands import (
    CancelIntent,
    CancelOrder,
    NewOrder,
    Rejected,
    RiskState,
    RiskStateChanged,
    StrategyQuarantined,
)
from engine.lanes import StrategySlot
from engine.orders import OrderState
from tests.support.core import (
    BTC,
    D,
    EveryQuote,
    MemoryRecorder,
    MidModel,
    OpenGate,
    Scripted,
    build_core,
    fill,
    intent,
    open_market,
    quote,
)


def buyer(name: str = "s", **changes) -> Scripted:
    """Buys one on every prediction."""
    return Scripted(
        name, on_prediction=lambda prediction, seq, view: [intent(strategy=name, prediction_seq=seq, **changes)]
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


@pytest.mark.fault("A14")
@pytest.mark.parametrize(
    "answer",
    [
        lambda *_: 1 / 0,
        lambda *_: [object()],
        lambda *_: 7,
        lambda *_: [intent(strategy="somebody-else")],
        lambda *_: [intent(strategy="bad"), intent(strategy="bad", side=1)],
        lambda *_: [intent(strategy="bad", time_in_force="ioc")],
        lambda *_: [intent(strategy="bad", reason="\ud800")],
        lambda *_: np.array([1, 2]),
        lambda *_: (1 / 0 for _ in range(2)),
        lambda *_: sys.exit(3),
    ],
)
def test_a_strategy_that_raises_or_answers_nonsense_is_quarantined(answer) -> None:
    """It is not called again, its open orders are cancelled, others go on."""
    bad = Scripted("bad", on_prediction=lambda *_: [intent(strategy="bad")])
    good = Scripted("good")
    recorder = MemoryRecorder()
    core = build_core(recorder, bad, good, model=MidModel())
    open_market(core)
    core.on_event(quote(10))
    bad.answers = {"on_row": answer}
    commands = list(core.on_event(quote(11)))
    assert [type(command) for command in commands] == [CancelOrder]
    assert [record.strategy for record in recorder.of(StrategyQuarantined)] == ["bad"]
    calls = len(bad.calls)
    core.on_event(quote(12))
    assert len(bad.calls) == calls
    assert any(method == "on_row" and core.view.now_ns == 12 for method, _ in good.calls)


def test_what_quarantined_a_strategy_is_recorded_alike_on_each_run() -> None:
    """What an error says may hold a set in this process's order, an address, a depth: its words are told, not recorded,
    or replay would differ."""

    def raiser(words: str):
        def on_quote(*_):
            raise ValueError(words)

        return on_quote

    texts = []
    for words in ("columns missing: {'obv', 'rsi_14'}", "columns missing: {'rsi_14', 'obv'}"):
        recorder = MemoryRecorder()
        core = build_core(recorder, Scripted(on_quote=raiser(words)))
        open_market(core)
        core.on_event(quote(10))
        texts.append(recorder.of(StrategyQuarantined)[0].text)
        assert core.slots[0].reason == f"{texts[-1]}: {words}"
    assert texts[0] == texts[1]
    assert re.fullmatch(r"ValueError at core.py:\d+", texts[0])


def test_a_recursion_without_end_is_recorded_by_where_it_was_called() -> None:
    """The stack is as deep as the process that ran it; the line of the callback is not."""

    def down(*_):
        return up()

    def up():
        return down()

    def run(depth: int) -> str:
        if depth:
            return run(depth - 1)
        recorder = MemoryRecorder()
        core = build_core(recorder, Scripted(on_quote=down))
        open_market(core)
        core.on_event(quote(10))
        return recorder.of(StrategyQuarantined)[0].text

    texts = {run(depth) for depth in range(4)}
    assert len(texts) == 1
    assert texts.pop().startswith("RecursionError at ")


def test_an_error_that_cannot_even_be_told_quarantines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ``__str__`` ends the process if nobody stops it; on_model and on_quote."""

    class OopsError(Exception):
        def __str__(self) -> str:
            raise SystemExit(7)

    def fail(*_):
        raise OopsError

    class Fails(Scripted):
        on_model = fail

    for strategy in (Fails(), Scripted(on_quote=fail)):
        recorder = MemoryRecorder()
        core = build_core(recorder, strategy, model=MidModel())
        open_market(core)
        core.on_event(quote(10))
        (record,) = recorder.of(StrategyQuarantined)
        assert record.text.startswith("OopsError at ")
        assert core.slots[0].reason == record.text


def test_a_defect_is_recorded_in_one_line_that_any_journal_holds() -> None:
    """The answer's type has a name of two lines."""
    odd = type("two\nlines", (), {})
    recorder = MemoryRecorder()
    core = build_core(recorder, Scripted(on_quote=lambda *_: [odd()]))
    open_market(core)
    core.on_event(quote(10))
    (record,) = recorder.of(StrategyQuarantined)
    assert "returned two lines, expected" in record.text


def test_a_generator_of_intents_is_carried_out() -> None:
    """Two intents yielded one by one are two orders."""
    core = build_core(MemoryRecorder(), Scripted(on_quote=lambda *_: (intent(qty=str(n)) for n in (1, 2))))
    open_market(core)
    assert [order.intent.qty for order in core.on_event(quote(10))] == [1, 2]


@pytest.mark.parametrize("method", ["on_fill", "on_timer"])
def test_errors_in_rare_callbacks_quarantine_too(method: str) -> None:
    """The fill is booked, the timer's work is done, the other strategy trades on."""
    bad, good = buyer("bad"), buyer("good")
    core = build_core(MemoryRecorder(), bad, good, model=MidModel())
    open_market(core)
    (order, _) = core.on_event(quote(10))
    bad.answers[method] = lambda *_: 1 / 0
    core.on_event(fill(order, "0.5", "100", "t1"))
    core.on_event(e.Timer(60, 60, "tick"))
    assert [slot.alive for slot in core.slots] == [False, True]
    assert core.portfolio.qty(BTC) == D("0.5")
    assert [command.intent.strategy for command in core.on_event(quote(70))] == ["good"]


def test_a_strategy_that_cannot_take_its_model_is_quarantined_and_the_lane_stands() -> None:
    """``on_model`` raises for one of two: recorded, the instrument is served, the other trades."""

    class Choosy(Scripted):
        def on_model(self, instrument, facts) -> None:
            raise KeyError("buy")

    recorder = MemoryRecorder()
    core = build_core(recorder, Choosy("choosy"), buyer("good"), model=MidModel())
    open_market(core)
    (record,) = recorder.of(StrategyQuarantined)
    assert record.strategy == "choosy"
    assert re.fullmatch(r"KeyError at test_core.py:\d+", record.text)
    assert core.slots[0].reason == f"{record.text}: 'buy'"
    assert [command.intent.strategy for command in core.on_event(quote(10))] == ["good"]


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


def test_a_price_beyond_all_numbers_is_no_mark() -> None:
    """1e27 cannot be put on the tick grid: equity is unknown while it stands, and known again after it."""
    core = build_core(MemoryRecorder(), buyer(), model=MidModel())
    open_market(core)
    (order,) = core.on_event(quote(10))
    core.on_event(fill(order, "0.5", "100", "t1"))
    core.slots[0].strategy.answers = {}
    core.on_event(quote(60, 1e27, 1.1e27))
    for ts_ns in (61, 62):
        core.on_event(e.Timer(ts_ns, ts_ns, "tick"))
        assert (core.view.mark_px(BTC), core.portfolio.equity) == (None, None)
    core.on_event(quote(70))
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


def test_strategies_cancel_only_their_own_orders() -> None:
    """A cancel of somebody else's order is ignored, of one's own is sent once."""
    core = build_core(
        MemoryRecorder(),
        buyer("a"),
        Scripted("b", on_timer=lambda *_: [CancelIntent(1, "b", "k-1")]),
        model=MidModel(),
    )
    open_market(core)
    core.on_event(quote(10))
    assert not core.on_event(e.Timer(11, 11, "tick"))
    core.slots[0].strategy.answers = {"on_timer": lambda *_: [CancelIntent(1, "a", "k-1")]}
    (cancel,) = core.on_event(e.Timer(12, 12, "tick"))
    assert isinstance(cancel, CancelOrder)
    assert not core.on_event(e.Timer(13, 13, "tick"))


class TestDurableOrders:
    """Journal mode ``always``: an order waits for the disk and is judged again."""

    def test_an_order_leaves_only_after_its_record_is_on_disk(self) -> None:
        """Synced below its seq: nothing; at its seq: the same command."""
        recorder = MemoryRecorder()
        core = build_core(recorder, buyer(), model=MidModel(), hold_orders=True)
        open_market(core)
        assert not core.on_event(quote(10))
        assert core.view.open_qty(BTC, e.Side.BUY) == 1
        assert not core.on_event(e.JournalSynced(11, 11, 2))
        assert list(core.on_event(e.JournalSynced(12, 12, 3))) == recorder.of(NewOrder)
        assert core.orders.get("k-1").state is OrderState.SENT

    def test_risk_judges_it_again_and_its_own_reservation_does_not_count(self) -> None:
        """The gate sees no open quantity during the second look; a refusal drops it and frees the risk."""
        seen = []
        gate = OpenGate()
        gate.review_again = lambda wish, view: (seen.append(view.open_qty(BTC, e.Side.BUY)), gate.review(wish, view))[1]
        recorder = MemoryRecorder()
        core = build_core(recorder, buyer(), gate=gate, model=MidModel(), hold_orders=True)
        open_market(core)
        core.on_event(quote(10))
        gate.refuse = "stale_quote"
        assert not core.on_event(e.JournalSynced(12, 12, 99))
        assert seen == [0]
        assert core.view.open_qty(BTC, e.Side.BUY) == 0
        assert [record.check for record in recorder.of(Rejected)] == ["stale_quote"]

    @pytest.mark.fault("A9")
    def test_a_slow_disk_drops_the_order(self) -> None:
        """Older than the deadline when the disk answers: never sent."""
        core = build_core(MemoryRecorder(), buyer(), model=MidModel(), hold_orders=True, hold_deadline_ns=100)
        open_market(core)
        core.on_event(quote(10))
        assert not core.on_event(e.JournalSynced(111, 111, 99))
        assert core.counters.rejected == {"durability_deadline": 1}

    def test_halting_drops_what_waits(self) -> None:
        """No cancel is sent for an order that never left."""
        core = build_core(MemoryRecorder(), buyer(), model=MidModel(), hold_orders=True)
        open_market(core)
        core.on_event(quote(10))
        assert not core.on_event(e.Halted(11, 11, "operator", ""))
        assert not core.on_event(e.JournalSynced(12, 12, 99))
        assert core.orders.open_count == 0

    def test_the_waiting_table_is_bounded(self) -> None:
        """The 257th order is refused with its reason."""
        core = build_core(MemoryRecorder(), buyer(), model=MidModel(), hold_orders=True)
        open_market(core)
        for ts_ns in range(10, 10 + 257):
            core.on_event(quote(ts_ns))
        assert core.counters.rejected == {"durability_backlog": 1}


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


def test_a_strategy_hears_only_its_instruments() -> None:
    """Listening to another instrument: no lane calls, no model, no features."""
    core = build_core(MemoryRecorder(), model=MidModel())
    other = Scripted("other")
    core.slots.append(StrategySlot(other, instruments=frozenset({"ETH/USD@coinbase"})))
    open_market(core)
    core.on_event(quote(10))
    assert other.calls == []
    assert core.view.features(BTC) is None


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
