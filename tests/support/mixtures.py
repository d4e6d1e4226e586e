"""Sessions on a mixture of two bundles: its settings, its core, and who follows the registry for it."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.assembly import ConfiguredAssembly
from config.following import follow_registry
from config.load import load
from config.preflight import check_models
from config.schema import Settings
from config.wiring import build_core
from engine.bus import EventBus
from engine.core import NullProbe
from engine.events import InstrumentDefined, ModelOffered
from engine.router import OrderRouter
from models.bundle import load_bundle
from models.life.checking import Checked, Task, examine
from models.mixture.model import MixtureModel
from models.registry.standing import scope_of
from models.registry.store import Registry
from tests.support.core import BTC, MemoryJournal, spot

ROOT = Path(__file__).resolve().parents[2]


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
