"""Net returns by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.returns import by_day, net_of_return, net_of_signal
from models.evaluation.rows import Rows

HOUR_NS = 3_600_000_000_000


def rows(instrument: list[int], hours: list[int], label: list[float]) -> Rows:
    count = len(hours)
    return Rows(
        np.array(instrument), np.array(hours) * HOUR_NS, np.array(label, float), np.zeros((count, 0), np.float32)
    )


def test_a_signal_is_one_position_an_episode() -> None:
    """Two in eight hours are one; what is not said is not bought."""
    given = rows([0, 0, 0, 1], [0, 4, 20, 20], [1, 0, 0, 1])
    said = np.array([True, True, True, False])
    net = net_of_signal(given, said, 8 * 3600.0, gain_bps=500, loss_bps=200, cost_bps=20)
    assert net == pytest.approx([0.048, 0.0, -0.022, 0.0])


def test_a_return_is_held_where_the_forecast_is_beyond_its_cost() -> None:
    given = rows([0, 0, 0], [0, 1, 2], [0.02, -0.01, 0.05])
    net = net_of_return(given, np.array([0.01, -0.02, 0.0005]), cost_bps=10.0)
    assert net == pytest.approx([np.expm1(0.02) - 0.001, -np.expm1(-0.01) - 0.001, 0.0])
    assert net_of_return(given, np.array([0.01, -0.02, 0.0005]), 10.0, horizon_rows=5) == pytest.approx(net / 5)


def test_a_day_is_the_sum_over_its_positions_of_one_stake_for_all_instruments() -> None:
    given = rows([0, 1, 0], [1, 2, 30], [0, 0, 0])
    days, net = by_day(given, np.array([0.02, 0.04, -0.01]))
    assert days.tolist() == [0, 24 * HOUR_NS]
    assert net == pytest.approx([0.03, -0.005])
