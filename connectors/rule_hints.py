"""Which refusals say that our knowledge of an instrument may be old: then connectors read its rules again."""

from __future__ import annotations

HINTS = frozenset(
    {
        "trading_halted",
        "unknown_instrument",
        "invalid_px_precision",
        "invalid_qty_precision",
        "below_minimum",
        "above_maximum",
    }
)
"""Reasons of refusals (``engine.refusals``) that speak of rules or of a state."""
