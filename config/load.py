"""From files, environment and command line to one checked ``Settings``.

Order, later over earlier: defaults of the schema, the profile's file, the given files, ``KESTREL_...`` variables, the
command line.  The profile is the last one named by any of them.  Owns the order and the words of type errors; reading
and merging is ``config.layers``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from config.layers import FREE_MAPS, LISTS, PREFIX, Layers, all_keys, read_mapping
from config.schema import PROFILES, Settings, is_sensitive, redact
from config.sections import CURRENCY_PATTERN, SYMBOL_PATTERN
from engine.errors import ConfigError
from risk.limits import DECIDED, Limits, parse_limits

FILE_VARIABLE: Final = "CONFIG_FILE"


_WORDS: Final = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid decimal": "a number",
    "a valid boolean": "true or false",
    "a valid string": "text",
    "a valid list": "a list",
    "a valid dictionary": "keys with values",
    "Decimal input should be an integer, float, string": "a number",
    "Input is not a valid path": "the name of a file",
    "a finite number": "a finite number",
    "Field required": "a value",
    "input was not a valid JSON value": "text, numbers, lists and keys with values",
}
_LENGTHS: Final = {
    "too_short": ("least", "min_length"),
    "too_long": ("most", "max_length"),
    "string_too_short": ("least", "min_length"),
    "string_too_long": ("most", "max_length"),
}


class Row(NamedTuple):
    """One line of ``config show``."""

    key: str
    value: str
    source: str


def load(
    files: Sequence[Path | str] = (),
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    default_profile: str = "paper",
) -> Settings:
    """The settings of a run.  ``env`` is ``os.environ`` when None; ``overrides`` maps dotted keys, None is "not given".

    Without ``files`` the variable ``CONFIG_FILE`` names one.  Raises ``ConfigError`` that names source and key.
    """
    env = os.environ if env is None else env
    overrides = overrides or {}
    if not files and env.get(FILE_VARIABLE):
        files = [env[FILE_VARIABLE]]
    raw = []
    digests: dict[str, str] = {}
    for path in map(Path, files):
        # Before it is read: a file that is written meanwhile shows as changed, rather than as what was read.
        digests |= _digest(path)
        raw.append((path, read_mapping(path)))
    layers = Layers()
    profile = _profile(raw, env, overrides, default_profile)
    digests |= _digest(profile_path(profile))
    layers.add_mapping(read_mapping(profile_path(profile)), f"profile {profile}")
    for path, mapping in raw:
        layers.add_mapping(mapping, _label(path))
    layers.add_env(env)
    layers.add_overrides(overrides)
    layers.values["profile"] = profile
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        raise _type_error(error, layers) from None
    settings.sources.update({key: layers.source_of(key) for key in all_keys()})
    settings.files.update(digests)
    return settings


def _digest(path: Path) -> dict[str, str]:
    """sha256 (hex) by absolute path, of a regular file: a pipe is read once only, by its reader."""
    try:
        return {str(path.absolute()): hashlib.sha256(path.read_bytes()).hexdigest()} if path.is_file() else {}
    except OSError:
        return {}  # its reader says so


def restore(recorded: Mapping[str, Any], overrides: Mapping[str, Any]) -> Settings:
    """The settings of a recorded session (``Settings.redacted``), with ``overrides`` to ask "what if".

    Nothing of today's files or environment takes part.  Raises ``ConfigError`` when they are of another release.
    """
    layers = Layers()
    layers.add_mapping(recorded, "session")
    models = recorded.get("models", {})
    if "breaker" not in models:
        # A release that knew none recorded it: however often predictions were late, they went on being asked for.
        layers.add_mapping({"models": {"breaker": {"failures_max": 0}}}, "session")
    if "same_answers_max" not in models:
        # Likewise: however often an answer was the same, it was one.
        layers.add_mapping({"models": {"same_answers_max": 0}}, "session")
    layers.add_overrides(overrides)
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        raise _type_error(error, layers) from None
    # What a live session was told in so many words, it was told: the limits are those that it traded by.
    settings.sources.update({key: layers.source_of(key) for key in all_keys()})
    return settings


def explain(settings: Settings) -> list[Row]:
    """Every key with its value (JSON, secrets blotted out) and where it was set."""
    plain = settings.redacted()
    rows = []
    for key in all_keys():
        value: Any = plain
        for part in key.split("."):
            value = value[part]
        rows.append(Row(key, json.dumps(value), settings.sources.get(key, "default")))
    return rows


def session_limits(settings: Settings, instruments: Sequence[str], *, live: bool) -> Limits:
    """The risk limits of a session that trades ``instruments`` (ids).

    ``allowed_instruments: all`` becomes these ids on paper and is refused live: with real money, what may be traded is
    written down.  Limits of a shipped profile do not count live.  Raises ``ConfigError`` for a limit that is missing.
    """
    values = settings.risk.model_dump()
    if live:
        # The limits of a profile that ships were chosen for play money; they do not count as anybody's decision.
        for name in values:
            if settings.sources.get(f"risk.{name}", "").startswith("profile "):
                values[name] = None
        undecided = [name for name in DECIDED if not is_own(settings, f"risk.{name}")]
    if values["allowed_instruments"] == "all":
        if live:
            raise ConfigError(
                "risk.allowed_instruments is 'all'", expected="a list of ids to trade live", do="name them in your file"
            )
        values["allowed_instruments"] = tuple(instruments)
    if values["references"] is None and values["reference_collar_bps"] is not None:
        values["references"] = {
            member: one.definition().instrument for one in settings.consolidated for member in one.members
        }
    limits = parse_limits(values)
    if live and undecided:
        raise ConfigError(
            f"risk.{undecided[0]} is not decided",
            expected="each control to be set, or emptied (null) where it is not to be used",
            do="add under risk in your file: " + ", ".join(undecided),
        )
    return limits


def is_own(settings: Settings, key: str) -> bool:
    """Set by the user, be it to nothing: neither left out nor taken from a profile that ships."""
    sources = [source for known, source in settings.sources.items() if known == key or known.startswith(f"{key}.")]
    return any(source != "default" and not source.startswith("profile ") for source in sources)


def profile_path(name: str) -> Path:
    return Path(__file__).parent / f"{name}.yaml"


def _label(path: Path) -> str:
    shipped = {profile_path(name).resolve(): name for name in PROFILES}
    name = shipped.get(path.resolve())
    return f"profile {name}" if name else str(path)


def _profile(
    raw: Sequence[tuple[Path, dict[str, Any]]], env: Mapping[str, str], overrides: Mapping[str, Any], default: str
) -> str:
    named = [(default, "default")]
    named += [(mapping["profile"], str(path)) for path, mapping in raw if mapping.get("profile") is not None]
    if env.get(f"{PREFIX}PROFILE"):
        named.append((env[f"{PREFIX}PROFILE"], f"env {PREFIX}PROFILE"))
    if overrides.get("profile") is not None:
        named.append((overrides["profile"], "command line"))
    name, source = named[-1]
    if name not in PROFILES:
        raise ConfigError(f"{source}: profile is {shown(name)}", expected=" or ".join(PROFILES), do="correct it")
    return str(name)


def _type_error(error: ValidationError, layers: Layers) -> ConfigError:
    """pydantic's first complaint in our words: where it was set, what was seen, what is expected."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key, leaf = _dotted(first["loc"])
    same = [problem for problem in problems if _dotted(problem["loc"])[0] == key]
    # A union reports once for each member: what is expected is any of them.
    expected = " or ".join(dict.fromkeys(_expected(problem) for problem in same))
    more = len({_dotted(problem["loc"])[0] for problem in problems}) - 1
    seen = "missing" if first["type"] == "missing" else shown(first["input"], key)
    if first["type"] == "value_error" and isinstance(first["input"], dict):
        seen = "not consistent"
    return ConfigError(
        f"{layers.source_of(leaf)}: {key or 'the configuration'} is {seen}",
        expected=expected,
        do="correct it" + (f" (and {more} more)" if more else ""),
    )


