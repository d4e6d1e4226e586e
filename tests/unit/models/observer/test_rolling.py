"""Verdicts and alarms change the registry where they may, step by step, with their figures in the audit."""

from __future__ import annotations

from typing import Any

import pytest

from models.observer.rolling import LAG_MAX_NS, carry_out
from models.observer.rollout import RolloutRules, Said, Verdict
from models.observer.told import Alarmed, Judged, Unsettled
from models.registry import audit
from models.registry.promotion import promote
from models.registry.store import Registry

RULES = RolloutRules(automatic=True)
BTC = "BTC/USDT@binance_usdm"


def stand(registry: Registry, version: str, to: Any) -> None:
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to=to, who="ana", why="by hand", now_ns=1)


def judged(model: str, champion: str, role: str, said: Said) -> Judged:
    return Judged(model, champion, role, Verdict(said, {"log_loss": (said == "promote", "-0.05 against")}))


def done(
    told: Any, registry: Registry, rules: RolloutRules, now_ns: int, *, feed: str = "live", lag_ns: int = 0
) -> str:
    return carry_out(told, registry, rules, now_ns, feed=feed, upto_ns=now_ns - lag_ns)


def test_a_winner_goes_from_shadow_to_canary_to_champion_and_a_loser_goes(registry: Registry, add: Any) -> None:
    first, second = add(), add()
    stand(registry, first, "champion")
    stand(registry, second, "shadow")
    assert done(judged(second, first, "shadow", "stay"), registry, RULES, 2) == ""
    assert "is canary with 0.05" in done(judged(second, first, "shadow", "promote"), registry, RULES, 3)
    (standing,) = registry.standings()
    assert (standing.canary, str(standing.share), standing.champion) == (second, "0.05", first)
    assert "is champion in place of" in done(judged(second, first, "canary", "promote"), registry, RULES, 4)
    (standing,) = registry.standings()
    assert (standing.canary, standing.champion) == (None, second)
    third = add()
    stand(registry, third, "shadow")
    assert "is retired" in done(judged(third, second, "shadow", "demote"), registry, RULES, 5)
    assert registry.standings()[0].state_of(third) == "retired"
    last = audit.lines(registry.root)[-1]
    assert (last.who, last.action, last.version) == ("rollout", "retire", third)
    assert last.why == "demote; log_loss failed: -0.05 against"


@pytest.mark.fault("E10")
def test_a_champion_that_is_stopped_gives_way_to_the_one_before_it(registry: Registry, add: Any) -> None:
    first, second = add(), add()
    stand(registry, first, "champion")
    stopped = Alarmed(BTC, first, "calibration", "stop", 0.5, "its calibration error is 0.3")
    assert "there is none before it" in done(stopped, registry, RULES, 2)
    stand(registry, second, "champion")
    alert = Alarmed(BTC, second, "psi", "alert", 0.5, "drift")
    assert done(alert, registry, RULES, 3) == ""
    stopped = stopped._replace(model=second)
    assert f"{first} is champion again" in done(stopped, registry, RULES, 4)
    assert registry.standings()[0].champion == first
    assert audit.lines(registry.root)[-1].why == f"calibration on {BTC}: its calibration error is 0.3"


@pytest.mark.parametrize("source", ["psi", "adwin_inputs", "output"])
def test_what_is_of_the_market_takes_no_champion_away(registry: Registry, add: Any, source: str) -> None:
    first, second = add(), add()
    stand(registry, first, "champion")
    stand(registry, second, "champion")
    told = done(Alarmed(BTC, second, source, "stop", 0.5, "drift"), registry, RULES, 2)
    assert "a person's to say" in told
    assert registry.standings()[0].champion == second


def test_nothing_is_changed_unless_that_is_allowed_and_a_refusal_is_said(registry: Registry, add: Any) -> None:
    first, second = add(), add()
    stand(registry, first, "champion")
    won = judged(second, first, "canary", "promote")
    assert done(won, registry, RolloutRules(), 2) == ""
    assert registry.standings()[0].champion == first
    unknown = judged("nobody@123456789012", first, "canary", "promote")
    assert done(unknown, registry, RULES, 3).startswith("not done for nobody@123456789012: the registry")


