"""Numbers out of whatever the library hands over."""

from __future__ import annotations

from decimal import Decimal
from math import isnan, nan

from hypothesis import given
from hypothesis import strategies as st

from connectors.ccxt_venue.exact import exact, mapping, nanoseconds, plain, positive, text

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(ANYTHING)
def test_any_value_is_a_number_or_none_and_nothing_raises(value: object) -> None:
    """Whatever JSON holds: a list where a text is expected, NaN, a number with 4,000 digits."""
    found = exact(value)
    assert found is None or found.is_finite()
    assert isinstance(plain(value), float)
    assert nanoseconds(value, 7) > 0
    assert text(value).isprintable()
    assert isinstance(mapping(value), dict)


def test_a_float_is_what_it_shows_and_a_text_is_exact() -> None:
    """A tenth is a tenth; a text keeps more digits than a float has."""
    assert exact(0.1) == Decimal("0.1")
    assert exact("12345678.123456789012") == Decimal("12345678.123456789012")
    assert [exact(value) for value in (True, None, "", "nan", "inf", nan, [], {})] == [None] * 8
    assert (positive("0"), positive("-1"), positive("2")) == (None, None, Decimal(2))
    assert isnan(plain(None))
    assert nanoseconds(1_795_183_387_123, 0) == 1_795_183_387_123_000_000
    assert nanoseconds(None, 9) == 9
