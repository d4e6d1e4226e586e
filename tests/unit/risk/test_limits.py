"""Limits: nothing missing, nothing unlimited."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from engine.errors import ConfigError
from risk.limits import REQUIRED, GroupLimits, GuardianRules, Limits, StrategyLimits, check_usable, parse_limits
from tests.support.limits import EVERY_CONTROL, GENEROUS, NUMBERS, make_limits, with_number


@pytest.mark.fault("F5")
@pytest.mark.parametrize("name", REQUIRED)
def test_each_missing_limit_is_refused_by_name(name: str) -> None:
    """Leaves each field out, and sets it to None: both are the same error."""
    without = {key: value for key, value in GENEROUS.items() if key != name}
    for values in (without, {**without, name: None}):
        with pytest.raises(ConfigError, match=name):
            parse_limits(values)


@pytest.mark.fault("F5")
def test_no_limit_has_a_default() -> None:
    """Constructs the struct with nothing: the required fields are asked for."""
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
    """The bases of the other tests have no reason to deny."""
    assert make_limits().unusable() == ""
    assert make_limits(**EVERY_CONTROL, min_volume=1).unusable() == ""


@pytest.mark.fault("F5")
@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, "NaN", "Infinity"])
def test_zero_negative_nan_and_infinite_limits_are_unusable(path: str, value: object) -> None:
    """Sets each number to each; whole-number limits cannot be NaN, which the parser refuses."""
    try:
        limits = parse_limits(with_number(path, value))
    except ConfigError:
        assert value in ("NaN", "Infinity")
        return
    name, *_, last = path.split(".") if "." in path else (path, path)
    assert limits.unusable().startswith(name)
    assert last in limits.unusable()


def test_every_number_of_the_limits_is_in_the_list_of_numbers() -> None:
    """So that a new limit is tried with zero and NaN as well."""
    named = {path.split(".")[0] for path in NUMBERS} | {"volume_column", "opposing", "version"}
    lists = {"allowed_instruments", "restricted_instruments", "allowed_strategies", "restricted_strategies"}
    assert named | lists | {"references"} == set(Limits.__struct_fields__)


@pytest.mark.fault("F5")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"allowed_strategies": []}, "allowed_strategies is empty"),
        ({"strategy_limits": {"a": {}}}, r"strategy_limits\[a\] limits nothing"),
        (
            {"group_limits": {"g": {"instruments": [], "max_net_notional": 1}}},
            r"group_limits\[g\]\.instruments is empty",
        ),
        ({"group_limits": {"g": {"instruments": ["BTC/USD"]}}}, r"group_limits\[g\] limits nothing"),
        ({"max_repeats": 3}, "max_repeats without repeat_window_ns"),
        ({"loss_cooldown_ns": 3}, "loss_cooldown_ns without max_consecutive_losses"),
        ({"version": 0}, "version is 0"),
    ],
)
def test_controls_that_limit_nothing_are_unusable(changes: dict[str, object], said: str) -> None:
    """Each looks like a control and would be none."""
    with pytest.raises(ConfigError, match=f"risk.{said}"):
        check_usable(make_limits(**changes), [])


def test_the_page_of_risk_names_every_setting_and_every_check() -> None:
    """docs/risk.md against the fields of the limits and the names that the checks refuse by."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "risk.md").read_text(encoding="utf-8")
    fields = [*Limits.__struct_fields__, *StrategyLimits.__struct_fields__, *GroupLimits.__struct_fields__]
    missing = [name for name in (*fields, *GuardianRules.__struct_fields__) if not re.search(rf"\b{name}\b", page)]
    assert missing == []
    source = "".join(
        (root / "risk" / f"{name}.py").read_text(encoding="utf-8") for name in ("controls", "throttles", "losses")
    )
    named = set(re.findall(r'(?:return|check_\w+)\s*\(\s*"([a-z][a-z_]+)"', source)) - {"strategy_limits"}
    assert {"max_credit", "strategy_order_rate", "loss_cooldown"} <= named
    assert [name for name in sorted(named) if f"`{name}`" not in page] == []


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


@pytest.mark.fault("F5")
def test_a_collar_without_a_single_reference_is_refused() -> None:
    """It looks like a control and would be none; where one of the instruments has a reference it binds there."""
    allowed = {"allowed_instruments": ["A", "B"], "reference_collar_bps": 5}
    for references in (None, {}, {"X": "R"}):
        with pytest.raises(ConfigError, match=r"risk\.reference_collar_bps is set, and none of A, B has"):
            check_usable(make_limits(**{**allowed, "references": references}), ["A", "B"])
    check_usable(make_limits(**{**allowed, "references": {"A": "R"}}), ["A", "B"])
