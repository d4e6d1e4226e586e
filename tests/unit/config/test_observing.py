"""Recorded sessions that are judged count each hour once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.load import load
from config.observing import build_observer, carry_out_as_configured, judge_again, traded_on
from config.schema import StrategySettings
from engine.errors import ConfigError
from engine.events import Prediction
from models.bundle import load_bundle
from models.observer.readings import Traded
from models.observer.rollout import Verdict
from models.observer.told import Judged
from models.registry.promotion import promote
from models.registry.store import Registry
from tests.support.core import BTC, spot
from tests.support.daemon import ROOT
from tests.support.versions import add_version
from tests.support.watched import play


def test_sessions_that_would_count_the_same_rows_twice_are_refused(market_data: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    played = play(market_data, registry.root, 600)
    version, _ = registry.add(load_bundle(ROOT / "models" / "artifacts" / "demo-crypto"))
    config = played.settings.model_dump(mode="json")
    assert sum(type(record) is Prediction for record in played.records) > 2
    one, copied = ("one", config, played.records), ("copied", config, played.records)
    with pytest.raises(ConfigError, match="session one is named twice"):
        judge_again([one, one], registry.root, version)
    with pytest.raises(ConfigError, match="session copied predicted before the one named in front of it had ended"):
        judge_again([one, copied], registry.root, version)


def test_sessions_that_traded_on_other_things_are_not_added_up(market_data: Path, tmp_path: Path) -> None:
    """Signals by another threshold, or losses of another output, are evidence of something else."""
    registry = Registry(tmp_path / "registry")
    played = play(market_data, registry.root, 600)
    version, _ = registry.add(load_bundle(ROOT / "models" / "artifacts" / "demo-crypto"))
    config = played.settings.model_dump(mode="json")
    plain = {"name": "s", "kind": "threshold"}
    first = ("one", config | {"strategies": [plain | {"params": {"buy": 0.7, "sell": 0.2}}]}, played.records)
    for given in ({"buy": 0.8, "sell": 0.2}, {"mode": "return_bps", "output": "h20"}):
        other = ("two", config | {"strategies": [plain | {"params": given}]}, [])
        with pytest.raises(ConfigError, match=r"session two is judged by .*, session one by .*: 0.7 to 0.2"):
            judge_again([first, other], registry.root, version)
    judge_again([first, ("two", first[1], [])], registry.root, version)


@pytest.mark.parametrize("is_live", [True, False])
def test_a_step_of_the_machines_clock_makes_no_verdict_of_a_running_session_old(
    market_data: Path, tmp_path: Path, is_live: bool
) -> None:
    """It was suspended, or set: the session's own clock is twenty seconds behind from then on."""
    registry = Registry(tmp_path / "registry")
    champion, shadow = add_version(registry, tmp_path, "champion"), add_version(registry, tmp_path, "shadow")
    who: dict[str, Any] = {"who": "ann", "why": "try", "now_ns": 1}
    promote(registry, "demo-crypto", champion.partition("@")[2], **who)
    promote(registry, "demo-crypto", shadow.partition("@")[2], to="shadow", **who)
    settings = load((), overrides={"models.registry": str(registry.root), "models.rollout.automatic": True})
    settings = settings.model_copy(update={"venue": settings.venue.model_copy(update={"feed": "live"})})
    observer = build_observer(settings, None)
    observer.last_seq_ns = 5
    observer.look(caught_up=True, is_live=is_live)
    lost = Judged(shadow, champion, "shadow", Verdict("demote"))
    said = carry_out_as_configured(settings, lost, 20_000_000_005, observer)
    assert ("is retired" in said) == is_live
    assert ("record that was read is 20 s old" in said) != is_live


def strategy(name: str, **given: Any) -> StrategySettings:
    return StrategySettings.model_validate({"name": name, "kind": "threshold", **given})


RETURNS = {"mode": "return_bps", "output": "h20", "buy": 15, "sell": "-10"}


@pytest.mark.parametrize(
    ("strategies", "traded"),
    [
        ([strategy("a", params=RETURNS)], Traded("h20", 15.0, -10.0)),
        ([strategy("a", params={"buy": 0.7, "sell": 0.2})], Traded("", 0.7, 0.2)),
        ([strategy("a"), strategy("b", params=RETURNS)], Traded()),
        ([strategy("a", model="none"), strategy("b", params=RETURNS)], Traded("h20", 15.0, -10.0)),
        ([strategy("a", instruments=["ETH/USD@coinbase"]), strategy("b", params=RETURNS)], Traded("h20", 15.0, -10.0)),
        ([strategy("a", instruments=["ETH/USD@coinbase"], params=RETURNS)], Traded()),
        # What a class of one's own calls buy may be a size.
        ([StrategySettings(name="a", path="my.py:Mine", params=RETURNS)], Traded("h20")),
        ([], Traded()),
    ],
)
def test_a_model_is_judged_by_what_the_first_strategy_on_it_trades(
    strategies: list[StrategySettings], traded: Traded
) -> None:
    found = traded_on(strategies, spot())
    assert found.output == traded.output
    assert [found.buy, found.sell] == pytest.approx([traded.buy, traded.sell], nan_ok=True)


def test_thresholds_that_are_none_are_a_line() -> None:
    with pytest.raises(ConfigError, match="strategy a: parameter buy is 'high'"):
        traded_on([strategy("a", params={"buy": "high", "sell": 0.2})], spot())


def test_evidence_is_of_what_is_traded_on(tmp_path: Path) -> None:
    """Another threshold makes other signals, another output other losses: what was found by these is none of theirs;
    where strategies leave both to the bundle it is what it was."""

    def about(*params: dict[str, Any]) -> str:
        plain = [{"name": f"s{n}", "kind": "threshold", "params": one} for n, one in enumerate(params)]
        given = {"models.registry": str(tmp_path), "venue.feed": "live", "strategies": plain}
        settings = load((), overrides=given | {"risk.allowed_instruments": [BTC]})
        store = build_observer(settings, None, session="one")._comparisons._store
        assert store is not None
        store.close()
        return store._about

    plain = "live; coinbase: BTC/USD@coinbase; 60 s; 100 bps"
    assert about({}) == about({"cost_multiple": 2}) == plain
    assert about(RETURNS) == f"{plain}; h20: 15 to -10"
    assert about({"buy": 0.7, "sell": 0.2}) == f"{plain}; the first output: 0.7 to 0.2"
    assert about(RETURNS, RETURNS) == about(RETURNS)
    assert about(RETURNS, RETURNS | {"buy": 20}) == f"{plain}; h20: 15 to -10; h20: 20 to -10"
