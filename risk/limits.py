"""The limits of one account: one frozen value, versioned, none of its numbers able to mean "unlimited".

Owns what a limit is, how it is read from configuration, and which limits are unusable.  Does not own the comparisons
(``risk.checks``) or their order (``risk.gate``).  docs/risk.md lists every control.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from engine.errors import ConfigError

EVERY_OTHER = "*"
"""Key of a per-instrument limit that holds for each allowed instrument without an entry of its own."""

MARKET_SLIP_BPS = Decimal(100)
"""What a market order is held to pay beyond the mark where nothing else is said."""


class StrategyLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of one strategy, by what it alone holds and has open; None: not used.  Amounts in portfolio currency.

    - ``max_order_notional``: of one order.  ``max_position_notional``: worst case in one instrument.
      ``max_gross_notional``: sum of those over instruments.
    - ``max_open_orders``; ``max_orders_per_s``: entries in any second.
    - ``max_orders_per_fill``: entries for each execution in a session, after the first ``RATIO_FREE``.
    - ``max_daily_loss``: after fees, open positions at their mark, since the UTC day began.
    """

    max_order_notional: Decimal | None = None
    max_position_notional: Decimal | None = None
    max_gross_notional: Decimal | None = None
    max_open_orders: int | None = None
    max_orders_per_s: int | None = None
    max_orders_per_fill: Decimal | None = None
    max_daily_loss: Decimal | None = None


class GroupLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of several instruments together, such as all that depend on one coin; portfolio currency, worst case.

    ``instruments``: ids, or symbols without ``@venue`` that stand for every venue.
    """

    instruments: tuple[str, ...]
    max_gross_notional: Decimal | None = None
    max_net_notional: Decimal | None = None


class GuardianRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When what strategies hold is closed whatever they say (``strategies.guardian``); None: not used.

    ``stop_bps``, ``take_profit_bps``: loss and gain against the average entry price; ``max_age_s``: since it left flat.
    ``cooldown_s``: after the guardian acted nothing is entered in that instrument.
    """

    stop_bps: Decimal | None = None
    take_profit_bps: Decimal | None = None
    max_age_s: Decimal | None = None
    cooldown_s: Decimal | None = None

    @property
    def acts(self) -> bool:
        return (self.stop_bps, self.take_profit_bps, self.max_age_s) != (None, None, None)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Hard limits of one account; ``parse_limits`` reads them from configuration.

    A limit that is zero, negative, NaN or infinite denies every entry (``unusable``); orders that reduce a position
    stay possible.  "Portfolio currency" is the currency in which equity is counted.

    - ``allowed_instruments``: canonical ids that may be entered; nothing else may.
    - ``max_order_qty``: base units (contracts) of one order, by instrument id; ``"*"`` stands for the others.
    - ``max_position_qty``: base units held in the worst case (filled, open and unknown orders), keyed in the same way.
    - ``max_order_notional``, ``max_position_notional``: portfolio currency, of one order and of one instrument's worst
      case.
    - ``max_gross_notional``: portfolio currency, sum over instruments of the larger worst case of each.
    - ``max_net_notional``: portfolio currency, the longest or shortest the whole account can become.
    - ``collar_bps``: distance of an order's price from the fresh mid.
    - ``stale_quote_ns``: age of the last accepted quote, receive time.
    - ``max_orders_per_s``, ``max_orders_per_s_instrument``: orders in any window of one second, in all and for each
      instrument.  Entries and reducing orders are counted apart, so that entries cannot starve exits.
    - ``max_rejections_per_s``: refusals for rate or duplication within one second that mean a runaway loop: HALT.
    - ``duplicate_window_ns``: time in which the same wish (strategy, instrument, side, quantity, price) counts as an
      error.
    - ``max_open_orders``: orders that may still fill, unknown ones included.
    - ``max_daily_loss``: portfolio currency since the first valuation of the UTC day.
    - ``max_drawdown_bps``: fall of equity from its peak, in basis points of the peak.

    Those above are required.  Of the following each may be None (empty), which says that the control is not used:

    - ``restricted_instruments``: ids, or symbols for every venue, that may not be entered, allowed or not.
    - ``allowed_strategies``, ``restricted_strategies``: names that alone, or that never, may enter.
    - ``strategy_limits``: ``StrategyLimits`` by name, ``"*"`` for the others; one with neither may not enter.
    - ``group_limits``: ``GroupLimits`` by a name for each.
    - ``max_credit``: portfolio currency, everything held and every open or unknown order, nothing offset.
    - ``max_leverage``: gross exposure in times of equity.
    - ``max_margin_bps``: margin of what is not fully paid (``Instrument.margin_rate``), basis points of equity.
    - ``max_orders_per_fill``: as in ``StrategyLimits``, of all strategies together.
    - ``max_repeats`` within ``repeat_window_ns``: entries of one strategy in one instrument and direction.
    - ``max_consecutive_losses``, then ``loss_cooldown_ns``: round trips in a row that lost stop a strategy's entries
      for that time.
    - ``opposing``: ``block`` entries against what another strategy holds, or ``net`` them where short sales are
      possible.  Orders that could trade with one of ours are refused under both.
    - ``reference_collar_bps``: distance of an order's price from an independent price.  ``references``: its id by
      instrument id.
    - ``stale_mark_ns``: age of the last accepted quote of anything else that is held, or says a rate, and trades:
      by it equity is told.
    - ``max_spread_bps``: bid to ask of the book that is entered on.
    - ``min_volume``: smallest value of the feature ``volume_column``.
    - ``guardian``: see ``GuardianRules``.
    - ``market_slip_bps``: what a market order is held to pay beyond the mark, at least; apart from the collar, since a
      tighter collar must not make an order count for less.
    - ``version``: the owner's own number of this set of limits.
    """

    allowed_instruments: tuple[str, ...]
    max_order_qty: dict[str, Decimal]
    max_position_qty: dict[str, Decimal]
    max_order_notional: Decimal
    max_position_notional: Decimal
    max_gross_notional: Decimal
    max_net_notional: Decimal
    collar_bps: Decimal
    stale_quote_ns: int
    max_orders_per_s: int
    max_orders_per_s_instrument: int
    max_rejections_per_s: int
    duplicate_window_ns: int
    max_open_orders: int
    max_daily_loss: Decimal
    max_drawdown_bps: Decimal
    version: int = 1
    restricted_instruments: tuple[str, ...] | None = None
    allowed_strategies: tuple[str, ...] | None = None
    restricted_strategies: tuple[str, ...] | None = None
    strategy_limits: dict[str, StrategyLimits] | None = None
    group_limits: dict[str, GroupLimits] | None = None
    max_credit: Decimal | None = None
    max_leverage: Decimal | None = None
    max_margin_bps: Decimal | None = None
    max_orders_per_fill: Decimal | None = None
    max_repeats: int | None = None
    repeat_window_ns: int | None = None
    max_consecutive_losses: int | None = None
    loss_cooldown_ns: int | None = None
    opposing: Literal["block", "net"] = "block"
    reference_collar_bps: Decimal | None = None
    references: dict[str, str] | None = None
    stale_mark_ns: int | None = None
    max_spread_bps: Decimal | None = None
    min_volume: Decimal | None = None
    volume_column: str = "volume_sma_20"
    guardian: GuardianRules | None = None
    market_slip_bps: Decimal = MARKET_SLIP_BPS

    def unusable(self) -> str:
        """Why entries must be denied whatever they are: ``max_order_notional is NaN``; empty when all can be used."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name in REQUIRED and not value and isinstance(value, tuple | dict):
                return f"{name} is empty"
            if name == "allowed_strategies" and value == ():
                return f"{name} is empty"
            found = _unusable(name, value)
            if found:
                return found
        for one, other in PAIRS:
            if (getattr(self, one) is None) is not (getattr(self, other) is None):
                return f"{one} without {other}" if getattr(self, other) is None else f"{other} without {one}"
        return ""


REQUIRED = tuple(field.name for field in msgspec.structs.fields(Limits) if field.required)
"""Fields without which no session starts."""
DECIDED = tuple(
    field.name
    for field in msgspec.structs.fields(Limits)
    if field.default is None and field.name not in ("guardian", "references")
)
"""Fields of which a live session is told whether they are used, in so many words."""
PAIRS = (("max_repeats", "repeat_window_ns"), ("max_consecutive_losses", "loss_cooldown_ns"))
"""Fields that mean something together only."""
RATIO_FREE = 50
"""Entries before a ratio of orders to executions is asked for."""


def _unusable(name: str, value: Any) -> str:
    """What makes a limit, or a part of one, nothing to compare with."""
    if isinstance(value, msgspec.Struct):
        parts = [_unusable(f"{name}.{field}", getattr(value, field)) for field in value.__struct_fields__]
        if all(getattr(value, field) is None for field in value.__struct_fields__ if field != "instruments"):
            return f"{name} limits nothing" if not isinstance(value, GuardianRules) else ""
        return next((part for part in parts if part), "")
    if isinstance(value, dict):
        return next((found for key, part in value.items() if (found := _unusable(f"{name}[{key}]", part))), "")
    if isinstance(value, tuple) and name.endswith(".instruments") and not value:
        return f"{name} is empty"
    if isinstance(value, Decimal | int) and not _is_positive(value):
        return f"{name} is {value}"
    return ""


