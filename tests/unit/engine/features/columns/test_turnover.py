"""Volume columns against their definitions in NumPy (TA-Lib: test_technical)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.features import rolling
from tests.support.technical import made, values_of

N = 400
random = np.random.default_rng(8)
CLOSE = 100.0 + np.round(np.cumsum(random.normal(0, 0.05, N)), 2)
HIGH, LOW = CLOSE + 0.05 * random.integers(0, 3, N), CLOSE - 0.05 * random.integers(0, 3, N)
VOLUME = np.round(random.exponential(2.0, N), 3)


def test_the_volume_score_is_a_z_score_over_twenty_rows() -> None:
    """Two passes in NumPy; at a volume of 1e9 to its digits."""
    for scale in (1.0, 1e9):
        volume = VOLUME + scale
        ours = values_of(made(CLOSE, HIGH, LOW, CLOSE, volume))["volume_z20"]
        expected = (volume - rolling(volume, 20, np.mean)) / rolling(volume, 20, np.std)
        np.testing.assert_allclose(ours[19:], expected[19:], rtol=1e-9, atol=1e-15 * scale + 1e-12)


def test_equal_volumes_have_no_score() -> None:
    """0.1 twenty times: its mean is not exactly 0.1, and the score is exactly 0."""
    ours = values_of(made(CLOSE, HIGH, LOW, CLOSE, np.full(N, 0.1)))["volume_z20"]
    assert set(ours[19:]) == {0.0}


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_money_flow_does_not_depend_on_the_unit_of_volume(scale: float) -> None:
    """The definition in NumPy, also where both flows together are below 1, which TA-Lib calls 0."""
    typical = (HIGH + LOW + CLOSE) / 3
    flow = np.r_[0.0, np.sign(np.diff(typical))] * typical * VOLUME * scale
    rising, all_of_it = rolling(np.maximum(flow, 0), 14, np.sum), rolling(np.abs(flow), 14, np.sum)
    ours = values_of(made(CLOSE, HIGH, LOW, CLOSE, VOLUME * scale))["mfi_14"]
    np.testing.assert_allclose(ours[14:], 100 * rising[14:] / all_of_it[14:], rtol=1e-9)


def test_a_huge_flow_once_gone_leaves_no_trace() -> None:
    """A candle with a volume of 1e15 leaves the window; money flow, volume mean and score are those without it."""
    spiked = VOLUME.copy()
    spiked[100] = 1e15
    with_it, without = (values_of(made(CLOSE, HIGH, LOW, CLOSE, volume)) for volume in (spiked, VOLUME))
    for name in ("mfi_14", "volume_sma_20", "volume_z20", "vwap"):
        assert with_it[name][110] != without[name][110]
        np.testing.assert_array_equal(with_it[name][121:], without[name][121:])


def test_accumulation_leaves_out_candles_without_a_range() -> None:
    """The definition in NumPy, on candles of which some have none."""
    span = HIGH - LOW
    assert (span == 0).any()
    share = np.where(span > 0, ((CLOSE - LOW) - (HIGH - CLOSE)) / np.where(span > 0, span, 1.0), 0.0)
    ours = values_of(made(CLOSE, HIGH, LOW, CLOSE, VOLUME))["ad_line"]
    np.testing.assert_allclose(ours, np.cumsum(share * VOLUME), rtol=1e-9, atol=1e-9)
