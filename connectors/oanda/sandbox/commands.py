"""The command ``sandbox oanda``."""

from __future__ import annotations

import decimal
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from connectors.local.options import Port, Seed, Speed, Tls
from engine.errors import ConfigError


def sandbox_oanda(
    port: Port = 0,
    seed: Seed = 1,
    speed: Speed = 1.0,
    history: Annotated[int, typer.Option(help="days of candles made before the start")] = 5,
    token_file: Annotated[
        Path | None, typer.Option("--key-file", "--token-file", help="token to accept; made when it does not exist")
    ] = None,
    instrument: Annotated[list[str] | None, typer.Option(help="EUR_USD; several allowed")] = None,
    balance: Annotated[str, typer.Option(help="of the account, in its currency")] = "100000",
    currency: Annotated[str, typer.Option(help="of the account")] = "USD",
    hedging: Annotated[bool, typer.Option("--hedging", help="long and short trades side by side")] = False,
    rate: Annotated[float, typer.Option(help="orders and cancels of each market, per second")] = 25.0,
    hours: Annotated[str, typer.Option(help="always, or venue: closed at weekends")] = "always",
    limits: Annotated[bool, typer.Option("--limits", help="refuse (429) what the venue's rate limits forbid")] = False,
    tls: Tls = None,
) -> None:
    """An OANDA v20 server on this machine, with a synthetic market."""
    from connectors.oanda.sandbox.server import run as serve
    from connectors.oanda.sandbox.settings import AccountSettings, RateLimits, SandboxSettings, instruments_named

    try:
        amount = Decimal(balance)
    except decimal.InvalidOperation:
        raise ConfigError(f"--balance {balance}", expected="an amount, such as 100000") from None
    defaults = SandboxSettings()
    settings = SandboxSettings(
        port=port,
        seed=seed,
        speed=speed,
        rate_per_s=rate,
        history_days=history,
        token_file=token_file if token_file is not None else Path("var/sandbox/oanda_token.txt"),
        instruments=instruments_named(instrument) if instrument else defaults.instruments,
        accounts=(AccountSettings(currency=currency.upper(), balance=amount, hedging=hedging, fifo=not hedging),),
        hours=hours,
        tls_folder=tls,
        rate_limits=RateLimits() if limits else None,
    )
    raise typer.Exit(serve(settings))
