"""The commands ``config show`` and ``config init``, and the option ``--set`` of all commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from engine.cli import ConfigOption, JsonFlag, SetOption, print_json
from engine.errors import ConfigError

app = typer.Typer(help="Where each setting comes from; a starter file.", no_args_is_help=True)


@app.command("show")
def config_show(config: ConfigOption = None, assign: SetOption = None, as_json: JsonFlag = False) -> None:
    """Every setting, its value, and where it comes from."""
    from config.load import explain, load

    rows = explain(load(config or (), overrides=parse_overrides(assign)))
    for row in rows:
        print(f"{row.key:<38} {row.value:<44} {row.source}")
    if as_json:
        print_json({"settings": [row._asdict() for row in rows]})


@app.command("init")
def config_init(path: Annotated[Path, typer.Argument()] = Path("kestrel.yaml")) -> None:
    """Write a commented starter file."""
    from config.starter import init

    print(f"wrote {init(path)}")


def parse_overrides(assign: Sequence[str] | None) -> dict[str, Any]:
    """``--set KEY=VALUE``: the value is YAML, so numbers, lists and true are what they look like."""
    made: dict[str, Any] = {}
    for text in assign or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {text}", expected="KEY=VALUE, such as sandbox.seed=3")
        try:
            made[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {key}: the value is no YAML", expected="a number, a word, [a, list]") from None
    return made
