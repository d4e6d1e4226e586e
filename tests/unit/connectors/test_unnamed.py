"""Which of an order's executions an earlier session counted without their ids."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.unnamed import unnamed

D = Decimal
LISTED = [("a", D("0.3")), ("b", D("0.2")), ("c", D("0.5"))]


@pytest.mark.fault("B8")
@pytest.mark.parametrize(
    ("counted", "known", "found", "whole"),
    [
        ("0", (), [], True),
        ("0.3", (), ["a"], True),
        ("0.5", (), ["a", "b"], True),
        ("0.8", ("c",), ["a"], True),
        ("0.5", ("c",), [], True),
        ("0.4", (), ["a"], True),
        ("1.5", (), ["a", "b", "c"], False),
    ],
)
def test_the_oldest_ones_as_far_as_the_quantity_goes(
    counted: str, known: tuple[str, ...], found: list[str], whole: bool
) -> None:
    """The last: the venue does not list all of them yet; it is asked again."""
    assert unnamed(D(counted), LISTED, known) == (found, whole)


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_before_and_after_a_session_found_it_are_told_apart(sizes: list[int], before: int, told: int) -> None:
    """``before`` were filled when it was found, the next ``told`` had ids, the rest came since: exactly the first are
    found, so that exactly the last are told."""
    listed = [(str(number), D(size)) for number, size in enumerate(sizes)]
    names = [name for name, _ in listed]
    counted = sum((qty for _, qty in listed[: before + told]), D(0))
    assert unnamed(counted, listed, set(names[before : before + told])) == (names[:before], True)
