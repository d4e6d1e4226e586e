"""No label knows more than it says: what lies behind its horizon, and what lies before it, may be anything."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.labels import LabelSpec, label_rows
from models.labels.settings import RowPrices

ROWS = 90
SPECS = (
    LabelSpec(kind="change_bps", horizon_rows=7),
    LabelSpec(kind="return", horizon_rows=3),
    LabelSpec(kind="class", horizon_rows=1, threshold=Decimal("0.005")),
    LabelSpec(kind="horizons", horizons=(2, 5, 9)),
    LabelSpec(kind="barrier", horizon_rows=8, target=Decimal("0.05"), stop=Decimal("0.02")),
    LabelSpec(kind="realised_variance", horizon_rows=5, log=True),
    LabelSpec(kind="parkinson_variance", horizon_rows=5),
    LabelSpec(kind="regime", horizon_rows=20),
    LabelSpec(kind="regime_ending_next", horizon_rows=20),
    LabelSpec(kind="book_point", horizon_rows=4),
    LabelSpec(kind="book_smoothed", horizon_rows=6, threshold=Decimal("0.0001")),
    LabelSpec(kind="book_smoothed_both", horizon_rows=6),
)
LOOKS_BACK = {"regime_ending_next": 19, "book_smoothed_both": 5}
"""Rows before t that two labels read by their definition; all others begin at t, whose close is the entry."""


def prices(seed: int) -> RowPrices:
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.02, ROWS))), 2)
    high, low = close + np.round(random.exponential(1.0, ROWS), 2), close - np.round(random.exponential(1.0, ROWS), 2)
    return RowPrices(np.arange(ROWS) * 10**9, close, high, np.maximum(low, 0.01), Decimal("0.01"))


def poisoned(rows: RowPrices, where: slice, seed: int) -> RowPrices:
    """Other prices there, no number among them too."""
    random = np.random.default_rng(seed)
    columns = []
    for column in (rows.close_px, rows.high_px, rows.low_px):
        changed = column.copy()
        wild = np.round(random.uniform(0.5, 5.0, ROWS) * 100, 2)
        changed[where] = wild[where]
        columns.append(changed)
    return RowPrices(rows.ts_ns, *columns, rows.tick_px)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SPECS), st.integers(25, 80))
def test_no_label_reads_beyond_its_horizon(seed: int, spec: LabelSpec, cut: int) -> None:
    """All rows behind ``cut`` become something else: every label that ends there or before is the same, bit for bit."""
    rows = prices(seed)
    before, after = (label_rows(spec, each) for each in (rows, poisoned(rows, slice(cut + 1, None), seed + 1)))
    safe = before.known & (before.last <= cut)
    assert safe.any()
    assert before.values[safe].tobytes() == after.values[safe].tobytes()
    assert (after.last[safe] == before.last[safe]).all()


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SPECS), st.integers(25, 60))
def test_no_label_reads_what_its_inputs_have_seen(seed: int, spec: LabelSpec, cut: int) -> None:
    """All rows before ``cut`` become something else: labels of that row and later ones stay, but for the two kinds that
    look back by definition, and those by no more than they say."""
    rows = prices(seed)
    before, after = (label_rows(spec, each) for each in (rows, poisoned(rows, slice(0, cut), seed + 1)))
    first = cut + LOOKS_BACK.get(spec.kind, 0)
    assert before.known[first:].any()
    assert before.values[first:].tobytes() == after.values[first:].tobytes()


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.integers(25, 60))
def test_high_and_low_of_the_row_itself_are_no_part_of_its_label(seed: int, cut: int) -> None:
    """The entry is the close; what was before it within the bar has happened already."""
    rows = prices(seed)
    high, low = rows.high_px.copy(), rows.low_px.copy()
    high[cut], low[cut] = 1e6, 0.01
    changed = rows._replace(high_px=high, low_px=low)
    for spec in SPECS:
        assert (label_rows(spec, rows).values[cut:].tobytes()) == label_rows(spec, changed).values[cut:].tobytes()


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SPECS))
def test_a_label_is_known_or_no_number_and_never_reads_itself(seed: int, spec: LabelSpec) -> None:
    """Known and finite are the same rows; ``last`` lies ahead, at most the declared reach."""
    labels = label_rows(spec, prices(seed))
    values = labels.values.reshape(ROWS, -1)
    assert (np.isfinite(values).all(axis=1) == labels.known).all()
    assert (np.isnan(values).all(axis=1) == ~labels.known).all()
    known = np.flatnonzero(labels.known)
    ahead = labels.last[known] - known
    assert (ahead >= 1).all()
    assert (ahead <= max(spec.horizons_of(0))).all()
