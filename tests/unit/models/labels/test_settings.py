"""A label by its name in a configuration."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest
import yaml

from engine.errors import ConfigError
from models.labels import LabelSpec, label_rows
from models.labels import settings as module
from models.labels.settings import RowPrices

SECOND = 1_000_000_000
CLOSE = np.round(100 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.01, 300))), 2)


def rows(tick: str = "0.01") -> RowPrices:
    ts_ns = np.arange(300) * SECOND
    return RowPrices(ts_ns, CLOSE, CLOSE + 0.5, CLOSE - 0.5, Decimal(tick))


KINDS = {
    "change_bps": {"horizon_rows": 5},
    "return": {"horizon_rows": 5},
    "class": {"horizon_rows": 1, "threshold": "0.005"},
    "horizons": {"horizons": [5, 10, 15]},
    "barrier": {"horizon_rows": 8, "target": "0.05", "stop": "0.02"},
    "realised_variance": {"horizon_rows": 5, "log": True},
    "parkinson_variance": {"horizon_rows": 5, "log": True},
    "regime": {"horizon_rows": 20},
    "regime_ending_next": {"horizon_rows": 20},
    "book_point": {"horizon_rows": 10},
    "book_smoothed": {"horizon_rows": 10, "threshold": "0.0001"},
    "book_smoothed_both": {"horizon_rows": 10, "threshold": "0.0001"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_written_in_yaml(kind: str) -> None:
    """Written, read, made: labels for most rows, and none that reads beyond its declared reach."""
    text = yaml.safe_dump({"kind": kind, **KINDS[kind]})
    spec = msgspec.convert(yaml.safe_load(text), LabelSpec)
    labels = label_rows(spec, rows())
    known = np.flatnonzero(labels.known)
    assert len(known) > 200
    reach = 1 if kind == "regime_ending_next" else max(spec.horizons_of(0))
    assert (labels.last[known] - known == reach).all()
    assert set(KINDS) == set(module._MAKE) == set(module._USES)


def test_a_threshold_written_as_a_number_is_the_number_that_was_written() -> None:
    """0.005 in YAML is a float; what is compared is five thousandths."""
    assert msgspec.convert(yaml.safe_load("{kind: class, threshold: 0.005}"), LabelSpec).threshold == Decimal("0.005")


def test_what_a_kind_does_not_use_is_refused() -> None:
    """A stop of a return would be silently ignored."""
    with pytest.raises(ConfigError, match="a label of kind return with stop"):
        LabelSpec(kind="return", stop=Decimal("0.02"))
    with pytest.raises(ConfigError, match="bound below 0"):
        LabelSpec(kind="class", threshold=Decimal(-1))


def test_labels_across_a_pause_are_left_out() -> None:
    """A night between rows 149 and 150: five rows look over it."""
    prices = rows()
    ts_ns = prices.ts_ns.copy()
    ts_ns[150:] += 3600 * SECOND
    labels = label_rows(LabelSpec(kind="return", horizon_rows=5, span_s_max=60.0), prices._replace(ts_ns=ts_ns))
    assert np.flatnonzero(~labels.known)[:5].tolist() == [145, 146, 147, 148, 149]
    assert np.isnan(labels.values[145:150]).all()


def test_prices_between_ticks_are_compared_as_they_are() -> None:
    """Split-adjusted prices make barrier labels too; on the grid both ways agree."""
    spec = LabelSpec(kind="barrier", horizon_rows=8, target=Decimal("0.0217"), stop=Decimal("0.0113"))
    exact, loose = label_rows(spec, rows()), label_rows(spec, rows("0.3"))
    assert (exact.values[exact.known] == loose.values[loose.known]).mean() > 0.99
    assert exact.known.sum() == 292


@pytest.mark.parametrize("kind", ["book_point", "book_smoothed", "book_smoothed_both"])
def test_labels_of_a_book_are_of_prices_on_the_grid(kind: str) -> None:
    """A mid between half-ticks, and one that is no number, would be rounded to some class; half a tick is a mid."""
    spec = LabelSpec(kind=kind, horizon_rows=2)
    assert label_rows(spec, rows("0.02")).known.any()
    for wrong in (0.003, np.nan):
        prices = rows()._replace(close_px=CLOSE + np.where(np.arange(300) == 7, wrong, 0.0))
        with pytest.raises(ConfigError, match=r"mids that are no whole numbers of half-ticks of 0\.01"):
            label_rows(spec, prices)


def test_horizons_may_be_told_in_seconds() -> None:
    """5, 10 and 15 seconds of rows of a second are 5, 10 and 15 rows; rows of no length, or both at once, are
    refused."""
    by_time = LabelSpec(kind="horizons", horizons_s=(5, 10, 15))
    by_rows = LabelSpec(kind="horizons", horizons=(5, 10, 15))
    prices = rows()._replace(interval_ns=SECOND)
    assert label_rows(by_time, prices).values.tobytes() == label_rows(by_rows, prices).values.tobytes()
    with pytest.raises(ConfigError, match="expected a horizon in rows"):
        label_rows(by_time, rows())
    for both in ({}, {"horizons": (5,), "horizons_s": (5,)}):
        with pytest.raises(ConfigError, match="a label of several horizons"):
            LabelSpec(kind="horizons", **both)