def unmatched(limits: Limits, instruments: Collection[str], strategies: Collection[str]) -> str:
    """What the limits name of which a session on ``instruments`` (ids) with ``strategies`` has nothing, by setting, in
    one line; empty: nothing.  It binds nobody there: a file of limits may serve several sessions, or a name is wrong.
    """
    known = {*instruments, *(name.partition("@")[0] for name in instruments)}
    ids, names = {*instruments, EVERY_OTHER}, {*strategies, EVERY_OTHER}
    asked = [
        ("risk.allowed_instruments", limits.allowed_instruments, ids),
        ("risk.max_order_qty", limits.max_order_qty, ids),
        ("risk.max_position_qty", limits.max_position_qty, ids),
        ("risk.references", limits.references or {}, ids),
        ("risk.restricted_instruments", limits.restricted_instruments or (), known),
        *[
            (f"risk.group_limits.{name}", group.instruments, known)
            for name, group in (limits.group_limits or {}).items()
        ],
        ("risk.strategy_limits", limits.strategy_limits or (), names),
        ("risk.allowed_strategies", limits.allowed_strategies or (), names),
        ("risk.restricted_strategies", limits.restricted_strategies or (), names),
    ]
    left = [(setting, [one for one in named if one not in there]) for setting, named, there in asked]
    return "; ".join(f"{setting} names {', '.join(ones)}" for setting, ones in left if ones)


def check_usable(limits: Limits, instruments: Sequence[str]) -> None:
    """Refuse limits under which no order, or none in one of the instruments (ids) of a session, could ever be opened.

    Raises ``ConfigError`` naming the limit.  What cannot be used nevertheless, the gate denies at every order.
    """
    seen = limits.unusable()
    if seen:
        raise ConfigError(
            f"risk.{seen}: no order could ever be opened",
            expected="an entry for each allowed instrument" if seen.endswith(" is empty") else "a limit above 0",
            do="correct it; run.py halt and run.py reduce stop entries while a session runs",
        )
    allowed = [name for name in instruments if name in limits.allowed_instruments]
    if not allowed:
        raise ConfigError(
            f"risk.allowed_instruments names none of what this session trades ({_few(instruments)})",
            expected="at least one of them",
            do=f"correct it; it has {_few(limits.allowed_instruments)}",
        )
    if limits.reference_collar_bps is not None and not any(name in (limits.references or {}) for name in allowed):
        raise ConfigError(
            f"risk.reference_collar_bps is set, and none of {_few(allowed)} has a reference: it would bind nothing",
            expected="a consolidated price of which one of them is a member, or its id under risk.references",
            do="add one, or leave the collar out: risk.collar_bps stands without it",
        )
    for field in ("max_order_qty", "max_position_qty"):
        table = getattr(limits, field)
        if EVERY_OTHER in table:
            continue
        if left_out := [name for name in allowed if name not in table]:
            raise ConfigError(
                f"risk.{field} has no entry for {_few(left_out)}: no order there could ever be opened",
                expected=f"one for each allowed instrument, or {EVERY_OTHER!r} for the others",
                do=f"add it; it has {_few(tuple(table))}",
            )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is_positive(value: Decimal | int) -> bool:
    # is_finite first: ordering a Decimal NaN raises.
    return value.is_finite() and value > 0 if isinstance(value, Decimal) else value > 0


def parse_limits(values: Mapping[str, Any]) -> Limits:
    """Limits from configuration.  Numbers may be ints, floats or strings; ``allowed_instruments`` is a list of ids.

    Raises ``ConfigError`` naming the key: missing, unknown (with the nearest valid name) or not of its type.
    """
    known = Limits.__struct_fields__
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            raise ConfigError(
                f"risk limit {key!r} is unknown",
                expected=f"{near[0]!r}" if near else "one of " + ", ".join(known),
                do="correct the name under risk",
            )
    missing = [name for name in REQUIRED if values.get(name) is None]
    if missing:
        raise ConfigError(
            f"risk limit {missing[0]!r} is missing",
            expected="every limit to be set: none has a default that means unlimited",
            do="set under risk: " + ", ".join(missing),
        )
    try:
        return msgspec.convert({name: part for name, part in values.items() if part is not None}, Limits, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"risk limits: {error}", expected="the type shown", do="correct it under risk") from None