def _dotted(loc: tuple[int | str, ...]) -> tuple[str, str]:
    """pydantic's location as (our key, the key by which sources are known).

    It goes on below a key with indices, with keys of free maps and with names of union members; the last are dropped.
    """
    known = set(all_keys())
    leaf = ""
    for position, part in enumerate(loc):
        leaf = f"{leaf}.{part}" if leaf else str(part)
        if leaf in known:
            rest = loc[position + 1 :]
            break
    else:
        return leaf, leaf
    if leaf in LISTS:
        named = list(rest[:2])
    else:
        named = [part for part in rest[:1] if isinstance(part, int) or leaf in FREE_MAPS]
    return ".".join([leaf, *map(str, named)]), leaf


def _expected(problem: Any) -> str:
    text = str(problem["msg"])
    for prefix in ("Input should be ", "Value error, "):
        text = text.removeprefix(prefix)
    if problem["type"] == "string_pattern_mismatch":
        pattern = problem["ctx"]["pattern"]
        text = {
            SYMBOL_PATTERN: "a symbol such as BTC/USD",
            CURRENCY_PATTERN: "a currency such as USD",
        }.get(pattern, f"text that matches {pattern}")
    if problem["type"] in _LENGTHS:
        word, bound = _LENGTHS[problem["type"]]
        length, part = problem["ctx"][bound], "character" if "string" in problem["type"] else "item"
        return f"at {word} {length} {part}{'' if length == 1 else 's'}"
    for theirs, ours in _WORDS.items():
        if text.startswith(theirs):
            return ours
    return text


def shown(value: Any, key: str = "") -> str:
    """A value as an error may show it: short, and never a secret."""
    if is_sensitive(key):
        return "a value that is not shown"
    text = repr(redact(value))
    return text if len(text) <= 80 else text[:77] + "..."
