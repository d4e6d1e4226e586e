from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from torch import nn  # noqa: E402

from models.trainer.averages import averaged, recompute_statistics  # noqa: E402


def test_an_average_forgets_its_beginning_and_then_follows_slowly():
    """The decay by hand, over four steps of one weight."""
    module = nn.Linear(1, 1, bias=False)
    kept = averaged(module, 0.9)
    wanted = None
    for count, value in enumerate((1.0, 2.0, 4.0, 8.0)):
        nn.init.constant_(module.weight, value)
        kept.update_parameters(module)
        decay = min(0.9, (1 + count) / (10 + count))
        wanted = value if wanted is None else decay * wanted + (1 - decay) * value
    assert kept.module.weight.item() == pytest.approx(wanted)
    assert module.weight.item() == 8.0


def test_batch_statistics_are_those_of_the_averaged_weights():
    """Mean and variance over all rows, dropout off; a norm that is frozen keeps its own."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 4), nn.BatchNorm1d(4))
    module[4].requires_grad_(False)
    rows = torch.randn(64, 3)
    recompute_statistics(module, [(part,) for part in rows.split(16)], module)
    with torch.no_grad():
        hidden = module[0](rows)
    assert torch.allclose(module[1].running_mean, hidden.mean(dim=0), atol=1e-6)
    assert torch.allclose(
        module[1].running_var, torch.stack([part.var(dim=0) for part in hidden.split(16)]).mean(dim=0), atol=1e-6
    )
    assert torch.equal(module[4].running_mean, torch.zeros(4))
    assert not module.training
    assert module[1].momentum == 0.1
