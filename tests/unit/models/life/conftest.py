"""A watcher on a real registry: bundles are loaded, checked and opened as in a session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.instruments import Instrument
from engine.ports import Assignment
from models.bundle import Bundle
from models.life.checking import Checked, Task, examine
from models.life.roles import Followed
from models.life.watcher import Offer, RegistryWatcher
from models.onnx_model import OnnxModel
from models.registry.store import Registry


class Opening:
    """Opens models as the session's assembly does, and remembers what was asked of it."""

    def __init__(self, following: Sequence[Followed]) -> None:
        self._following = following
        self.models: dict[str, OnnxModel] = {}
        self.kept: set[str] = set()

    def following(self) -> Sequence[Followed]:
        return self._following

    def is_open(self, version: str) -> bool:
        return version in self.models

    def open(self, bundle: Bundle) -> Assignment:
        if bundle.version not in self.models:
            self.models[bundle.version] = OnnxModel(bundle)
        return Assignment(bundle.version, bundle.spec.to_json().decode(), (("horizon_rows", 50.0),))

    def keep(self, versions: Collection[str]) -> None:
        self.kept = set(versions)


class Examining:
    """The check itself, in this process; which versions were checked."""

    def __init__(self) -> None:
        self.checked: list[str] = []
        self.during: Callable[[], None] = lambda: None

    def check(self, task: Task, given_up: Callable[[], bool]) -> Checked:
        self.checked.append(task.version)
        self.during()
        return Checked("given up") if given_up() else examine(task)


class Log:
    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []

    def error(self, text: str, **fields: Any) -> None:
        self.errors.append({"text": text, **fields})


class Watching:
    """A watcher with everything that it was given; ``offers`` since the last ``look``."""

    def __init__(self, registry: Registry, directory: Path, opening: Opening, **more: Any) -> None:
        self.offers: list[Offer] = []
        self.opening = opening
        self.checks = Examining()
        self.log = Log()
        deadline_us = more.pop("deadline_us", 1e6)
        parts = {"checks": self.checks, "offer": self.offers.append} | more
        self.watcher = RegistryWatcher(
            registry=registry.root,
            directory=directory,
            opener=opening,
            log=self.log,
            task_of=lambda bundle: Task(str(bundle.path), bundle.version, deadline_us),
            **parts,
        )

    def look(self) -> list[tuple[str, str, str]]:
        """Role, version and share of each offer of one pass."""
        self.offers.clear()
        self.watcher.look()
        return [(offer.role, offer.assignment.model, str(offer.share)) for offer in self.offers]


@pytest.fixture
def watching(
    registry: Registry, artifacts: Path, make_instrument: Callable[..., Instrument]
) -> Callable[..., Watching]:
    """Watches for one instrument that began with ``version``; ``directory``: the folder of bundles."""

    def make(version: str, *, directory: Path = artifacts, **more: Any) -> Watching:
        return Watching(registry, directory, Opening([Followed(make_instrument(), version)]), **more)

    return make
