"""What an order may become from one look at it to the next."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.order_states import FINAL, TABLE, Happening, OrderState
from engine.runtime.order_steps import Seen, find_backward_step

S = OrderState


def seen(state: OrderState, filled: str = "1", qty: str = "1") -> Seen:
    return Seen(state, Decimal(filled), Decimal(qty))


@pytest.mark.parametrize("state", S)
def test_filled_quantity_never_shrinks(state: OrderState) -> None:
    assert "went from 1 to 0.5" in find_backward_step(seen(S.PARTLY_FILLED), seen(state, "0.5"))


@pytest.mark.parametrize("before", sorted(FINAL))
@pytest.mark.parametrize("after", S)
def test_an_ended_order_stays_ended(before: OrderState, after: OrderState) -> None:
    """A late fill may fill it; one that never arrived may have."""
    may = after in (before, S.FILLED) or before is S.REJECTED
    assert find_backward_step(seen(before), seen(after)) == ("" if may else f"it went from {before} to {after}")


@pytest.mark.parametrize("after", [S.PARTLY_FILLED, S.CANCEL_PENDING])
@pytest.mark.parametrize(("filled", "qty", "is_well"), [("1", "2", True), ("1", "1", False), ("2", "2", False)])
def test_one_that_had_filled_lives_on_where_it_is_larger(
    after: OrderState, filled: str, qty: str, is_well: bool
) -> None:
    """And may be cancelled in the same moment; not where nothing is left of it."""
    assert (find_backward_step(seen(S.FILLED), seen(after, filled, qty)) == "") is is_well
    assert find_backward_step(seen(S.CANCELLED), seen(after, filled, qty)) != ""


@pytest.mark.parametrize("what", [Happening.CANCEL, Happening.EXPIRE, Happening.LOSE])
def test_one_that_was_larger_than_it_had_filled_may_have_ended_by_the_next_look(what: Happening) -> None:
    """As the table has it: two facts may come between two looks."""
    grown = TABLE[S.FILLED, Happening.GROW]
    assert find_backward_step(seen(S.FILLED), seen(TABLE[grown, what], "1", "2")) == ""
