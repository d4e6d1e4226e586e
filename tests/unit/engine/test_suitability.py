"""A version that the strategies of an instrument cannot work with is refused before it acts; whoever serves goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from engine import events as e
from engine.core import TradingCore
from engine.lanes import StrategySlot
from engine.ports import Features
from engine.seats import ServingRules
from tests.support.core import BTC, EveryQuote, MemoryRecorder, OpenGate, Scripted, open_market, quote
from tests.support.serving import Answers, Shelf

OTHER = '{"other":1}'


class Picky(Scripted):
    """Takes ``buy`` from a model's facts, whatever they are."""

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None:
        self.buy = facts["buy"]


class NoSpread(EveryQuote):
    """Makes one column less."""

    def latest(self, column: str) -> float:
        return super().latest({"mid": "mid"}[column])


def shelf() -> Shelf:
    """``b@1`` has no fact ``buy``, ``c@1`` no column ``spread``."""
    made = Shelf(Answers("a@1"), Answers("b@1"), Answers("c@1"), other_features=NoSpread)
    made.facts = {"a@1": (("buy", 0.6),), "b@1": (("sell", 0.4),), "c@1": (("buy", 0.7),)}
    made.specs["c@1"] = OTHER
    return made


def opened(strategy: Any, models: Shelf, fallback: Any = "hold") -> tuple[TradingCore, MemoryRecorder]:
    recorder = MemoryRecorder()
    slot = StrategySlot(strategy, make_twin=lambda name: type(strategy)(name, **strategy.answers))
    core = TradingCore(
        recorder=recorder, gate=OpenGate(), slots=[slot], assembly=models, currency="USD", id_prefix="k",
        rules=ServingRules(1, 10**18, fallback),
    )  # fmt: skip
    open_market(core)
    core.on_event(quote(10))
    return core, recorder


def refusals(recorder: MemoryRecorder) -> list[tuple[str, str]]:
    return [(one.role, one.reason) for one in recorder.of(e.ModelStanding) if one.state == "gone"]


@pytest.mark.fault("E3")
@pytest.mark.parametrize("role", ["champion", "canary", "older"])
def test_a_version_without_a_fact_that_a_strategy_reads_is_refused(role: str) -> None:
    """The strategy has the facts of whoever serves, and is asked on."""
    models = shelf()
    core, recorder = opened(Picky(), models, "older")
    core.on_event(models.offer(11, "b@1", role, 0.1))
    ((refused, reason),) = refusals(recorder)
    name = "s.canary" if role == "canary" else "s"
    assert refused == role
    assert reason.startswith(f"strategy {name} cannot work with it: KeyError at test_suitability.py:")
    core.on_event(quote(12))
    assert [one.model for one in recorder.of(e.Prediction)] == ["a@1", "a@1"]
    assert all(slot.alive for slot in core.slots)
    assert core.slots[0].strategy.buy == 0.6  # type: ignore[attr-defined]
    lane = core.lanes[BTC]
    assert (lane.canary, lane.older, lane.warming) == (None, None, None)


@pytest.mark.fault("E3")
@pytest.mark.parametrize("declares", [False, True])
def test_a_version_whose_features_lack_a_column_that_is_read_is_refused(declares: bool) -> None:
    """Read before, or declared and not read yet; a canary's features are nobody's to read."""
    models = shelf()

    def reads(instrument: str, view: Any) -> list[Any]:
        view.features(instrument).latest("spread")
        return []

    strategy = Scripted(on_row=reads) if not declares else Scripted()
    if declares:
        strategy.feature_columns = ("spread",)  # type: ignore[attr-defined]
    core, recorder = opened(strategy, models)
    core.on_event(models.offer(11, "c@1"))
    assert refusals(recorder) == [("champion", "its features have no spread, which strategies here read")]
    for ts_ns in (12, 13):
        core.on_event(quote(ts_ns))
    assert {one.model for one in recorder.of(e.Prediction)} == {"a@1"}
    core.on_event(models.offer(14, "c@1", "canary", 0.1))
    core.on_event(quote(15))
    assert "c@1" in {one.model for one in recorder.of(e.Prediction)}
    assert core.slots[0].alive


def test_a_strategy_that_declares_what_it_needs_may_read_more() -> None:
    """What it can do without is no reason against a version."""
    models = shelf()

    def reads(instrument: str, view: Any) -> list[Any]:
        view.features(instrument).latest("spread")
        return []

    strategy = Scripted(on_row=reads)
    strategy.feature_columns = ("mid",)  # type: ignore[attr-defined]
    core, recorder = opened(strategy, models)
    core.on_event(models.offer(11, "c@1"))
    assert refusals(recorder) == []


def test_facts_that_fit_are_told_when_the_version_serves() -> None:
    """Not before, and then once more than it was tried."""
    models = shelf()
    models.specs["c@1"] = "{}"
    core, _ = opened(Picky(), models)
    core.on_event(models.offer(11, "c@1"))
    assert core.slots[0].strategy.buy == 0.7  # type: ignore[attr-defined]
    cold = shelf()
    cold._other_features = lambda: _cold()
    core, _ = opened(Picky(), cold)
    core.on_event(cold.offer(11, "c@1"))
    assert core.slots[0].strategy.buy == 0.6  # type: ignore[attr-defined]


def _cold() -> Features:
    return EveryQuote(3)
