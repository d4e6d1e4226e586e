"""From configuration to a strategy: a built-in by kind, a user's own by path.

Owns the names of the built-in kinds, the loading of a user's file and the checking of parameters.  A user's file runs
as part of the daemon, with all its rights; whatever goes wrong in it at load is a ``ConfigError`` of one line.
"""

from __future__ import annotations

import difflib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import msgspec

from engine.errors import ConfigError
from engine.ports import Strategy
from strategies.base import NoParams
from strategies.ema_cross import EmaCrossStrategy
from strategies.threshold import ThresholdStrategy

KINDS: dict[str, type[Any]] = {"ema_cross": EmaCrossStrategy, "threshold": ThresholdStrategy}

METHODS = ("on_model", "on_prediction", "on_row", "on_quote", "on_fill", "on_timer", "state", "restore")


def load_strategy(kind_or_path: str, name: str, instruments: Sequence[str], params: Mapping[str, Any]) -> Strategy:
    """A strategy ready to be called.

    ``kind_or_path`` is ``threshold``, ``ema_cross`` or ``folder/file.py:Class``; the class is called with ``name``,
    ``instruments`` and an instance of its ``Params`` (a ``msgspec.Struct``) made from ``params``.

    Raises ``ConfigError``: unknown kind, file or class, a file that fails, a parameter that is unknown or wrong.
    """
    found = KINDS.get(kind_or_path)
    if found is None:
        found = _load_class(kind_or_path)
    values = read_params(found, name, params)
    try:
        strategy = found(name, instruments, values)
    except Exception as error:
        raise ConfigError(f"strategy {name} cannot be made: {_brief(error)}", do=f"correct {kind_or_path}") from None
    missing = [method for method in METHODS if not callable(getattr(strategy, method, None))]
    if missing or getattr(strategy, "name", None) != name:
        raise ConfigError(
            f"strategy {name} from {kind_or_path} lacks {', '.join(missing) or 'its name'}",
            expected="a strategies.base.BaseStrategy",
            do="derive it from that class",
        )
    return cast(Strategy, strategy)


def twin_of(strategy: Strategy, name: str, *, instruments: Sequence[str], params: Mapping[str, Any]) -> Strategy:
    """Another one of the same class, as it was loaded, under another name.  Raises what the class raises."""
    found: type[Any] = type(strategy)
    return cast(Strategy, found(name, instruments, read_params(found, name, params)))


def read_params(strategy: type[Any], name: str, params: Mapping[str, Any]) -> msgspec.Struct:
    """The class's ``Params`` from plain values.  Raises ``ConfigError`` naming the nearest valid parameter."""
    struct = getattr(strategy, "Params", NoParams)
    if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
        raise ConfigError(f"{strategy.__name__}.Params is {struct!r}", expected="a subclass of msgspec.Struct")
    known = struct.__struct_fields__
    for key in params:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise ConfigError(
                f"strategy {name}: parameter {key!r} is unknown",
                expected=f"{near[0]!r}" if near else "one of " + (", ".join(known) or "none at all"),
                do=f"correct it under the params of {name}",
            )
    try:
        return msgspec.convert(dict(params), struct, strict=False)
    except msgspec.ValidationError as error:
        seen, expected = _in_words(str(error), params)
        raise ConfigError(
            f"strategy {name}: {seen}", expected=expected, do=f"correct it under params of {name}"
        ) from None


_PLACE = re.compile(r"(?P<what>.*) - at `\$\.(?P<path>(?P<key>\w+)[^`]*)`", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(?P<kinds>[^`]+)`(?P<bound> [<>=].*)?(, got `.*`)?")
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
    "object": "keys with values",
    "null": "nothing",
}
_BOUNDS = {">=": "of at least", "<=": "of at most", ">": "above", "<": "below"}
_SECRET = re.compile(r"secret|token|passw|credential|key", re.IGNORECASE)


def _in_words(text: str, params: Mapping[str, Any]) -> tuple[str, str]:
    """What was seen and what was expected, from the decoder's ``Expected `int`, got `str` - at `$.window` ``.

    What a class itself says of its parameters is in its own words and stays.
    """
    place = _PLACE.fullmatch(text)
    if place is None or place["key"] not in params:
        return text, ""
    value = "a value that is not shown" if _SECRET.search(place["path"]) else _short(repr(params[place["key"]]))
    inside = f", wrong at {place['path']}" if place["path"] != place["key"] else ""
    seen = f"parameter {place['key']} is {value}{inside}"
    expected = _EXPECTED.fullmatch(place["what"])
    if expected is None:
        return f"{seen} ({place['what'][:1].lower()}{place['what'][1:]})", ""
    kinds = " or ".join(_KINDS.get(kind, kind) for kind in expected["kinds"].split(" | "))
    sign, _, bound = (expected["bound"] or "").strip().partition(" ")
    return seen, f"{kinds} {_BOUNDS.get(sign, sign)} {bound}".rstrip()


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _load_class(kind_or_path: str) -> type[Any]:
    file_name, colon, class_name = kind_or_path.rpartition(":")
    if not colon or not file_name.endswith(".py"):
        near = difflib.get_close_matches(kind_or_path, KINDS, n=1)
        raise ConfigError(
            f"strategy {kind_or_path!r} is unknown",
            expected=f"{near[0]!r}" if near else f"{', '.join(KINDS)} or a path folder/file.py:Class",
            do="correct the strategy's kind or path",
        )
    path = Path(file_name).expanduser()
    if not path.is_file():
        raise ConfigError(f"strategy file {file_name} is missing", expected="a Python file", do="correct the path")
    module = _run_file(path, file_name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        names = [key for key, value in vars(module).items() if isinstance(value, type) and hasattr(value, "on_row")]
        own = [key for key in names if vars(module)[key].__module__ == module.__name__]
        raise ConfigError(
            f"{file_name} has no class {class_name!r}",
            expected=f"one of {', '.join(own)}" if own else "a class derived from strategies.base.BaseStrategy",
            do=f"write {file_name}:Class",
        )
    return found


def _run_file(path: Path, shown: str) -> ModuleType:
    # A name of its own for each file: two files strategy.py in different folders must not be one module.
    module_name = "kestrel_user_" + "_".join(path.resolve().with_suffix("").parts[1:])
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"strategy file {shown} cannot be read", expected="a Python file", do="correct the path")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # annotations of its structs are resolved through here
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise ConfigError(
            f"strategy file {shown} fails{_line_of(error, path)}: {_brief(error)}",
            expected="a file that imports",
            do="correct it",
        ) from None
    return module


def _line_of(error: BaseException, path: Path) -> str:
    """Where in the user's file, for a one-line message."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f" at line {error.lineno}"
    line, trace = 0, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" at line {line}" if line else ""


def _brief(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}".replace("\n", " ")
    return text if len(text) <= 200 else text[:197] + "..."
