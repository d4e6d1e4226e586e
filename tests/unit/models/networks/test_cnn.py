from __future__ import annotations

import pytest

from models import networks

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from torch import nn  # noqa: E402

from models.networks.served import INPUT_LIMIT, KINDS, Normaliser, Served  # noqa: E402


def _randomised_norms(network: nn.Module) -> nn.Module:
    """Batch norms as after training: with their initial statistics, folding them would prove nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    return network.eval()


def test_the_cnn_maps_a_batch_of_windows_to_one_logit_each():
    """Runs batches of 2 and 7."""
    network = networks.build("cnn").eval()
    for batch in (2, 7):
        assert network(torch.zeros(batch, 30, 40)).shape == (batch, 1)


def test_the_export_form_computes_the_same_function():
    """Compares both forms on random windows with trained-like batch norms."""
    torch.manual_seed(0)
    network = _randomised_norms(networks.build("cnn"))
    x = torch.randn(64, 30, 40)
    with torch.no_grad():
        assert (network(x) - network.export_form()(x)).abs().max() < 1e-4


def test_making_the_export_form_leaves_the_network_trainable():
    """Counts what still takes gradients afterwards."""
    served = Served(Normaliser(["plain"] * 40, 0), networks.build("cnn"))
    served.export_form()
    assert sum(p.numel() for p in served.network.parameters() if p.requires_grad) == 130_081


def _normaliser() -> Normaliser:
    return Normaliser(["price", "price_difference", "qty", "qty_total", "plain"], 0)


def test_the_normaliser_follows_its_formulas():
    """Computes each kind by hand on a window of three rows."""
    x = torch.tensor([[[98.0, 1.0, 2.0, 50.0, 0.3], [99.0, -1.0, -4.0, 52.0, -0.1], [100.0, 2.0, 0.0, 53.0, 0.5]]])
    free = _normaliser().scale_free(x)[0]
    expected = torch.tensor(
        [
            # distance to the last close 100 in bps of the mean close 99; bps of it; mean |qty| is 2; distances -3, -1,
            # 0 in multiples of that 2; as is
            [-2e4 / 99, 1e4 / 99, 1.0, -1.5, 0.3],
            [-1e4 / 99, -1e4 / 99, -2.0, -0.5, -0.1],
            [0.0, 2e4 / 99, 0.0, 0.0, 0.5],
        ]
    )
    torch.testing.assert_close(free, expected)


def test_the_z_score_uses_the_fitted_statistics_and_is_cut_at_8():
    """Sets mean and std by hand and looks at a value inside and one far outside."""
    normaliser = _normaliser()
    normaliser.mean.fill_(1.0)
    normaliser.std.fill_(0.5)
    z = normaliser(torch.tensor([[[100.0, 0.0, 1.0, 1.0, 2.0], [100.0, 0.0, 1.0, 1.0, 1e9]]]))
    assert z[0, 0, 4] == pytest.approx(2.0)
    assert z[0, 1, 4] == 8.0


@pytest.mark.parametrize("value", [0.0, 1e-38, 1e-10, 1.0, 1e20, INPUT_LIMIT])
def test_every_window_up_to_the_limit_stays_finite(value):
    """Windows of one size and of mixed signs, from nothing to the declared limit, for all kinds."""
    normaliser = Normaliser(list(KINDS), 0)
    torch.manual_seed(0)
    x = torch.randn(16, 30, len(KINDS)).sign() * value
    assert torch.isfinite(normaliser(x)).all()


def test_fitting_makes_training_columns_standard():
    """Fits on random windows and looks at mean and deviation of the result."""
    torch.manual_seed(0)
    normaliser = _normaliser()
    x = torch.randn(200, 30, 5) * torch.tensor([1.0, 0.2, 3.0, 9.0, 0.01]) + torch.tensor([100.0, 0.1, 0.0, 5.0, 0.3])
    normaliser.fit(x)
    z = normaliser(x).reshape(-1, 5)
    assert z.mean(dim=0).abs().max() < 0.05
    assert (z.std(dim=0) - 1).abs().max() < 0.1


def test_one_mad_tick_does_not_set_the_scale():
    """Fits with and without a single value a million times too large."""
    torch.manual_seed(0)
    x = torch.randn(200, 30, 5) + 100.0
    clean, dirty = _normaliser(), _normaliser()
    clean.fit(x)
    x = x.clone()
    x[50, 3, 4] = 1e8
    dirty.fit(x)
    assert dirty.std[4] == pytest.approx(float(clean.std[4]), rel=0.05)


def test_a_price_far_above_its_moves_keeps_their_digits():
    """Moves of a cent at 60,000 with a narrow z-score, against float64: a folded constant term would be off by 0.01."""
    normaliser = Normaliser(["price", "plain"], 0)
    normaliser.std.fill_(0.01)
    x = torch.tensor([[[60_000.01, 0.0], [60_000.02, 0.0], [60_000.0, 0.0]]])
    exact = x.double()[0, :, 0]
    expected = ((exact - exact[-1]) / (exact.mean() * 1e-4) / 0.01).float()
    torch.testing.assert_close(normaliser(x)[0, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_a_cumulative_column_without_a_quantity_is_measured_by_itself():
    """Leaves out the qty column: distances -3, -1 and 0 have a mean size of 4/3."""
    x = torch.tensor([[[98.0, 50.0], [99.0, 52.0], [100.0, 53.0]]])
    free = Normaliser(["price", "qty_total"], 0).scale_free(x)[0, :, 1]
    torch.testing.assert_close(free, torch.tensor([-2.25, -0.75, 0.0]))


def test_the_export_form_of_other_window_lengths_computes_the_same_function():
    """Windows of every rest after the three poolings: each changes which last values are dropped."""
    torch.manual_seed(0)
    for window in range(24, 32):
        network = _randomised_norms(networks.build("cnn", window=window, columns=8))
        x = torch.randn(4, window, 8)
        with torch.no_grad():
            assert (network(x) - network.export_form()(x)).abs().max() < 1e-4


def test_an_unknown_kind_is_refused():
    """Misspells one."""
    with pytest.raises(ValueError, match="prise"):
        Normaliser(["prise"], 0)


def test_the_served_module_returns_calibrated_probabilities():
    """A temperature of 2 halves the logit."""
    torch.manual_seed(0)
    served = Served(Normaliser(["plain"] * 40, 0), networks.build("cnn")).eval()
    served.temperature.fill_(2.0)
    x = torch.randn(3, 30, 40)
    with torch.no_grad():
        torch.testing.assert_close(served(x), torch.sigmoid(served.logits(x) / 2))
