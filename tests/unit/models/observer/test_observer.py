"""A session is watched from its record: rows as they were, skew and drift where they are planted, shadows beside."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine import events as e
from engine.codec import decode, encode
from engine.errors import BundleError
from engine.runtime.model_requests import WEIGH
from engine.runtime.observer_process import request_of
from models.bundle import Bundle, load_bundle
from models.observer.blame import Blame
from models.observer.observer import AGAIN_NS, Observer
from models.observer.rules import WatchRules, alarms
from models.observer.shadows import FILE, Workshop
from models.observer.told import Alarmed, Ended, Unsettled, Weighed
from models.observer.windows import Recent
from models.onnx_model import OnnxModel
from models.registry.promotion import promote, retire
from tests.support.watched import BTC, Altered, Played, play

EVENTS = 5_000


@pytest.fixture(scope="module")
def played(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(market_data, tmp_path_factory.mktemp("none") / "registry", EVENTS)


def figures(observer: Observer) -> dict[str, dict[str, Any]]:
    return {version: found for instrument, version, found in observer.figures() if instrument == BTC}


def alarmed(observer: Observer) -> list[Alarmed]:
    return [told for told in observer.look() if isinstance(told, Alarmed)]


def variant(artifacts: Path, folder: Path, **changes: Any) -> Bundle:
    """The demo bundle as another version."""
    copy = Path(shutil.copytree(artifacts / "demo-crypto", folder / "demo-crypto"))
    manifest = json.loads((copy / "manifest.json").read_bytes())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "created_ns": manifest["created_ns"] + 1, **changes}))
    return load_bundle(copy)


@pytest.mark.fault("E9")
def test_every_live_prediction_is_made_again_to_the_bit_from_rebuilt_rows(played: Played) -> None:
    """The records go through the journal's own bytes first."""
    again = replace(played, records=[decode(encode(record)) for record in played.records])
    observer = again.watched_by(again.observer(skew_every=1, skew="stop"))
    (found,) = figures(observer).values()
    made = sum(isinstance(record, e.Prediction) for record in played.records)
    assert made > 3_000
    assert (found["predictions"], found["compared"], found["equal"], found["unmatched"]) == (made, made, made, 0)
    assert not [told for told in alarmed(observer) if told.source == "skew"]
    assert observer.troubles == {}


@pytest.mark.fault("E9")
def test_a_prediction_that_tells_its_spread_is_compared_by_its_forecast(played: Played) -> None:
    """The spread is another graph's, and is not run here: a skew behind it was seen by nobody."""

    def spread(record: Any) -> Any:
        made = isinstance(record, e.Prediction) and record.values
        return msgspec.structs.replace(record, values=(*record.values, 0.1)) if made else record

    again = replace(played, records=[spread(record) for record in played.records])
    (found,) = figures(again.watched_by(again.observer(skew_every=1))).values()
    assert found["compared"] == found["equal"] == found["predictions"] > 3_000


@pytest.mark.fault("E9")
def test_a_column_that_the_live_process_computes_otherwise_is_seen(market_data: Path, tmp_path: Path) -> None:
    """Its sign is wrong on the way into the model; the record of the market is as it was."""
    skewed = play(market_data, tmp_path / "registry", 1_500, assembly=Altered)
    observer = skewed.watched_by(skewed.observer(skew="stop"))
    told = [one for one in alarmed(observer) if one.source == "skew"]
    assert [(one.instrument, one.action) for one in told] == [(BTC, "stop")]
    assert "predictions differ when made again of rebuilt rows" in told[0].text


