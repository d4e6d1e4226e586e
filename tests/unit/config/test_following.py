"""Which sessions follow the registry, and what an offer does in the core."""

from __future__ import annotations

import json
import os
import shutil
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config.assembly import ConfiguredAssembly
from config.following import follow_registry, tell_schedules
from config.load import load
from config.preflight import check_models
from config.wiring import build_core
from engine.errors import BundleError
from engine.events import InputEvent, InstrumentDefined, ModelOffered
from engine.ports import Assignment
from models.bundle import load_bundle
from models.registry.standing import scope_of
from models.registry.store import Registry
from models.serving.worker import Worker
from tests.support.core import BTC, MemoryRecorder, spot
from tests.support.daemon import NO_CHAMPIONS

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "models" / "artifacts" / "demo-crypto"


class Session:
    """A core as configured that knows one instrument; what is offered reaches it at once."""

    def __init__(self, tmp_path: Path, **overrides: Any) -> None:
        self.folder = tmp_path
        self.registry = Registry(tmp_path / "registry")
        wanted = {"models.registry": str(self.registry.root), "models.deadline_us": 1_000_000, **overrides}
        self.settings = load(env=NO_CHAMPIONS, overrides=wanted)
        self.assembly = ConfiguredAssembly(self.settings, time.perf_counter_ns)
        self.core = build_core(self.settings, [BTC], recorder=MemoryRecorder(), assembly=self.assembly, id_prefix="k")
        self.events: list[InputEvent] = []

    def begin(self) -> Session:
        self.core.on_event(InstrumentDefined(1, 1, spot()))
        return self

    def follow(self) -> tuple[Any, ...]:
        def tell(make: Any) -> None:
            self.events.append(make(7))
            self.core.on_event(self.events[-1])

        return follow_registry(self.settings, self.assembly, tell, ROOT, env=os.environ, log=None, core=self.core)

    def add(self, summary: str) -> str:
        """A version of the shipped bundle under another card."""
        path = Path(shutil.copytree(SHIPPED, self.folder / summary / "demo-crypto"))
        manifest = json.loads((path / "manifest.json").read_bytes())
        (path / "manifest.json").write_text(json.dumps(manifest | {"summary": summary}))
        return self.registry.add(load_bundle(path))[0]

    def expiring(self, summary: str, expires_ns: int) -> str:
        """The same with a date."""
        path = Path(shutil.copytree(SHIPPED, self.folder / summary / "demo-crypto"))
        manifest = json.loads((path / "manifest.json").read_bytes())
        (path / "manifest.json").write_text(json.dumps(manifest | {"summary": summary, "expires_ns": expires_ns}))
        return self.registry.add(load_bundle(path, now_ns=0))[0]

    def change(self, action: Any, version: str, share: str = "0") -> None:
        seen = self.registry.standing(scope_of(self.registry.manifest(version)))
        who: dict[str, Any] = {"who": "ann", "why": "better", "forced": (), "now_ns": 1}
        self.registry.change(seen, action, version, share=Decimal(share), **who)

    def seats(self) -> tuple[str, ...]:
        """Champion, canary and older in the core."""
        lane = self.core.lanes[BTC]
        return tuple("" if seat is None else seat.version for seat in (lane.seat, lane.canary, lane.older))


@pytest.mark.parametrize(
    "overrides",
    [
        {"models.rollout.follow": False},
        {"venue.feed": "replay"},
        {"strategies": [{"name": "mine", "kind": "threshold", "model": "demo-crypto"}]},
    ],
)
def test_a_session_that_is_pinned_follows_nothing(tmp_path: Path, overrides: dict[str, Any]) -> None:
    """By its settings, as files are played, or as its strategies name a model."""
    assert Session(tmp_path, **overrides).begin().follow() == ()


def test_a_champion_that_is_the_bundle_it_began_with_changes_nothing(tmp_path: Path) -> None:
    """By its content: promoted and retired, the shipped one serves all along."""
    session = Session(tmp_path).begin()
    (watcher,) = session.follow()
    version, _ = session.registry.add(load_bundle(SHIPPED))
    for action in ("promote", "retire"):
        session.change(action, version)
        watcher.look()
    assert session.events == []


