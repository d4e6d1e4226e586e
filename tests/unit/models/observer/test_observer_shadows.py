"""Shadows run beside who serves, on the same rows: compared with it, open while watched, alone in their errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import events as e
from models.observer.shadows import FILE
from models.observer.told import Ended
from models.onnx_model import OnnxModel
from models.registry.promotion import promote, retire
from tests.support.watched import BTC, Played, figures, play, variant


def test_figures_of_a_shadow_are_none_of_the_canary_that_it_becomes(market_data: Path, registry: Any, add: Any) -> None:
    live = play(market_data, registry.root, 2_500)
    observer = live.observer()
    version = add()
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
    for record in live.records:
        observer.take(record)
    ((champion, challenger, role),) = observer._comparisons.pairs
    assert (challenger, role) == (version, "shadow")
    assigned = next(one for one in live.records if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    observer.take(e.ModelOffered(1, 1, BTC, "canary", version, assigned.spec, assigned.facts, 0.05))
    observer.take(e.ModelStanding(1, 1, BTC, "canary", version, "serving"))
    assert observer._comparisons.pairs == {}
    assert champion in figures(observer)


def test_a_shadow_runs_on_the_same_rows_and_is_compared_row_by_row(
    played: Played, artifacts: Path, tmp_path: Path
) -> None:
    """The champion under another name loses and wins nothing against it; what it said is written down."""
    twin = variant(artifacts, tmp_path)
    models = played.settings.models
    models = models.model_copy(update={"rollout": models.rollout.model_copy(update={"span_s": 1.0})})
    models = models.model_copy(update={"deadline_us": 60_000_000})  # no row is late, however busy the machine is
    played = replace(played, settings=played.settings.model_copy(update={"models": models}))
    observer = played.watched_by(played.observer(tmp_path / "watch", shadows=[twin]))
    found = figures(observer)
    champion = next(version for version in found if version != twin.version)
    assert found[twin.version]["role"] == "shadow"
    assert found[twin.version]["log_loss"] == found[champion]["log_loss"]
    assert found[twin.version]["latency_p50_us"] > 1
    (judged,) = observer.judge_now()
    assert (judged.model, judged.champion, judged.verdict.said) == (twin.version, champion, "wait")
    assert found[twin.version]["verdict"] == judged.verdict.why
    assert "verdict" not in found[champion]
    pair = observer._comparisons.pairs[champion, twin.version, "shadow"]
    assert pair.rows == found[twin.version]["matured"] > 1_000
    gap = pair.loss_gap()
    assert gap is not None
    assert (gap.value, gap.better, gap.worse) == (0.0, 1.0, 1.0)
    observer.look()
    lines = [json.loads(line) for line in (tmp_path / "watch" / FILE).read_text().splitlines()]
    assert len(lines) == found[twin.version]["predictions"]
    assert {line["model"] for line in lines} == {twin.version}


def test_shadows_of_the_registry_come_and_go_while_a_session_runs(market_data: Path, registry: Any, add: Any) -> None:
    live = play(market_data, registry.root, 1_200)
    observer = live.observer()
    for record in live.records[:600]:
        observer.take(record)
    assert len(figures(observer)) == 1
    version = add()
    name, _, sha = version.partition("@")
    promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
    observer.look()
    for record in live.records[600:]:
        observer.take(record)
    assert figures(observer)[version]["predictions"] > 200
    retire(registry, name, sha, who="ana", why="enough", now_ns=2)
    observer.look()
    assert version not in figures(observer)


@pytest.mark.fault("E12")
def test_a_shadow_that_does_not_open_leaves_the_champion_watched(
    played: Played, artifacts: Path, tmp_path: Path
) -> None:
    broken = variant(artifacts, tmp_path)
    broken.graph = b"no graph"
    observer = played.watched_by(played.observer(shadows=[broken]))
    (champion,) = figures(observer)
    assert champion != broken.version
    assert figures(observer)[champion]["matured"] > 1_000
    assert "cannot load its graph" in observer.troubles[f"{broken.version} on {BTC}"]


def test_shadows_that_are_not_run_for_a_time_are_not_compared_in_it(
    played: Played, artifacts: Path, tmp_path: Path
) -> None:
    """The champion's signals meanwhile are nothing that they have won or lost."""
    twin = variant(artifacts, tmp_path)
    observer = played.observer(tmp_path / "watch", shadows=[twin])
    half, rest = len(played.records) // 2, len(played.records) * 9 // 10
    for record in played.records[:half]:
        observer.take(record)
    (pair,) = observer._comparisons.pairs.values()
    observer.pause_shadows(True)
    asked, compared, signals = figures(observer)[twin.version]["predictions"], pair.open.signals, pair.champion_signals
    for record in played.records[half:rest]:
        observer.take(record)
    assert figures(observer)[twin.version]["predictions"] == asked
    assert "comes faster than it is watched" in observer.troubles["shadows"]
    assert pair.champion_signals > signals + 5
    assert pair.open.signals <= compared + 2
    observer.pause_shadows(False)
    for record in played.records[rest:]:
        observer.take(record)
    assert figures(observer)[twin.version]["predictions"] > asked
    assert pair.open.signals > compared + 2
    assert pair.open.profit_gap_bps == pytest.approx(0.0, abs=30.0)


class Raising(OnnxModel):
    """A runtime with errors of its own, after a hundred rows."""

    def predict(self, *asked: Any) -> Any:
        if self.count >= 100:
            raise RuntimeError("the device is gone")
        return super().predict(*asked)


@pytest.mark.fault("E12")
def test_a_shadow_that_raises_ends_alone_and_is_told_once(played: Played, artifacts: Path, tmp_path: Path) -> None:
    bad, good = variant(artifacts, tmp_path / "bad"), variant(artifacts, tmp_path / "good", created_ns=7)
    observer = played.observer(shadows=[bad, good])
    observer._workshop._open_model = lambda bundle: (Raising if bundle.version == bad.version else OnnxModel)(bundle)
    played.watched_by(observer)
    told = [one for one in observer.look() if isinstance(one, Ended)]
    assert told == [Ended(bad.version, "it failed while it ran: RuntimeError: the device is gone")]
    assert not [one for one in observer.look() if isinstance(one, Ended)]
    found = figures(observer)
    assert bad.version not in found
    assert found[good.version]["predictions"] > 3_000
    assert len(found) == 2
    assert "the device is gone" in observer.troubles[f"{bad.version} on {BTC}"]


def test_only_versions_that_are_watched_are_open(market_data: Path, registry: Any, add: Any) -> None:
    """Five challengers come and go: at no time is more open than the one that stands, and what serves."""
    live = play(market_data, registry.root, 1_200)
    observer = live.observer(skew_every=20)
    workshop = observer._workshop
    for number in range(5):
        version = add()
        name, _, sha = version.partition("@")
        promote(registry, name, sha, to="shadow", who="ana", why="try", now_ns=1)
        observer.look()
        part = len(live.records) // 5
        for record in live.records[number * part : (number + 1) * part]:
            observer.take(record)
        assert version in figures(observer)
        assert len(workshop.opened) <= 2
        assert len(workshop._bundles) == 1
        retire(registry, name, sha, who="ana", why="enough", now_ns=2)
    observer.look()
    assert len(workshop.opened) <= 1
    assert workshop._bundles == {}
    assert len(observer._roster._found) == 1
