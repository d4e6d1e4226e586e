"""How models stand, in words: each change said once."""

from __future__ import annotations

from typing import Any

from engine import events as e
from engine.commands import Rejected
from engine.runtime.model_watch import ModelWatch, alarm_lines, standing_lines
from engine.seats import ServingRules
from tests.support.core import BTC, MemoryRecorder, Scripted, build_core, fill, intent, open_market, quote
from tests.support.serving import Answers, Shelf


class Lines:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def info(self, text: str, **fields: Any) -> None:
        self.said.append(("info", fields))

    def warning(self, text: str, **fields: Any) -> None:
        self.said.append(("warning", fields))

    def error(self, text: str, **fields: Any) -> None:
        self.said.append(("error", {"text": text, **fields}))

    def take(self) -> list[tuple[str, str]]:
        said, self.said = self.said, []
        return [(level, fields.get("standing") or fields["text"]) for level, fields in said]


def test_each_change_is_said_once() -> None:
    """Nothing while all is as assigned; an alarm, its end, another version."""
    shelf, watch, log = Shelf(Answers("a@1"), Answers("b@1")), ModelWatch(), Lines()
    core = build_core(MemoryRecorder(), Scripted(), assembly=shelf)
    watch.look(core, log)
    open_market(core)
    watch.look(core, log)
    assert log.take() == []
    core.on_event(e.ModelAlarmed(5, 5, BTC, "a@1", "psi", "stop", 1.0, "0.31"))
    watch.look(core, log)
    watch.look(core, log)
    assert log.take() == [("error", "a@1 stopped: stopped by psi: 0.31")]
    assert standing_lines(core) == {BTC: {"champion": "a@1 stopped: stopped by psi: 0.31"}}
    core.on_event(e.ModelAlarmed(6, 6, BTC, "a@1", "psi", "size_down", 0.5, "0.22"))
    watch.look(core, log)
    assert log.take() == [("warning", "a@1 serving, sizes times 0.5: sized down by psi: 0.22")]
    core.on_event(shelf.offer(7, "b@1"))
    watch.look(core, log)
    assert log.take() == [("warning", "b@1 serving")]
    core.on_event(shelf.offer(8, "", reason="retired"))
    watch.look(core, log)
    watch.look(core, log)
    assert log.take() == [
        ("warning", "nobody any more"),
        ("error", "no model serves: strategies that use one enter nothing, exits go on"),
    ]


def test_a_rollback_onto_a_version_that_was_stopped_before_is_an_error() -> None:
    """Nobody serves after it: said once more, with the other version's name, and shown in ``status``."""
    shelf, watch, log = Shelf(Answers("a@1"), Answers("b@1")), ModelWatch(), Lines()
    core = build_core(MemoryRecorder(), Scripted(), assembly=shelf)
    open_market(core)
    for ts_ns, version in ((5, "a@1"), (7, "b@1")):
        core.on_event(e.ModelAlarmed(ts_ns, ts_ns, BTC, version, "adwin", "stop", 1.0, "0.31"))
        watch.look(core, log)
        if version == "a@1":
            core.on_event(shelf.offer(6, "b@1"))
            watch.look(core, log)
    log.take()
    core.on_event(shelf.offer(8, "a@1", reason="rollback by rollout"))
    watch.look(core, log)
    watch.look(core, log)
    assert log.take() == [("error", "a@1 stopped: stopped by adwin: 0.31")]
    assert standing_lines(core) == {BTC: {"champion": "a@1 stopped: stopped by adwin: 0.31"}}
    refused = core.desk.place(intent(qty="1"))
    assert isinstance(refused, Rejected)
    assert refused.check == "model"


def test_a_version_whose_features_are_not_warm_yet_is_no_error() -> None:
    """With columns of its own it waits for its rows: nothing is wrong, and nobody need be woken up."""
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    shelf.specs["b@1"] = '{"other": 1}'
    watch, log = ModelWatch(), Lines()
    core = build_core(MemoryRecorder(), Scripted(), assembly=shelf, rules=ServingRules(1, 10**15, "older"))
    open_market(core)
    core.on_event(shelf.offer(2, "b@1", role="older"))
    watch.look(core, log)
    ((level, standing),) = log.take()
    assert level == "info"
    assert standing.startswith("b@1 warming")


