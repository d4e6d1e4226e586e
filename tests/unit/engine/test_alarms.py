"""What stands against a version: which of several alarms holds, how they end, and what is kept of them."""

from __future__ import annotations

import pytest

from engine.alarms import SOURCES_MAX, Alarms
from engine.events import ModelAlarmed
from tests.support.core import BTC


def alarm(
    action: str, factor: float = 1.0, source: str = "psi", model: str = "a@1", text: str = "", instrument: str = BTC
) -> ModelAlarmed:
    return ModelAlarmed(1, 1, instrument, model, source, action, factor, text)


def test_a_stop_stands_until_its_own_source_ends_it() -> None:
    """Another source's end is not its end; the reason names who raised it."""
    alarms = Alarms()
    alarms.take(alarm("stop", text="rv_20 0.31"))
    assert alarms.stop_of(BTC, "a@1") == "stopped by psi: rv_20 0.31"
    alarms.take(alarm("clear", source="skew"))
    assert alarms.stop_of(BTC, "a@1")
    assert (alarms.stop_of(BTC, "b@1"), alarms.stop_of("ETH/USD@coinbase", "a@1")) == ("", "")
    alarms.take(alarm("clear"))
    assert alarms.stop_of(BTC, "a@1") == ""


def test_the_smallest_factor_holds() -> None:
    """Two sources that look at one market do not multiply; a source's second word replaces its first."""
    alarms = Alarms()
    alarms.take(alarm("size_down", 0.5))
    alarms.take(alarm("size_down", 0.25, "skew"))
    assert alarms.factor_of(BTC, "a@1") == (0.25, "sized down by skew")
    alarms.take(alarm("size_down", 0.75, "skew"))
    assert alarms.factor_of(BTC, "a@1") == (0.5, "sized down by psi")
    alarms.take(alarm("clear", source=""))
    assert alarms.factor_of(BTC, "a@1") == (1.0, "")


def test_what_stands_against_other_versions_of_a_name_is_inherited_there_and_by_nobody_else() -> None:
    alarms = Alarms()
    for model, instrument in (("both@1", BTC), ("bothered@1", BTC), ("both@1", "ETH/USD@coinbase")):
        alarms.take(alarm("stop", model=model, text="it loses", instrument=instrument))
    alarms.take(alarm("size_down", 0.5, "skew", "both@1"))
    assert alarms.inherit(BTC, "both@2")
    assert alarms.stop_of(BTC, "both@2") == "stopped by psi: it loses"
    assert alarms.factor_of(BTC, "both@2")[0] == 0.5
    assert not alarms.stop_of(BTC, "both@1")
    assert alarms.stop_of(BTC, "bothered@1")
    assert not alarms.stop_of("ETH/USD@coinbase", "both@2")
    assert not alarms.inherit(BTC, "both@2"), "nothing is left that it does not have"


@pytest.mark.parametrize(
    ("own", "before"),
    [(("stop", 1.0), ("size_down", 0.5)), (("size_down", 0.5), ("stop", 1.0)), (("stop", 1.0), ("stop", 1.0))],
)
def test_what_is_inherited_weakens_nothing_that_the_same_source_has_said(
    own: tuple[str, float], before: tuple[str, float]
) -> None:
    """Of a version that warms up while the one before serves."""
    alarms = Alarms()
    alarms.take(alarm(*own, model="both@2"))
    alarms.take(alarm(*before, model="both@1"))
    assert alarms.inherit(BTC, "both@2")
    assert alarms.stop_of(BTC, "both@2")
    alarms = Alarms()
    for model, factor in (("both@2", 0.25), ("both@1", 0.5)):
        alarms.take(alarm("size_down", factor, model=model))
    assert alarms.inherit(BTC, "both@2")
    assert alarms.factor_of(BTC, "both@2")[0] == 0.25


def test_an_alert_changes_nothing() -> None:
    """It is told and recorded elsewhere."""
    alarms = Alarms()
    assert alarms.take(alarm("alert")) == ""
    assert alarms.carried() == ()


@pytest.mark.parametrize(
    ("action", "factor"), [("halve", 1.0), ("size_down", float("nan")), ("size_down", -0.1), ("size_down", 1.5)]
)
def test_what_makes_no_sense_is_not_taken(action: str, factor: float) -> None:
    """An unknown action, a factor that is none."""
    alarms = Alarms()
    assert "expected" in alarms.take(alarm(action, factor))
    assert alarms.carried() == ()


def test_the_next_session_is_told_all_that_stands() -> None:
    """There and back."""
    alarms, again = Alarms(), Alarms()
    alarms.take(alarm("stop"))
    alarms.take(alarm("size_down", 0.5, "skew", "b@1"))
    again.restore(alarms.carried())
    assert again.carried() == alarms.carried()
    assert again.stop_of(BTC, "a@1")
    assert again.factor_of(BTC, "b@1")[0] == 0.5


def test_no_alarm_is_ever_forgotten() -> None:
    """However many stand: a stop of the first version, and that of the first source, hold."""
    alarms = Alarms()
    for number in range(1_000):
        alarms.take(alarm("stop", model=f"m@{number}"))
        alarms.take(alarm("stop", source=f"source-{number}"))
    assert alarms.stop_of(BTC, "m@0")
    assert alarms.stop_of(BTC, "a@1") == "stopped by source-0"
    assert len(alarms.carried()) == 2_000


def test_who_asks_is_told_where_there_is_no_room() -> None:
    """Of so many sources; what has an alarm may change it, and a first stop is taken all the same."""
    alarms = Alarms()
    for number in range(SOURCES_MAX):
        assert alarms.why_full(alarm("size_down", 0.5, f"source-{number}")) == ""
        alarms.take(alarm("size_down", 0.5, f"source-{number}"))
    assert alarms.why_full(alarm("size_down", 0.5, "late")) == "32 sources have raised alarms against it already"
    assert alarms.why_full(alarm("size_down", 0.1, "source-3")) == ""
    assert alarms.why_full(alarm("clear", source="late")) == ""
    assert alarms.why_full(alarm("alert", source="late")) == ""
    assert alarms.why_full(alarm("size_down", 0.5, "late", model="b@1")) == ""
    assert alarms.why_full(alarm("stop", source="late")) == ""
    alarms.take(alarm("stop", source="late"))
    assert alarms.why_full(alarm("stop", source="later"))


@pytest.mark.parametrize(
    ("before", "after", "weakens"),
    [
        (("size_down", 0.2), ("size_down", 0.8), True),
        (("size_down", 0.8), ("size_down", 0.2), False),
        (("size_down", 0.2), ("size_down", 0.2), False),
        (("size_down", 0.2), ("stop", 1.0), False),
        (("size_down", 0.2), ("alert", 1.0), False),
        (("size_down", 0.2), ("clear", 1.0), True),
        (("stop", 1.0), ("size_down", 0.2), True),
        (("stop", 1.0), ("stop", 1.0), False),
    ],
)
def test_what_would_take_back_part_of_an_alarm_is_named(
    before: tuple[str, float], after: tuple[str, float], weakens: bool
) -> None:
    """Of the same source: whoever says it may have a larger factor by now."""
    alarms = Alarms()
    alarms.take(alarm(*before))
    assert bool(alarms.weakened_by(alarm(*after))) is weakens
    assert not alarms.weakened_by(alarm(*after, source="skew"))
