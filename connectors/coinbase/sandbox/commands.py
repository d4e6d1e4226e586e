"""The command ``sandbox coinbase``."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError

_RATE_PER_S = 40.0
"""Of the synthetic market when none is given; at most half of its events are trades."""
_MOST_TRADES = 200_000
"""Kept for ``GET .../ticker``: all of the history that was made, up to about 70 MB."""


def sandbox_coinbase(
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 0,
    seed: Annotated[int, typer.Option(help="of the synthetic market")] = 1,
    speed: Annotated[float, typer.Option(help="market seconds per second")] = 1.0,
    rate: Annotated[float | None, typer.Option(help="orders and cancels of each product per second")] = None,
    history: Annotated[float, typer.Option(help="seconds of market made before the start")] = 240.0,
    key_file: Annotated[Path | None, typer.Option(help="API key to accept; made when it does not exist")] = None,
    product: Annotated[list[str] | None, typer.Option(help="BTC-USD; several allowed")] = None,
    balance: Annotated[list[str] | None, typer.Option(help="USD=100000; several allowed")] = None,
    limits: Annotated[bool, typer.Option("--limits", help="refuse (429) what the venue's rate limits forbid")] = False,
    tls: Annotated[Path | None, typer.Option(help="speak TLS; folder of the certificates, made when absent")] = None,
    files: Annotated[
        list[Path] | None, typer.Option("--replay", help="recorded quotes and trades as the market")
    ] = None,
) -> None:
    """A Coinbase Advanced Trade server on this machine, with a synthetic or recorded market."""
    from connectors.coinbase.sandbox.server import run as serve
    from connectors.coinbase.sandbox.settings import RateLimits, SandboxSettings, products_named

    defaults = SandboxSettings()
    settings = SandboxSettings(
        port=port,
        seed=seed,
        speed=speed,
        rate_per_s=rate,
        warmup_s=history,
        key_file=key_file if key_file is not None else Path("var/sandbox/coinbase_key.json"),
        products=products_named(product) if product else defaults.products,
        balances=_balances(balance) if balance else defaults.balances,
        replay=tuple(files or ()),
        tls_folder=tls,
        rate_limits=RateLimits() if limits else None,
        max_trades=max(defaults.max_trades, min(_MOST_TRADES, int(history * (rate or _RATE_PER_S) * speed * 0.5))),
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
