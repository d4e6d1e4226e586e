"""A normaliser that was kept with its run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataError

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.manifest import FittedOn, Normalisation  # noqa: E402
from models.networks.normalisers import Affine, PerWindow, Unscaled  # noqa: E402
from models.networks.served import Normaliser  # noqa: E402
from models.trainer.normalise import Fitted  # noqa: E402
from models.trainer.normaliser_file import read_normaliser, write_normaliser  # noqa: E402

RANDOM = np.random.default_rng(3)


def scale_free() -> Normaliser:
    module = Normaliser(("qty", "price", "plain", "qty_total", "price_difference"), 1)
    module.mean.copy_(torch.from_numpy(RANDOM.normal(size=5)))
    module.std.copy_(torch.from_numpy(RANDOM.uniform(1e-7, 1e7, 5)))
    return module


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("scale_free", scale_free()),
        ("robust", Affine("robust", 6e4 + RANDOM.normal(size=5), np.array([1e-9, 0.0, 3.3, 1 / 3, 7.0]), (-8.0, 8.0))),
        ("z_score", Affine("z_score", RANDOM.normal(size=5), RANDOM.uniform(0.1, 9.0, 5), None)),
        ("per_window", PerWindow(5)),
        ("none", Unscaled(5)),
    ],
)
def test_it_computes_the_same_bits_when_it_is_read_again(tmp_path: Path, kind: str, module: torch.nn.Module) -> None:
    """Also the manifest's words of it, and its state, into which a network's weights are loaded."""
    fitted_on = FittedOn(10, 0, "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")
    assert read_normaliser(tmp_path) is None
    write_normaliser(tmp_path, Fitted(module, Normalisation(kind, None, fitted_on)))
    again = read_normaliser(tmp_path)
    assert again.description == Normalisation(kind, None, fitted_on)
    assert again.module.column_scaling() == module.column_scaling()
    windows = torch.from_numpy((100.0 + RANDOM.normal(size=(3, 8, 5))).astype(np.float32))
    assert torch.equal(again.module(windows), module(windows))
    module.load_state_dict(again.module.state_dict())


def test_a_file_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "normaliser.json").write_text('{"module": {"type": "affine"}}')
    with pytest.raises(DataError, match=r"normaliser\.json cannot be read"):
        read_normaliser(tmp_path)
