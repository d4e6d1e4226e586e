"""One cut of the calendar for everybody."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError
from models.splits.calendar import calendar_split, cuts_by_share, cuts_by_text
from tests.support.panels import panel, times_of


@pytest.mark.parametrize("shares", [(0.6, 0.2), (0.7, 0.15)])
def test_the_same_moments_cut_every_instrument(shares: tuple[float, float]) -> None:
    """An instrument that begins late has fewer training samples, and no cut of its own."""
    samples = panel({"A": range(100), "B": range(40, 100)}, window=5, horizon=3)
    split = calendar_split(samples.spans, cuts_by_share(samples.spans, shares))
    first, second = cuts_by_share(samples.spans, shares)
    for name in ("A", "B"):
        of = samples.instruments == name
        train, validation, test = (
            times_of(part, samples.spans)[of[part.index]] for part in (split.train, split.validation, split.test)
        )
        assert train.max() + 3 < first
        assert validation.min() - 5 >= first
        assert validation.max() + 3 < second
        assert test.min() - 5 >= second
    assert len(split.train) / len(samples.spans) == pytest.approx(shares[0], abs=0.05)


def test_cuts_may_be_dates() -> None:
    """UTC where nothing is said; the order is checked."""
    assert cuts_by_text("1970-01-02", "1970-01-03T00:00:00+01:00") == (86_400 * 10**9, (2 * 86_400 - 3600) * 10**9)
    with pytest.raises(ConfigError, match="the first before the second"):
        cuts_by_text("2022-01-24", "2021-01-24")
    with pytest.raises(ConfigError, match="expected an ISO 8601 time"):
        cuts_by_text("soon", "2021-01-24")


def test_shares_that_leave_no_test_are_refused() -> None:
    """And so is no data at all."""
    spans = panel({"A": range(50)}, window=2, horizon=1).spans
    for shares in ((0.8, 0.2), (0.0, 0.5), (0.5, 0.0)):
        with pytest.raises(ConfigError, match="above 0, and some left"):
            cuts_by_share(spans, shares)
    with pytest.raises(ConfigError, match="no samples"):
        cuts_by_share(spans[np.zeros(0, int)], (0.6, 0.2))
    with pytest.raises(ConfigError, match="the first before the second"):
        calendar_split(spans, (5, 4))
