"""What waits for its price: amounts that cancel out, and what is told once."""

from __future__ import annotations

from decimal import Decimal

from engine.unvalued import Unvalued

D = Decimal


def test_what_came_and_left_again_waits_for_nothing() -> None:
    """Of a position each cost by itself."""
    waiting = Unvalued()
    waiting.add("ETH/USD@coinbase", D(5))
    waiting.add("ETH/USD@coinbase", D(-5))
    assert not waiting
    waiting.add("ETH/USD@coinbase", D(5), D(20))
    waiting.add("ETH/USD@coinbase", D(-5), D(19))
    assert [(one.qty, one.avg_px) for one in waiting.carried()] == [(D(5), D(20)), (D(-5), D(19))]


def test_what_has_a_price_is_told_once_and_the_rest_goes_on_waiting() -> None:
    """Also in the next session."""
    waiting, after = Unvalued(), Unvalued()
    waiting.add("EUR", D(5))
    waiting.add("ETH/USD@coinbase", D(2))
    after.restore(waiting.carried())
    assert after.take(lambda name, qty, _avg_px: qty * 2 if name == "EUR" else None) == 10
    assert after.take(lambda name, qty, _avg_px: qty * 2 if name == "EUR" else None) is None
    assert [one.name for one in after.carried()] == ["ETH/USD@coinbase"]
