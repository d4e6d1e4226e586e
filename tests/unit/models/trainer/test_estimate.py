from __future__ import annotations

import pytest

from engine.errors import DataError

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.trainer.estimate import largest_batch


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


def test_a_gpu_too_small_for_any_batch_is_a_line():
    with pytest.raises(DataError, match=r"a step of batch 32 does not fit the GPU; .*fit.device: cpu"):
        largest_batch(1_000, lambda batch: False)
