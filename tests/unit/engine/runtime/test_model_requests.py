"""Requests about models: what becomes an input, what is refused in a line, what is kept of figures."""

from __future__ import annotations

from typing import Any

import pytest

from engine import events as e
from engine.alarms import SOURCES_MAX
from engine.errors import ConfigError
from engine.runtime.model_requests import ALARM, CONFIDENCES, FORGET_NS, HITS, MODELS_MAX, REPORT, WEIGH, ModelRequests
from engine.runtime.observer_process import request_of
from models.observer import outcomes
from models.observer.outcomes import Outcomes
from models.observer.told import Alarmed
from tests.support.core import BTC, MemoryRecorder, OpenGate, Scripted, build_core, open_market, spot
from tests.support.serving import Answers, Shelf


@pytest.fixture
def requests() -> ModelRequests:
    core = build_core(MemoryRecorder(), Scripted("s"), gate=OpenGate(), assembly=Shelf(Answers("m@1234aa")))
    open_market(core)
    return ModelRequests(core)


def ask(requests: ModelRequests, command: str = ALARM, **arguments: Any) -> Any:
    plain = {"instrument": BTC, "model": "m@1234aa"}
    return requests.take(command, plain | arguments, "ana", 7)


@pytest.mark.fault("E10")
@pytest.mark.parametrize("action", ["alert", "size_down", "stop"])
def test_an_alarm_becomes_an_input(requests: ModelRequests, action: str) -> None:
    told = ask(requests, source="psi", action=action, factor=0.5, text="3 of 40 inputs")
    assert told == (e.ModelAlarmed(7, 7, BTC, "m@1234aa", "psi", action, 0.5, "3 of 40 inputs"),)


def test_an_operator_clears_every_source_at_once(requests: ModelRequests) -> None:
    assert ask(requests, action="clear") == (e.ModelAlarmed(7, 7, BTC, "m@1234aa", "", "clear"),)


@pytest.mark.parametrize("named", [{"model": "m@1234"}, {"instrument": "BTC/USD"}, {"instrument": ""}])
def test_an_operator_need_not_type_all_of_it(requests: ModelRequests, named: dict[str, str]) -> None:
    """Four digits of the version, no venue where there is one, no instrument for each on which the model stands."""
    (told,) = ask(requests, action="stop", source="operator", **named)
    assert (told.instrument, told.model) == (BTC, "m@1234aa")


def test_an_alarm_for_each_instrument_is_of_those_on_which_the_model_stands() -> None:
    core = build_core(MemoryRecorder(), Scripted("s"), gate=OpenGate(), assembly=Shelf(Answers("m@1234aa")))
    open_market(core)
    open_market(core, spot(id="ETH/USD@coinbase", venue_symbol="ETH-USD", base="ETH"))
    told = ask(ModelRequests(core), instrument="", action="stop", source="operator")
    assert [one.instrument for one in told] == [BTC, "ETH/USD@coinbase"]


@pytest.mark.fault("E10")
def test_a_stop_is_cleared_also_when_its_version_has_left() -> None:
    """It would hold when that is brought back; nobody else is stopped where nobody stands."""
    shelf = Shelf(Answers("m@1234aa"), Answers("m@5678bb"))
    core = build_core(MemoryRecorder(), Scripted("s"), gate=OpenGate(), assembly=shelf)
    open_market(core)
    core.on_event(e.ModelAlarmed(5, 5, BTC, "m@1234aa", "psi", "stop"))
    core.on_event(shelf.offer(6, "m@5678bb"))
    requests = ModelRequests(core)
    with pytest.raises(ConfigError, match="no model that stands"):
        ask(requests, model="m@1234", action="stop", source="operator")
    (told,) = ask(requests, model="m@1234", action="clear")
    assert (told.instrument, told.model, told.action) == (BTC, "m@1234aa", "clear")
    core.on_event(told)
    with pytest.raises(ConfigError, match="no model that stands"):
        ask(requests, model="m@1234", action="clear")


