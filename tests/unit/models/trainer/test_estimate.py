from __future__ import annotations

import time

import pytest

from engine.errors import DataError
from models.trainer.settings import settings_of
from tests.support.training import candle_settings

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.trainer import dataset, estimate
from models.trainer.estimate import largest_batch, spent_on
from models.trainer.run import estimate_run, fit_normaliser_of


@pytest.mark.parametrize(
    ("rows", "room", "batch", "asked"),
    [
        (100_000, 1_500, 1_024, [32, 64, 128, 256, 512, 1_024, 2_048]),
        (100_000, 100_000, 8_192, [32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192]),
        (300, 100_000, 256, [32, 64, 128, 256]),
        (100_000, 40, 32, [32, 64]),
        (20, 100_000, 20, []),
    ],
)
def test_the_batch_is_the_largest_power_of_two_that_fits_the_gpu(rows, room, batch, asked):
    """A GPU that takes so many rows a step; one that is full is not asked for more."""
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= room

    assert largest_batch(rows, fits) == batch
    assert tried == asked


def test_what_others_had_of_the_processor_is_told_apart():
    """A call that waits takes its time, and next to nothing of a core."""
    waited = spent_on(lambda: time.sleep(0.05))
    assert waited.seconds >= 0.05
    assert waited.alone_s < 0.02
    worked = spent_on(lambda: sum(range(200_000)))
    assert 0 < worked.alone_s <= worked.seconds + 1e-3


def test_a_first_look_which_allocates_is_not_counted(data, monkeypatch):
    """Of each stage one look goes before the one that is measured, as with steps: it took up to twice as long."""
    settings = settings_of(candle_settings("classes"))
    rows = dataset.build(settings, dataset.feature_spec(settings.features), data)
    looks, measured = [], []
    real = estimate.raw_outputs
    monkeypatch.setattr(estimate, "raw_outputs", lambda *given: looks.append(1) or real(*given))

    def counted(act):
        before = len(looks)
        found = spent_on(act)
        measured.append((before, len(looks)))
        return found

    monkeypatch.setattr(estimate, "spent_on", counted)
    estimate.estimate(settings, rows, fit_normaliser_of(settings, rows).module)
    assert measured[0] == (1, 2)


def test_a_walk_forward_takes_what_all_of_its_origins_take(data, monkeypatch):
    """The last, which learns from most, was told as all of it."""
    from models.trainer import run as training

    real = training.estimate
    monkeypatch.setattr(training, "estimate", lambda *given: made.append(real(*given)) or made[-1])
    made: list[estimate.Estimate] = []
    found = estimate_run(settings_of(candle_settings("classes", split={"walk_forward": {"origins": 3}})), data=data)
    (one,) = made
    assert found["origins"] == 3
    assert found["seconds"] == pytest.approx(3 * one.seconds, abs=0.1)
    assert found["alone_seconds"] == pytest.approx(3 * one.alone_seconds, abs=0.1)


def test_a_gpu_too_small_for_any_batch_is_a_line():
    with pytest.raises(DataError, match=r"a step of batch 32 does not fit the GPU; .*fit.device: cpu"):
        largest_batch(1_000, lambda batch: False)