@pytest.mark.parametrize("feed", ["replay", "sandbox"])
def test_what_happened_on_no_live_market_changes_no_standing(registry: Registry, add: Any, feed: str) -> None:
    first, second = add(), add()
    stand(registry, first, "champion")
    stand(registry, second, "shadow")
    before = registry.standings()
    stopped = Alarmed(BTC, first, "calibration", "stop", 0.5, "its calibration error is 0.3")
    for told in (judged(second, first, "shadow", "promote"), judged(second, first, "shadow", "demote"), stopped):
        assert f"venue.feed is {feed}" in done(told, registry, RULES, 2, feed=feed)
    assert done(judged(second, first, "shadow", "stay"), registry, RULES, 2, feed=feed) == ""
    assert registry.standings() == before


def test_who_is_changed_between_the_look_and_the_act_is_not_taken_for_who_was_judged(
    registry: Registry, add: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator promotes the next version of the same name at the worst moment: it is not what is rolled back."""
    first, second, third = add(), add(), add()
    stand(registry, first, "champion")
    stand(registry, second, "champion")
    read = Registry.sorted_out

    def then_promoted(asked: Registry) -> Any:
        found = read(asked)
        monkeypatch.setattr(Registry, "sorted_out", read)
        stand(registry, third, "champion")
        return found

    monkeypatch.setattr(Registry, "sorted_out", then_promoted)
    stopped = Alarmed(BTC, second, "calibration", "stop", 0.5, "its calibration error is 0.3")
    assert "was changed since that was decided" in done(stopped, registry, RULES, 5)
    assert registry.standings()[0].champion == third


def test_a_verdict_of_another_time_is_dropped(registry: Registry, add: Any) -> None:
    """Another champion since, another role since, or a record that is still being read."""
    first, second, third = add(), add(), add()
    stand(registry, first, "champion")
    stand(registry, second, "shadow")
    won = judged(second, first, "shadow", "promote")
    before = registry.standings()
    assert "record that was read is 11 s old" in done(won, registry, RULES, 2, lag_ns=LAG_MAX_NS + 1_000_000_000)
    assert f"it was judged beside {third}" in done(judged(second, third, "shadow", "demote"), registry, RULES, 2)
    assert "it is shadow, it was judged as canary" in done(
        judged(second, first, "canary", "promote"), registry, RULES, 2
    )
    assert registry.standings() == before
    assert "is canary with" in done(won, registry, RULES, 2, lag_ns=LAG_MAX_NS)


def test_a_stop_whose_champion_nobody_can_find_is_refused_and_tried_again(registry: Registry, add: Any) -> None:
    """A standing is damaged: it may be the one of which the stopped model is champion."""
    first, second = add(), add()
    stand(registry, first, "champion")
    stand(registry, second, "champion")
    (path,) = (registry.root / "standings").glob("*.json")
    whole = path.read_bytes()
    path.write_text("{damaged")
    stopped = Alarmed(BTC, second, "calibration", "stop", 0.5, "its calibration error is 0.3")
    refused: list[Any] = []
    given: dict[str, Any] = {"feed": "live", "upto_ns": 2, "again": refused.append}
    assert carry_out(stopped, registry, RULES, 2, **given).startswith(f"not done for {second}: ")
    assert refused == [stopped]
    path.write_bytes(whole)
    assert f"{first} is champion again" in carry_out(Unsettled(stopped), registry, RULES, 3, **given)
    assert refused == [stopped]


def test_a_refused_verdict_and_one_on_an_old_record_are_tried_again_and_one_on_another_standing_is_not(
    registry: Registry, add: Any
) -> None:
    first, second = add(), add()
    stand(registry, first, "champion")
    stand(registry, second, "shadow")
    refused: list[Any] = []
    lost = judged(second, first, "shadow", "demote")
    for told, upto_ns in (
        (lost, -LAG_MAX_NS),
        (judged("nobody@123456789012", first, "canary", "demote"), 2),
        (judged(second, first, "canary", "demote"), 2),
        (lost, 2),
    ):
        carry_out(told, registry, RULES, 2, feed="live", upto_ns=upto_ns, again=refused.append)
    assert [one.model for one in refused] == [second, "nobody@123456789012"]
