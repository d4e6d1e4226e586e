from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models import networks  # noqa: E402


def test_xavier_bounds_every_matrix_by_its_inputs_and_outputs():
    """Dense, convolution, and each gate of a recurrent layer: uniform in +-sqrt(6 / (in + out)), biases nothing."""
    torch.manual_seed(0)
    cnn, lstm = networks.build("cnn"), networks.build("lstm")
    convolution, dense = cnn.features[4], cnn.head[0]
    gate = lstm.recurrence.layers[0].weight_ih_l0[:128]
    for weight, fans in ((convolution.weight, (32 + 64) * 5), (dense.weight, 384 + 128), (gate, 40 + 128)):
        limit = math.sqrt(6 / fans)
        assert 0.95 * limit < weight.abs().max() <= limit
        assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)
    assert not dense.bias.any()
    assert not convolution.bias.any()


def test_recurrent_weights_begin_orthogonal_and_forget_gates_open():
    """Each gate's square; of the sum of torch's two biases only the forget gate's is 1. A GRU has no such gate."""
    torch.manual_seed(0)
    layer = networks.build("lstm", hidden=16).recurrence.layers[1]
    for square in layer.weight_hh_l0.chunk(4):
        torch.testing.assert_close(square @ square.T, torch.eye(16), atol=1e-5, rtol=0)
    bias = (layer.bias_ih_l0_reverse + layer.bias_hh_l0_reverse).detach().reshape(4, 16)
    assert bias.mean(dim=1).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert not networks.build("gru", hidden=16).recurrence.layers[0].bias_ih_l0.any()


def test_torch_s_own_initialisation_is_one_setting_away():
    """The same seed gives other weights, and biases that are not nothing."""
    weights = []
    for initialisation in ("xavier", "torch"):
        torch.manual_seed(0)
        weights.append(networks.build("mlp", initialisation=initialisation).dense[0])
    assert not weights[0].bias.any()
    assert weights[1].bias.any()
    assert not torch.equal(weights[0].weight, weights[1].weight)


def test_members_begin_by_their_own_settings():
    """An ensemble with one member that keeps torch's initialisation."""
    network = networks.build("stacked_ensemble", members=[{"name": "mlp", "initialisation": "torch"}, {"name": "mlp"}])
    first, second = network.members().values()
    assert first.dense[0].bias.any()
    assert not second.dense[0].bias.any()