def test_a_cleared_alarm_counts_anew_and_one_on_record_is_not_told_again(market_data: Path, tmp_path: Path) -> None:
    """A restart reads what was told and cleared; nothing is told on the way; a defect that goes on is seen again."""
    skewed = play(market_data, tmp_path / "registry", 1_500, assembly=Altered)
    observer = skewed.observer(skew="stop")
    model = next(record.model for record in skewed.records if isinstance(record, e.Prediction))
    stop = e.ModelAlarmed(1, 1, BTC, model, "skew", "stop", 0.5, "differ")
    for record in skewed.records[:1_800]:
        observer.take(record)
    assert observer.look(caught_up=False) == []
    observer.take(stop)
    assert not [one for one in alarmed(observer) if one.source == "skew"]
    observer.take(msgspec.structs.replace(stop, source="", action="clear"))
    assert not [one for one in alarmed(observer) if one.source == "skew"]
    for record in skewed.records[1_800:]:
        observer.take(record)
    assert [one.action for one in alarmed(observer) if one.source == "skew"] == ["stop"]


def test_a_late_answer_is_no_signal(played: Played) -> None:
    def late(record: Any) -> Any:
        made = isinstance(record, e.Prediction) and record.values
        return msgspec.structs.replace(record, status=e.PredictionStatus.LATE) if made else record

    again = replace(played, records=[late(record) for record in played.records])
    (found,) = figures(again.watched_by(again.observer())).values()
    assert found["late"] == found["predictions"] > 3_000
    assert found["matured"] > 1_000
    assert not found.get("signals")


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


def test_outcomes_are_those_that_the_record_shows(played: Played) -> None:
    """Losses by hand: the prices that the model was asked at, fifty rows later against now."""
    observer = played.watched_by(played.observer())
    (found,) = figures(observer).values()
    (track,) = observer._tracks
    horizon = 50
    rows = {track.rows.recv_ns(row): row for row in range(track.rows.count)}
    losses = []
    for record in played.records:
        if not isinstance(record, e.Prediction):
            continue
        row = rows[record.ts_recv_ns]
        if row + horizon < track.rows.count and (then := track.rows.px(row + horizon)) != (now := track.rows.px(row)):
            p = record.values[0] if then > now else 1.0 - record.values[0]
            losses.append(-math.log(max(p, 1e-6)))
    assert found["matured"] == pytest.approx(len(losses), abs=horizon)
    assert found["log_loss"] == pytest.approx(np.mean(losses), rel=0.02)
    assert 0 < found["signals"] <= found["predictions"] / horizon, "signals that overlap are one"
    assert -40 < found["profit_bps"] < 0, "fees of 10 bps a round trip and no move that pays for them"


def test_the_members_of_a_mixture_are_weighed_by_what_they_lost(played: Played) -> None:
    """The record as if two members had served as one: the bundle, and its contrary.  Told as the request that the
    daemon takes; the mixture is no bundle, and nobody looks for one."""
    facts = (("output.p_up", 0.0), ("member.a@1", 2.0), ("share.a@1", 4.0), ("member.b@1", 3.0), ("share.b@1", 5.0))

    def mixed(record: Any) -> Any:
        if isinstance(record, e.ModelAssigned) and record.model:
            told = (*record.facts, *facts, ("recent_weights", 1.0))
            return msgspec.structs.replace(record, model="both@1", facts=told)
        if isinstance(record, e.Prediction) and record.values:
            (p,) = record.values
            values = (0.5, abs(p - 0.5), p, 1.0 - p, 0.5, 0.5)
            return msgspec.structs.replace(record, model="both@1", values=values)
        return record

    again = replace(played, records=[mixed(record) for record in played.records])
    observer = again.watched_by(again.observer())
    (told,) = [one for one in observer.look() if isinstance(one, Weighed) and one.instrument == BTC]
    assert told.model == "both@1"
    assert told.weights[0] > 0.9 > told.weights[1] > 0.0
    assert sum(told.weights) == pytest.approx(1.0)
    command, arguments = request_of(told)
    assert (command, arguments["weights"]) == (WEIGH, list(told.weights))
    assert observer.troubles == {}
    assert not [one for one in observer.look() if isinstance(one, Weighed)]


