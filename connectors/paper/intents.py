"""What an order must be made of before a book may read it.

Owns the kinds of its fields; what the numbers must be is ``connectors.matching.rules``'.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.commands import OrderIntent, OrderType, TimeInForce
from engine.events import Side

_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "instrument": (str,),
    "side": (Side,),
    "order_type": (OrderType,),
    "time_in_force": (TimeInForce,),
    "qty": (Decimal,),
    "limit_px": (Decimal, type(None)),
    "trigger_px": (Decimal, type(None)),
    "trailing_px": (Decimal, type(None)),
    "expire_ns": (int, type(None)),
    "post_only": (bool,),
    "reduce_only": (bool,),
}


def odd_field(intent: OrderIntent) -> str:
    """What in an order is of a kind that the book would take for another one (side 1 is not Side.BUY); else empty."""
    for name, kinds in _KINDS.items():
        value = getattr(intent, name)
        if type(value) not in kinds:
            return ascii(f"{name} is {value!r}; expected {' or '.join(kind.__name__ for kind in kinds)}")[1:-1][:200]
    return ""
