"""Batches: their order is the seed's, and a run that goes on has the batches it would have had."""

from __future__ import annotations

from itertools import islice

import msgspec
import numpy as np
import pytest

from engine.errors import ConfigError, DataError
from models.labels.returns import log_return
from models.splits import HeldOutPart, TrainingPart
from models.windows.augmentation import Augmentation, AugmentationSettings
from models.windows.loader import Batch, Place, TrainingBatches, batches
from models.windows.samples import Samples, samples_of
from tests.support.candles import mapped_table


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    table = mapped_table(tmp_path_factory.mktemp("rows"), 500, 5, 8)
    return samples_of(table, log_return(table.close_px + np.arange(500) % 7, 1))


PART = TrainingPart(np.arange(100, 340))


def loader(samples: Samples, **changes: object) -> TrainingBatches:
    settings = {"batch": 32, "seed": 7, **changes}
    return TrainingBatches(PART, samples, **settings)  # type: ignore[arg-type]


def take(one: TrainingBatches, count: int) -> list[Batch]:
    return [one.next() for _ in range(count)]


def assert_equal(ours: list[Batch], theirs: list[Batch]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.index.tolist() == other.index.tolist()
        assert mine.windows.tobytes() == other.windows.tobytes()


def test_an_epoch_has_each_training_sample_once_and_the_next_another_order(samples: Samples) -> None:
    """Seven full batches of 240 samples; no sample of another part."""
    one = loader(samples)
    first, second = list(one.epoch()), list(one.epoch())
    assert one.steps == len(first) == len(second) == 7
    drawn = np.concatenate([batch.index for batch in first])
    assert len(set(drawn.tolist())) == 224
    assert set(drawn.tolist()) <= set(PART.index.tolist())
    assert drawn.tolist() != np.concatenate([batch.index for batch in second]).tolist()
    assert first[0].windows.shape == (32, 8, 5)
    assert first[0].windows.flags.c_contiguous
    assert first[0].windows.tobytes() == samples.windows(first[0].index).tobytes()


def test_the_seed_decides_everything(samples: Samples) -> None:
    """Two loaders of one seed, one of another; with noise, too."""
    noisy = Augmentation.fit(PART, samples, AugmentationSettings(jitter=0.1, shift_rows_max=2))
    assert_equal(take(loader(samples, augmentation=noisy), 10), take(loader(samples, augmentation=noisy), 10))
    one, other = take(loader(samples), 1), take(loader(samples, seed=8), 1)
    assert one[0].index.tolist() != other[0].index.tolist()


@pytest.mark.parametrize("done", [0, 1, 6, 7, 12])
def test_a_run_that_goes_on_has_the_batches_it_would_have_had(samples: Samples, done: int) -> None:
    """Stopped after so many batches, within an epoch and between two, its place through JSON, resumed in a new
    loader."""
    noisy = Augmentation.fit(PART, samples, AugmentationSettings(jitter=0.1))
    weights = np.arange(1.0, 241.0)
    whole = take(loader(samples, augmentation=noisy, weights=weights), 20)
    stopped = loader(samples, augmentation=noisy, weights=weights)
    take(stopped, done)
    place = msgspec.json.decode(msgspec.json.encode(stopped.place), type=Place)
    resumed = loader(samples, augmentation=noisy, weights=weights)
    resumed.resume(place)
    assert_equal(take(resumed, 20 - done), whole[done:])


def test_what_is_left_of_an_epoch_is_given_after_a_resumption(samples: Samples) -> None:
    """Three of seven are done: four come, then the next epoch's seven."""
    one = loader(samples)
    take(one, 3)
    assert len(list(one.epoch())) == 4
    assert one.place.epoch == 1
    assert len(list(one.epoch())) == 7


@pytest.mark.parametrize(
    "changes", [{"seed": 8}, {"batch": 16}, {"samples": 239}, {"rows": "ab"}, {"step": 7}, {"epoch": -1}]
)
def test_a_place_in_another_run_is_refused(samples: Samples, changes: dict[str, int]) -> None:
    """Of another seed, batch or data, or a step that no epoch has."""
    one = loader(samples)
    with pytest.raises(ConfigError, match="resume with the settings and data it was made with"):
        one.resume(msgspec.structs.replace(one.place, **changes))


def test_weights_decide_how_often_a_sample_is_drawn(samples: Samples) -> None:
    """Half of the part has no weight and never comes; the rest about equally often."""
    weights = np.where(np.arange(240) < 120, 0.0, 2.0)
    one = loader(samples, weights=weights, per_epoch=9600)
    drawn = np.concatenate([batch.index for batch in one.epoch()])
    counts = np.bincount(drawn - 100, minlength=240)
    assert counts[:120].sum() == 0
    assert 40 < counts[120:].min() < counts[120:].max() < 130


def test_fewer_samples_an_epoch_are_another_choice_each_time(samples: Samples) -> None:
    """64 of 240: two batches, different ones in the next epoch."""
    one = loader(samples, per_epoch=64)
    first, second = ({int(i) for batch in one.epoch() for i in batch.index} for _ in range(2))
    assert len(first) == len(second) == 64
    assert first != second


def test_held_out_samples_come_once_in_order_of_time(samples: Samples) -> None:
    """The last batch is what is left."""
    part = HeldOutPart(np.arange(340, 450))
    given = list(batches(part, samples, 32))
    assert [len(batch.index) for batch in given] == [32, 32, 32, 14]
    assert np.concatenate([batch.index for batch in given]).tolist() == part.index.tolist()


def test_a_batch_can_be_written_to_without_touching_the_rows(samples: Samples) -> None:
    """It is the caller's; the file is mapped read-only."""
    batch = next(islice(loader(samples).epoch(), 1))
    batch.windows[:] = 0.0
    assert samples.windows(batch.index).any()


@pytest.mark.parametrize(
    "changes",
    [{"batch": 0}, {"batch": 241}, {"weights": np.ones(3)}, {"weights": np.zeros(240)}, {"weights": -np.ones(240)}],
)
def test_what_makes_no_batch_is_refused(samples: Samples, changes: dict[str, object]) -> None:
    """One line each."""
    with pytest.raises(ConfigError, match="expected"):
        loader(samples, **changes)


def test_other_parts_make_no_training_batches(samples: Samples) -> None:
    """Not even of the same samples."""
    with pytest.raises(DataError, match="training batches of a HeldOutPart"):
        TrainingBatches(HeldOutPart(PART.index), samples, batch=32, seed=1)  # type: ignore[arg-type]
