"""The limits of one account: one frozen value, every field required, none of them able to mean "unlimited".

Owns what a limit is, how it is read from configuration, and which limits are unusable.  Does not own the comparisons
(``risk.checks``) or their order (``risk.gate``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from engine.errors import ConfigError

EVERY_OTHER = "*"
"""Key of a per-instrument limit that holds for each allowed instrument without an entry of its own."""


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

    def unusable(self) -> str:
        """Why entries must be denied whatever they are: ``max_order_notional is NaN``; empty when all can be used."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "allowed_instruments":
                if not value:
                    return f"{name} is empty"
            elif isinstance(value, dict):
                if not value:
                    return f"{name} is empty"
                for key, part in value.items():
                    if not _is_positive(part):
                        return f"{name}[{key}] is {part}"
            elif not _is_positive(value):
                return f"{name} is {value}"
        return ""


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
    for field in limits.__struct_fields__:
        table = getattr(limits, field)
        if not isinstance(table, dict) or EVERY_OTHER in table:
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
    missing = [name for name in known if values.get(name) is None]
    if missing:
        raise ConfigError(
            f"risk limit {missing[0]!r} is missing",
            expected="every limit to be set: none has a default that means unlimited",
            do="set under risk: " + ", ".join(missing),
        )
    try:
        return msgspec.convert(dict(values), Limits, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"risk limits: {error}", expected="the type shown", do="correct it under risk") from None
