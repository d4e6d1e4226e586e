"""The bounded memory of ids."""

from __future__ import annotations

from connectors.paper.account import RecentIds


def test_the_oldest_ids_are_forgotten_first():
    """Four ids into a memory of three."""
    recent = RecentIds(3)
    for order_id in ("a", "b", "c", "d"):
        recent.add(order_id)
    assert "a" not in recent
    assert all(order_id in recent for order_id in ("b", "c", "d"))
    assert len(recent) == 3
