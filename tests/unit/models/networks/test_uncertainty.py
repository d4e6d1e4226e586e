from __future__ import annotations

import pytest

from tests.support.networks import COLUMNS, SMALL, WINDOW, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from torch import nn  # noqa: E402

from models.networks.settings import AssetSettings  # noqa: E402
from models.networks.uncertainty import dropout_active, sample_forecasts  # noqa: E402


def windows(batch: int = 6) -> torch.Tensor:
    return torch.randn(batch, WINDOW, COLUMNS, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", SMALL)
def test_forecasts_vary_and_the_network_stays_as_it_was(name):
    """Every network: samples differ, batch statistics do not move, modes come back, nothing is drawn twice."""
    network = small(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.manual_seed(0)
    seen = sample_forecasts(network, windows(), passes=8)
    assert seen.samples.shape == (8, 6, 1)
    assert seen.deviation.max() > 1e-4
    torch.testing.assert_close(seen.mean, seen.samples.mean(0))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())
    torch.manual_seed(0)
    assert torch.equal(sample_forecasts(network, windows(), passes=8).samples, seen.samples)


def test_batch_norms_stay_in_evaluation():
    """A window's samples do not depend on its neighbours: the modes inside, in a network that is being trained."""
    network = small("hybrid").train()
    with dropout_active(network):
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d)]
        drops = [m for m in network.modules() if isinstance(m, nn.Dropout | nn.MultiheadAttention)]
        assert norms
        assert not any(m.training for m in norms)
        assert all(m.training for m in drops)
    assert all(module.training for module in network.modules())


def test_samples_are_of_the_asset_that_is_asked_about():
    """Without dropout each is the forecast with that id; the share of hidden ids belongs to training."""
    network = small("mlp", dropout=0.0, assets=AssetSettings(count=2, id_dropout=0.5))
    asset = torch.tensor([1, 2, 0, 1, 2, 0])
    seen = sample_forecasts(network, windows(), passes=3, asset=asset)
    assert not seen.deviation.any()
    with torch.no_grad():
        torch.testing.assert_close(seen.mean, network(windows(), None, asset))
        assert not torch.allclose(seen.mean, network(windows()))


def test_without_dropout_there_is_no_spread():
    """All samples are the forecast itself, padding included."""
    network = small("lstm", dropout=0.0)
    mask = torch.ones(6, WINDOW, dtype=torch.bool)
    mask[0, :5] = False
    seen = sample_forecasts(network, windows(), passes=3, mask=mask)
    assert not seen.deviation.any()
    with torch.no_grad():
        torch.testing.assert_close(seen.mean, network(windows(), mask))
