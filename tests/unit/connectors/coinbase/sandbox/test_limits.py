"""Requests a second."""

from __future__ import annotations

from connectors.coinbase.sandbox.limits import PerSecond

NS = 1_000_000_000


def test_each_caller_has_its_own_second() -> None:
    """Two callers, a full second and the next one."""
    limit = PerSecond(2)
    assert [limit.take("a", NS + i) for i in range(3)] == [(True, 1), (True, 0), (False, 0)]
    assert limit.take("b", NS) == (True, 1)
    assert limit.take("a", 2 * NS) == (True, 1)


def test_callers_are_forgotten_when_there_are_too_many() -> None:
    """The table does not grow with the number of addresses."""
    limit = PerSecond(1)
    for number in range(5_000):
        limit.take(str(number), NS)
    assert len(limit._used) <= 1_024
