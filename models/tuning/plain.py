"""Settings as plain data: what YAML files hold before they are checked, and keys of them by dotted path."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from engine.errors import ConfigError

Plain = dict[str, Any]


def read_plain(path: Path, what: str) -> Plain:
    """The mapping in a YAML file.  Raises ``ConfigError`` that names the file."""
    try:
        found = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", expected=f"a YAML file of {what}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} holds no settings", expected=f"a YAML file of {what}")
    return found


def with_values(settings: Plain, values: Mapping[str, Any]) -> Plain:
    """A copy of ``settings`` with each ``values`` key, a dotted path, set; sections on the way are made."""
    made = copy.deepcopy(settings)
    for path, value in values.items():
        *sections, key = path.split(".")
        place = made
        for section in sections:
            inside = place.setdefault(section, {})
            if not isinstance(inside, dict):
                raise ConfigError(f"{path}: {section} is no section", expected="keys below it")
            place = inside
        place[key] = copy.deepcopy(value)
    return made


def value_at(settings: Plain, path: str) -> Any:
    """What stands at a dotted path; None where nothing does."""
    place: Any = settings
    for key in path.split("."):
        if not isinstance(place, dict) or key not in place:
            return None
        place = place[key]
    return place


def told_values(values: Mapping[str, Any]) -> str:
    """For people: keys without their sections, shares with four digits."""
    short = {key.rpartition(".")[2]: value for key, value in values.items()}
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in short.items()
    )
