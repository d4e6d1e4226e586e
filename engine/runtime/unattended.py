"""Positions that nobody here would leave and orders that nobody here can cancel, in words: for the log, ``status`` and
the summary.

Owns the words.  Whose those positions are is ``engine.unattended``'s to say, which orders ``engine.withdrawals``'s.
"""

from __future__ import annotations

from engine.core import TradingCore
from engine.manual import closable
from engine.unattended import positions_without_a_strategy


def unattended_lines(core: TradingCore) -> dict[str, str]:
    """By strategy and instrument: how much, and what to do.  Nothing of a venue that has not confirmed the account yet,
    and nothing of what is too little to be sold."""
    found = {}
    for (owner, name), qty in positions_without_a_strategy(core.slots, core.portfolio).items():
        lane = core.lanes.get(name)
        if name.rpartition("@")[2] in core.reconciliation.awaited:
            continue
        if lane is None:
            do = "list its symbol again and close it, or close it at the venue"
        elif closable(lane.instrument, abs(qty)):
            do = f"'python run.py close {name}' closes all that is held there, or start again with the strategy"
        else:
            continue
        found[f"{owner} {name}"] = f"{qty:f} held for a strategy that does not trade it in this session: {do}"
    return found


def unreached_lines(core: TradingCore) -> dict[str, str]:
    """By client order id: what may still trade at a venue that nobody here can ask, and what to do."""
    found = {}
    for order in core.orders.open_orders():
        if core.desk.is_unreached(order):
            side, venue = "buy" if order.intent.side > 0 else "sell", order.new.venue
            found[order.client_order_id] = (
                f"may still {side} {order.leaves_qty:f} {order.intent.instrument}, which counts as if it did: no "
                f"connector trades at {venue} in this session; cancel it there, and start again with that venue"
            )
    return found