def test_returns_of_a_mixture_are_no_probabilities(played: Played) -> None:
    """Read as such they rose half of the time at a probability of nothing: calibration out by a half, a loss of six
    nats, and members that were weighed by it."""
    numbers = (("horizon_rows", 50.0), ("output.h50", 0.0), ("bps.h50", 1e4), ("recent_weights", 1.0))
    facts = (*numbers, ("member.a@1", 2.0), ("share.a@1", 4.0), ("member.b@1", 3.0), ("share.b@1", 5.0))

    def mixed(record: Any) -> Any:
        if isinstance(record, e.ModelAssigned) and record.model:
            return msgspec.structs.replace(record, model="both@1", facts=facts)
        if isinstance(record, e.Prediction) and record.values:
            told = 1e-4 * (record.values[0] - 0.5)
            return msgspec.structs.replace(record, model="both@1", values=(told, 0.0, told, told, 0.5, 0.5))
        return record

    again = replace(played, records=[mixed(record) for record in played.records])
    observer = again.watched_by(again.observer())
    found = figures(observer)["both@1"]
    assert found["predictions"] > 3_000
    assert found["matured"] > 1_000
    assert (found.get("log_loss"), found.get("ece")) == (None, None)
    assert found["hit_rate"] > 0.7, "the sign is that of the bundle's forecast"
    assert observer.look() == []
    assert "its members keep those that are declared" in observer.troubles[f"both@1 on {BTC}"]


@pytest.mark.fault("E10")
def test_drift_injected_into_a_played_market_raises_its_alarm_with_the_action(
    market_data: Path, tmp_path: Path, played: Played
) -> None:
    """From the middle on spreads are twenty times as wide: the undisturbed session raises nothing of the kind."""
    watch = {"psi": "size_down", "window_rows": 1_000, "reference_rows": 1_000, "psi_max": 5.0, "psi_columns": 1}

    def widened(number: int, event: e.MarketEvent) -> e.MarketEvent:
        if number < 2_500 or not isinstance(event, e.Quote):
            return event
        half = 10 * (event.ask_px - event.bid_px)
        return msgspec.structs.replace(event, bid_px=event.bid_px - half, ask_px=event.ask_px + half)

    drifted = play(market_data, tmp_path / "registry", EVENTS, change=widened)
    told = alarmed(drifted.watched_by(drifted.observer(**watch)))
    assert [(one.source, one.action, one.factor) for one in told if one.source == "psi"] == [("psi", "size_down", 0.5)]
    assert "spread_bps" in told[0].text
    assert not [one for one in alarmed(played.watched_by(played.observer(**watch))) if one.source == "psi"]


def test_a_shadow_runs_on_the_same_rows_and_is_compared_row_by_row(
    played: Played, artifacts: Path, tmp_path: Path
) -> None:
    """The champion under another name loses and wins nothing against it; what it said is written down."""
    twin = variant(artifacts, tmp_path)
    models = played.settings.models
    models = models.model_copy(update={"rollout": models.rollout.model_copy(update={"span_s": 1.0})})
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


def test_a_late_or_skewed_prediction_is_forgotten_in_time_and_a_new_fault_is_seen_after_days() -> None:
    """Shares are of a window: a million good ones before do not hide what is wrong now."""
    recent = Recent(1_000)
    for number in range(1_000_000):
        recent.add(number < 900_000 and number % 3 == 0)
    assert (recent.yes, recent.count) == (0, 1_000)
    for _ in range(60):
        recent.add(True)
    figures = {"late_recent": recent.yes, "late_of": recent.count, "late": 300_060, "predictions": 1_000_060}
    assert [alarm.source for alarm in alarms(figures, WatchRules())] == ["latency"]
    for _ in range(1_000):
        recent.add(False)
    assert recent.yes == 0


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


