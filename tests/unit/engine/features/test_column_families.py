"""Columns with arguments: one name for each, nested, refused in words."""

from __future__ import annotations

import math

import pytest

from engine.errors import DataError
from engine.features import Column, Family, FeatureBuffer, FeatureSpec, column, register_family
from engine.features import layout as at
from engine.features.jit import kernel
from tests.support.features import instrument, quote


@kernel
def older(s, p, n, value):  # type: ignore[no-untyped-def]
    """Private: the last n values."""
    place = p + int(s[at.ROWS]) % n
    before = s[place]
    s[place] = value
    return before if s[at.ROWS] > n else at.NAN


def make(of: str, rows: int) -> Column:
    if type(rows) is not int or rows < 1:
        raise ValueError(f"rows {rows}")
    inner = column.lookup(of)
    return Column(
        name=f"older({of},{rows})",
        function=older,
        formula=f"{of} {rows} rows ago",
        unit=inner.unit,
        inputs=inner.inputs,
        candle=inner.candle,
        warm_rows=inner.warm_rows + rows,
        params=(rows,),
        uses=(of,),
        private_slots=rows,
    )


@pytest.fixture(autouse=True)
def _family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column, "_FAMILIES", {})
    monkeypatch.setattr(column, "_MADE", {})
    register_family(
        Family(name="older", make=make, usage="older(column,rows)", example="older(close,1)", formula="an old value")
    )


def test_a_family_makes_the_column_that_its_name_says() -> None:
    """Lags of a lag, through the compiled kernel: values of 6 quotes."""
    spec = FeatureSpec("x", ("close", "older(close,2)", "older(older(close,2),1)"), 1)
    buffer = FeatureBuffer(spec, instrument())
    seen = []
    for i in range(6):
        buffer.update(quote(i + 1, 100.0 + i, 101.0 + i))
        seen.append([buffer.latest(name) for name in spec.columns])
    assert seen[-1] == [105.5, 103.5, 102.5]
    assert [math.isnan(row[1]) for row in seen] == [True, True, False, False, False, False]
    assert spec.warm_rows == 4


def test_the_name_is_part_of_the_fingerprint() -> None:
    """Another argument is another column."""
    one, two = (FeatureSpec("x", (f"older(close,{n})",), 1) for n in (1, 2))
    assert one.fingerprint() != two.fingerprint()
    assert FeatureSpec.from_json(one.to_json()).fingerprint() == one.fingerprint()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("older(close, 2)", r"write older\(close,2\)"),
        ("older(close,02)", r"write older\(close,2\)"),
        ("older(close)", r"expected older\(column,rows\)"),
        ("older(close,0)", "rows 0"),
        ("older(clos,1)", "did you mean 'close'"),
        ("oldr(close,1)", r"did you mean 'older\(column,rows\)'"),
        ("older", r"did you mean 'older\(column,rows\)'"),
    ],
)
def test_a_name_that_means_nothing_is_refused_in_words(name: str, said: str) -> None:
    """One line with the way out."""
    with pytest.raises(DataError, match=said) as caught:
        column.lookup(name)
    assert "\n" not in str(caught.value)


def test_a_family_is_declared_once() -> None:
    """Two of a name are an error."""
    with pytest.raises(DataError, match="declared twice"):
        register_family(Family(name="older", make=make, usage="", example="", formula=""))
