"""Which finalist is chosen."""

from __future__ import annotations

import pytest

pytest.importorskip("optuna")

from models.tuning.finalists import Finalist, chosen_first
from models.tuning.settings import load_tuning
from tests.support.training import candle_settings
from tests.support.tuning import write_study


def finalist(number: int, net: float | None) -> Finalist:
    return Finalist(number, {}, 0.6, (1, 2), (0.6, 0.61), "x", net)


def test_by_profit_one_whose_profit_is_not_known_goes_last(tmp_path):
    """Also behind a loss; of those, the earlier one is first."""
    study = write_study(
        tmp_path,
        training=candle_settings("return"),
        metric="mse",
        finalists={"top": 2, "seeds": [1, 2], "by": "profit"},
        profit={"cost_bps": 1.0, "periods_per_year": 252},
    )
    found = chosen_first(
        load_tuning(study), [finalist(1, None), finalist(2, -0.01), finalist(3, None), finalist(4, 0.02)]
    )
    assert [one.number for one in found] == [4, 2, 1, 3]
