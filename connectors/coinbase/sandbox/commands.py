"""The command ``sandbox coinbase``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connectors.local.options import Balances, KeyFile, Port, Rate, Seed, Speed, Tls, balances_named

_RATE_PER_S = 40.0
"""Of the synthetic market when none is given; at most half of its events are trades."""
_MOST_TRADES = 200_000
"""Kept for ``GET .../ticker``: all of the history that was made, up to about 70 MB."""


def sandbox_coinbase(
    port: Port = 0,
    seed: Seed = 1,
    speed: Speed = 1.0,
    rate: Rate = None,
    history: Annotated[float, typer.Option(help="seconds of market made before the start")] = 240.0,
    key_file: KeyFile = None,
    product: Annotated[list[str] | None, typer.Option(help="BTC-USD; several allowed")] = None,
    balance: Balances = None,
    limits: Annotated[bool, typer.Option("--limits", help="refuse (429) what the venue's rate limits forbid")] = False,
    tls: Tls = None,
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
        balances=balances_named(balance) if balance else defaults.balances,
        replay=tuple(files or ()),
        tls_folder=tls,
        rate_limits=RateLimits() if limits else None,
        max_trades=max(defaults.max_trades, min(_MOST_TRADES, int(history * (rate or _RATE_PER_S) * speed * 0.5))),
    )
    raise typer.Exit(serve(settings))
