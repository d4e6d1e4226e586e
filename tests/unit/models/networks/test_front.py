from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.networks.front import AssetEmbedding, BilinearNorm, Front, InstanceNorm  # noqa: E402
from models.networks.settings import AssetSettings  # noqa: E402


def windows(batch: int = 3, rows: int = 7, columns: int = 4) -> torch.Tensor:
    return torch.randn(batch, rows, columns, generator=torch.Generator().manual_seed(1)) * 3 + 2


def test_bilinear_normalisation_adds_z_scores_of_both_axes():
    """Against mean and deviation by torch; the gates begin at 1, scales at 1, shifts at 0."""
    x = windows()
    over_time = (x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True)
    over_columns = (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    norm = BilinearNorm(4)
    torch.testing.assert_close(norm(x), over_time + over_columns)
    norm.gates.data = torch.tensor([-40.0, math.log(math.e**2 - 1)])  # softplus: next to nothing, and 2
    norm.column_scale.data.fill_(3.0)
    norm.column_shift.data.fill_(0.5)
    torch.testing.assert_close(norm(x), 2 * (3 * over_columns + 0.5))


def test_a_gate_stays_the_parameter_it_was():
    """Descends a gate far below where a clamp would end: still positive, still learning, still the same parameter."""
    norm = BilinearNorm(4)
    optimiser = torch.optim.SGD([norm.gates], lr=1.0)
    gate = norm.gates
    for _ in range(30):
        optimiser.zero_grad()
        norm(windows()).square().mean().backward()
        optimiser.step()
    assert norm.gates is gate
    assert torch.nn.functional.softplus(gate).min() > 0
    assert gate.grad.abs().min() > 0


@pytest.mark.parametrize("norm", [BilinearNorm(4), InstanceNorm(4)])
def test_a_still_market_gives_zeros_and_finite_gradients(norm):
    """Every value alike: nothing is divided by nothing."""
    x = torch.full((2, 7, 4), 3.0, requires_grad=True)
    norm(x).sum().backward()
    assert torch.equal(norm(x)[:, :, :4], torch.zeros(2, 7, 4))
    assert torch.isfinite(x.grad).all()


def test_instance_normalisation_hands_on_the_scale_it_took_away():
    """Twice the moves: the same z-scores, and every scale column higher by log 2."""
    norm = InstanceNorm(4)
    one, two = norm(windows()), norm(windows() * 2)
    torch.testing.assert_close(one[:, :, :4], two[:, :, :4], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(two[:, :, 4:] - one[:, :, 4:], torch.full((3, 7, 4), math.log(2)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("price", [0.0, 1.38, 60_000.0])
def test_moves_count_whatever_the_price(price):
    """Moves of 40 steps of float32 at that price: the same z-scores as in float64, and none from rounding alone."""
    step = max(price, 1.0) * 2.0**-20 * 5
    moves = torch.tensor([0.0, 1.0, -2.0, 3.0, 0.0, 1.0, 2.0], dtype=torch.float64) * 64 * step
    exact = moves + price
    x = exact.float().reshape(1, 7, 1)
    exact = x.double().flatten()
    wanted = (exact - exact.mean()) / exact.std(correction=0)
    seen = InstanceNorm(1)(x)[0, :, 0].double()
    torch.testing.assert_close(seen, wanted, atol=1e-3, rtol=0)
    noise = torch.full((1, 7, 1), price)
    noise[0, 3] = torch.nextafter(noise[0, 3], torch.tensor(1e9))
    assert InstanceNorm(1)(noise)[..., 0].abs().max() < 0.2


def test_the_front_says_how_many_columns_come_out():
    """Each norm alone and with an embedding."""
    for norm, columns in (("none", 4), ("bilinear", 4), ("instance", 8)):
        for assets, more in ((None, 0), (AssetSettings(count=5, width=10), 10)):
            front = Front(4, norm, assets)
            assert front(windows()).shape == (3, 7, columns + more) == (3, 7, front.columns)


def test_without_anything_the_front_hands_on_the_window_itself():
    """No copy, no parameter."""
    x = windows()
    front = Front(4, "none", None)
    assert front(x) is x
    assert list(front.parameters()) == []


def test_padded_rows_come_out_as_zeros():
    """With norm and embedding; what stands in them does not matter."""
    x = windows()
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[0, :3] = False
    front = Front(4, "bilinear", AssetSettings(count=2))
    seen = front(x, mask)
    assert not seen[0, :3].any()
    wild = x.clone()
    wild[0, :3] = float("nan")
    assert torch.equal(front(wild, mask), seen)


def test_unknown_assets_share_one_row():
    """0, negative, beyond the table, and no ids at all."""
    embedding = AssetEmbedding(AssetSettings(count=3, width=8)).eval()
    seen = embedding(torch.tensor([0, -7, 4, 1_000_000]), 4)
    assert torch.equal(seen, embedding.table.weight[:1].expand(4, -1))
    assert torch.equal(embedding(None, 4), seen)
    assert torch.equal(embedding(torch.tensor([3]), 1)[0], embedding.table.weight[3])


def test_ids_are_dropped_in_training_alone():
    """Of 4,000 rows about 15 % count as unknown; none in evaluation. Their row is trained with them."""
    torch.manual_seed(0)
    embedding = AssetEmbedding(AssetSettings(count=3, id_dropout=0.15)).train()
    ids = torch.full((4_000,), 2)
    seen = embedding(ids, 4_000)
    dropped = (seen == embedding.table.weight[0]).all(dim=1)
    assert 0.12 < dropped.float().mean() < 0.18
    assert ((seen == embedding.table.weight[2]).all(dim=1) | dropped).all()
    seen.sum().backward()
    assert embedding.table.weight.grad[0].abs().sum() > 0
    assert (embedding.eval()(ids, 4_000) == embedding.table.weight[2]).all()
