"""Limits: nothing missing, nothing unlimited."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.errors import ConfigError
from risk.limits import Limits, check_usable, parse_limits
from tests.support.limits import GENEROUS, make_limits


@pytest.mark.fault("F5")
@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_each_missing_limit_is_refused_by_name(name: str) -> None:
    """Leaves each field out, and sets it to None: both are the same error."""
    without = {key: value for key, value in GENEROUS.items() if key != name}
    for values in (without, {**without, name: None}):
        with pytest.raises(ConfigError, match=name):
            parse_limits(values)


@pytest.mark.fault("F5")
def test_no_limit_has_a_default() -> None:
    """Constructs the struct with nothing: every field is asked for."""
    with pytest.raises(TypeError):
        Limits()  # type: ignore[call-arg]


@pytest.mark.fault("F9")
def test_an_unknown_key_names_the_nearest_valid_one() -> None:
    """Misspells one key."""
    with pytest.raises(ConfigError, match=r"'max_daily_los' is unknown; expected 'max_daily_loss'"):
        parse_limits({**GENEROUS, "max_daily_los": 1})


@pytest.mark.fault("F9")
@pytest.mark.parametrize(("name", "value"), [("collar_bps", "wide"), ("max_open_orders", 1.5), ("max_order_qty", 3)])
def test_a_wrong_type_names_the_key(name: str, value: object) -> None:
    """Text, a fraction and a scalar where a number, a whole number and a table belong."""
    with pytest.raises(ConfigError, match=name):
        parse_limits({**GENEROUS, name: value})


def test_numbers_are_exact() -> None:
    """A float of the configuration becomes the decimal that was written."""
    assert make_limits(collar_bps=0.1).collar_bps == Decimal("0.1")
    assert make_limits(max_order_qty={"*": 0.3}).max_order_qty == {"*": Decimal("0.3")}


def test_generous_limits_are_usable() -> None:
    """The base of the other tests has no reason to deny."""
    assert make_limits().unusable() == ""


@pytest.mark.fault("F5")
@pytest.mark.parametrize("name", [n for n in Limits.__struct_fields__ if n != "allowed_instruments"])
@pytest.mark.parametrize("value", [0, -1, "NaN", "Infinity"])
def test_zero_negative_nan_and_infinite_limits_are_unusable(name: str, value: object) -> None:
    """Sets each limit to each; whole-number limits cannot be NaN, which the parser refuses."""
    given = {"*": value} if isinstance(GENEROUS[name], dict) else value
    try:
        limits = make_limits(**{name: given})
    except ConfigError:
        assert value in ("NaN", "Infinity")
        return
    assert name in limits.unusable()


@pytest.mark.fault("F5")
def test_empty_tables_are_unusable() -> None:
    """An allow-list or a table of quantities with nothing in it."""
    assert "allowed_instruments" in make_limits(allowed_instruments=[]).unusable()
    assert "max_order_qty" in make_limits(max_order_qty={}).unusable()


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_order_qty": {}}, r"risk\.max_order_qty is empty.* expected an entry for each allowed instrument"),
        ({"max_position_qty": {"*": 0}}, r"risk\.max_position_qty\[\*\] is 0.* expected a limit above 0"),
        ({"max_order_qty": {"A": 1}}, r"max_order_qty has no entry for B, C, D and 1 more: .* it has A"),
        ({"allowed_instruments": ["X"]}, r"names none of what this session trades \(A, B, C and 2 more\).* it has X"),
    ],
)
def test_limits_under_which_an_instrument_could_never_be_entered_are_refused(
    changes: dict[str, object], said: str
) -> None:
    """Five allowed instruments, and one limit that leaves all or some of them out."""
    names = ["A", "B", "C", "D", "E"]
    with pytest.raises(ConfigError, match=said):
        check_usable(make_limits(**{"allowed_instruments": names, **changes}), names)


def test_limits_that_cover_what_is_both_allowed_and_traded_pass() -> None:
    """B is traded and not allowed, X allowed and not traded: neither needs an entry."""
    check_usable(make_limits(allowed_instruments=["A", "X"], max_order_qty={"A": 1}), ["A", "B"])
