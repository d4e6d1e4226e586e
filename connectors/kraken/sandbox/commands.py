"""The command ``sandbox kraken``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connectors.local.options import Balances, KeyFile, Port, Rate, Seed, Speed, Tls, balances_named


def sandbox_kraken(
    port: Port = 0,
    seed: Seed = 1,
    speed: Speed = 1.0,
    rate: Rate = None,
    history: Annotated[int, typer.Option(help="minutes of candles made before the start")] = 1_440,
    key_file: KeyFile = None,
    product: Annotated[list[str] | None, typer.Option(help="BTC/USD; several allowed")] = None,
    balance: Balances = None,
    limits: Annotated[bool, typer.Option("--limits", help="refuse what the venue's rate limits forbid")] = False,
    tls: Tls = None,
) -> None:
    """A Kraken spot server on this machine, with a synthetic market."""
    from connectors.kraken.sandbox.server import run as serve
    from connectors.kraken.sandbox.settings import KrakenSettings, RateLimits, products_named

    defaults = KrakenSettings()
    settings = KrakenSettings(
        port=port,
        seed=seed,
        speed=speed,
        rate_per_s=rate,
        history_minutes=history,
        key_file=key_file if key_file is not None else Path("var/sandbox/kraken_key.json"),
        products=products_named(product) if product else defaults.products,
        balances=balances_named(balance) if balance else defaults.balances,
        tls_folder=tls,
        rate_limits=RateLimits() if limits else None,
    )
    raise typer.Exit(serve(settings))
