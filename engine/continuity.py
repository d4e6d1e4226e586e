"""What of a core outlives its session: taken from one, put into the next.

Owns which parts those are.  The form is ``engine.carried``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.carried import VERSION, Carried, CarriedStrategy

if TYPE_CHECKING:
    from engine.core import TradingCore
    from engine.lanes import StrategySlot


def take(core: TradingCore, risk_reason: str) -> Carried:
    """The state of a core between two events.  ``risk_reason``: why its risk is in the state that it is in."""
    return Carried(
        VERSION,
        tuple([lane.instrument for lane in core.lanes.values() if lane.consolidator is None]),
        core.orders.carried(),
        core.orders.carried_trades(),
        core.portfolio.carried(),
        core.gate.state,
        risk_reason,
        tuple([CarriedStrategy(slot.name, _state_of(slot)) for slot in core.slots]),
    )


def _state_of(slot: StrategySlot) -> str:
    """Empty for a strategy that cannot say: it then starts from what the account holds."""
    try:
        return msgspec.json.encode(slot.run(slot.strategy.state), order="sorted").decode()
    except KeyboardInterrupt:
        raise
    except BaseException:  # user code: whatever it raises must not cost the others their state
        return ""


def put(core: TradingCore, carried: Carried) -> None:
    """Orders and money as they were known.  Strategies and the state of risk are the caller's to tell."""
    core.orders.restore(carried.orders, carried.trades)
    core.portfolio.restore(carried.money)
