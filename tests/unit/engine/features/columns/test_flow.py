"""Order-flow imbalance, trade flow and volume against naive sums."""

from __future__ import annotations

import numpy as np
import pytest

from engine.features import Sampling
from tests.support.features import assert_same, column_values, naive_rows, quote, rolling, seeded_events, trade

EVENTS = seeded_events(1200)


@pytest.mark.parametrize("ticks", [1, 4])
@pytest.mark.parametrize("n", [1, 5, 20, 50])
def test_order_flow_imbalance_equals_the_naive_sum(ticks: int, n: int) -> None:
    """Cont, Kukanov and Stoikov's sum from a list of quotes, over the mean depth of 20 rows."""
    rows = naive_rows(EVENTS, ticks)
    expected = rolling(rows["ofi"], n, np.sum) / rolling(rows["depth"], 20, np.mean)
    ours = column_values((f"ofi_{n}",), EVENTS, sampling=Sampling.tick_bar(ticks))
    assert_same(ours[f"ofi_{n}"], expected, max(n + 1, 20), scale=10)


def test_order_flow_of_a_bid_that_steps_up_is_its_whole_queue() -> None:
    """A worked example: bid 100 x 2 to 100.5 x 3, ask unchanged at 101 x 4 to 101 x 1: 3 + (4 - 1)."""
    flat = [quote(i, 100.0, 101.0, 2.0, 4.0 + i * 1e-9) for i in range(1, 25)]
    ours = column_values(("ofi_1", "depth_20"), [*flat, quote(30, 100.5, 101.0, 3.0, 1.0)])
    last_ask = flat[-1].ask_qty
    assert ours["ofi_1"][-1] * ours["depth_20"][-1] == pytest.approx(3.0 + last_ask - 1.0, rel=1e-12)


@pytest.mark.parametrize("n", [5, 20, 50])
def test_trade_flow_is_signed_over_traded_volume(n: int) -> None:
    """Naive sums; 0 where nothing traded."""
    rows = naive_rows(EVENTS)
    traded = rolling(rows["volume"], n, np.sum)
    expected = rolling(rows["flow"], n, np.sum) / np.where(traded > 0, traded, 1.0)
    ours = column_values((f"flow_{n}",), EVENTS)
    assert_same(ours[f"flow_{n}"], expected, n, scale=1)


def test_volume_and_its_ratio_equal_numpy() -> None:
    """Row volume, and 5 rows against 50."""
    rows = naive_rows(EVENTS)
    ours = column_values(("volume", "volume_ratio"), EVENTS)
    expected = rolling(rows["volume"], 5, np.mean) / rolling(rows["volume"], 50, np.mean)
    assert_same(ours["volume"], rows["volume"], 1)
    assert_same(ours["volume_ratio"], expected, 50)


def test_flow_counts_traded_quantity_also_where_ticks_are_the_declared_volume() -> None:
    """Two trades in rows whose declared volume is 1: the flow is (3 - 1) / 4, not 2 / 5."""
    events = [quote(i, 100.0 + i, 101.0 + i) for i in range(1, 6)]
    events[2:2] = [trade(2, 102.0, 3.0, 1), trade(2, 102.0, 1.0, -1)]  # type: ignore[list-item]
    ours = column_values(("flow_5", "volume"), events, volume="ticks")
    assert ours["flow_5"][-1] == 0.5
    assert ours["volume"].tolist() == [1.0] * 5


def test_tick_sign_counts_ups_less_downs() -> None:
    """NumPy's signs."""
    close = naive_rows(EVENTS)["close"]
    signs = np.concatenate([[np.nan], np.sign(np.diff(close))])
    ours = column_values(("tick_sign_5", "tick_sign_20", "tick_sign_50"), EVENTS)
    for n in (5, 20, 50):
        assert_same(ours[f"tick_sign_{n}"], rolling(signs, n, np.mean), n + 1, scale=1)
