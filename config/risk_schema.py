"""The settings of risk: every limit of one account, in one versioned section.

Owns names, types and meanings as ``risk.limits.Limits`` has them; docs/risk.md says what each control does.
"""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from config.sections import Section

LISTED_PATTERN: Final = r"^[A-Z0-9.\-]+/[A-Z0-9]+(@[A-Za-z0-9_]+)?$"
"""An instrument id, or a symbol that stands for every venue; what is neither would restrict nothing."""
# Limits have an upper end: one so wide that it never binds is a typing error, not a limit.
LimitAmount = Annotated[Decimal, Field(ge=0, le=10**15)]
LimitBps = Annotated[Decimal, Field(ge=0, le=10_000)]
LimitCount = Annotated[int, Field(ge=0, le=1_000_000)]
LimitTime = Annotated[int, Field(ge=0, le=86_400 * 10**9)]
LimitSeconds = Annotated[Decimal, Field(ge=0, le=86_400 * 366)]
Listed = Annotated[str, Field(pattern=LISTED_PATTERN)]
LimitTimes = Annotated[Decimal, Field(ge=0, le=1_000)]


class StrategyLimitSettings(Section):
    """The fields of ``risk.limits.StrategyLimits``."""

    max_order_notional: LimitAmount | None = None
    max_position_notional: LimitAmount | None = None
    max_gross_notional: LimitAmount | None = None
    max_open_orders: LimitCount | None = None
    max_orders_per_s: LimitCount | None = None
    max_orders_per_fill: LimitTimes | None = None
    max_daily_loss: LimitAmount | None = None


class GroupLimitSettings(Section):
    """The fields of ``risk.limits.GroupLimits``."""

    instruments: list[Listed]
    max_gross_notional: LimitAmount | None = None
    max_net_notional: LimitAmount | None = None


class GuardianSettings(Section):
    """The fields of ``risk.limits.GuardianRules``; without a stop, a take-profit and an age there is no guardian."""

    stop_bps: LimitBps | None = Field(default=None, description="close what strategies hold at this loss, bps")
    take_profit_bps: LimitAmount | None = Field(default=None, description="close it at this gain, bps")
    max_age_s: LimitSeconds | None = Field(default=None, description="close it when held for so long, s")
    cooldown_s: LimitSeconds | None = Field(default=None, description="no entry in the instrument after that, s")


