"""The command ``sandbox binance``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sandbox_binance(
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 0,
    seed: Annotated[int, typer.Option(help="of the synthetic market")] = 1,
    speed: Annotated[float, typer.Option(help="market seconds per second")] = 1.0,
    rate: Annotated[float | None, typer.Option(help="orders and cancels of each product per second")] = None,
    history: Annotated[int, typer.Option(help="minutes of candles made before the start")] = 1_440,
    key_file: Annotated[Path | None, typer.Option(help="API key to accept; made when it does not exist")] = None,
    product: Annotated[list[str] | None, typer.Option(help="BTC/USDT; several allowed")] = None,
    balance: Annotated[list[str] | None, typer.Option(help="USDT=100000; several allowed")] = None,
    fees: Annotated[
        str, typer.Option(help="paid in what a trade gives (received), or in quote currency (quote)")
    ] = "received",
    limits: Annotated[bool, typer.Option("--limits", help="refuse (429) what the venue's rate limits forbid")] = False,
    tls: Annotated[Path | None, typer.Option(help="speak TLS; folder of the certificates, made when absent")] = None,
) -> None:
    """A Binance spot server on this machine, with a synthetic market."""
    from connectors.binance.sandbox.server import run as serve
    from connectors.binance.sandbox.settings import BinanceSettings, RateLimits, products_named
    from connectors.local.amounts import balances_named

    defaults = BinanceSettings()
    settings = BinanceSettings(
        port=port,
        seed=seed,
        speed=speed,
        rate_per_s=rate,
        history_minutes=history,
        key_file=key_file if key_file is not None else Path("var/sandbox/binance_key.json"),
        products=products_named(product) if product else defaults.products,
        balances=balances_named(balance) if balance else defaults.balances,
        fees_in=fees,
        tls_folder=tls,
        rate_limits=RateLimits() if limits else None,
    )
    raise typer.Exit(serve(settings))
