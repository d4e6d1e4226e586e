"""What strategies have that this session does not run, or that do not trade the instrument here: nobody would look
after it.

Owns whose that is.  Their orders are the desk's to cancel (``engine.withdrawals.Withdrawals.abandon``), their positions
an operator's to close.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal

from engine.lanes import StrategySlot
from engine.portfolio import Portfolio
from engine.stakes import CLOSERS, EVERYONE


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


def positions_without_a_strategy(
    slots: Collection[StrategySlot], portfolio: Portfolio
) -> dict[tuple[str, str], Decimal]:
    """Signed quantities, by strategy and instrument."""
    found = without_a_strategy(slots, portfolio.holders())
    return {key: portfolio.strategy_qty(*key) for key in found}
