"""The price at which a market that a local venue makes up starts, as it stands behind its name: ``FOO-BAR=12.5``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from engine.errors import ConfigError


def start_px_of(text: str) -> tuple[str, Decimal | None]:
    """The name and the price, None where none is given.  Raises ``ConfigError``."""
    name, equals, amount = text.partition("=")
    if not equals:
        return name, None
    try:
        px = Decimal(amount)
    except InvalidOperation:
        px = Decimal(0)
    if not (name and px.is_finite() and px > 0):
        raise ConfigError(f"sandbox market {text}", expected="NAME, or NAME=PRICE with a price above 0")
    return name, px
