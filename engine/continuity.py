"""What of a core outlives its session: taken from one, put into the next.

Owns which parts those are.  The form is ``engine.carried``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from engine.carried import VERSION, Carried, CarriedStrategy, owned_in
from engine.stakes import EVERYONE, OPERATOR

if TYPE_CHECKING:
    from engine.core import TradingCore
    from engine.lanes import StrategySlot


def take(core: TradingCore, risk_reason: str) -> Carried:
    """The state of a core between two events.  ``risk_reason``: why its risk is in the state that it is in."""
    orders = core.orders.carried()
    known = {one.new.client_order_id for one in orders}
    return Carried(
        VERSION,
        (*[lane.instrument for lane in core.lanes.values() if lane.consolidator is None], *core.portfolio.unlisted),
        orders,
        core.orders.carried_trades(),
        core.portfolio.carried(),
        core.gate.state,
        risk_reason,
        (*[CarriedStrategy(slot.name, _state_of(slot)) for slot in core.slots], *_latches_of(core)),
        core.desk.groups.carried(),
        core.orders.carried_corrections(),
        core.market.known_px(),
        core.desk.replacements.carried(known),
        core.desk.groups.book.carried_ended(known),
        core.facts.fundings.carried(),
        core.serving.standings.alarms.carried(),
        core.trust.retired(),
    )


def _latches_of(core: TradingCore) -> list[CarriedStrategy]:
    """What holds for other reasons than a strategy's: what an operator has closed, where that is not done, as the state
    of the slot that orders by hand belong to; what risk has latched, under the name of all strategies together."""
    found = {OPERATOR: core.manual.state(), EVERYONE: core.gate.carried()}
    return [CarriedStrategy(name, state) for name, state in found.items() if state]


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
    core.orders.restore(carried.orders, carried.trades, carried.corrections)
    core.portfolio.restore(carried.money, carried.instruments)
    core.desk.groups.restore(carried.groups)
    core.desk.groups.book.restore_ended(carried.ended_groups)
    core.desk.replacements.restore(carried.versions, core.orders.get)
    core.market.restore_px(carried.known_px)
    core.facts.fundings.restore(carried.fundings)
    core.serving.standings.alarms.restore(carried.alarms)
    core.trust.restore([name for name in carried.retired if any(name == of for _, of in owned_in(carried))])
