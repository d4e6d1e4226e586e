"""Mixtures of the settings: found, opened for each instrument, and what a session is refused for."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from config.assembly import ConfiguredAssembly
from config.following import follow_registry, tell_schedules
from config.load import load
from config.preflight import check_models
from config.schema import Settings
from config.wiring import build_core
from engine.bus import EventBus
from engine.core import NullProbe
from engine.errors import BundleError, ConfigError, KestrelError
from engine.events import InstrumentDefined, ModelOffered, ModelWeighed, Prediction
from engine.replay import ReplayAssembly, ReplayRecorder, replay
from engine.router import OrderRouter
from engine.seats import expiry_of, is_vacant
from models.bundle import load_bundle
from models.life.checking import Checked, Task, examine
from models.mixture.model import MixtureModel
from models.registry.standing import scope_of
from models.registry.store import Registry
from models.serving.worker import Worker
from tests.support.core import BTC, MemoryJournal, spot

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """Two bundles of the shipped weights under names of their own."""
    for name in ("first", "second"):
        place = Path(shutil.copytree(ROOT / "models" / "artifacts" / "demo-crypto", tmp_path / "bundles" / name))
        manifest = json.loads((place / "manifest.json").read_bytes())
        (place / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
    return tmp_path / "bundles"


def settings_of(bundles: Path, deadline_us: int = 1_000_000, **mixture: Any) -> Settings:
    return load(
        env={},
        overrides={
            "models.directory": bundles,
            "models.registry": bundles.parent / "registry",
            "models.deadline_us": deadline_us,
            "mixtures": [{"name": "both", "members": ["first", "second"], **mixture}],
            "strategies.0.model": "both",
        },
    )


def made(settings: Settings) -> ConfiguredAssembly:
    return ConfiguredAssembly(settings, time.perf_counter_ns)


def test_a_mixture_serves_with_the_members_and_their_places_on_record(bundles: Path) -> None:
    """Assigned, checked before the session, and the very object that was checked predicts."""
    assembly = made(settings_of(bundles, weights={"first": 3, "second": 1}))
    check_models(assembly._settings, [spot()], assembly)
    assigned = assembly.assign(spot(), True)
    assert assigned.model.startswith("both@")
    versions = [load_bundle(bundles / name).version for name in ("first", "second")]
    assert [dict(assigned.facts)[f"member.{one}"] for one in versions] == [2.0, 3.0]
    model, features = assembly.model(spot(), assigned), assembly.features(spot(), assigned)
    assert isinstance(model, MixtureModel)
    assert features is not None
    golden = load_bundle(bundles / "first").golden.window
    said = model.predict(BTC, np.frombuffer(golden, "<f4").reshape(features.window().shape), 1, 1)
    assert (said.model, len(said.values), said.values[-2:]) == (assigned.model, 6, (0.75, 0.25))
    assert assembly.model(spot(), assigned) is model
    assert {one.version for one in assembly.models} == set(versions)
    assert assembly.tolerance() > 0


@pytest.mark.parametrize(("deadline_us", "level"), [(1, "error"), (1_000_000, "info")])
def test_where_a_mixture_runs_and_how_long_it_takes_is_told_at_the_start(
    bundles: Path, deadline_us: int, level: str
) -> None:
    """All of it is in the loop, whatever it takes: nothing had said so, nor that it is too slow to be ever in time."""
    assembly = made(settings_of(bundles, deadline_us))
    assembly.use(Worker())
    assigned = assembly.assign(spot(), True)
    model = assembly.model(spot(), assigned)
    said: list[tuple[str, dict[str, Any]]] = []
    log = SimpleNamespace(
        info=lambda _, **about: said.append(("info", about)), error=lambda _, **about: said.append(("error", about))
    )
    tell_schedules(assembly, deadline_us, log)
    ((told, about),) = said
    assert (told, about["model"]) == (level, assigned.model)
    assert about["where"].startswith("inline: a mixture; its members take ")
    assembly.twin().model(spot(), assigned)
    assembly.model(msgspec.structs.replace(spot(), id="ETH/USD@coinbase"), assigned)
    assert len(said) == 1
    assert isinstance(model, MixtureModel)
    assert model.count == 0


def test_a_name_is_what_the_registry_has_promoted_and_a_version_stays(bundles: Path) -> None:
    """A session that is run again has what it had."""
    settings = settings_of(bundles)
    old = load_bundle(bundles / "first").version
    recorded = made(settings).assign(spot(), True)
    new = another(bundles, "first", "newer")
    changed(bundles, "promote", new)
    assert f"member.{new}" in dict(made(settings).assign(spot(), True).facts)
    assert made(settings).model(spot(), recorded).version == recorded.model
    for version in (old, new):
        named = settings_of(bundles, members=[version, "second"])
        assert f"member.{version}" in dict(made(named).assign(spot(), True).facts)


def test_instruments_have_weights_of_their_own_and_a_twin_too(bundles: Path) -> None:
    """What is told about one instrument must not move another; a shadow moves neither."""
    assembly = made(settings_of(bundles))
    other = msgspec.structs.replace(spot(), id="ETH/USD@coinbase")
    one, two = (assembly.model(each, assembly.assign(each, True)) for each in (spot(), other))
    twin = assembly.twin().model(spot(), assembly.assign(spot(), True))
    assert isinstance(one, MixtureModel)
    assert isinstance(two, MixtureModel)
    assert isinstance(twin, MixtureModel)
    one.weigh((1.0, 0.0))
    assert (one.weights, two.weights, twin.weights) == ((1.0, 0.0), (0.5, 0.5), (0.5, 0.5))


def test_a_version_that_other_settings_make_is_refused(bundles: Path) -> None:
    """A replay that computes again needs the weights that the session began with."""
    assigned = made(settings_of(bundles)).assign(spot(), True)
    with pytest.raises(ConfigError, match=rf"is configured; expected {assigned.model}; restore its settings"):
        made(settings_of(bundles, on_failure="fail")).model(spot(), assigned)


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        ({"members": ["first", "third"]}, "no bundle 'third'"),
        ({"members": ["first"]}, "at least 2"),
        ({"weights": {"first": 1}, "weights_file": "w.json"}, "either weights or weights_file"),
        ({"name": "auto"}, "neither auto nor none"),
        ({"weights": {"first": 1}}, "mixture both has no weight for second@"),
        ({"weights_file": "none.json"}, "the weights none.json cannot be read"),
    ],
)
def test_what_makes_no_mixture_is_refused_before_the_session(bundles: Path, mixture: dict[str, Any], said: str) -> None:
    """One each; the line says which."""

    def start() -> None:
        settings = settings_of(bundles, **mixture)
        check_models(settings, [spot()], made(settings))

    with pytest.raises(KestrelError) as caught:
        start()
    assert said in str(caught.value)


def test_a_name_that_is_a_bundles_as_well_is_refused(bundles: Path) -> None:
    """Nobody could tell which one trades."""
    shutil.copytree(bundles / "first", bundles / "both")
    with pytest.raises(ConfigError, match="name the mixture otherwise"):
        check_models(settings_of(bundles), [spot()], made(settings_of(bundles)))


class Followed:
    """A session on a mixture: its core, and who watches the registry for it.  Checks run in this process."""

    def __init__(self, bundles: Path, **mixture: Any) -> None:
        self.registry = Registry(bundles.parent / "registry")
        self.settings = settings_of(bundles, **mixture)
        self.assembly = made(self.settings)
        check_models(self.settings, [spot()], self.assembly)
        self.journal = MemoryJournal()
        self.bus = EventBus(self.journal, NullProbe(), lambda text, error: pytest.fail(text))
        self.core = build_core(self.settings, [BTC], recorder=self.bus, assembly=self.assembly, id_prefix="k")
        self.bus.attach(self.core, OrderRouter(self.bus.publish, list))
        self.bus.publish(InstrumentDefined(1, 1, spot()))
        self.offers: list[ModelOffered] = []
        self.checked: list[Task] = []
        self.errors: list[str] = []
        (followed,) = follow_registry(self.settings, self.assembly, self._tell, ROOT, env={}, log=self, core=self.core)
        followed._checks = self
        self.watcher = followed
        self.now_ns = 7
        self.tape = iter(load_bundle(bundles / "first").golden.events)

    def play(self, count: int) -> None:
        """The next events of the golden tape, as the market's."""
        for event in itertools.islice(self.tape, count):
            self.now_ns = event.ts_recv_ns
            self.bus.publish(msgspec.structs.replace(event, instrument=BTC))

    def _tell(self, make: Any) -> None:
        self.offers.append(make(self.now_ns))
        self.bus.publish(self.offers[-1])

    def check(self, task: Task, given_up: Any) -> Checked:
        self.checked.append(task)
        return examine(task)

    def error(self, text: str, **fields: Any) -> None:
        self.errors.append(f"{fields['model']}: {fields['problem']}")

    @property
    def serving(self) -> MixtureModel | None:
        seat = self.core.lanes[BTC].seat
        assert seat is None or isinstance(seat.model, MixtureModel)
        return None if seat is None else seat.model

    @property
    def members(self) -> tuple[str, ...]:
        return () if self.serving is None else self.serving.mixture.versions

    def look(self) -> list[str]:
        """One pass; what it offered."""
        self.offers.clear()
        self.watcher.look()
        return [offer.model for offer in self.offers]


def another(bundles: Path, name: str, summary: str, **changes: Any) -> str:
    """A version of a bundle under another card, in the registry."""
    place = Path(shutil.copytree(bundles / name, bundles.parent / summary / name))
    manifest = json.loads((place / "manifest.json").read_bytes())
    (place / "manifest.json").write_text(json.dumps({**manifest, "summary": summary, **changes}))
    return Registry(bundles.parent / "registry").add(load_bundle(place))[0]


def changed(bundles: Path, action: Any, version: str) -> None:
    registry = Registry(bundles.parent / "registry")
    seen = registry.standing(scope_of(registry.manifest(version)))
    registry.change(seen, action, version, who="ann", why="better", forced=(), now_ns=1)


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
