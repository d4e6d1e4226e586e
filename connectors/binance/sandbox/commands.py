"""The commands ``sandbox binance`` and ``sandbox binance_usdm``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connectors.local.options import Balances, KeyFile, Port, Rate, Seed, Speed, Tls, balances_named


def sandbox_binance(
    port: Port = 0,
    seed: Seed = 1,
    speed: Speed = 1.0,
    rate: Rate = None,
    history: Annotated[int, typer.Option(help="minutes of candles made before the start")] = 1_440,
    key_file: KeyFile = None,
    product: Annotated[list[str] | None, typer.Option(help="BTC/USDT; several allowed")] = None,
    balance: Balances = None,
    fees: Annotated[
        str, typer.Option(help="paid in what a trade gives (received), or in quote currency (quote)")
    ] = "received",
    limits: Annotated[bool, typer.Option("--limits", help="refuse (429) what the venue's rate limits forbid")] = False,
    tls: Tls = None,
) -> None:
    """A Binance spot server on this machine, with a synthetic market."""
    from connectors.binance.sandbox.server import run as serve
    from connectors.binance.sandbox.settings import BinanceSettings, RateLimits, products_named

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


def sandbox_binance_usdm(
    port: Port = 0,
    seed: Seed = 1,
    speed: Speed = 1.0,
    rate: Rate = None,
    history: Annotated[int, typer.Option(help="minutes of candles made before the start")] = 1_440,
    product: Annotated[list[str] | None, typer.Option(help="BTC/USDT; several allowed")] = None,
    limits: Annotated[bool, typer.Option("--limits", help="refuse (429) what the venue's rate limits forbid")] = False,
    tls: Tls = None,
) -> None:
    """The market of Binance USD-M perpetuals on this machine, without accounts and orders."""
    from connectors.binance.sandbox.server import run as serve
    from connectors.binance.sandbox.settings import USDM_LIMITS, USDM_PRODUCTS, BinanceSettings, products_named
    from connectors.binance.streams import USDM

    settings = BinanceSettings(
        venue=USDM,
        port=port,
        seed=seed,
        speed=speed,
        rate_per_s=rate,
        history_minutes=history,
        products=products_named(product, USDM_PRODUCTS) if product else USDM_PRODUCTS,
        balances=(),
        tls_folder=tls,
        rate_limits=USDM_LIMITS if limits else None,
    )
    raise typer.Exit(serve(settings))
