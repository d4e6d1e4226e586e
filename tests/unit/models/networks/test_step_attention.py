from __future__ import annotations

import pytest

from tests.support.networks import COLUMNS, WINDOW, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.networks.step_attention import AdditiveAttention, NewestRow, RowAttention  # noqa: E402

# Every network with attention, and the shape of its weights for 5 windows.
WITH_ATTENTION = {
    "attention": (5, 2, 4, WINDOW, WINDOW),
    "cnn_lstm": (5, 1, 1, WINDOW),
    "gru": (5, 1, 1, WINDOW),
    "hybrid": (5, 2, 2, WINDOW, WINDOW),
    "lstm": (5, 2, WINDOW, WINDOW),
    "multi_filter_cnn": (5, 2, WINDOW, WINDOW),
    "temporal_lstm": (5, 1, 1, WINDOW),
}


def windows(columns: int = COLUMNS) -> torch.Tensor:
    return torch.randn(5, WINDOW, columns, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "shape"), WITH_ATTENTION.items())
def test_weights_sum_to_one_for_each_head_and_leave_padding_out(name, shape):
    """Of all networks that attend: over the rows that are read, with and without padding, and while dropout drops."""
    network = small(name, dropout=0.4)
    mask = torch.ones(5, WINDOW, dtype=torch.bool)
    mask[2, :9] = False
    with torch.no_grad():
        plain, padded = network.attention_weights(windows()), network.attention_weights(windows(), mask)
        learning = network.train().attention_weights(windows())
    assert all(module.training for module in network.modules())
    assert plain.shape == padded.shape == shape
    for weights in (plain, padded, learning):
        torch.testing.assert_close(weights.sum(-1), torch.ones(shape[:-1]))
        assert (weights >= 0).all()
    assert not padded[2, ..., :9].any()
    torch.testing.assert_close(padded[0], plain[0])


def test_temporal_attention_of_bin_tabl_sums_to_one():
    """Over the condensed rows, for each output."""
    with torch.no_grad():
        weights = small("bin_tabl", head="three_class").attention_weights(windows())
    assert weights.shape == (5, 3, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(5, 3))


def test_each_decoded_step_has_weights_of_its_own():
    """Three steps over all rows; teacher forcing changes what follows the first step, and nothing before."""
    network = small("temporal_lstm:sequence")
    with torch.no_grad():
        free = network.decode(windows())
        forced = network.decode(windows(), targets=torch.full((5, 3, 1), 9.0))
    assert free.outputs.shape == (5, 3, 1)
    torch.testing.assert_close(free.weights.sum(-1), torch.ones(5, 3))
    assert torch.equal(free.outputs[:, 0], forced.outputs[:, 0])
    assert (free.outputs[:, 1:] - forced.outputs[:, 1:]).abs().min() > 1e-4
    with pytest.raises(ValueError, match="mode: sequence"):
        small("temporal_lstm").decode(windows())


def test_additive_attention_follows_its_formula():
    """``v . tanh(K row + Q newest)``, softmax over the rows, and the mean of the rows by it."""
    torch.manual_seed(0)
    attention, steps = AdditiveAttention(6), torch.randn(2, 4, 6)
    with torch.no_grad():
        scores = torch.stack(
            [
                torch.tanh(attention.key(steps[:, n]) + attention.query(steps[:, -1])) @ attention.score.weight[0]
                for n in range(4)
            ],
            dim=1,
        )
        weights = scores.softmax(1)
        seen = attention(steps)
    torch.testing.assert_close(seen.weights[:, 0, 0], weights)
    torch.testing.assert_close(seen.context, (weights[:, :, None] * steps).sum(1))


def test_asking_for_weights_changes_nothing():
    """The path that tells the weights gives the same rows as the one that does not."""
    torch.manual_seed(0)
    rows = RowAttention(8, 2, 0.1).eval()
    x, read = torch.randn(3, 5, 8), torch.randn(3, 5, 8)
    torch.testing.assert_close(rows.attend(x, None, read).context, rows(x, None, read))


def test_without_attention_there_are_no_weights():
    """Named with what would give some."""
    with pytest.raises(ValueError, match="attention: additive or self"):
        NewestRow("none", 8, 2, 0.0).weights(torch.zeros(1, 3, 8))
