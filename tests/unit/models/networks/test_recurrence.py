from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from torch import nn  # noqa: E402

from models import networks  # noqa: E402
from models.networks.recurrence import Recurrence  # noqa: E402


def windows(batch: int = 4, rows: int = 9, columns: int = 5) -> torch.Tensor:
    return torch.randn(batch, rows, columns, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_it_computes_what_torch_computes(kind, layers, bidirectional):
    """The same weights in torch's own stack: rows, hidden states and cells are equal."""
    torch.manual_seed(0)
    ours = Recurrence(kind, 5, 3, layers, bidirectional=bidirectional).eval()
    make = nn.LSTM if kind == "lstm" else nn.GRU
    theirs = make(5, 3, layers, batch_first=True, bidirectional=bidirectional)
    for number, layer in enumerate(ours.layers):
        for name, weight in layer.named_parameters():
            getattr(theirs, name.replace("_l0", f"_l{number}")).data = weight.data
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    with torch.no_grad():
        seen = ours(windows())
        steps, state = theirs(windows())
    torch.testing.assert_close(seen.steps, steps)
    torch.testing.assert_close(seen.hidden, state[0] if kind == "lstm" else state)
    if kind == "lstm":
        torch.testing.assert_close(seen.cell, state[1])
    else:
        assert seen.cell is None


def test_hidden_states_end_where_each_direction_ends():
    """The newest row holds the forward state, the oldest row the backward one."""
    torch.manual_seed(0)
    network = networks.build("lstm", hidden=4, dense=8, columns=5).eval()
    with torch.no_grad():
        seen = network.encode(windows())
    assert seen.steps.shape == (4, 9, 8)
    assert seen.hidden.shape == seen.cell.shape == (4, 4, 4)  # two layers in two directions
    torch.testing.assert_close(seen.steps[:, -1, :4], seen.hidden[2])
    torch.testing.assert_close(seen.steps[:, 0, 4:], seen.hidden[3])


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_carried_state_goes_on_where_it_stopped(name):
    """Row by row from the state of the row before equals the whole window; both directions cannot be carried."""
    torch.manual_seed(0)
    network = networks.build(name, hidden=4, layers=3, bidirectional=False, skip=True, columns=5).eval()
    with torch.no_grad():
        whole = network.encode(windows())
        state, rows = None, []
        for row in windows().split(1, dim=1):
            seen = network.encode(row, state=state)
            state = seen.hidden, seen.cell
            rows.append(seen.steps)
    torch.testing.assert_close(torch.cat(rows, dim=1), whole.steps)
    torch.testing.assert_close(state[0], whole.hidden)
    both = networks.build(name, hidden=4, columns=5)
    with pytest.raises(ValueError, match="one direction only"):
        both.encode(windows(), state=state)


def test_switches_change_the_layers():
    """Directions, layers, norms and skips: widths, counts and what comes out."""
    torch.manual_seed(0)
    assert Recurrence("gru", 5, 3, 4).width == 3
    assert Recurrence("gru", 5, 3, 4, bidirectional=True).width == 6
    normed = Recurrence("lstm", 5, 3, 2, norm=True)
    assert [len(unit) for unit in normed.units()] == [2, 2]
    plain, skipping = Recurrence("lstm", 3, 3, 2), Recurrence("lstm", 3, 3, 2, skip=True)
    skipping.load_state_dict(plain.state_dict())
    x = windows(columns=3)
    with torch.no_grad():
        first, _ = plain.layers[0](x)
        second, _ = plain.layers[1](first + x)
        torch.testing.assert_close(skipping.eval()(x).steps, second + first + x)


@pytest.mark.parametrize("name", ["lstm", "gru", "temporal_lstm", "attention"])
def test_checkpointing_gives_the_same_gradients(name):
    """In training mode with dropout: the same seed drops the same values when a layer is computed again."""
    x, grown = torch.randn(6, 12, 5, generator=torch.Generator().manual_seed(2)), []
    sizes = {"width": 16, "heads": 2} if name == "attention" else {"hidden": 4}
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = networks.build(name, columns=5, window=12, layers=3, checkpointing=checkpointing, **sizes).train()
        torch.manual_seed(1)
        network(x).square().sum().backward()
        grown.append({key: p.grad for key, p in network.named_parameters()})
    for key, gradient in grown[0].items():
        torch.testing.assert_close(grown[1][key], gradient, msg=key)


def test_checkpointing_keeps_less():
    """Counts the values that the backward pass of an LSTM of five layers keeps, with and without."""
    kept = []
    for checkpointing in (False, True):
        network = Recurrence("lstm", 5, 16, 5, checkpointing=checkpointing).train()
        count = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(windows(rows=30))
        kept.append(count)
    assert kept[1] < kept[0] / 3
