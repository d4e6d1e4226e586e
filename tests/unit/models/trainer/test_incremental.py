"""Gain and shift of normalised columns become constants of the normaliser, whichever it is."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.networks.normalisers import Affine, PerWindow  # noqa: E402
from models.networks.served import Normaliser, Served  # noqa: E402
from models.trainer.incremental import ColumnAffine, _plain  # noqa: E402


def normaliser(kind: str) -> torch.nn.Module:
    if kind == "scale_free":
        made = Normaliser(["price", "plain", "plain"], 0)
        made.mean.copy_(torch.tensor([0.2, -1.0, 3.0]))
        made.std.copy_(torch.tensor([2.0, 0.5, 0.25]))
        return made
    return Affine("robust", np.array([100.0, -1.0, 3.0]), np.array([2.0, 0.5, 0.0]), (-8.0, 8.0))


@pytest.mark.parametrize("kind", ["scale_free", "robust"])
def test_the_normaliser_computes_gain_times_z_plus_shift(kind: str) -> None:
    """Within the cut; a column that was constant stays 0 under `robust`.  What is kept computes the same as constants,
    and tells its scaling."""
    module = normaliser(kind)
    x = torch.tensor([[100.49, -0.7, 3.0], [100.5, -1.2, 3.2]]).unsqueeze(0)
    before = module(x)
    served = Served(module, torch.nn.Identity())
    affine = ColumnAffine(module)
    with torch.no_grad():
        affine.gain.copy_(torch.tensor([1.5, 0.5, 2.0]))
        affine.shift.copy_(torch.tensor([0.1, -0.2, 0.3]))
    affine.put()
    wanted = affine.gain * before + affine.shift
    if kind == "robust":
        wanted = torch.cat([wanted[..., :2], torch.zeros_like(wanted[..., 2:])], dim=2)
    torch.testing.assert_close(module(x), wanted, atol=2e-5, rtol=1e-5)
    module(x).sum().backward()
    assert affine.gain.grad is not None
    kept = _plain(served).normaliser
    torch.testing.assert_close(kept(x), wanted.detach(), atol=2e-5, rtol=1e-5)
    assert not any(buffer.requires_grad for buffer in kept.buffers())
    assert kept.column_scaling()[1][2] == pytest.approx(1.0)  # 0.5 / 0.5


def test_a_normaliser_of_the_window_has_no_constants() -> None:
    assert not ColumnAffine.fits(PerWindow(3))
