"""The command ``sandbox robinhood``."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError


def sandbox_robinhood(
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 0,
    seed: Annotated[int, typer.Option(help="of the synthetic market")] = 1,
    speed: Annotated[float, typer.Option(help="market seconds per second")] = 1.0,
    rate: Annotated[float | None, typer.Option(help="orders and cancels of each pair per second")] = None,
    history: Annotated[float, typer.Option(help="seconds of market made before the start")] = 20.0,
    key_file: Annotated[Path | None, typer.Option(help="API key to accept; made when it does not exist")] = None,
    pair: Annotated[list[str] | None, typer.Option(help="BTC-USD; several allowed")] = None,
    balance: Annotated[list[str] | None, typer.Option(help="USD=100000; several allowed")] = None,
    limits: Annotated[bool, typer.Option(help="refuse (429) what the venue's rate limit forbids")] = True,
    tls: Annotated[Path | None, typer.Option(help="speak TLS; folder of the certificates, made when absent")] = None,
) -> None:
    """A Robinhood crypto server (official API, v1 and v2) on this machine, with a synthetic market."""
    from connectors.robinhood.sandbox.server import run as serve
    from connectors.robinhood.sandbox.settings import RateLimits, SandboxSettings, pairs_named

    defaults = SandboxSettings()
    settings = SandboxSettings(
        port=port,
        seed=seed,
        speed=speed,
        rate_per_s=rate,
        warmup_s=history,
        key_file=key_file if key_file is not None else Path("var/sandbox/robinhood_key.json"),
        pairs=pairs_named(pair) if pair else defaults.pairs,
        balances=_balances(balance) if balance else defaults.balances,
        tls_folder=tls,
        rate_limits=RateLimits() if limits else None,
    )
    raise typer.Exit(serve(settings))


def _balances(texts: Sequence[str]) -> tuple[tuple[str, Decimal], ...]:
    made = []
    for text in texts:
        currency, equals, amount = text.partition("=")
        try:
            made.append((currency, Decimal(amount)))
        except decimal.InvalidOperation:
            equals = ""
        if not equals or not currency:
            raise ConfigError(f"--balance {text}", expected="CURRENCY=AMOUNT, such as USD=100000")
    return tuple(made)