class RiskSettings(Section):
    """The fields of ``risk.limits.Limits``.  Empty means missing: a session does not start without the first sixteen;
    of the others it says that the control is not used, which a live configuration has to say itself."""

    allowed_instruments: Literal["all"] | list[str] | None = Field(
        default=None, description="ids that may be entered; all (paper only): those of the session"
    )
    max_order_qty: dict[str, LimitAmount] | None = Field(
        default=None, description="of one order, base units by id, * for others"
    )
    max_position_qty: dict[str, LimitAmount] | None = Field(
        default=None, description="worst case, base units by id, * for others"
    )
    max_order_notional: LimitAmount | None = Field(default=None, description="of one order, portfolio currency")
    max_position_notional: LimitAmount | None = Field(
        default=None, description="worst case of one instrument, portfolio currency"
    )
    max_gross_notional: LimitAmount | None = Field(default=None, description="sum over instruments, portfolio currency")
    max_net_notional: LimitAmount | None = Field(
        default=None, description="longest or shortest in all, portfolio currency"
    )
    collar_bps: LimitBps | None = Field(default=None, description="distance of an order's price from the mid, bps")
    stale_quote_ns: LimitTime | None = Field(default=None, description="oldest quote to trade on, ns")
    max_orders_per_s: LimitCount | None = Field(default=None, description="in any one second, in all")
    max_orders_per_s_instrument: LimitCount | None = Field(
        default=None, description="in any one second, each instrument"
    )
    max_rejections_per_s: LimitCount | None = Field(
        default=None, description="more refusals than that are a runaway: HALT"
    )
    duplicate_window_ns: LimitTime | None = Field(
        default=None, description="time in which the same wish is an error, ns"
    )
    max_open_orders: LimitCount | None = Field(default=None, description="orders that may still fill")
    max_daily_loss: LimitAmount | None = Field(
        default=None, description="since the session's first valuation of the UTC day, portfolio currency"
    )
    max_drawdown_bps: LimitBps | None = Field(
        default=None, description="fall of equity from its peak in the session, bps"
    )
    version: int = Field(default=1, ge=1, description="your own number of this set of limits")
    restricted_instruments: list[Listed] | None = Field(
        default=None, description="ids, or symbols for every venue, never entered"
    )
    allowed_strategies: list[str] | None = Field(default=None, description="names that alone may enter; null: all")
    restricted_strategies: list[str] | None = Field(default=None, description="names that may not enter")
    strategy_limits: dict[str, StrategyLimitSettings] | None = Field(
        default=None, description="limits by strategy, * for others (docs/risk.md)"
    )
    group_limits: dict[str, GroupLimitSettings] | None = Field(
        default=None, description="limits of several instruments together (docs/risk.md)"
    )
    max_credit: LimitAmount | None = Field(
        default=None, description="all held, open and unknown, nothing offset, portfolio currency"
    )
    max_leverage: LimitTimes | None = Field(default=None, description="gross worst case, times of equity")
    max_margin_bps: LimitBps | None = Field(default=None, description="margin of the worst case, bps of equity")
    max_orders_per_fill: LimitTimes | None = Field(
        default=None, description="entries for each execution, all strategies; the first 50 are free"
    )
    max_repeats: LimitCount | None = Field(
        default=None, description="entries of a strategy in one instrument and direction ..."
    )
    repeat_window_ns: LimitTime | None = Field(default=None, description="... within this time, ns")
    max_consecutive_losses: LimitCount | None = Field(
        default=None, description="round trips of a strategy that lost, in a row, stop its entries ..."
    )
    loss_cooldown_ns: LimitTime | None = Field(default=None, description="... for this time, ns")
    opposing: Literal["block", "net"] = Field(
        default="block", description="entries against another strategy: block, or net where short sales are possible"
    )
    reference_collar_bps: LimitBps | None = Field(
        default=None, description="distance of an order's price from a consolidated price, bps"
    )
    references: dict[str, str] | None = Field(
        default=None, description="id of that price by id; empty: the consolidated one of which it is a member"
    )
    stale_mark_ns: LimitTime | None = Field(
        default=None, description="oldest quote of anything held that trades, to enter anything on, ns"
    )
    max_spread_bps: LimitBps | None = Field(default=None, description="bid to ask of a book to enter on, bps")
    min_volume: LimitAmount | None = Field(default=None, description="least value of volume_column to enter on")
    volume_column: str = Field(default="volume_sma_20", min_length=1, description="feature that min_volume looks at")
    guardian: GuardianSettings = Field(default=GuardianSettings(), description="closes what strategies hold")
    market_slip_bps: LimitBps = Field(
        default=Decimal(100), description="what a market order is held to pay beyond the mark, bps"
    )

    @field_validator("strategy_limits", "group_limits", mode="before")
    @classmethod
    def _known_keys(cls, value: Any, info: ValidationInfo) -> Any:
        """A limit with a mistyped name would be none at all: the message names it."""
        section = StrategyLimitSettings if info.field_name == "strategy_limits" else GroupLimitSettings
        known = list(section.model_fields)
        for name, limits in value.items() if isinstance(value, dict) else ():
            for key in limits if isinstance(limits, dict) else ():
                if key not in known:
                    near = difflib.get_close_matches(str(key), known, n=1)
                    raise ValueError(f"{near[0] if near else 'one of ' + ', '.join(known)} in place of {name}.{key}")
        return value
