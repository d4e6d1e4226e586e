"""What a simulation holds sizes of orders against."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.commands import NewOrder
from engine.events import OrderReplaced
from engine.managed_order import ManagedOrder
from engine.runtime.simulation.versions import VersionChecks
from tests.support.core import intent

D = Decimal


def replaced(name: str, qty: str) -> OrderReplaced:
    return OrderReplaced(1, 1, "coinbase", name, "v-1", D(qty), D(100))


@pytest.mark.parametrize(("is_ours", "broken"), [(True, ["B13"]), (False, [])])
def test_an_order_of_ours_alone_is_in_the_books_as_it_is_at_the_venue(is_ours: bool, broken: list[str]) -> None:
    """One of others grows with every fill of its entry, or by hand: the books follow when it is looked up."""
    found: list[str] = []

    def fail(invariant: str, _text: str) -> None:
        found.append(invariant)

    checks: Any = VersionChecks(fail, lambda _fault: None)
    order = NewOrder(1, "k-1", "coinbase", intent(qty="0.0594"))
    if is_ours:
        checks.on_new(order)
    checks.on_replaced(replaced("k-1", "0.0594"))
    books = {"k-1": ManagedOrder(order, order.intent, 1, {}, D(0))}
    checks.compare(books, {"k-1": (D("0.0594"), D(100))})
    assert found == []
    checks.compare(books, {"k-1": (D("0.06"), D(100))})
    assert found == broken
