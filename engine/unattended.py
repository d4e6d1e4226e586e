"""What strategies have that this session does not run, or that do not trade the instrument here: nobody would look
after it.

Owns whose that is.  Their orders are the desk's to cancel (``engine.withdrawals.Withdrawals.abandon``), their positions
an operator's to close.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

from engine.carried import ENDED, Carried, owned_in
from engine.lanes import StrategySlot
from engine.portfolio import Portfolio
from engine.stakes import CLOSERS, EVERYONE, base_name


def without_a_strategy(slots: Collection[StrategySlot], owned: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of strategies and instruments those that no slot stands for, in order.  What was done by hand is the operator's
    own."""
    return sorted(
        (owner, name)
        for owner, name in owned
        if owner != EVERYONE
        and owner not in CLOSERS
        and not any(slot.name == owner and slot.listens_to(name) for slot in slots)
    )


def orders_without_a_strategy(slots: Collection[StrategySlot], carried: Carried) -> list[tuple[str, str]]:
    """Whose orders are to go, of what an earlier session left; also where one has only ended as far as is known, as the
    venue may show that it lives.  A twin that sleeps is here where its strategy is."""
    ended = {(one.new.intent.strategy, one.new.intent.instrument) for one in carried.orders if one.state in ENDED}
    late = {(owner, name) for owner, name in ended if without_a_strategy(slots, [(base_name(owner), name)])}
    return without_a_strategy(slots, owned_in(carried) | late)


def positions_without_a_strategy(
    slots: Collection[StrategySlot], portfolio: Portfolio
) -> dict[tuple[str, str], Decimal]:
    """Signed quantities, by strategy and instrument."""
    found = without_a_strategy(slots, portfolio.holders())
    return {key: portfolio.strategy_qty(*key) for key in found}
