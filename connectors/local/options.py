"""What the commands of all local servers take alike, and how balances are read there: ``USDT=100000``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError

Port = Annotated[int, typer.Option(help="0 takes a free one")]
Seed = Annotated[int, typer.Option(help="of the synthetic market")]
Speed = Annotated[float, typer.Option(help="market seconds per second")]
Rate = Annotated[float | None, typer.Option(help="orders and cancels of each market per second")]
KeyFile = Annotated[Path | None, typer.Option(help="API key to accept; made when it does not exist")]
Balances = Annotated[list[str] | None, typer.Option(help="USD=100000; several allowed")]
Tls = Annotated[Path | None, typer.Option(help="speak TLS; folder of the certificates, made when absent")]


def balances_named(texts: Sequence[str]) -> tuple[tuple[str, Decimal], ...]:
    """Raises ``ConfigError``."""
    made = []
    for text in texts:
        currency, equals, amount = text.partition("=")
        try:
            made.append((currency, Decimal(amount)))
        except InvalidOperation:
            equals = ""
        if not equals or not currency:
            raise ConfigError(f"--balance {text}", expected="CURRENCY=AMOUNT, such as USDT=100000")
    return tuple(made)
