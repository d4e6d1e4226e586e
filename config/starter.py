"""The commented file that ``config init`` writes: every key at its default, with what it means.

Owns its text, which is made from the schema, so that it cannot fall behind it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo

from config.layers import LISTS
from config.schema import Settings
from config.sections import Section
from engine.errors import ConfigError

_HEAD: Final = """\
# Settings of Kestrel.  Take the "#" off a line to set it; what is left out keeps the profile's value or the default.
# Environment variables go over this file: KESTREL_VENUE__FEED=live is the key feed under venue.
# No secrets here: see the section secrets.
"""


_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "strategies": {"name": "demo", "kind": "threshold"},
    "mixtures": {"name": "both", "members": ["first", "second"]},
    "consolidated": {"instrument": "BTC/USD", "members": ["BTC/USD@coinbase", "BTC/USD@other"]},
}
"""One item of each list of sections."""


def init(path: Path | str) -> Path:
    """Write a starter file.  Raises ``ConfigError`` when something is there already: nothing is overwritten."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(starter_text())
    except FileExistsError:
        raise ConfigError(f"{path} exists already", expected="a new file", do="choose another name") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", do="choose another place") from None
    return path


def starter_text() -> str:
    """The starter file.  Without its ``# `` before keys it sets every key to its default."""
    return "\n".join([_HEAD, *_section_lines(Settings, 0)]) + "\n"


def _section_lines(section: type[Section], depth: int) -> list[str]:
    lines = []
    indent = "  " * depth
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            lines += ["", f"{indent}{name}:"] if depth == 0 else [f"{indent}{name}:"]
            lines += _section_lines(kind, depth + 1)
        elif name in LISTS:
            lines += ["", f"#{name}:  # {field.description}", *_item_lines(LISTS[name], _EXAMPLES[name])]
        else:
            lines.append(f"{indent}#{name}: {_yaml(_default(field))}  # {field.description}")
    return lines


def _item_lines(section: type[Section], example: dict[str, Any]) -> list[str]:
    lines = []
    for number, (name, field) in enumerate(section.model_fields.items()):
        value = example.get(name, None if field.is_required() else _default(field))
        lines.append(f"#{'  - ' if number == 0 else '    '}{name}: {_yaml(value)}  # {field.description}")
    return lines


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


def _yaml(value: Any) -> str:
    """JSON, which is YAML; Decimals and paths as what they read back to."""
    text = json.dumps(value, default=str)
    return text.strip('"') if isinstance(value, str | Path) and text.strip('"').replace("/", "").isalnum() else text
