"""The raw layers of a configuration: files, environment and command line, as nested plain values.

Owns reading and merging, with the source of every key, and the error for a key that does not exist.  Types are checked
later, once, on the merged whole (``config.load``).

A layer goes over the one below it key by key through the sections.  Lists and free maps (balances, ``max_order_qty``,
``params``) are replaced whole: a limit that a lower layer set for ``"*"`` must not survive under one's own list.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import yaml

from config.data_schema import ConsolidatedSettings
from config.mixture_schema import MixtureSettings
from config.schema import Settings, StrategySettings, is_sensitive
from config.sections import Section
from engine.errors import ConfigError

PREFIX: Final = "KESTREL_"
RESERVED: Final = frozenset(
    {"KESTREL_CORES", "KESTREL_DATA", "KESTREL_NUMBA", "KESTREL_NUMBA_CACHE", "KESTREL_RUN_DIR"}
)
SECRETS: Final = "KESTREL_SECRET_"
"""Variables with our prefix that are no settings, and the beginning of those that are secrets."""


FREE_MAPS: Final = frozenset(
    {
        "sandbox.balances",
        "paper.balances",
        "sandbox.products",
        "portfolio.rates",
        "risk.max_order_qty",
        "risk.max_position_qty",
    }
)
"""Keys whose value is a map of the user's own names."""


LISTS: Final[Mapping[str, type[Section]]] = {
    "strategies": StrategySettings,
    "mixtures": MixtureSettings,
    "consolidated": ConsolidatedSettings,
}
"""Keys whose value is a list of sections."""


class PlainLoader(yaml.SafeLoader):
    """Safe YAML in which a key given twice is an error: of two limits, the last one would silently win."""


def _unique_mapping(loader: PlainLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool | None):
            raise yaml.constructor.ConstructorError(None, None, "a key is no plain value", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


PlainLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def _plain_number(loader: PlainLoader, node: yaml.ScalarNode) -> int | float:
    """YAML 1.1 takes 0777 for 511 and 1:30 for 90: nobody who writes a setting means that."""
    text = str(node.value)
    if ":" in text or (text.lstrip("+-")[:1] == "0" and text.lstrip("+-")[1:2].isdigit() and "." not in text):
        raise yaml.constructor.ConstructorError(
            None, None, f"{text} would be taken for another number; write it in plain digits", node.start_mark
        )
    whole = node.tag.endswith(":int")
    return loader.construct_yaml_int(node) if whole else loader.construct_yaml_float(node)


for _tag in ("int", "float"):
    PlainLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _plain_number)


def read_mapping(path: Path, *, quiet: bool = False) -> dict[str, Any]:
    """A YAML or JSON file (by its suffix) as a mapping; an empty file is an empty one.

    ``quiet`` keeps the parser's own words, which can quote the file, out of errors.  Raises ``ConfigError``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", expected="a YAML or JSON file", do="check the path") from error
    except OSError as error:
        raise ConfigError(
            f"configuration file {path} cannot be read: {error.strerror}",
            expected="a YAML or JSON file",
            do="check the path",
        ) from error
    try:
        if path.suffix.lower() == ".json":
            value = json.loads(text or "{}", object_pairs_hook=_unique_pairs)
        else:
            value = yaml.load(text, Loader=PlainLoader)  # a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        what = "" if quiet else f": {error.problem}"
        raise ConfigError(f"{path} is not valid YAML{where}{what}", do="correct that line") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = "" if quiet else f": {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise ConfigError(
            f"{path} cannot be parsed{what}", expected="YAML, or JSON in a .json file", do="correct it"
        ) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds a {_kind_of(value)}", expected="keys with values", do="correct the file")
    return value


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is given twice")
        found[key] = value
    return found


class Layers:
    """The merged raw values (``values``) and where each came from (``sources``, by dotted key)."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def add_mapping(self, raw: Mapping[str, Any], source: str) -> None:
        """Lay a nested mapping over what is there.  Raises ``ConfigError`` for a key that does not exist."""
        self._merge(self.values, raw, Settings, "", source)

    def add_env(self, env: Mapping[str, str]) -> None:
        """``KESTREL_VENUE__FEED=live`` and the like, in the order of their names."""
        for name in sorted(env):
            if name.startswith(PREFIX) and name not in RESERVED and not name.startswith(SECRETS):
                parts = name.removeprefix(PREFIX).split("__")
                value = _parse_text(env[name], typed="PARAMS" in parts)
                self.set(parts, value, f"env {name}", lower=True)

    def add_overrides(self, overrides: Mapping[str, Any], source: str = "command line") -> None:
        """Dotted keys (``venue.feed``, ``strategies.0.params.buy``); None empties a key, as in a file."""
        for key, value in overrides.items():
            self.set(key.split("."), value, source)

    def set(self, parts: list[str], value: Any, source: str, *, lower: bool = False) -> None:
        """Set one key.  ``lower`` (variables) lower-cases names of fields; keys of free maps are taken as written."""
        section: type[Section] = Settings
        target = self.values
        trail: list[str] = []
        for position, written in enumerate(parts):
            name = written.lower() if lower else written
            trail.append(name)
            key = ".".join(trail)
            if name not in section.model_fields:
                raise unknown_key(key, section, source)
            inner = _section_of(section, name)
            rest = parts[position + 1 :]
            if inner is None:
                if rest:
                    rest = [part.lower() for part in rest] if lower and name in LISTS else rest
                    # From the default: one key set by a variable must not erase the others.
                    value = _set_inside(target.get(name, section.model_fields[name].default), rest, value, key, source)
                else:
                    value = _split_list(section, name, value)
                self._merge(target, {name: value}, section, ".".join(trail[:-1]), source)
                return
            if not rest:
                self._merge(target, {name: value}, section, ".".join(trail[:-1]), source)
                return
            section = inner
            target = target.setdefault(name, {})

    def source_of(self, key: str) -> str:
        """Where ``key``, what is in it, or the nearest key above it was set; ``default`` when nowhere."""
        below = dict.fromkeys(self.sources[k] for k in self.sources if k.startswith(key + "."))
        if below and key not in self.sources:
            return " and ".join(below)
        while key and key not in self.sources:  # what was set beside it says nothing of it
            key = key.rpartition(".")[0]
        return self.sources.get(key, "default")

    def _merge(
        self, target: dict[str, Any], raw: Mapping[str, Any], section: type[Section], at: str, source: str
    ) -> None:
        for key, value in raw.items():
            path = f"{at}.{key}" if at else str(key)
            if key not in section.model_fields:
                raise unknown_key(path, section, source)
            inner = _section_of(section, key)
            if inner is None:
                if path in LISTS:
                    _check_items(value, path, source)
                target[key] = value
                self._note(path, source)
                continue
            if value is None:  # a section whose lines are all commented out
                continue
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"{source}: {path} is a {_kind_of(value)}",
                    expected="the keys " + ", ".join(inner.model_fields),
                    do="indent them under it",
                )
            self._merge(target.setdefault(key, {}), value, inner, path, source)

    def _note(self, key: str, source: str) -> None:
        for other in [known for known in self.sources if known.startswith(key + ".")]:
            del self.sources[other]
        self.sources[key] = source


