"""The list of record: one file a task in ``config/results``, several training settings in each.

Owns how a file becomes entries.  An entry is what ``run.py train`` could be told, so that its hash says which settings
a kept result was made with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import yaml
from msgspec import Meta

from engine.errors import ConfigError
from models.trainer.fit_settings import Section
from models.trainer.settings import TrainSettings, WalkForward, settings_of

FORWARD: Final = "walk-forward"
_REPLACED: Final = ("network", "label", "labels", "data", "features")
"""Sections that an entry replaces as a whole; others are changed key by key."""


class EntrySection(Section, frozen=True):
    """``core_hours``: estimated by ``train --dry-run`` on the machine that the list was made on.  ``against``: entries
    of the same file that this one is compared with on the same rows.  ``settings``: what differs from the base.
    ``later``: it was listed after tests of the file had been opened, and is development."""

    core_hours: Annotated[float, Meta(gt=0)]
    settings: dict[str, Any]
    against: tuple[str, ...] = ()
    later: bool = False


class ForwardSection(Section, frozen=True):
    """Walk-forward of one network, chosen ``among`` entries by the validation score ``by`` before any of its own tests
    is opened."""

    among: Annotated[tuple[str, ...], Meta(min_length=1)]
    by: str
    core_hours: Annotated[float, Meta(gt=0)]
    origins: Annotated[int, Meta(ge=1)] = 5
    seeds: tuple[int, ...] = (1,)
    less_is_better: bool | None = None


class ListFile(Section, frozen=True):
    """``order``: the least first.  ``needs``: a command that must have run before, told where its data is missing.
    ``explain``: why results that look too good are true; without it the command fails over them."""

    title: str
    about: str
    order: int
    base: dict[str, Any]
    entries: dict[str, EntrySection]
    walk_forward: ForwardSection | None = None
    needs: str = ""
    explain: str = ""


@dataclass(frozen=True)
class Entry:
    """One thing to run.  ``settings`` is None for a walk-forward whose network is not chosen yet."""

    task: str
    name: str
    core_hours: float
    settings: TrainSettings | None
    against: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.task}/{self.name}"

    @property
    def config_sha256(self) -> str:
        """Of the settings as a run folder holds them; empty while they are not chosen."""
        return "" if self.settings is None else hashlib.sha256(self.settings.to_yaml()).hexdigest()


@dataclass(frozen=True)
class Listed:
    """One file of the list.  ``entries`` are those of fixed settings; the walk-forward is ``forward_entry``'s."""

    task: str
    path: Path
    file: ListFile
    entries: tuple[Entry, ...]

    def forward_entry(self, chosen: str | None) -> Entry | None:
        """The walk-forward of the network of entry ``chosen``; None where the file has none."""
        forward = self.file.walk_forward
        if forward is None:
            return None
        settings = None
        if chosen is not None:
            plain = _settings(self.path, self.task, self.file.base, chosen, self.file.entries[chosen])
            # The embargo of a walk-forward is that of its windows: rows of a part share no moment anyway.
            split = msgspec.structs.replace(plain.split, walk_forward=WalkForward(origins=forward.origins))
            fit = msgspec.structs.replace(plain.fit, seeds=forward.seeds)
            settings = msgspec.structs.replace(plain, name=f"{self.task}-{FORWARD}", split=split, fit=fit)
        return Entry(self.task, FORWARD, forward.core_hours, settings)


def load_list(folder: Path) -> list[Listed]:
    """All files of the folder in their order.  Raises ``ConfigError`` that names file, entry and key."""
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise ConfigError(f"no list in {folder}", expected="a YAML file a task", do="check --list-folder")
    return sorted((_load(path) for path in paths), key=lambda one: (one.file.order, one.task))


def selected(listed: Sequence[Listed], only: Sequence[str]) -> dict[str, list[str]]:
    """Names of the entries to run by task; ``only`` holds tasks, beginnings of tasks, or ``task/entry``; empty: all."""
    names = {one.task: [*one.file.entries, *([FORWARD] if one.file.walk_forward else [])] for one in listed}
    if not only:
        return names
    found: dict[str, list[str]] = {}
    for word in only:
        task, _, entry = word.partition("/")
        hits = [name for name in names if name == task or name.startswith(f"{task}-")]
        chosen = {name: [own for own in names[name] if not entry or own == entry] for name in hits}
        if not any(chosen.values()):
            raise ConfigError(
                f"nothing in the list is called {word!r}",
                expected=f"a task ({', '.join(names)}) or task/entry",
                do="look at python run.py results --list",
            )
        for name, own in chosen.items():
            found[name] = [*found.get(name, []), *(each for each in own if each not in found.get(name, []))]
    return found


def _load(path: Path) -> Listed:
    task = path.stem
    try:
        file = msgspec.convert(yaml.safe_load(path.read_bytes()), ListFile)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", expected="a YAML file of results") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}", do="see config/results for examples") from None
    others = [
        *(file.walk_forward.among if file.walk_forward else ()),
        *(a for e in file.entries.values() for a in e.against),
    ]
    for name in others:
        if name not in file.entries:
            raise ConfigError(f"{path}: no entry {name!r}", expected=f"one of {', '.join(file.entries)}")
    if FORWARD in file.entries:
        raise ConfigError(f"{path}: an entry called {FORWARD}", expected="another name: it is the walk-forward's")
    entries = tuple(
        Entry(task, name, one.core_hours, _settings(path, task, file.base, name, one), one.against)
        for name, one in file.entries.items()
    )
    return Listed(task, path, file, entries)


def _settings(path: Path, task: str, base: Mapping[str, Any], name: str, one: EntrySection) -> TrainSettings:
    plain: dict[str, Any] = {"name": f"{task}-{name}".replace("_", "-"), **base}
    for key, value in one.settings.items():
        if value is None:
            plain.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(plain.get(key), Mapping) and key not in _REPLACED:
            plain[key] = {**plain[key], **value}
        else:
            plain[key] = value
    return settings_of(plain, f"{path}, {name}")
