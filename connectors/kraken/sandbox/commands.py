"""The command ``sandbox kraken``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sandbox_kraken(
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 0,
    seed: Annotated[int, typer.Option(help="of the synthetic market")] = 1,
    speed: Annotated[float, typer.Option(help="market seconds per second")] = 1.0,
    rate: Annotated[float | None, typer.Option(help="orders and cancels of each product per second")] = None,
    history: Annotated[int, typer.Option(help="minutes of candles made before the start")] = 1_440,
    key_file: Annotated[Path | None, typer.Option(help="API key to accept; made when it does not exist")] = None,
    product: Annotated[list[str] | None, typer.Option(help="BTC/USD; several allowed")] = None,
    balance: Annotated[list[str] | None, typer.Option(help="USD=100000; several allowed")] = None,
    limits: Annotated[bool, typer.Option("--limits", help="refuse what the venue's rate limits forbid")] = False,
    tls: Annotated[Path | None, typer.Option(help="speak TLS; folder of the certificates, made when absent")] = None,
) -> None:
    """A Kraken spot server on this machine, with a synthetic market."""
    from connectors.kraken.sandbox.server import run as serve
    from connectors.kraken.sandbox.settings import KrakenSettings, RateLimits, products_named
    from connectors.local.amounts import balances_named

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