def _set_inside(value: Any, parts: list[str], new: Any, at: str, source: str) -> Any:
    """A copy of a list or free map with one entry changed; a map gets new keys, a list does not get longer."""
    name, rest = parts[0], parts[1:]
    if isinstance(value, list):
        if not (name.isascii() and name.isdigit()) or int(name) >= len(value):
            raise ConfigError(
                f"{source}: {at}.{name} does not exist",
                expected=f"one of its {len(value)} items, from 0",
                do="correct it",
            )
        items = list(value)
        items[int(name)] = _set_inside(items[int(name)], rest, new, f"{at}.{name}", source) if rest else new
        return items
    if value is None or isinstance(value, Mapping):
        entries = dict(value or {})
        entries[name] = _set_inside(entries.get(name), rest, new, f"{at}.{name}", source) if rest else new
        return entries
    raise ConfigError(f"{source}: {at} has no keys of its own", expected=f"{at} itself", do="correct the name")


def unknown_key(path: str, section: type[Section], source: str) -> ConfigError:
    """The error for a key that does not exist: names the nearest valid one, beside it or anywhere."""
    above, _, key = path.rpartition(".")
    if is_sensitive(key) and not difflib.get_close_matches(key, section.model_fields, n=1, cutoff=0.8):
        return ConfigError(
            f"{source}: unknown key {path!r}",
            expected="no secret in a configuration",
            do="use a variable KESTREL_SECRET_..., a file named by secrets.file, or the keyring",
        )
    elsewhere = [leaf for leaf in all_keys() if leaf.rpartition(".")[2] == key]
    beside = difflib.get_close_matches(key, section.model_fields, n=1, cutoff=0.6)
    if elsewhere:
        near = "' or '".join(elsewhere)
    elif beside:
        near = f"{above}.{beside[0]}" if above else beside[0]
    else:
        leaves = {leaf.rpartition(".")[2]: leaf for leaf in reversed(list(all_keys()))}
        close = difflib.get_close_matches(key, leaves, n=1, cutoff=0.75)
        near = leaves[close[0]] if close else ""
    expected = f"'{near}'" if near else "one of " + ", ".join(section.model_fields)
    return ConfigError(f"{source}: unknown key {path!r}", expected=expected, do="correct the name")


def all_keys(section: type[Section] = Settings, at: str = "") -> Iterator[str]:
    """Every dotted key that is no section, in order."""
    for name in section.model_fields:
        path = f"{at}.{name}" if at else name
        inner = _section_of(section, name)
        if inner is None:
            yield path
        else:
            yield from all_keys(inner, path)


def _section_of(section: type[Section], name: str) -> type[Section] | None:
    kind = section.model_fields[name].annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _check_items(value: Any, path: str, source: str) -> None:
    """Unknown keys inside a list of sections; its type is reported with all other types."""
    section = LISTS[path]
    for number, item in enumerate(value if isinstance(value, list) else ()):
        for key in item if isinstance(item, Mapping) else ():
            if key not in section.model_fields:
                raise unknown_key(f"{path}.{number}.{key}", section, source)


def _split_list(section: type[Section], name: str, value: Any) -> Any:
    """``BTC/USD,ETH/USD`` for a list of texts, as one writes it in a variable."""
    kind = section.model_fields[name].annotation
    lists = [part for part in (kind, *get_args(kind)) if getattr(part, "__origin__", None) is list]
    if not isinstance(value, str) or not lists or value == "all":
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _parse_text(text: str, *, typed: bool) -> Any:
    """A variable's value: JSON where it is a list, a map or null, else the text itself, which its key will type.

    A strategy's parameters (``typed``) have no type that we know of: whatever reads as JSON is taken as such.
    """
    if typed or text.strip().startswith(("[", "{")) or text == "null":
        try:
            return json.loads(text, object_pairs_hook=_unique_pairs)
        except ValueError:
            return text
    return text


def _kind_of(value: Any) -> str:
    kinds = {dict: "map", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return kinds.get(type(value), type(value).__name__)