@pytest.mark.fault("E10")
@pytest.mark.parametrize("action", ["clear", "size_down"])
def test_rules_that_only_tell_today_take_back_no_stop_of_before(requests: ModelRequests, action: str) -> None:
    """It was set by the same source in an earlier session; that it is within its limit now, nobody has looked at."""
    core = requests._core
    core.on_event(e.ModelAlarmed(5, 5, BTC, "m@1234aa", "psi", "stop"))
    _, told = request_of(Alarmed(BTC, "m@1234aa", "psi", action, 0.5, "within its limit again"))
    with pytest.raises(ConfigError, match=r"stopped by psi.*expected a person"):
        requests.take(ALARM, told, "observer", 7)
    assert ask(requests, action=action, source="psi", factor=0.5) != ()  # a person may
    core.on_event(e.ModelAlarmed(8, 8, BTC, "m@1234aa", "psi", "clear"))
    assert requests.take(ALARM, told, "observer", 9) != ()


def test_weights_become_an_input(requests: ModelRequests) -> None:
    told = ask(requests, WEIGH, weights=[0.25, 0.75], reason="of late")
    assert told == (e.ModelWeighed(7, 7, BTC, "m@1234aa", (0.25, 0.75), "of late"),)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"instrument": "X/Y@z", "action": "stop", "source": "psi"}, "not in this session"),
        ({"model": "", "action": "stop", "source": "psi"}, "no model"),
        ({"model": "m@9999", "action": "stop", "source": "operator"}, "no model that stands on .*m@1234aa"),
        ({"model": "m@12", "action": "stop", "source": "operator"}, "no model that stands on"),
        ({"model": "m", "action": "stop", "source": "operator"}, "no model that stands on"),
        ({"action": "explode", "source": "psi"}, "one of alert, size_down, stop, clear"),
        ({"action": "stop"}, "without a source"),
        ({"action": "size_down", "source": "psi", "factor": 0.0}, "more than 0, at most 1"),
        ({"action": "size_down", "source": "psi", "factor": 1.5}, "more than 0, at most 1"),
        ({"action": "size_down", "source": "psi", "factor": "nan"}, "a number"),
        ({"action": "size_down", "source": "psi", "factor": float("nan")}, "a number"),
        ({"command": WEIGH, "weights": []}, "1 to 64 numbers"),
        ({"command": WEIGH, "weights": [0.5, -0.1]}, "none below 0"),
        ({"command": WEIGH, "weights": [0, 0]}, "not all 0"),
        ({"command": REPORT, "figures": {"ece": "low"}}, "a number"),
        ({"command": REPORT}, "a number by name"),
        ({"command": REPORT, "figures": {}, "hits": {"0.6": 1}}, "edge, rows and hit rate"),
        ({"command": REPORT, "figures": {}, "hits": [0.6]}, "edge, rows and hit rate"),
        ({"command": REPORT, "figures": {}, "hits": [{"from": 0.6, "rows": 3}]}, "hit_rate is None"),
        ({"command": REPORT, "figures": {}, "hits": [{"from": "0.6", "rows": 3, "hit_rate": 1.0}]}, "an edge is '0.6'"),
    ],
)
def test_what_cannot_be_meant_is_refused(requests: ModelRequests, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ask(requests, **arguments)


def test_figures_are_kept_by_known_names_of_a_bounded_number_of_models(requests: ModelRequests) -> None:
    assert ask(requests, REPORT, role="champion", figures={"ece": 0.02, "anything": 3, "matured": 900}) == ()
    assert requests.figures == {(BTC, "m@1234aa"): {"ece": 0.02, "matured": 900.0}}
    assert requests.status() == {f"m@1234aa on {BTC}": {"role": "champion", "ece": 0.02, "matured": 900.0}}
    ask(requests, REPORT, role="shadow", verdict="wait; signals failed: 3 of 200", figures={"ece": 0.02})
    assert requests.status()[f"m@1234aa on {BTC}"]["verdict"] == "wait; signals failed: 3 of 200"
    for number in range(MODELS_MAX + 5):
        ask(requests, REPORT, model=f"m@{number + 10}", figures={"ece": 0.1})
    assert len(requests.figures) == MODELS_MAX
    assert requests.left_out == 6


def test_what_came_of_returns_is_among_the_figures(requests: ModelRequests) -> None:
    told = Outcomes(200, error_max=2e-4)
    for number in range(200):
        told.add_return(1e-4 * (number % 3), 2e-4 * (number % 2))
    counts = {"unmatched"}  # stands in the report alone
    known = {name: value for name, value in told.figures().items() if name not in counts}
    ask(requests, REPORT, figures={**known, "errors_beyond": 0.1})
    assert requests.figures == {(BTC, "m@1234aa"): {**known, "errors_beyond": 0.1}}
    assert {"return_skill", "return_rmse_bps", "hit_rate", "miscalibration", "calibration_slope", "coverage"} <= set(
        known
    )


def test_hits_are_kept_by_the_confidences_that_are_known(requests: ModelRequests) -> None:
    """As the process that watches tells them; no other edge becomes a label, and they go with their model."""
    told = Outcomes(100)
    for number in range(20):
        told.add(0.9 if number % 2 else 0.1, rose=bool(number % 2))
        told.add(0.52, rose=bool(number % 2))
    hits = told.figures()[HITS]
    ask(requests, REPORT, figures={"ece": 0.02}, hits=[*hits, {"from": 0.3, "rows": 9, "hit_rate": 1.0}])
    assert requests.hits == {(BTC, "m@1234aa"): {"0": (20.0, 0.5), "0.6": (20.0, 1.0)}}
    assert requests.status() == {
        f"m@1234aa on {BTC}": {
            "ece": 0.02,
            "hits": {"0": {"rows": 20.0, "hit_rate": 0.5}, "0.6": {"rows": 20.0, "hit_rate": 1.0}},
        }
    }
    later = {"instrument": BTC, "model": "m@5678bb", "figures": {"ece": 0.1}}
    requests.take(REPORT, later, "observer", 7 + FORGET_NS + 1)
    assert requests.hits == {(BTC, "m@5678bb"): {}}


def test_the_confidences_that_are_known_are_those_that_are_told() -> None:
    assert tuple(f"{edge:g}" for edge in outcomes.CONFIDENCES[:-1]) == CONFIDENCES


def test_figures_of_models_that_are_watched_no_more_make_room(requests: ModelRequests) -> None:
    """A session of months: as many versions as are kept have come and gone, and the one of today is told."""
    for number in range(MODELS_MAX):
        ask(requests, REPORT, model=f"m@{number + 10}", figures={"ece": 0.1})
    told = {"instrument": BTC, "model": "m@1234aa", "figures": {"ece": 0.02}}
    requests.take(REPORT, told, "observer", 7 + FORGET_NS + 1)
    assert requests.status() == {f"m@1234aa on {BTC}": {"ece": 0.02}}
    assert requests.left_out == 0


@pytest.mark.fault("E10")
def test_an_alarm_for_which_there_is_no_room_is_told_to_who_raises_it(requests: ModelRequests) -> None:
    """So many sources size the model down already; it can be stopped all the same."""
    for number in range(SOURCES_MAX):
        (told,) = ask(requests, source=f"{number}", action="size_down", factor=0.5)
        requests._core.on_event(told)
    with pytest.raises(ConfigError, match="the alarm is not taken: 32 sources have raised alarms against it already"):
        ask(requests, source="late", action="size_down", factor=0.5)
    (told,) = ask(requests, source="late", action="stop")
    assert told.action == "stop"
