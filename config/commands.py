"""The commands ``config show``, ``config init`` and ``config approve``, and the option ``--set`` of all commands."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml

from engine.cli import ConfigOption, JsonFlag, SetOption, print_json
from engine.errors import ConfigError

if TYPE_CHECKING:
    from config.schema import Settings

VenueOption = Annotated[
    str | None,
    typer.Option(help="coinbase, oanda, robinhood, robin_stocks, binance_spot, binance_usdm or ccxt:EXCHANGE"),
]
"""The option ``--venue`` of commands that open a session."""

app = typer.Typer(help="Where each setting comes from; a starter file; what may trade.", no_args_is_help=True)


@app.command("show")
def config_show(config: ConfigOption = None, assign: SetOption = None, as_json: JsonFlag = False) -> None:
    """Every setting, its value, and where it comes from."""
    from config.load import explain, load, session_limits
    from config.preflight import warn_of_unmatched
    from config.venue_registry import kind_of

    settings = load(config or (), overrides=parse_overrides(assign))
    rows = explain(settings)
    for row in rows:
        print(f"{row.key:<38} {row.value:<44} {row.source}")
    if settings.venue.feed != "replay":  # there the files say what is traded
        with contextlib.suppress(ConfigError):  # what is shown may be incomplete: a start says that
            ids = [one.id for one in kind_of(settings).foresee(settings)]
            warn_of_unmatched(settings, session_limits(settings, ids, live=False), ids)
    if as_json:
        print_json({"settings": [row._asdict() for row in rows]})


@app.command("init")
def config_init(path: Annotated[Path, typer.Argument()] = Path("kestrel.yaml")) -> None:
    """Write a commented starter file."""
    from config.starter import init

    print(f"wrote {init(path)}")


def register(approve: Callable[[Settings, str], dict[str, Any]]) -> None:
    """Put ``config approve`` on ``app``; what is approved is the runtime's to say: ``run.py`` gives it."""

    @app.command("approve")
    def config_approve(
        config: ConfigOption = None,
        assign: SetOption = None,
        reason: Annotated[str, typer.Option(help="why, for the record")] = "",
        as_json: JsonFlag = False,
    ) -> None:
        """Write session.approved: from now on only this build with this configuration trades."""
        from config.load import load

        settings = load(config or (), overrides=parse_overrides(assign))
        if settings.session.approved is None:
            raise ConfigError(
                "session.approved is empty",
                expected="the file to write, which the session then asks for",
                do="set it in your configuration",
            )
        made = approve(settings, reason)
        print(f"wrote {settings.session.approved}: approved {made['at']} by {made['by']}")
        if as_json:
            print_json(made)


def parse_overrides(assign: Sequence[str] | None) -> dict[str, Any]:
    """``--set KEY=VALUE``: the value is YAML, so numbers, lists and true are what they look like."""
    if not assign:
        return {}
    from config.layers import PlainLoader

    made: dict[str, Any] = {}
    for text in assign:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {text}", expected="KEY=VALUE, such as sandbox.seed=3")
        try:
            made[key] = yaml.load(value, Loader=PlainLoader)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ConfigError(f"--set {key}: the value is no YAML", expected="a number, a word, [a, list]") from None
    return made


def parse_speed(text: str) -> float | Literal["max"]:
    """``--speed`` of recorded files.  Raises ``ConfigError``."""
    if text == "max":
        return "max"
    with contextlib.suppress(ValueError):
        if 0 < (factor := float(text)) < float("inf"):
            return factor
    raise ConfigError(f"--speed {text}", expected="a positive number or max")
