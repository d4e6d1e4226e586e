"""The command ``sandbox robin_stocks``."""

from __future__ import annotations

import decimal
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from connectors.local.options import Port, Seed, Speed, Tls
from engine.errors import ConfigError


def sandbox_robin_stocks(
    port: Port = 0,
    seed: Seed = 1,
    speed: Speed = 1.0,
    rate: Annotated[float, typer.Option(help="market events a second, of each stock")] = 10.0,
    key_file: Annotated[Path | None, typer.Option(help="name and password to accept; made when absent")] = None,
    stock: Annotated[list[str] | None, typer.Option(help="AAPL; several allowed")] = None,
    cash: Annotated[str, typer.Option(help="of the account, USD")] = "100000",
    hours: Annotated[str, typer.Option(help="always, or venue: the hours of New York")] = "always",
    limit: Annotated[int, typer.Option(help="requests a minute; 0: as many as come")] = 0,
    tls: Tls = None,
) -> None:
    """Robinhood's private stock API on this machine, as the client robin_stocks speaks it, with a synthetic market."""
    from connectors.robin_stocks.sandbox.server import run as serve
    from connectors.robin_stocks.sandbox.settings import AccountSettings, SandboxSettings, stocks_named

    try:
        amount = Decimal(cash)
    except decimal.InvalidOperation:
        raise ConfigError(f"--cash {cash}", expected="an amount, such as 100000") from None
    defaults = SandboxSettings()
    settings = SandboxSettings(
        port=port,
        seed=seed,
        speed=speed,
        rate_per_s=rate,
        stocks=stocks_named(stock) if stock else defaults.stocks,
        accounts=(AccountSettings(cash=amount),),
        hours=hours,
        requests_per_min=limit,
        tls_folder=tls,
    )
    raise typer.Exit(serve(settings, key_file if key_file is not None else Path("var/sandbox/robin_stocks_login.json")))