def test_an_older_model_is_watched_while_it_stands_in(played: Played) -> None:
    """The champion is broken in the second half and the model before it predicts in its place."""
    assigned = next(one for one in played.records if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    half = len(played.records) // 2
    offered = e.ModelOffered(1, 1, BTC, "older", "before@1", assigned.spec, (*assigned.facts, ("horizon_rows", 50.0)))

    def stood_in(record: Any) -> Any:
        return msgspec.structs.replace(record, model="before@1") if isinstance(record, e.Prediction) else record

    at = played.records.index(assigned) + 1
    seated = e.ModelStanding(1, 1, BTC, "older", "before@1", "serving")
    records = [*played.records[:at], offered, seated, *played.records[at:half], *map(stood_in, played.records[half:])]
    observer = replace(played, records=records).watched_by(played.observer())
    found = figures(observer)["before@1"]
    assert found["role"] == "older"
    assert found["matured"] > 500
    assert found["unmatched"] == 0
    assert observer._comparisons.pairs == {}, "it is nobody's challenger"
    observer.take(e.ModelStanding(1, 1, BTC, "older", "before@1", "gone", 1.0, "the champion serves"))
    assert "before@1" not in figures(observer)


@pytest.mark.fault("E10")
@pytest.mark.parametrize("role", ["canary", "older"])
def test_a_canary_is_watched_on_where_another_offer_is_refused(played: Played, role: str) -> None:
    """Another version as canary, and the canary itself as the older one: the core refuses both, and it trades on."""
    at = next(i for i, one in enumerate(played.records) if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    assigned = played.records[at]
    assert isinstance(assigned, e.ModelAssigned)
    facts = (*assigned.facts, ("horizon_rows", 50.0))
    observer = replace(played, records=played.records[: at + 1]).watched_by(played.observer())
    observer.take(e.ModelOffered(1, 1, BTC, "canary", "new@1", assigned.spec, facts, 0.05))
    observer.take(e.ModelStanding(1, 1, BTC, "canary", "new@1", "serving"))
    other = "other@1" if role == "canary" else "new@1"
    observer.take(e.ModelOffered(2, 2, BTC, role, other, assigned.spec, facts, 0.05))
    observer.take(e.ModelStanding(2, 2, BTC, role, other, "gone", 1.0, "refused"))
    assert [(track.version, track.role) for track in observer._tracks][1:] == [("new@1", "canary")]
    observer.take(e.ModelStanding(3, 3, BTC, "canary", "new@1", "gone", 1.0, "retired"))
    assert len(observer._tracks) == 1


def test_a_canary_that_is_stopped_wins_nothing_beside_a_champion_that_loses(played: Played) -> None:
    """Its silence would be worth more than each signal of the champion's, and make it champion."""
    at = next(i for i, one in enumerate(played.records) if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    assigned = played.records[at]
    assert isinstance(assigned, e.ModelAssigned)
    facts = (*assigned.facts, ("horizon_rows", 50.0), ("buy", 0.5), ("sell", 0.5))
    observer = replace(played, records=played.records[: at + 1]).watched_by(played.observer())
    observer.take(e.ModelOffered(1, 1, BTC, "canary", "new@1", assigned.spec, facts, 0.05))
    observer.take(e.ModelStanding(1, 1, BTC, "canary", "new@1", "serving"))
    half = len(played.records) // 2
    for record in played.records[at + 1 : half]:
        observer.take(record)
        if isinstance(record, e.Prediction):
            observer.take(msgspec.structs.replace(record, model="new@1"))
    (pair,) = observer._comparisons.pairs.values()
    compared, signals = pair.open.signals, pair.champion_signals
    now_ns = observer.last_seq_ns
    observer.take(e.ModelStanding(now_ns, now_ns, BTC, "canary", "new@1", "stopped", 1.0, "stopped by operator"))
    for record in played.records[half:]:
        observer.take(record)
    assert pair.champion_signals > signals + 20
    assert pair.open.signals <= compared + 2, "those that were open by then, and no other"
    (verdict,) = [one.verdict for one in observer.judge_now()]
    assert verdict.said == "wait"


@pytest.mark.fault("E12")
def test_a_shadow_that_takes_its_process_with_it_is_known_and_not_run_again(artifacts: Path, tmp_path: Path) -> None:
    """A process is killed while a version is at work: the next one refuses that version, and no other."""
    bundle = load_bundle(artifacts / "demo-crypto")
    code = (
        "import os, signal; from pathlib import Path; from models.observer.blame import Blame;"
        f"Blame(Path({str(tmp_path)!r})).take({bundle.version!r}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[4]
    died = subprocess.run([sys.executable, "-c", code], cwd=root, check=False, env=dict(os.environ))
    assert died.returncode == -signal.SIGKILL
    workshop = Workshop(None, tmp_path, OnnxModel)
    with pytest.raises(BundleError, match="the process that ran it died while it was at work"):
        workshop.model(bundle)
    other = variant(artifacts, tmp_path / "other")
    assert workshop.model(other).version == other.version
    assert list(Workshop(None, tmp_path, OnnxModel).refused) == [bundle.version], "also at the start after that"
    Blame(tmp_path).take(other.version)
    assert list(Workshop(None, tmp_path, OnnxModel).refused) == [bundle.version, other.version]


def test_what_could_not_be_done_is_told_again_until_an_operator_clears_it(played: Played) -> None:
    """To the registry alone: the daemon has heard of the alarm."""
    observer = played.observer()
    observer.take(played.records[0])
    stopped = Alarmed(BTC, "m@1", "calibration", "stop", 0.5, "its calibration error is 0.3")
    observer.not_done(stopped)
    assert observer.look() == []
    observer.last_seq_ns += AGAIN_NS
    (again,) = observer.look()
    assert again == Unsettled(stopped)
    assert request_of(again) == ("", {})
    assert observer.look() == []
    observer.not_done(stopped)
    observer.last_seq_ns += AGAIN_NS
    assert observer.look() == [], "each time twice as long: what the registry refuses costs a check of the version"
    observer.last_seq_ns += AGAIN_NS
    assert observer.look() == [Unsettled(stopped)]
    observer.not_done(stopped)
    observer.take(e.ModelAlarmed(1, 1, BTC, "m@1", "", "clear", 0.5, "looked at"))
    observer.last_seq_ns += 4 * AGAIN_NS
    assert observer.look() == []


def test_what_is_refused_again_and_again_is_tried_by_one_course_alone(played: Played) -> None:
    """A verdict comes by itself with further signals as well: each time that was one more try an hour, for ever."""
    observer = played.observer()
    observer.take(played.records[0])
    stopped = Alarmed(BTC, "m@1", "calibration", "stop", 0.5, "its calibration error is 0.3")
    for _ in range(3):
        observer.not_done(stopped)
        observer.last_seq_ns += 1
    observer.last_seq_ns += 4 * AGAIN_NS
    assert observer.look() == [Unsettled(stopped)]


@pytest.mark.parametrize("brought_back", [False, True])
def test_a_stop_that_a_process_before_told_is_followed_in_the_registry(played: Played, brought_back: bool) -> None:
    """It died between the daemon and the registry; what an operator decided since then is not undone."""
    at = next(i for i, one in enumerate(played.records) if isinstance(one, e.ModelAssigned) and one.instrument == BTC)
    assigned = played.records[at]
    assert isinstance(assigned, e.ModelAssigned)
    observer = replace(played, records=played.records[: at + 2]).watched_by(played.observer())
    now_ns = observer.last_seq_ns
    for source in ("calibration", "operator"):
        observer.take(e.ModelAlarmed(now_ns, now_ns, BTC, assigned.model, source, "stop", 0.5, "beyond chance"))
    if brought_back:
        for model in ("before@1", assigned.model):
            observer.take(msgspec.structs.replace(assigned, model=model, ts_recv_ns=now_ns))
    observer.look()
    observer.last_seq_ns += AGAIN_NS
    told = observer.look()
    stopped = Alarmed(BTC, assigned.model, "calibration", "stop", 0.5, "beyond chance")
    assert told == ([] if brought_back else [Unsettled(stopped)])
    observer.take(e.ModelAlarmed(now_ns, now_ns, BTC, assigned.model, "skew", "stop", 0.5, "its own"))
    observer.last_seq_ns += AGAIN_NS
    assert observer.look() == []