def test_the_core_serves_what_the_registry_says(tmp_path: Path) -> None:
    """Champion, a canary beside it, that promoted, and back, with the champion before as the one to fall back on."""
    session = Session(tmp_path, **{"models.breaker.fallback": "older"})
    first, second = session.add("one"), session.add("two")
    session.change("promote", first)
    (watcher,) = session.begin().follow()
    watcher.look()
    assert session.events == []
    session.change("canary", second, "0.05")
    watcher.look()
    (event,) = session.events
    assert type(event) is ModelOffered
    assert (event.ts_recv_ns, event.instrument, event.role, event.model) == (7, BTC, "canary", second)
    assert (event.share, event.reason) == (0.05, "canary by ann: better")
    assert dict(event.facts)["horizon_rows"] > 0
    assert session.seats() == (first, second, "")
    session.change("promote", second)
    watcher.look()
    watcher.look()  # once more when the champion has its seat: who is beside it follows
    assert session.seats() == (second, "", first)
    session.change("rollback", first)
    watcher.look()
    watcher.look()
    assert session.seats() == (first, "", "")
    assert watcher.status()["registry"]["roles"] == {BTC: {"champion": first}}


def test_an_instrument_that_the_core_does_not_know_yet_waits(tmp_path: Path) -> None:
    """Assigned by the look before the start; offered when the venue has defined it."""
    session = Session(tmp_path)
    session.assembly.assign(spot(), True)
    (watcher,) = session.follow()
    version = session.add("one")
    session.change("promote", version)
    watcher.look()
    assert session.events == []
    session.registry.root.rename(tmp_path / "away")
    session.begin()  # it begins with what ships
    (tmp_path / "away").rename(session.registry.root)
    watcher.look()
    assert session.seats()[0] == version


class Lines:
    """A log that is read."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def info(self, _: str, **about: Any) -> None:
        self.said.append(("info", about))

    def error(self, _: str, **about: Any) -> None:
        self.said.append(("error", about))


@pytest.mark.parametrize(("deadline_us", "said"), [(1, "error"), (10_000_000, "info")])
def test_a_champion_that_is_too_slow_is_told_before_it_is_asked(tmp_path: Path, deadline_us: int, said: str) -> None:
    """A check keeps such a version out of a session that runs; at a start there is nobody else to serve."""
    session = Session(tmp_path, **{"models.deadline_us": deadline_us})
    session.assembly.use(Worker())
    session.begin()
    log = Lines()
    tell_schedules(session.assembly, deadline_us, log)
    ((level, about),) = log.said
    assert level == said
    assert about["model"].startswith("demo-crypto@")
    assert ("models.deadline_us (1)" in str(about)) == (said == "error")


def test_what_the_registry_has_taken_away_is_away_in_the_next_session_too(tmp_path: Path) -> None:
    """Nothing of it is kept by the core: a start makes the choice of the session that ran, and where that was nobody,
    nobody serves it either, killed at whatever moment before, until another version is promoted."""
    (tmp_path / "none").mkdir()
    wanted = {"models.directory": str(tmp_path / "none")}
    session = Session(tmp_path, **wanted)
    first = session.add("one")
    session.change("promote", first)
    (watcher,) = session.begin().follow()
    assert session.seats()[0] == first
    session.change("retire", first)
    again = Session(tmp_path, **wanted).begin()  # before the session that runs was told
    watcher.look()
    assert (session.events[-1].model, session.seats()) == ("", ("", "", ""))
    assert again.seats() == ("", "", "")
    assert again.core.trust.why_vacant(BTC) == "no model serves"
    (watcher,) = again.follow()
    watcher.look()
    assert again.events == []
    vacant = again.assembly.assign(spot(), True)
    session.change("promote", first)
    watcher.look()
    assert again.seats()[0] == first
    assert not again.core.trust.why_vacant(BTC)
    rerun = ConfiguredAssembly(again.settings, time.perf_counter_ns, recorded=lambda: vacant)
    assert rerun.assign(spot(), True) == vacant, "as it was on record, also computed anew"
    assert Session(tmp_path, **wanted).begin().seats()[0] == first


def test_a_start_without_a_model_needs_one_that_was_champion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A candidate that was retired, a bundle or version that is named, files that are played, a folder that is not
    there, a champion of before that is damaged: refused as ever.  Else one line says what is not done."""
    (tmp_path / "none").mkdir()
    wanted: dict[str, Any] = {"models.directory": str(tmp_path / "none")}
    session = Session(tmp_path, **wanted)
    first, second = session.add("one"), session.add("two")
    session.change("retire", second)
    with pytest.raises(BundleError, match="may be used on"):
        Session(tmp_path, **wanted).begin()
    session.change("promote", first)
    session.change("retire", first)
    check_models(session.settings, [spot()], session.assembly)
    said = capsys.readouterr().err
    assert said.startswith(f"warning: no model serves {BTC}: the registry's was retired;")
    assert said.count("\n") == 1
    named = [{"name": "mine", "kind": "threshold", "model": "demo-cryptic"}]
    for more in (
        {"strategies": named},
        {"venue.feed": "replay"},
        {"models.directory": str(tmp_path / "nowhere")},
    ):
        with pytest.raises(BundleError, match=r"^no (bundle|folder of bundles) "):
            Session(tmp_path, **wanted | more).begin()
    manifest = session.registry.path_of(first) / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(BundleError, match="may be used on"):
        Session(tmp_path, **wanted).begin()


