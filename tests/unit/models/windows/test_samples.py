"""Which rows are samples, and what of time they touch."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.labels import Labels, LabelSpec
from models.windows.rows import in_memory
from models.windows.samples import samples_of
from tests.support.candles import MINUTE, candle_spec, market

TABLE_LABELS = {"next": LabelSpec(kind="return", horizon_rows=3)}


def test_a_sample_has_a_full_clean_window_and_a_label() -> None:
    """Warm from row 8 on (rv_5 needs six rows, the window four): the last three rows have no label."""
    table = in_memory([market(count=50)], candle_spec(), TABLE_LABELS)
    samples = samples_of(table, "next")
    assert samples.position.tolist() == list(range(8, 47))
    assert np.isfinite(samples.windows(np.arange(len(samples)))).all()
    np.testing.assert_array_equal(samples.values, table.labels["next"].values[8:47])


def test_spans_reach_from_the_window_to_the_label() -> None:
    """Four rows back, three ahead, in minutes."""
    spans = samples_of(in_memory([market(count=50)], candle_spec(), TABLE_LABELS), "next").spans
    assert (spans.ts_ns - spans.begin_ns == 4 * MINUTE).all()
    assert (spans.end_ns - spans.ts_ns == 3 * MINUTE).all()


def test_labels_of_ones_own_make_samples_too() -> None:
    """Regime classes exist only after a threshold was learned: they are given, not stored."""
    table = in_memory([market(count=50), market("B/USD@test", 30, sha="cd")], candle_spec(), TABLE_LABELS)
    stored = table.labels["next"]
    own = Labels(np.sign(stored.values), stored.last)
    samples = samples_of(table, own)
    assert set(samples.values.tolist()) <= {-1.0, 0.0, 1.0}
    assert samples.instrument.tolist() == [0] * 39 + [1] * 19
    with pytest.raises(DataError, match="no label 'volatility'; expected one of next"):
        samples_of(table, "volatility")
