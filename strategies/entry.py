"""Getting in: when a strategy may ask at all, and the order it asks with.

Owns the conditions every entry shares, so that a strategy does not send what risk is sure to refuse.  Does not own the
signal, nor any limit.
"""

from __future__ import annotations

from decimal import Decimal

from engine.commands import OrderIntent, OrderType, RiskState, TimeInForce
from engine.events import Side
from engine.ports import Top, View
from strategies.holding import Holding
from strategies.pricing import usable

# Enum members are slow to reach through their class in CPython 3.11; these are on the way of an order.
_ACTIVE = RiskState.ACTIVE
_MARKET, _LIMIT = OrderType.MARKET, OrderType.LIMIT
_IOC = TimeInForce.IOC


def may_enter(strategy: str, instrument: str, holding: Holding, view: View, retry_ns: int) -> Top | None:
    """The book to enter on; None when this is no time for it.

    Not while the engine is not ACTIVE, the venue is closed, the book is unusable, a cool-down runs, an order of this
    strategy is open or unknown here, or the last attempt is younger than ``retry_ns``.
    """
    now_ns = view.now_ns
    if now_ns < holding.quiet_until_ns or (holding.last_entry_ns and now_ns - holding.last_entry_ns < retry_ns):
        return None
    top = view.top(instrument)
    if top is None or not usable(top) or view.risk_state is not _ACTIVE or view.tradable(instrument):
        return None
    for order in view.open_orders(instrument):
        if order.strategy == strategy:
            return None
    return top


def entry_order(
    *,
    strategy: str,
    instrument: str,
    side: Side,
    qty: Decimal,
    px: Decimal | None,
    holding: Holding,
    view: View,
    reason: str,
    model: str = "",
    prediction_seq: int = 0,
) -> OrderIntent:
    """Limit IOC at ``px``, or market when it is None.  Notes the attempt in the holding."""
    now_ns = holding.last_entry_ns = view.now_ns
    return OrderIntent(
        now_ns,
        strategy,
        instrument,
        side,
        qty,
        _MARKET if px is None else _LIMIT,
        px,
        _IOC,
        reason=reason,
        model=model,
        prediction_seq=prediction_seq,
    )