def test_a_session_begins_on_a_champion_whose_date_has_come_and_enters_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A daemon that is started again over what it holds must be able to leave it; one line says what is not done.  What
    is damaged besides is refused as ever, and so is an expired bundle for played files."""
    session = Session(tmp_path)
    old = session.expiring("old", 1_000)
    session.change("promote", old)
    check_models(session.settings, [spot()], session.assembly)
    assert capsys.readouterr().err.startswith(f"warning: {old} on {BTC} has expired:")
    again = Session(tmp_path)
    again.core.on_event(InstrumentDefined(2_000, 2_000, spot()))
    seat = again.core.lanes[BTC].seat
    assert seat is not None
    assert (seat.version, seat.state) == (old, "expired")
    new = session.add("new")
    session.change("promote", new)
    (watcher,) = again.follow()
    watcher._log = Lines()
    watcher.look()
    assert again.seats()[0] == new
    session.change("rollback", old)
    with pytest.raises(BundleError, match="has expired"):
        Session(tmp_path, **{"venue.feed": "replay"}).begin()
    manifest = session.registry.path_of(old) / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(BundleError, match="may not be used"):
        Session(tmp_path).begin()


def test_a_session_is_computed_again_after_its_models_date_has_come(tmp_path: Path) -> None:
    """What it served then is what is run again; a version that is named for a new session is refused."""
    session = Session(tmp_path)
    path = Path(shutil.copytree(SHIPPED, tmp_path / "old" / "demo-crypto"))
    manifest = json.loads((path / "manifest.json").read_bytes())
    (path / "manifest.json").write_text(json.dumps(manifest | {"expires_ns": 1_000}))
    version = session.registry.add(load_bundle(path, now_ns=0))[0]
    had = Assignment(version, "{}", ())
    rerun = ConfiguredAssembly(session.settings, time.perf_counter_ns, recorded=lambda: had)
    assert rerun.assign(spot(), True).model == version
    swapped = ConfiguredAssembly(
        session.settings, time.perf_counter_ns, recorded=lambda: Assignment("demo-crypto@000000000000")
    )
    assert swapped.model(spot(), had) is not None
    named = [{"name": "mine", "kind": "threshold", "model": version}]
    with pytest.raises(BundleError, match="has expired"):
        Session(tmp_path, strategies=named).begin()
