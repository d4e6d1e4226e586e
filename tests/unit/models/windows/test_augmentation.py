"""Windows a little different, of training samples alone."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError, DataError
from models.labels import LabelSpec
from models.splits import HeldOutPart, TrainingPart, purged_folds
from models.windows.augmentation import Augmentation, AugmentationSettings
from models.windows.rows import in_memory
from models.windows.samples import Samples, samples_of
from tests.support.candles import candle_spec, market

PART = TrainingPart(np.arange(200))


@pytest.fixture(scope="module")
def samples() -> Samples:
    spec = candle_spec(columns=("close", "ret_1", "rv_5", "day_of_week"))
    markets = [market(count=300), market("B/USD@test", 60, seed=2, sha="cd")]
    return samples_of(in_memory(markets, spec, {"r": LabelSpec(kind="return", horizon_rows=5)}), "r")


def test_noise_is_a_share_of_each_columns_deviation_and_labels_have_none(samples: Samples) -> None:
    """5 % over 4,000 draws, within sampling error; the weekday stays."""
    made = Augmentation.fit(PART, samples, AugmentationSettings(jitter=0.05))
    index = np.tile(PART.index, 20)
    noise = made.windows(index, np.random.default_rng(1)) - samples.windows(index)
    deviation = samples.table.values[samples.position[PART.index]].std(axis=0)
    np.testing.assert_allclose(noise.std(axis=(0, 1))[:3], 0.05 * deviation[:3], rtol=0.05)
    assert (noise[..., 3] == 0.0).all()


def steps_back(samples: Samples, sample: int, window: np.ndarray) -> list[int]:
    """How many rows before its own a window of the sample ends; none where it is a window of nowhere."""
    position = samples.position[sample]
    return [back for back in range(4) if (samples.table.windows(np.array([position - back]))[0] == window).all()]


def test_a_shift_goes_back_to_windows_of_training_samples_only(samples: Samples) -> None:
    """Every window is that of the row or of one of the three before it, all are met; the first samples of an
    instrument, before which there is none, stay."""
    everything = TrainingPart(np.arange(len(samples)))
    made = Augmentation.fit(everything, samples, AugmentationSettings(shift_rows_max=3))
    first = np.flatnonzero(samples.instrument == 1)[0]
    index = np.r_[0:100, first : first + 20]
    windows = made.windows(index, np.random.default_rng(1))
    assert np.isfinite(windows).all()
    steps = [steps_back(samples, sample, window) for sample, window in zip(index, windows, strict=True)]
    assert {each[0] for each in steps} == {0, 1, 2, 3}
    assert steps[0] == steps[100] == [0]


def test_a_shift_never_reaches_into_what_was_held_out(samples: Samples) -> None:
    """A fold in the middle: over many draws no window touches it, from its first window to its last label; without the
    rule the samples behind it would."""
    spans = samples.spans
    train, held = purged_folds(spans, 3)[1]
    made = Augmentation.fit(train, samples, AugmentationSettings(shift_rows_max=3))
    behind = train.index[spans.begin_ns[train.index] == spans.end_ns[held.index].max()]
    assert len(behind)
    for seed in range(20):
        windows = made.windows(behind, np.random.default_rng(seed))
        assert [steps_back(samples, sample, window) for sample, window in zip(behind, windows, strict=True)] == [
            [0] for _ in behind
        ]


def test_it_is_fitted_on_training_samples_and_refuses_any_other_part(samples: Samples) -> None:
    """A wild value outside the part does not change the noise."""
    settings = AugmentationSettings(jitter=0.1)
    before = Augmentation.fit(PART, samples, settings).noise
    values = samples.table.values.copy()
    values[samples.position[250]] = 1e9
    wild = Samples(type(samples.table)(**{**vars_of(samples.table), "values": values}), *fields_of(samples))
    assert Augmentation.fit(PART, wild, settings).noise.tobytes() == before.tobytes()
    with pytest.raises(DataError, match="augmentation of a HeldOutPart"):
        Augmentation.fit(HeldOutPart(PART.index), samples, settings)  # type: ignore[arg-type]


def vars_of(table):  # type: ignore[no-untyped-def]
    return {name: getattr(table, name) for name in table.__dataclass_fields__}


def fields_of(samples: Samples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return samples.position, samples.values, samples.last


def test_settings_that_cannot_be_are_refused(samples: Samples) -> None:
    """More noise than signal, a shift of a whole window."""
    with pytest.raises(ConfigError, match="jitter from 0 to below 1"):
        AugmentationSettings(jitter=1.0)
    with pytest.raises(ConfigError, match="fewer rows than the window"):
        Augmentation.fit(PART, samples, AugmentationSettings(shift_rows_max=4))
