"""Weights and oversampling of the training part, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from models.labels import Labels, LabelSpec
from models.splits import HeldOutPart, TrainingPart
from models.windows.rows import in_memory
from models.windows.samples import Samples, samples_of
from models.windows.sampling import class_weights, oversampled, uniqueness_weights
from tests.support.candles import candle_spec, market


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Returns over five rows of two instruments, as classes: one in ten is rare."""
    markets = [market(count=300), market("B/USD@test", 300, seed=2, sha="cd")]
    table = in_memory(markets, candle_spec(), {"r": LabelSpec(kind="return", horizon_rows=5)})
    labels = table.labels["r"]
    rare = np.where(np.arange(len(table)) % 10 == 0, 1.0, 0.0)
    return samples_of(table, Labels(np.where(labels.known, rare, np.nan), labels.last))


def test_by_class_weights_every_class_is_drawn_equally_often(samples: Samples) -> None:
    """Weights of each class add up to the same, with a mean of 1."""
    part = TrainingPart(np.arange(400))
    weights, labels = class_weights(part, samples), samples.values[:400]
    assert weights.mean() == pytest.approx(1.0)
    assert weights[labels == 0.0].sum() == pytest.approx(weights[labels == 1.0].sum())


def test_oversampling_repeats_the_rare_and_loses_none(samples: Samples) -> None:
    """Both classes equally often, every sample of the part at least once, no other; the same for the same seed."""
    part = TrainingPart(np.arange(100, 300))
    drawn = oversampled(part, samples, seed=3)
    labels = samples.values[drawn]
    assert (labels == 0.0).sum() == (labels == 1.0).sum()
    assert set(drawn.tolist()) == set(part.index.tolist())
    assert drawn.tolist() == oversampled(part, samples, seed=3).tolist() != oversampled(part, samples, seed=4).tolist()


def test_uniqueness_counts_the_training_labels_of_the_same_instrument(samples: Samples) -> None:
    """Every sample: labels of five rows overlap four others; every fifth: each is alone, whatever the other instrument
    does at the same time."""
    dense = uniqueness_weights(TrainingPart(np.arange(len(samples))), samples)
    inner = slice(10, 200)
    np.testing.assert_allclose(dense[inner], dense[10])
    sparse = uniqueness_weights(TrainingPart(np.arange(0, len(samples), 5)), samples)
    np.testing.assert_allclose(sparse, 1.0)
    mixed = uniqueness_weights(TrainingPart(np.r_[0:50, 50:200:5]), samples)
    assert mixed[60:].min() > 3 * mixed[10:40].max()


@pytest.mark.parametrize("make", [class_weights, uniqueness_weights, lambda part, of: oversampled(part, of, 1)])
def test_no_other_part_is_weighted_or_repeated(samples: Samples, make) -> None:  # type: ignore[no-untyped-def]
    """A validation part of the very same samples is refused in one line."""
    with pytest.raises(DataError, match="of a HeldOutPart; expected the training part, and no other"):
        make(HeldOutPart(np.arange(50)), samples)
