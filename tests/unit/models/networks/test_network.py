"""What every network keeps: frozen is frozen, what is not learns, modes differ where they must."""

from __future__ import annotations

from copy import deepcopy

import pytest

from tests.support.networks import COLUMNS, MODES, WINDOW, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from torch import nn  # noqa: E402

from models.networks.settings import AssetSettings  # noqa: E402

everyone = pytest.mark.parametrize("mode", MODES)
NORMS = {"input_norm": "instance"}
WITHOUT_NORM = ("ensemble", "lstm_ensemble", "stacked_ensemble", "two_stage")
"""Networks whose members normalise, not they."""


def windows(batch: int = 8) -> torch.Tensor:
    return torch.randn(batch, WINDOW, COLUMNS, generator=torch.Generator().manual_seed(3))


def step(network: nn.Module) -> None:
    """One step of plain descent on targets that no network hits."""
    network.train()
    target = torch.linspace(-3.0, 5.0, 8)
    output = network(windows(), None, torch.arange(8) % 3)
    loss = (output - target.reshape(-1, *[1] * (output.ndim - 1))).square().mean()
    learning = [p for p in network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.grad = None
    loss.backward()
    with torch.no_grad():
        for parameter in learning:
            parameter.sub_(0.1 * parameter.grad)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], keys: list[str]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in keys)


@everyone
def test_gradients_flow_to_every_parameter_that_is_not_frozen(mode):
    """A loss over all outputs, with everything switched on that adds parameters.

    Of each parameter some value has a gradient that is not zero; dropout and dead units may take it from others.
    """
    changes = {} if mode in WITHOUT_NORM else NORMS
    network = small(mode, assets=AssetSettings(count=2, id_dropout=0.0), **changes).train()
    network(windows(), None, torch.arange(8) % 3).square().sum().backward()
    silent = [
        name
        for name, p in network.named_parameters()
        if p.requires_grad and (p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.any())
    ]
    # A shift before a softmax over all keys moves every score alike: a key's bias has no gradient but rounding.
    assert silent == []
    assert [name for name, p in network.named_parameters() if not p.requires_grad and p.grad is not None] == []


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "lstm_ensemble"])  # its one layer is its mixture
def test_frozen_layers_do_not_change_and_the_others_do(mode):
    """Freezes each number of layers in turn and takes a step: weights and batch statistics of the frozen ones stay."""
    network = small(mode)
    for count in range(1, len(network.layers()) + 1):
        trained = deepcopy(network)
        trained.freeze_layers(count)
        before = deepcopy(trained)
        if count == len(network.layers()):
            assert not any(p.requires_grad for p in trained.parameters())
            break
        step(trained)
        pairs = list(zip(before.layers(), trained.layers(), strict=True))
        for old, new in pairs[:count]:
            assert same(old.state_dict(), new.state_dict(), list(old.state_dict()))
        for old, new in pairs[count:]:
            assert not same(old.state_dict(), new.state_dict(), list(old.state_dict()))
        frozen = [module for layer in trained.layers()[:count] for module in layer.modules()]
        assert not any(module.training for module in frozen if not list(module.children()))
        trained.freeze_layers(0)
        assert all(p.requires_grad for layer in trained.layers() for p in layer.parameters())


@everyone
def test_a_number_of_layers_that_is_not_there_is_refused(mode):
    """One more than all, and fewer than none."""
    network = small(mode)
    for count in (-1, len(network.layers()) + 1):
        with pytest.raises(ValueError, match="layers"):
            network.freeze_layers(count)


@everyone
def test_training_and_evaluation_differ_where_they_must(mode):
    """Dropout and batch statistics make training forecasts vary with the seed and the batch; evaluation is a function
    of the window alone."""
    network = small(mode)
    x = windows()
    with torch.no_grad():
        whole, alone = network(x), torch.cat([network(one) for one in x.split(1)])
        torch.testing.assert_close(whole, alone)
        assert torch.equal(whole, network(x))
        training = network.train()(x)
        assert not torch.allclose(training, whole, atol=1e-4) or mode == "lstm_ensemble"  # all of it is frozen


@pytest.mark.parametrize("mode", ["ensemble", "stacked_ensemble", "lstm_ensemble", "two_stage"])
def test_frozen_members_never_change(mode):
    """A step in training mode: neither weights nor batch statistics of a member move, what combines them does."""
    network = small(mode)
    before = deepcopy(network.state_dict())
    step(network)
    after = network.state_dict()
    inside = [key for key in after if key.startswith(("base.", "first."))]
    assert len(inside) > 10
    assert same(before, after, inside)
    assert not same(before, after, [key for key in after if key not in inside])
    assert all(not module.training for member in network.members().values() for module in member.modules())


@everyone
def test_every_parameter_is_in_one_group_of_the_optimiser(mode):
    """With a rate for one part; vectors are not shrunk, and what is frozen is in none."""
    network = small(mode)
    part = next(reversed(network.parts()))
    assert not set(network.members()) & set(network.parts())
    groups = network.parameter_groups(1e-3, {part: 5e-4}, 0.01)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    biases = {id(p) for name, p in network.named_parameters() if name.endswith("bias")}
    for group in groups:
        assert group["lr"] == (5e-4 if group["part"] == part else 1e-3)
        assert {p.ndim > 1 and id(p) not in biases for p in group["params"]} == {group["weight_decay"] > 0}


@everyone
def test_features_are_one_row_a_window(mode):
    """What the last layer decides by: finite, and different for different windows."""
    network = small(mode)
    with torch.no_grad():
        features = network.extract_features(windows(3))
    assert features.shape[0] == 3
    assert torch.isfinite(features).all()
    assert torch.pdist(features.flatten(1)).min() > 1e-6


@pytest.mark.parametrize("mode", [mode for mode in MODES if "ensemble" not in mode and mode not in ("mlp", "cnn")])
def test_windows_of_padding_are_refused_where_they_are_wrong(mode):
    """Another shape, another type, padding behind a real row."""
    network = small(mode)
    x = windows(2)
    for mask, said in (
        (torch.ones(2, WINDOW - 1, dtype=torch.bool), "expected .batch, rows. of bool"),
        (torch.ones(2, WINDOW), "torch.float32"),
        (torch.ones(2, WINDOW, dtype=torch.bool).index_fill(1, torch.tensor([WINDOW - 1]), False), "padding after"),
        (torch.ones(2, WINDOW, dtype=torch.bool).index_fill(1, torch.tensor([3]), False), "padding after a real row"),
    ):
        with pytest.raises(ValueError, match=said):
            network(x, mask)


def test_a_network_without_an_encoder_of_its_own_says_so():
    """The contract's own method is not an answer."""
    from models.networks.network import Network

    with pytest.raises(NotImplementedError):
        Network().extract_features(windows())
