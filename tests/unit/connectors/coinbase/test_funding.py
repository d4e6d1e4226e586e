"""Which dollars are funding, and whose."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.coinbase.funding import LEAST, MOST, shares

D = Decimal
amounts = st.decimals("-1000", "1000", places=6)


@pytest.mark.parametrize(
    ("amount", "foretold", "expected"),
    [
        ("-6.2", {"a": "-6.0"}, {"a": "-6.2"}),
        ("0.03", {"a": "0.02"}, {"a": "0.03"}),
        ("-3", {"a": "-6", "b": "3"}, {"a": "-6", "b": "3"}),
        ("-2.9", {"a": "-6.0"}, {}),  # less than half
        ("-12.1", {"a": "-6.0"}, {}),  # more than twice
        ("6", {"a": "-6"}, {}),  # the other way
        ("-500", {"a": "-6"}, {}),  # money that was taken out
        ("-6", {"a": "0"}, {}),
        ("-6", {}, {}),
        ("0", {"a": "-6"}, {}),
    ],
)
def test_only_what_the_rates_foretell_is_funding(
    amount: str, foretold: dict[str, str], expected: dict[str, str]
) -> None:
    found = shares(D(amount), {name: D(one) for name, one in foretold.items()})
    assert found == {name: D(one) for name, one in expected.items()}


@given(amounts, st.dictionaries(st.sampled_from("abcd"), amounts))
def test_the_shares_are_the_whole(amount: Decimal, foretold: dict[str, Decimal]) -> None:
    """To the last digit, or there are none; none goes to a position that was foretold nothing."""
    found = shares(amount, foretold)
    whole = sum(foretold.values())
    assert bool(found) is bool(amount and whole and LEAST <= amount / whole <= MOST)
    assert not found or sum(found.values()) == amount
    assert all(foretold[name] for name in found)
