"""Rows that are made again have what labels are made of."""

from __future__ import annotations

import numpy as np

from engine.features import FeatureSpec, Sampling
from models.observer.rebuilding import Rows
from models.trainer.recorded import Recorded
from models.windows.rows import instrument_rows
from tests.support.features import instrument, seeded_events

BARS = FeatureSpec("bars", ("close",), 10, Sampling(kind="time_bar", interval_ns=1_000_000_000))


def test_closes_and_ranges_of_rows_are_those_that_training_makes_labels_of() -> None:
    events = seeded_events(2_000)
    made = instrument_rows(Recorded(instrument(), lambda: iter(events), ()), BARS)
    rows = Rows(BARS, instrument(), lambda _: None)
    for event in events:
        rows.update(event)
    assert rows.count == len(made.high_px) > 50
    assert rows.pxs(0, rows.count - 1).tolist() == made.rows.mid_px.tolist()
    ranges = rows.log_ranges(0, rows.count - 1)
    np.testing.assert_allclose(ranges, np.log(made.high_px / made.low_px), rtol=1e-12)
    assert (ranges > 0.0).any()
