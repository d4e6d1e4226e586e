"""What an ensemble makes of its members; also the one of LSTMs, the stacked one, the hybrid's and the pipeline."""

from __future__ import annotations

import pytest

from tests.support.networks import COLUMNS, WINDOW, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")


def windows(batch: int = 5) -> torch.Tensor:
    return torch.randn(batch, WINDOW, COLUMNS, generator=torch.Generator().manual_seed(1))


def test_the_ensemble_is_half_weighted_members_and_half_meta_learner():
    """Computed by hand from what is reachable: predictions, weights, meta-learner."""
    network = small("ensemble", head="three_class")
    with torch.no_grad():
        said, weights = network.base_predictions(windows()), network.ensemble_weights(windows())
        assert said.shape == (5, 3, 3)
        assert weights.shape == (5, 3)
        torch.testing.assert_close(weights.sum(1), torch.ones(5))
        assert (weights[0] - weights[1]).abs().max() > 1e-6  # they depend on the window
        for at, member in enumerate(("lstm", "cnn", "attention")):
            torch.testing.assert_close(said[:, at], network.members()[member](windows()))
        wanted = ((weights[:, :, None] * said).sum(1) + network.meta(said.flatten(1))) / 2
        torch.testing.assert_close(network(windows()), wanted)


@pytest.mark.parametrize(("weights", "learned"), [("equal", False), ("learned", True)])
def test_an_lstm_ensemble_begins_as_the_mean_of_different_members(weights, learned):
    """Equal weights stay; learned ones begin equal, sum to 1 after they moved, and then weigh."""
    network = small("lstm_ensemble", weights=weights, members=3)
    with torch.no_grad():
        said = network.base_predictions(windows())
        assert said.shape == (5, 3, 1)
        assert (said[:, 0] - said[:, 1]).abs().min() > 1e-4
        torch.testing.assert_close(network(windows()), said.mean(1))
    assert [name for name, p in network.named_parameters() if p.requires_grad] == (
        ["mixture.logits"] if learned else []
    )
    if learned:
        network.mixture.logits.data = torch.tensor([2.0, 0.0, -1.0])
        shares = network.ensemble_weights()
        assert shares.sum().item() == pytest.approx(1.0)
        with torch.no_grad():
            torch.testing.assert_close(network(windows()), (shares[:, None] * said).sum(1))


def test_a_stacked_ensemble_is_half_the_mean_and_half_what_it_learned():
    """Computed by hand; the members are those of the settings."""
    network = small("stacked_ensemble")
    assert list(network.members()) == ["lstm_1", "mlp_2"]
    with torch.no_grad():
        said = network.base_predictions(windows())
        wanted = (said.mean(1) + network.head(network.meta(said.flatten(1)))) / 2
        torch.testing.assert_close(network(windows()), wanted)


def test_the_hybrid_mixes_three_branches_by_weights_that_sum_to_one():
    """Each branch says something else; moved weights move the forecast."""
    network = small("hybrid", head="multi_task")
    with torch.no_grad():
        said = network.base_predictions(windows())
        assert said.shape == (5, 3, 6)
        assert torch.pdist(said[0]).min() > 1e-3
        torch.testing.assert_close(network(windows()), said.mean(1))
        network.mixture.logits.data = torch.tensor([0.0, 0.0, 30.0])
        assert network.ensemble_weights().sum().item() == pytest.approx(1.0)
        torch.testing.assert_close(network(windows()), said[:, 2])
    assert list(network.parts()) == ["cnn", "lstm", "fusion", "heads", "mixture"]


@pytest.mark.parametrize(("convolutions", "rows", "channels"), [(1, 8, 32), (2, 4, 64), (3, 2, 128)])
def test_the_pipeline_reads_the_cnn_s_feature_maps(convolutions, rows, channels):
    """Steps and width of what the LSTM gets, and that it is what the CNN has there."""
    network = small("two_stage", convolutions=convolutions)
    cnn = network.members()["cnn"]
    with torch.no_grad():
        maps = cnn.feature_maps(windows(), convolutions=convolutions)
        assert maps.shape == (5, channels, rows)
        seen = network.encode(windows()).steps
        torch.testing.assert_close(seen, network.recurrence(maps.transpose(1, 2)).steps)
        torch.testing.assert_close(network.base_predictions(windows())[:, 0], cnn(windows()))
