"""The core and the code of others: what a strategy returns, raises or changes reaches that strategy alone."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from engine import events as e
from engine.commands import (
    CancelIntent,
    CancelOrder,
    StrategyQuarantined,
)
from engine.lanes import StrategySlot
from tests.support.core import (
    BTC,
    D,
    MemoryRecorder,
    MidModel,
    Scripted,
    build_core,
    buyer,
    fill,
    intent,
    open_market,
    quote,
)


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


@pytest.mark.fault("A14")
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


@pytest.mark.fault("A14")
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


@pytest.mark.fault("A14")
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


@pytest.mark.fault("A14")
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
    assert re.fullmatch(r"KeyError at test_core_strategies.py:\d+", record.text)
    assert core.slots[0].reason == f"{record.text}: 'buy'"
    assert [command.intent.strategy for command in core.on_event(quote(10))] == ["good"]


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


def test_a_strategy_hears_only_its_instruments() -> None:
    """Listening to another instrument: no lane calls, no model, no features."""
    core = build_core(MemoryRecorder(), model=MidModel())
    other = Scripted("other")
    core.slots.append(StrategySlot(other, instruments=frozenset({"ETH/USD@coinbase"})))
    open_market(core)
    core.on_event(quote(10))
    assert other.calls == []
    assert core.view.features(BTC) is None
