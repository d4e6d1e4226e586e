"""Executions are known for long enough to be booked once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.commands import NewOrder
from engine.executions import Executions
from tests.support.core import fill, intent

D = Decimal


@pytest.mark.fault("B1")
def test_trade_ids_are_remembered_for_long_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a memory of ten: the last ten are always known, after twenty more the first is forgotten."""
    monkeypatch.setattr("engine.executions.TRADES_KEPT", 10)
    known = Executions()
    new = NewOrder(1, "k-1", "coinbase", intent(qty="1000"))
    for number in range(35):
        assert known.take(fill(new, "1", "100", f"t{number}"))
        for recent in range(max(0, number - 9), number + 1):
            assert not known.take(fill(new, "1", "100", f"t{recent}"))
    assert len(known._trades) + len(known._older_trades) <= 20
    assert known.take(fill(new, "1", "100", "t0"))
