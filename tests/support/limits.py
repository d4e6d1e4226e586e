"""Limits for tests: generous for the fake view's market (mid 100, equity 10,000), every one of them set."""

from __future__ import annotations

from typing import Any

from risk.limits import Limits, parse_limits

NAME = "BTC/USD@coinbase"

GENEROUS: dict[str, Any] = {
    "allowed_instruments": [NAME],
    "max_order_qty": {"*": 10},
    "max_position_qty": {"*": 20},
    "max_order_notional": 1_000,
    "max_position_notional": 2_000,
    "max_gross_notional": 3_000,
    "max_net_notional": 2_500,
    "collar_bps": 50,
    "stale_quote_ns": 1_000_000_000,
    "max_orders_per_s": 100,
    "max_orders_per_s_instrument": 50,
    "max_rejections_per_s": 100,
    "duplicate_window_ns": 1,
    "max_open_orders": 50,
    "max_daily_loss": 500,
    "max_drawdown_bps": 1_000,
}


def make_limits(**changes: Any) -> Limits:
    """``GENEROUS`` with changes."""
    return parse_limits({**GENEROUS, **changes})
