"""A session that begins where a model was taken away and nobody has taken its place."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.bus import EventBus
from engine.carried import encode_carried
from engine.commands import NewOrder, Rejected
from engine.continuity import take
from engine.core import NullProbe, TradingCore
from engine.replay import ReplayAssembly, ReplayRecorder, replay
from engine.router import OrderRouter
from engine.runtime.model_watch import ModelWatch, standing_lines
from engine.seats import VACANT, ServingRules
from tests.support.core import (
    BTC,
    D,
    MemoryJournal,
    MemoryRecorder,
    Scripted,
    build_core,
    intent,
    open_market,
    quote,
    spot,
)
from tests.support.serving import Answers, Shelf
from tests.support.trusting import held, opened


class Vacant(Shelf):
    """Nobody serves at first."""

    def assign(self, instrument: Any, uses_model: bool) -> Any:
        assignment = super().assign(instrument, uses_model)
        return type(assignment)("", assignment.spec, ((VACANT, 1.0),)) if uses_model else assignment


class Lines:
    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def error(self, text: str, **about: str) -> None:
        self.said.append((text, about["instrument"]))

    info = warning = error


class Told(Scripted):
    """Buys on each quote, and keeps what it was told of models."""

    def __init__(self) -> None:
        super().__init__(on_quote=lambda *_: [intent(e.Side.BUY)])
        self.told: list[dict[str, float]] = []

    def on_model(self, instrument: str, facts: Any) -> None:
        self.told.append(dict(facts))


def begun(recorder: Any, shelf: Shelf, strategy: Scripted, fallback: Any = "hold") -> TradingCore:
    """1 is held from a session before, whose account the venue has confirmed."""
    before = opened(MemoryRecorder(), Shelf(Answers()))
    held(before)
    core = build_core(recorder, strategy, assembly=shelf, rules=ServingRules(fallback=fallback), id_prefix="l")
    core.on_event(e.StateCarried(70, 70, "before", 9, encode_carried(take(before, ""))))
    core.on_event(e.AccountSettled(71, 71, "coinbase", (("USD", D("100000")), ("BTC", D(1))), ()))
    open_market(core)
    return core


@pytest.mark.fault("E2")
def test_nothing_is_entered_and_what_is_held_can_be_left_until_a_version_serves() -> None:
    """Its state says so, in the log once; a version that is promoted is told to the strategy and trades."""
    recorder, shelf, strategy, log = MemoryRecorder(), Vacant(Answers("a@1")), Told(), Lines()
    core = begun(recorder, shelf, strategy)
    watch = ModelWatch()
    core.on_event(quote(72))
    assert (recorder.of(Rejected)[-1].check, recorder.of(Rejected)[-1].seen) == ("model", "no model serves")
    assert (recorder.of(NewOrder), strategy.told) == ([], [])
    for _ in range(2):
        watch.look(core, log)
    assert log.said == [("no model serves: strategies that use one enter nothing, exits go on", BTC)]
    assert standing_lines(core) == {BTC: {"champion": "nobody: no model serves"}}
    exit_order = core.desk.place(intent(e.Side.SELL, "1"))
    assert isinstance(exit_order, NewOrder)
    core.on_event(shelf.offer(73, "a@1"))
    core.on_event(quote(74))
    assert [one.intent.side for one in recorder.of(NewOrder)] == [e.Side.SELL, e.Side.BUY]
    assert strategy.told[-1] == {"buy": 0.6}
    assert standing_lines(core) == {BTC: {"champion": "a@1 serving"}}


@pytest.mark.fault("E2")
def test_flat_closes_what_its_strategies_hold() -> None:
    """As in the session in which the model was taken away."""
    recorder = MemoryRecorder()
    core = begun(recorder, Vacant(Answers("a@1")), Scripted(), "flat")
    core.on_event(e.Timer(72, 72, "tick"))
    (closing,) = recorder.of(NewOrder)
    assert (closing.intent.side, closing.intent.qty, closing.intent.reason) == (e.Side.SELL, D(1), "no model serves")


def test_such_a_session_replays() -> None:
    """From its record, whatever is champion by then."""
    journal, shelf = MemoryJournal(), Vacant(Answers("a@1"))
    bus = EventBus(journal, NullProbe(), lambda text, error: pytest.fail(f"{text}: {error!r}"))
    core = build_core(bus, Told(), assembly=shelf)
    bus.attach(core, OrderRouter(bus.publish, list))
    for event in (e.InstrumentDefined(1, 1, spot()), quote(2), shelf.offer(3, "a@1"), quote(4)):
        bus.publish(event)
    recorder = ReplayRecorder()
    assembly = ReplayAssembly(recorder, Shelf(Answers("a@1")), recompute=False, tolerance=lambda: 0.0)
    result = replay(journal.written, recorder, build_core(recorder, Told(), assembly=assembly))
    assert (result.identical, result.first_difference) == (True, None)
    assert result.predictions == 1
