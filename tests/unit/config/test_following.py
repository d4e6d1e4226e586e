"""Which sessions follow the registry, and what an offer is as an event."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from config.assembly import ConfiguredAssembly
from config.following import follow_registry
from config.load import load
from engine.events import InputEvent, ModelOffered
from models.manifest import load_bundle
from models.registry.standing import scope_of
from models.registry.store import Registry
from tests.support.core import spot

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "models" / "artifacts" / "demo-crypto"


class Session:
    def __init__(self, tmp_path: Path, **overrides: Any) -> None:
        self.registry = Registry(tmp_path / "registry")
        wanted = {"models.registry": str(self.registry.root), **overrides}
        self.settings = load(env={}, overrides=wanted)
        self.assembly = ConfiguredAssembly(self.settings, time.perf_counter_ns)
        self.assembly.assign(spot(), True)
        self.events: list[InputEvent] = []
        self.offered = threading.Event()

    def follow(self) -> tuple[Any, ...]:
        def tell(make: Any) -> None:
            self.events.append(make(7))
            self.offered.set()

        return follow_registry(self.settings, self.assembly, tell, ROOT, env=os.environ, log=None)


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
    assert Session(tmp_path, **overrides).follow() == ()


def test_a_champion_is_offered_as_an_event_with_the_model_at_hand(tmp_path: Path) -> None:
    session = Session(tmp_path)
    (watcher,) = session.follow()
    shipped = load_bundle(SHIPPED)
    version, _ = session.registry.add(shipped)
    seen = session.registry.standing(scope_of(shipped.manifest))
    session.registry.change(seen, "promote", version, who="ann", why="better", forced=(), now_ns=1)
    watcher.look()
    # It is the bundle that it began with, by its content: nothing to offer.
    assert session.events == []
    session.registry.change(
        session.registry.standing(seen.scope), "retire", version, who="ann", why="", forced=(), now_ns=2
    )
    watcher.look()
    assert session.events == []


def test_an_event_carries_what_the_core_swaps_by(tmp_path: Path) -> None:
    """The fields of the offer, its time from the loop's thread."""
    import json
    import shutil

    session = Session(tmp_path)
    other = Path(shutil.copytree(SHIPPED, tmp_path / "demo-crypto"))
    manifest = json.loads((other / "manifest.json").read_bytes())
    (other / "manifest.json").write_text(json.dumps(manifest | {"summary": "Another."}))
    bundle = load_bundle(other)
    version, _ = session.registry.add(bundle)
    seen = session.registry.standing(scope_of(bundle.manifest))
    session.registry.change(seen, "promote", version, who="ann", why="better", forced=(), now_ns=1)
    (watcher,) = session.follow()
    watcher.look()
    (event,) = session.events
    assert type(event) is ModelOffered
    assert (event.ts_recv_ns, event.instrument, event.role, event.model) == (7, spot().id, "champion", version)
    assert event.spec == bundle.spec.to_json().decode()
    assert dict(event.facts)["horizon_rows"] > 0
    assert (event.share, event.reason) == (0.0, "promote by ann: better")
    assert session.assembly.is_open(version)
