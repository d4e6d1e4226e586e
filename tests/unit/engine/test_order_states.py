"""The state table itself."""

from __future__ import annotations

from engine.order_states import FINAL, TABLE, Happening, OrderState


def test_final_orders_never_come_back_to_life() -> None:
    """Invariant I6 on the table itself: from a final state every happening stays final; but a rejection is only a claim
    that the order does not exist, and an acknowledgement or a fill disproves it, and what has filled as far as was
    known may be larger."""
    back = {(before, what) for (before, what), after in TABLE.items() if before in FINAL and after not in FINAL}
    assert back == {
        (OrderState.REJECTED, Happening.ACCEPT),
        (OrderState.REJECTED, Happening.PARTIAL_FILL),
        (OrderState.FILLED, Happening.GROW),
    }


def test_only_an_unsent_order_can_be_dropped_or_sent() -> None:
    """HELD is the only door to the wire."""
    assert {state for (state, what) in TABLE if what in (Happening.SEND, Happening.DROP)} == {OrderState.HELD}
