"""Canonical symbols and the venue's product ids: pure text.

A pair is ``BTC/USD`` and ``BTC-USD``.  A contract keeps the venue's own name before the slash, because root and expiry
alone do not tell two of them apart: ``BIP-20DEC30-CDE/USD`` and ``BIP-20DEC30-CDE``.
"""

from __future__ import annotations

DOLLAR = "USD"
"""What all contracts of the venue are quoted and settled in."""


def is_contract(product_id: str) -> bool:
    """Whether it names a contract: code, expiry and place, where a pair is two currencies."""
    return product_id.count("-") > 1


def product_id_of(symbol: str) -> str:
    """Of a canonical symbol, also of one that an instrument's id begins with."""
    base, _, quote = symbol.partition("@")[0].partition("/")
    return base if is_contract(base) else f"{base}-{quote}"


def symbol_of(product_id: str) -> str:
    """The canonical symbol of a product."""
    return f"{product_id}/{DOLLAR}" if is_contract(product_id) else product_id.replace("-", "/")
