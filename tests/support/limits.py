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

EVERY_CONTROL: dict[str, Any] = {
    "restricted_instruments": ["DOGE/USD"],
    "allowed_strategies": ["s", "t"],
    "restricted_strategies": ["u"],
    "strategy_limits": {
        "*": {
            "max_order_notional": 1_000,
            "max_position_notional": 2_000,
            "max_gross_notional": 3_000,
            "max_open_orders": 50,
            "max_orders_per_s": 100,
            "max_orders_per_fill": 100,
            "max_daily_loss": 500,
        }
    },
    "group_limits": {"coins": {"instruments": ["BTC/USD"], "max_gross_notional": 3_000, "max_net_notional": 2_500}},
    "max_credit": 4_000,
    "max_leverage": 2,
    "max_margin_bps": 5_000,
    "max_orders_per_fill": 100,
    "max_repeats": 100,
    "repeat_window_ns": 1_000_000_000,
    "max_consecutive_losses": 3,
    "loss_cooldown_ns": 60_000_000_000,
    "reference_collar_bps": 100,
    "references": {},
    "stale_mark_ns": 1_000_000_000,
    "max_spread_bps": 20,
    "guardian": {"stop_bps": 100, "take_profit_bps": 100, "max_age_s": 60, "cooldown_s": 10},
}
"""What a configuration may add, as generous as the rest; ``min_volume`` needs features."""

NUMBERS: list[str] = [
    *[name for name in GENEROUS if name != "allowed_instruments"],
    *[name for name, value in EVERY_CONTROL.items() if isinstance(value, int)],
    "min_volume",
    "market_slip_bps",
    *[f"strategy_limits.*.{name}" for name in EVERY_CONTROL["strategy_limits"]["*"]],
    "group_limits.coins.max_gross_notional",
    "group_limits.coins.max_net_notional",
    *[f"guardian.{name}" for name in EVERY_CONTROL["guardian"]],
]
"""Every number among the limits, by its dotted path."""


def make_limits(**changes: Any) -> Limits:
    """``GENEROUS`` with changes."""
    return parse_limits({**GENEROUS, **changes})


def with_number(path: str, value: object) -> dict[str, Any]:
    """All controls with one number set, by a path of ``NUMBERS``."""
    values = {**GENEROUS, **EVERY_CONTROL}
    name, *inner = path.split(".")
    if not inner:
        return {**values, name: {"*": value} if isinstance(values.get(name), dict) else value}
    part = {**values[name]}
    values[name] = part
    for step in inner[:-1]:
        part[step] = {**part[step]}
        part = part[step]
    part[inner[-1]] = value
    return values
