"""What an operator types about orders and positions, as the input that goes on record.

Owns the reading of it: amounts, names, kinds.  Raises ``KestrelError`` in the operator's words for what cannot be meant
like that; whether it may be done is the core's to say (``engine.manual``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from engine.commands import OrderType, TimeInForce
from engine.core import TradingCore
from engine.errors import ConfigError
from engine.events import OperatorRequested, Side
from engine.manual import ACTIONS
from engine.order_states import OrderState

DONE: Final = ACTIONS
"""Commands that become requests."""
_TIFS: Final = [tif.value for tif in TimeInForce if tif is not TimeInForce.GTD]
"""Without the one that needs a time: nobody can type that."""
SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}


def make_request(
    command: str, arguments: Mapping[str, Any], who: str, reason: str, core: TradingCore, now_ns: int
) -> OperatorRequested:
    """The input for one of ``DONE``.  Raises ``ConfigError``."""
    if command == "cancel":
        order_id = str(arguments.get("order", ""))[:200]
        return OperatorRequested(now_ns, now_ns, command, who, reason, client_order_id=order_id)
    if command == "close":
        instrument = find_instrument(core, str(arguments.get("instrument", "")))
        return OperatorRequested(now_ns, now_ns, command, who, reason, instrument=instrument)
    if command == "flatten":
        return OperatorRequested(now_ns, now_ns, command, who, reason)
    limit_px = _amount("--limit", arguments.get("limit"))
    trigger_px = _amount("--trigger", arguments.get("trigger"))
    is_bracket, is_touched = arguments.get("bracket") is True, arguments.get("touched") is True
    if is_touched and (trigger_px is None or limit_px is not None or is_bracket):
        raise ConfigError("--touched without a --trigger of its own", expected="--trigger alone, its price")
    if is_bracket and (trigger_px is None or limit_px is None):
        raise ConfigError("--bracket without both prices", expected="--limit, its target, and --trigger, its stop")
    if trigger_px is None:
        kind = OrderType.MARKET if limit_px is None else OrderType.LIMIT
    elif limit_px is None:
        kind = OrderType.MARKET_IF_TOUCHED if is_touched else OrderType.STOP
    else:
        kind = OrderType.BRACKET if is_bracket else OrderType.STOP_LIMIT
    resting = TimeInForce.IOC if kind is OrderType.MARKET else TimeInForce.GTC
    side = _one_of("the side", str(arguments.get("side", "")).lower(), SIDES)
    qty = _amount("the quantity", arguments.get("qty"))
    if qty is None or qty <= 0:
        raise ConfigError(f"the quantity is {arguments.get('qty')!r}", expected="more than 0, in base units")
    return OperatorRequested(
        now_ns,
        now_ns,
        command,
        who,
        reason,
        find_instrument(core, str(arguments.get("instrument", ""))),
        side=SIDES[side],
        qty=qty,
        order_type=kind.value,
        limit_px=limit_px,
        time_in_force=_one_of("--tif", str(arguments.get("tif") or resting.value).lower(), _TIFS),
        post_only=arguments.get("post_only") is True,
        reduce_only=arguments.get("reduce_only") is True or is_bracket,
        trigger_px=trigger_px,
    )


def find_instrument(core: TradingCore, name: str) -> str:
    """The id that ``BTC/USD@coinbase`` or, where only one venue has it, ``BTC/USD`` means.  Raises ``ConfigError``."""
    tradable = [one for one, lane in core.lanes.items() if lane.consolidator is None]
    found = [one for one in tradable if name in (one, one.partition("@")[0])]
    if len(found) != 1:
        nearest = found or difflib.get_close_matches(name, tradable, n=3, cutoff=0.4) or tradable[:5]
        raise ConfigError(
            f"instrument {name!r} is " + ("not traded in this session" if not found else "traded at several venues"),
            expected=f"one of {', '.join(nearest)}" if nearest else "an instrument of this session",
        )
    return found[0]


def unsettled(core: TradingCore) -> str:
    """Why the account's state is not known for certain; empty when it is."""
    told = core.reconciliation
    if told.awaited:
        return f"{', '.join(sorted(told.awaited))} has not confirmed it since the start"
    # By what is known now, not by what was at the last confirmation: an answer may have been lost since.
    doubtful = [one.client_order_id for one in core.orders.open_orders() if one.state is OrderState.UNKNOWN]
    if doubtful:
        return f"nobody knows what became of {', '.join(doubtful[:5])}"
    for venue, missing in sorted(told.missing.items()):
        if missing:
            return f"{venue} does not name its balance of {', '.join(missing)}"
    return "; ".join(core.venues.unconfirmed)


_LEAST, _MOST = Decimal("1e-24"), Decimal("1e24")
"""No price or quantity is beyond; what is would not even fit into the digits that money is counted with."""


def _amount(what: str, text: Any) -> Decimal | None:
    if text is None:
        return None
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ConfigError(f"{what} is {text!r}", expected="a number")
    if value and not _LEAST <= abs(value) < _MOST:
        size = "large" if abs(value) >= _MOST else "small"
        raise ConfigError(f"{what} is {text!r}, too {size} a number", expected=f"one between {_LEAST} and {_MOST}")
    return value


def _one_of(what: str, word: str, known: Any) -> str:
    if word not in known:
        raise ConfigError(f"{what} is {word!r}", expected=f"one of {', '.join(known)}")
    return word
