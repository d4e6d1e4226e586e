"""Balances as a command line names them.

Owns their reading: ``USDT=100000``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from engine.errors import ConfigError


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
