"""Declarations: what register refuses, how a user's columns are loaded, and that every column keeps its word."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import getcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import DataError
from engine.features import Column, FeatureBuffer, FeatureSpec, column, load_columns
from tests.support.features import BUILT_IN, column_values, drive, instrument, quote, seeded_events

SOURCE = """
from engine.features import Column, register
from engine.features import layout as at
from engine.features.jit import kernel


@kernel
def double_close(s, p, factor):
    s[p] += 1.0
    return at.last(s, at.CLOSE, 0) * factor + 0.0 * s[p]


@kernel
def minus(s, a, b):
    return a - b


quotes = {"unit": "price", "inputs": ("quotes",), "warm_rows": 1}
register(Column(name="double_close", function=double_close, formula="2 c", params=(2.0,), private_slots=1, **quotes))
register(Column(name="gap_to_double", function=minus, formula="a - b", uses=("double_close", "close"), **quotes))
"""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone afterwards."""
    monkeypatch.setattr(column, "_COLUMNS", dict(column._COLUMNS))
    return


def declare(**changes: Any) -> Column:
    fields = {
        "name": "mine",
        "function": lambda s: 0.0,
        "formula": "0",
        "unit": "ratio",
        "inputs": ("quotes",),
        "warm_rows": 1,
    }
    return Column(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "my column"}, "identifier"),
        ({"unit": "furlong"}, "unit 'furlong'.*bps"),
        ({"inputs": ("moon",)}, "needs moon"),
        ({"warm_rows": 0}, "warm_rows 0"),
        ({"params": (256,)}, "looks back 256 rows.*less than 256"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused(changes: dict[str, Any], message: str) -> None:
    """Each with what was seen and what is expected."""
    with pytest.raises(DataError, match=message):
        declare(**changes)


def test_a_name_is_taken_once_and_uses_must_exist(registry: None) -> None:
    """Both raise and leave the registry as it was."""
    with pytest.raises(DataError, match="close is declared twice"):
        column.register(declare(name="close"))
    with pytest.raises(DataError, match=r"unknown feature column 'clsoe'.*'close'"):
        column.register(declare(uses=("clsoe",)))
    assert "mine" not in column._COLUMNS


def test_a_users_columns_are_computed_beside_ours(registry: None, tmp_path: Path) -> None:
    """A file in a folder: two columns, one with private state, one that uses the other and one of ours."""
    (tmp_path / "mine.py").write_text(SOURCE)
    assert load_columns(tmp_path) == ("double_close", "gap_to_double")
    spec = FeatureSpec(name="x", columns=("close", "gap_to_double"), window=2)
    ours = drive(FeatureBuffer(spec, instrument()), seeded_events(50))
    np.testing.assert_allclose(ours["gap_to_double"], ours["close"], rtol=1e-15)


def test_a_users_columns_change_decimal_arithmetic_for_themselves_alone(registry: None, tmp_path: Path) -> None:
    """The file sets precision when it is loaded."""
    (tmp_path / "coarse.py").write_text("import decimal\ndecimal.getcontext().prec = 5\n" + SOURCE)
    before = str(getcontext())
    assert load_columns(tmp_path) == ("double_close", "gap_to_double")
    assert str(getcontext()) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_like_it", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
    ],
)
def test_a_users_file_that_does_not_run_is_one_clear_error(
    registry: None, tmp_path: Path, text: str, message: str
) -> None:
    """The file and the reason, in one line."""
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(DataError, match=f"broken.py failed: {message}"):
        load_columns(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        load_columns(tmp_path / "absent")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_column_is_nan_until_its_declared_row_and_finite_from_it(name: str) -> None:
    """The declaration against 300 rows: ``warm_rows`` is exact, not a guess."""
    values = column_values((name,), seeded_events(420))[name]
    declared = column.lookup(name).warm_rows
    assert np.isnan(values[: declared - 1]).all()
    assert np.isfinite(values[declared - 1 :]).all()


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_column_survives_a_market_in_which_nothing_moves(name: str) -> None:
    """Only sizes flicker, nothing trades: zero divisors everywhere, and every value is finite once warm."""
    quotes = [quote(i * 1_000_000, 100.0, 100.0, bid_qty=float(1 + i % 2)) for i in range(1, 120)]
    values = column_values((name,), quotes)[name]
    assert np.isfinite(values[column.lookup(name).warm_rows - 1 :]).all()


def test_every_column_says_what_it_is() -> None:
    """Formula, unit and inputs are there for each; a column that reads volume says so."""
    for declared in column.known():
        assert declared.formula
        assert declared.inputs
