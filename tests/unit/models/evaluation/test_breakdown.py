from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.breakdown import by_group, months, regimes, symbols
from models.evaluation.draws import DAY_NS, Draws
from models.evaluation.rows import Rows


def rows(days: np.ndarray, column: np.ndarray) -> Rows:
    return Rows(np.arange(len(days)) % 2, days * DAY_NS, np.zeros(len(days)), column.astype(np.float32)[:, None])


def test_rows_are_named_by_symbol_month_and_third_of_training() -> None:
    """1970-01-31 and 02-01; thirds are cut by training rows, whatever the test holds."""
    test = rows(np.array([30, 31]), np.array([40.0, 99.0]))
    train = rows(np.arange(90), np.arange(90.0))
    assert symbols(test, ("A", "B")).tolist() == ["A", "B"]
    assert months(test).tolist() == ["1970-01", "1970-02"]
    assert regimes(test, train, ("vol",), "vol").tolist() == ["middle vol", "high vol"]


def test_each_group_is_compared_on_its_own_rows() -> None:
    """Better by 1 on A, worse by 1 on B: two opposite verdicts where the whole has none."""
    names = np.array(["A", "B"] * 50)
    ours, theirs = np.tile([1.0, 3.0], 50), np.full(100, 2.0)
    found = by_group(names, ours, theirs, Draws.by_span(np.arange(100) * 10**9, 0.1, draws=50))
    assert [(one.name, one.rows, one.loss, one.difference.value) for one in found] == [
        ("A", 50, 1.0, -1.0),
        ("B", 50, 3.0, 1.0),
    ]
    assert found[0].difference.high == pytest.approx(-1.0)
