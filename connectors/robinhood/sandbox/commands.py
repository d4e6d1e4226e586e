"""The command ``sandbox robinhood``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connectors.local.options import Balances, KeyFile, Port, Rate, Seed, Speed, Tls, balances_named


def sandbox_robinhood(
    port: Port = 0,
    seed: Seed = 1,
    speed: Speed = 1.0,
    rate: Rate = None,
    history: Annotated[float, typer.Option(help="seconds of market made before the start")] = 20.0,
    key_file: KeyFile = None,
    pair: Annotated[list[str] | None, typer.Option(help="BTC-USD; several allowed")] = None,
    balance: Balances = None,
    limits: Annotated[bool, typer.Option(help="refuse (429) what the venue's rate limit forbids")] = True,
    tls: Tls = None,
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
        balances=balances_named(balance) if balance else defaults.balances,
        tls_folder=tls,
        rate_limits=RateLimits() if limits else None,
    )
    raise typer.Exit(serve(settings))