def test_a_position_that_cannot_be_closed_is_an_error() -> None:
    """The closing order is refused again and again, until it is given up."""
    model, watch, log = Answers("a@1"), ModelWatch(), Lines()
    core = build_core(MemoryRecorder(), Scripted(), assembly=Shelf(model), rules=ServingRules(1, 10**15, "flat"))
    open_market(core)
    order = core.desk.place(intent(qty="1"))
    core.on_event(fill(order, "1", "100", "t1"))  # type: ignore[arg-type]
    model.statuses = [e.PredictionStatus.FAILED]
    for second in range(80):
        now_ns = 60 + second * 1_000_000_000
        for one in list(core.on_event(e.Timer(now_ns, now_ns, "tick") if second else quote(now_ns))):
            core.on_event(e.OrderRejected(now_ns, now_ns, "coinbase", one.client_order_id, "busy"))
    watch.look(core, log)
    assert log.take()[1:] == [("error", "a position could not be closed while its model does not serve: look at it")]
    watch.look(core, log)
    assert log.take() == []
    assert core.flattening.given_up == {("s", BTC): "1 left after 60 tries"}


def test_a_position_that_waits_to_be_closed_is_an_error_once() -> None:
    """No closing order can leave: told after a minute, and again when it comes back after an end."""
    watch, log = ModelWatch(), Lines()
    core = build_core(
        MemoryRecorder(), Scripted(), assembly=Shelf(Answers("a@1")), rules=ServingRules(1, 10**15, "flat")
    )
    open_market(core)
    order = core.desk.place(intent(qty="1"))
    core.on_event(fill(order, "1", "100", "t1"))  # type: ignore[arg-type]
    told = ("error", "a position is not closed yet while its model does not serve: look at it")
    now_ns = 60
    for reason in ("cut", "cut again"):
        core.on_event(e.FeedDown(now_ns, now_ns, "coinbase", "user", reason))
        core.on_event(e.ModelAlarmed(now_ns, now_ns, BTC, "a@1", "psi", "stop", 1.0, "0.31"))
        watch.look(core, log)
        log.take()
        for _ in range(62):
            now_ns += 1_000_000_000
            core.on_event(e.Timer(now_ns, now_ns, "tick"))
        watch.look(core, log)
        watch.look(core, log)
        assert log.said[0][1]["why"] == f"waits for the market: user stream of coinbase is down: {reason}"
        assert log.take() == [told]
        core.on_event(e.ModelAlarmed(now_ns, now_ns, BTC, "a@1", "psi", "clear", 1.0, "0.31"))
        watch.look(core, log)


def test_a_stop_is_told_when_its_version_has_left_its_seat() -> None:
    """Whoever brings the version back would find it stopped, and nothing had said so before."""
    shelf = Shelf(Answers("a@1"), Answers("b@1"))
    core = build_core(MemoryRecorder(), Scripted(), assembly=shelf)
    open_market(core)
    core.on_event(e.ModelAlarmed(5, 5, BTC, "a@1", "psi", "stop", 1.0, "0.31"))
    core.on_event(e.ModelAlarmed(5, 5, BTC, "a@1", "operator", "size_down", 0.5))
    sized = {f"a@1 on {BTC}, operator": "sizes times 0.5"}
    stopped = {f"a@1 on {BTC}, psi": "stopped: 0.31"}
    assert alarm_lines(core) == {**stopped, **sized}
    core.on_event(shelf.offer(7, "b@1"))
    assert standing_lines(core) == {BTC: {"champion": "b@1 serving"}}
    assert alarm_lines(core) == stopped
    core.on_event(e.ModelAlarmed(8, 8, BTC, "a@1", "", "clear"))
    assert alarm_lines(core) == {}
