"""The command ``venue capabilities``: what an exchange can do through the ccxt library, before anybody trades there.

Owns how it is shown; what is read and which of it is used is ``connectors.ccxt_venue.capabilities``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli import JsonFlag, print_json
from engine.errors import ConfigError

if TYPE_CHECKING:
    from connectors.ccxt_venue.capabilities import Needs

app = typer.Typer(help="What venues can do.", no_args_is_help=True)


@app.callback()
def venue() -> None:
    """What venues can do."""


@app.command()
def capabilities(
    exchange: Annotated[str, typer.Argument(help="id of an exchange, such as ccxt:kraken; none: all of them")] = "",
    as_json: JsonFlag = False,
) -> None:
    """What the ccxt library has of an exchange, and the way that is used for each need.  Asks nobody."""
    from connectors.ccxt_venue.library import class_of, names

    name = exchange.removeprefix("ccxt:").removeprefix("ccxt_")
    if exchange and not name:
        raise ConfigError(f"exchange {exchange!r}", expected="an id, such as ccxt:kraken")
    found = [_needs(each, class_of(each)) for each in ([name] if name else names())]
    if name:
        _show_one(found[0])
    else:
        _show_all(found)
    if as_json:
        print_json({"exchanges": [_plain(needs) for needs in found]})


def _needs(exchange: str, made: Any) -> Needs:
    from connectors.ccxt_venue.capabilities import needs_of

    return needs_of(exchange, made().has)


def _plain(needs: Needs) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(needs), "can_trade": needs.can_trade}


def _show_one(needs: Needs) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{needs.exchange}, through ccxt")
    for name in ("need", "way", "remark"):
        table.add_column(name)
    for row in needs.rows():
        table.add_row(*row)
    Console().print(table)


def _show_all(found: list[Needs]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(found)} exchanges, through ccxt")
    for name in ("exchange", "best prices", "public trades", "news of own orders", "order entry"):
        table.add_column(name)
    for needs in found:
        verdict = "yes" if needs.can_trade else f"no: lacks {', '.join(needs.missing)}"
        table.add_row(
            needs.exchange, needs.quotes or "-", needs.trades or "-", " ".join(needs.order_hints) or "-", verdict
        )
    Console().print(table)
