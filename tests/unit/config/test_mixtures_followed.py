"""Members of a mixture follow the registry, in a session and at its start: who comes, who goes, who takes it along."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from config.assembly import ConfiguredAssembly
from config.wiring import build_core
from engine.errors import BundleError, ConfigError
from engine.events import ModelWeighed, Prediction
from engine.replay import ReplayAssembly, ReplayRecorder, replay
from engine.seats import expiry_of, is_vacant
from models.bundle import load_bundle
from models.life.checking import Task
from models.mixture.model import MixtureModel
from tests.support.core import BTC, spot
from tests.support.mixtures import Followed, another, changed, made, settings_of


def test_members_follow_what_the_registry_promotes_takes_back_and_retires(bundles: Path) -> None:
    """Both in one scope, which has one champion: promoting one leaves the other what it is."""
    session = Followed(bundles)
    old = session.members
    begun = session.core.lanes[BTC].seat.version
    first, second = another(bundles, "first", "a"), another(bundles, "second", "b")
    changed(bundles, "promote", first)
    (offered,) = session.look()
    assert (session.members, session.serving.version) == ((first, old[1]), offered)
    assert offered != begun
    assert session.offers[0].reason == "promote by ann: better"
    assert [dict(session.offers[0].facts)[f"weight.{one}"] for one in session.members] == [0.5, 0.5]
    assert [(task.version, task.spread, task.schedule) for task in session.checked] == [(first, False, "inline")]
    changed(bundles, "promote", second)
    session.look()
    assert session.members == (first, second)
    assert made(session.settings).assign(spot(), True).model == session.serving.version, "as a start makes it"
    newer = another(bundles, "first", "c")
    changed(bundles, "promote", newer)
    session.look()
    assert session.members == (newer, second)
    changed(bundles, "rollback", second)
    assert session.look() != []
    assert session.members == (first, second), "the champion before is the other member; the one gone back from is out"
    assert session.look() == []
    changed(bundles, "retire", first)
    session.look()
    assert session.members == (old[0], second), "of the folder again"
    assert session.offers[0].reason == "retire by ann: better"
    assert session.errors == []


def test_a_member_that_was_retired_takes_the_mixture_with_it(bundles: Path) -> None:
    """Nobody of its name is left: strategies enter nothing more, in this session and in the next one, which must be
    able to leave what is held, until somebody of its name is promoted.  Files are not played without it."""
    session = Followed(bundles)
    version, _ = session.registry.add(load_bundle(bundles / "first"))
    changed(bundles, "promote", version)
    assert session.look() == [], "it is the very version that serves"
    changed(bundles, "retire", version)
    assert session.look() == [""]
    assert session.offers[0].reason == "retire by ann: better"
    assert session.serving is None
    again = made(session.settings)
    vacant = again.assign(spot(), True)
    assert (vacant.model, is_vacant(vacant)) == ("", True)
    assert again.features(spot(), vacant) is not None
    assert [(one.version, one.mixture) for one in again.following()] == [("", "both")]
    rerun = ConfiguredAssembly(session.settings, time.perf_counter_ns, recorded=lambda: vacant)
    assert rerun.assign(spot(), True) == vacant, "as it was on record, also computed anew"
    played = session.settings.model_copy(update={"venue": session.settings.venue.model_copy(update={"feed": "replay"})})
    with pytest.raises(BundleError, match="was retired in"):
        made(played).assign(spot(), True)
    changed(bundles, "promote", version)
    session.look()
    assert session.members[0] == version
    assert made(session.settings).assign(spot(), True).model == session.serving.version


def test_a_mixture_has_its_name_alone(bundles: Path) -> None:
    """Neither a bundle of the folder nor a version of the registry is called like it; a version that is promoted under
    that name serves as what it is."""
    session = Followed(bundles)
    place = Path(shutil.copytree(bundles / "first", bundles.parent / "named" / "both"))
    manifest = json.loads((place / "manifest.json").read_bytes())
    (place / "manifest.json").write_text(json.dumps({**manifest, "name": "both"}))
    version, _ = session.registry.add(load_bundle(place))
    with pytest.raises(ConfigError, match=r"mixtures has both, and so has .*registry/versions"):
        made(session.settings).assign(spot(), True)
    named = session.settings.strategies[0].model_copy(update={"model": version})
    other = made(session.settings.model_copy(update={"strategies": [named]}))
    assigned = other.assign(spot(), True)
    assert assigned.model == version
    assert not isinstance(other.model(spot(), assigned), MixtureModel)


def test_a_session_begins_on_a_mixture_with_a_member_whose_date_has_come(bundles: Path) -> None:
    """It stands as expired from the first event on."""
    session = Followed(bundles)
    place = Path(shutil.copytree(bundles / "first", bundles.parent / "old" / "first"))
    manifest = json.loads((place / "manifest.json").read_bytes())
    (place / "manifest.json").write_text(json.dumps({**manifest, "expires_ns": 1_000}))
    version, _ = session.registry.add(load_bundle(place, now_ns=0))
    changed(bundles, "promote", version)
    again = made(session.settings)
    assigned = again.assign(spot(), True)
    assert expiry_of(assigned) == 1_000
    assert again.model(spot(), assigned) is not None


@pytest.mark.parametrize(("old", "retired"), [("first", "second"), ("second", "first")])
def test_a_session_begins_without_a_mixture_of_which_one_has_expired_and_one_was_retired(
    bundles: Path, old: str, retired: str
) -> None:
    """What the account holds must be left whichever is asked for first."""
    session = Followed(bundles)
    place = Path(shutil.copytree(bundles / old, bundles.parent / "old" / old))
    manifest = json.loads((place / "manifest.json").read_bytes())
    (place / "manifest.json").write_text(json.dumps({**manifest, "expires_ns": 1_000}))
    gone, _ = session.registry.add(load_bundle(bundles / retired))
    changed(bundles, "promote", gone)
    changed(bundles, "retire", gone)
    changed(bundles, "promote", session.registry.add(load_bundle(place, now_ns=0))[0])
    again = made(session.settings)
    vacant = again.assign(spot(), True)
    assert (vacant.model, is_vacant(vacant)) == ("", True)
    assert again.features(spot(), vacant) is not None


@pytest.mark.parametrize(("broken", "retired"), [("first", "second"), ("second", "first")])
def test_a_member_that_was_retired_takes_the_mixture_with_it_whatever_is_wrong_with_another(
    bundles: Path, broken: str, retired: str
) -> None:
    """A damaged version of one is left out, and the mixture goes on; then the other one is retired.  It served on where
    the damaged one was asked for first."""
    session = Followed(bundles)
    gone, _ = session.registry.add(load_bundle(bundles / retired))
    changed(bundles, "promote", gone)
    version = another(bundles, broken, "a")
    graph = session.registry.path_of(version) / "model.onnx"
    graph.chmod(0o644)
    graph.write_bytes(graph.read_bytes()[:-1])
    changed(bundles, "promote", version)
    assert session.look() == []
    assert session.serving is not None
    changed(bundles, "retire", gone)
    assert session.look() == [""]
    assert session.serving is None
    assert is_vacant(made(session.settings).assign(spot(), True))


@pytest.mark.parametrize("other", ["retired", "expired", "damaged"])
def test_a_session_begins_without_a_mixture_of_which_nobody_is_left(bundles: Path, other: str) -> None:
    """One was retired; the other one as well, or it is of the folder and may not serve: what the account holds must be
    left all the same, by strategies that read the columns of the one that was taken away."""
    session = Followed(bundles)
    gone, _ = session.registry.add(load_bundle(bundles / "second"))
    if other == "retired":
        version, _ = session.registry.add(load_bundle(bundles / "first"))
        changed(bundles, "promote", version)
        changed(bundles, "retire", version)
    elif other == "expired":
        path = bundles / "first" / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "expires_ns": 1_000}))
    else:
        (bundles / "first" / "model.onnx").write_bytes(b"")
    changed(bundles, "promote", gone)
    changed(bundles, "retire", gone)
    again = made(session.settings)
    vacant = again.assign(spot(), True)
    assert (vacant.model, is_vacant(vacant)) == ("", True)
    assert vacant.spec == load_bundle(session.registry.path_of(gone)).spec.to_json().decode()


@pytest.mark.parametrize("what", ["horizon", "damaged", "slow"])
def test_a_member_that_may_not_serve_changes_nothing_and_is_told(bundles: Path, what: str) -> None:
    session = Followed(bundles, deadline_us=1 if what == "slow" else 1_000_000)
    before = session.serving
    label = json.loads((bundles / "first" / "manifest.json").read_bytes())["label"]
    changes = {"label": {**label, "horizon_rows": 7}} if what == "horizon" else {}
    version = another(bundles, "first", "a", **changes)
    if what == "damaged":
        graph = session.registry.path_of(version) / "model.onnx"
        graph.chmod(0o644)
        graph.write_bytes(graph.read_bytes()[:-1])
    if what == "slow":
        session.watcher._task_of = lambda bundle: Task(str(bundle.path), bundle.version, 1e6)
    changed(bundles, "promote", version)
    assert session.look() == []
    assert session.serving is before
    said = {
        "horizon": "they forecast p_up (direction, 7 rows) and p_up (direction, 50 rows)",
        "damaged": "may not be used",
        "slow": "us together here",
    }
    (error,) = session.errors
    assert said[what] in error


def test_weights_of_members_that_stay_are_kept_and_a_replay_has_them(bundles: Path) -> None:
    """By recent losses: who came begins with its declared weight, the others share the rest as they did; the very
    record makes the same mixture again, whatever is champion by then."""
    for name in ("third",):
        place = Path(shutil.copytree(bundles / "first", bundles / name))
        manifest = json.loads((place / "manifest.json").read_bytes())
        (place / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
    weights = {"first": 2, "second": 1, "third": 1}
    session = Followed(bundles, members=list(weights), weights=weights, weighing="recent")
    begun = session.core.lanes[BTC].seat.assignment
    session.bus.publish(ModelWeighed(8, 8, BTC, begun.model, (0.1, 0.6, 0.3)))
    first = another(bundles, "first", "a")
    changed(bundles, "promote", first)
    session.look()
    serving = session.serving
    assert serving.weights == pytest.approx((0.5, 1 / 3, 1 / 6))
    assigned = session.core.lanes[BTC].seat.assignment
    assert tuple(value for name, value in assigned.facts if name.startswith("weight.")) == serving.weights
    assert made(session.settings).assign(spot(), True).model == assigned.model, "alarms name it: the same after a start"
    changed(bundles, "promote", another(bundles, "first", "b"))
    for recorded in (begun, assigned):
        again = ConfiguredAssembly(session.settings, time.perf_counter_ns, recorded=lambda one=recorded: one)
        assert again.assign(spot(), True).model == recorded.model
        model = again.model(spot(), recorded)
        assert isinstance(model, MixtureModel)
        assert (model.mixture.versions[0], model.version) == (
            first if recorded is assigned else load_bundle(bundles / "first").version,
            recorded.model,
        )
        told = dict(recorded.facts)
        assert model.weights == tuple(told[f"weight.{one}"] for one in model.mixture.versions)


def test_a_mixture_of_versions_follows_nothing(bundles: Path) -> None:
    named = [load_bundle(bundles / name).version for name in ("first", "second")]
    assembly = made(settings_of(bundles, members=named))
    assembly.assign(spot(), True)
    assert assembly.following() == []


@pytest.mark.parametrize("recompute", [False, True])
def test_a_session_whose_members_changed_replays_identically(bundles: Path, recompute: bool) -> None:
    """Each prediction names the mixture of its moment; weights moved before and after the change.  Meanwhile the
    registry has somebody else: computed anew are the members of the record."""
    session = Followed(bundles, weighing="recent")
    old = session.members
    session.play(138)
    session.bus.publish(ModelWeighed(session.now_ns, session.now_ns, BTC, session.serving.version, (0.2, 0.8)))
    session.play(3)
    first = another(bundles, "first", "a")
    changed(bundles, "promote", first)
    session.look()
    assert session.members == (first, old[1])
    session.play(3)
    session.bus.publish(ModelWeighed(session.now_ns, session.now_ns, BTC, session.serving.version, (0.9, 0.1)))
    session.play(4)
    said = [one.record for one in session.journal.written if isinstance(one.record, Prediction)]
    shares = {(one.model, one.values[-2:]) for one in said}
    assert len({model for model, _ in shares}) == 2
    assert len(shares) == 4
    changed(bundles, "promote", another(bundles, "first", "b"))
    recorder = ReplayRecorder()
    assembly = ConfiguredAssembly(session.settings, time.perf_counter_ns, recorded=lambda: recorder.assigned)
    again = ReplayAssembly(recorder, assembly, recompute=recompute, tolerance=lambda: 0.0)
    core = build_core(session.settings, [BTC], recorder=recorder, assembly=again, id_prefix="k")
    result = replay(session.journal.written, recorder, core)
    assert result.first_difference is None
    assert (result.identical, result.predictions) == (True, len(said))
    assert result.recomputed_decisions == (len(said) if recompute else 0)
