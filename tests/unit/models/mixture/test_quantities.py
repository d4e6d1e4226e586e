"""Weights of pooled returns and variances: on the simplex, never worse than equal ones or any member."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="the trainer is not installed: pip install -e '.[train]'")

from models.mixture.quantities import Quantity, quantity_losses, quantity_weights

Float64 = npt.NDArray[np.float64]
KINDS: tuple[Quantity, ...] = ("return", "variance")
ROWS = 400


def rows_of(kind: Quantity, seed: int, members: int) -> tuple[Float64, Float64]:
    """What came, and what members said that each know some of it: ``(N,)`` and ``(M, N)``."""
    random = np.random.default_rng(seed)
    known = random.normal(size=(members, ROWS))
    share = random.uniform(0.0, 1.0, (members, 1))
    if kind == "return":
        return 1e-4 * ((share * known).sum(axis=0) + random.normal(size=ROWS)), 1e-4 * known
    level = np.exp(0.4 * (share * known).sum(axis=0))
    return 1e-8 * level * random.chisquare(4, ROWS) / 4, 1e-8 * np.exp(
        0.4 * known + random.normal(0, 0.3, (members, 1))
    )


def loss(kind: Quantity, target: Float64, said: Float64) -> float:
    return float(quantity_losses(kind, target, said).mean())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 10_000), st.integers(1, 5))
def test_weights_are_on_the_simplex_and_lose_the_least(kind: Quantity, seed: int, members: int) -> None:
    """Against equal weights, each member alone, and a hundred other weights."""
    target, said = rows_of(kind, seed, members)
    weights = quantity_weights(kind, target, said)
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= 0.0
    least = loss(kind, target, weights @ said)
    assert least <= loss(kind, target, said.mean(axis=0))
    others = np.random.default_rng(seed).dirichlet(np.ones(members), 100)
    worst = max(0.0, *(least - loss(kind, target, other @ said) for other in [*np.eye(members), *others]))
    assert worst <= 1e-6 * least


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 10_000), st.permutations(range(4)))
def test_members_in_another_order_have_their_weights_in_that_order(kind: Quantity, seed: int, order: list[int]) -> None:
    target, said = rows_of(kind, seed, 4)
    weights = quantity_weights(kind, target, said)
    assert quantity_weights(kind, target, said[order]) == pytest.approx(weights[order], abs=1e-3)


def test_the_best_linear_pool_of_returns_is_found() -> None:
    """Of two members whose errors do not depend on each other, weights are as the inverses of their squared errors."""
    random = np.random.default_rng(3)
    target = 1e-4 * random.normal(size=200_000)
    said = target + 1e-4 * np.stack([random.normal(size=200_000), 2.0 * random.normal(size=200_000)])
    assert quantity_weights("return", target, said) == pytest.approx([0.8, 0.2], abs=0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_gets_nothing_and_an_only_member_all(kind: Quantity) -> None:
    random = np.random.default_rng(4)
    target = 1e-8 * np.exp(random.normal(size=5_000))
    good = target * np.exp(0.1 * random.normal(size=5_000))
    noise = 1e-7 * np.exp(random.normal(size=5_000))
    weights = quantity_weights(kind, target, np.stack([good, noise]))
    assert weights == pytest.approx([1.0, 0.0], abs=0.01)
    assert quantity_weights(kind, target, good[None]) == pytest.approx([1.0])


@pytest.mark.parametrize("kind", KINDS)
def test_members_that_say_the_same_count_alike(kind: Quantity) -> None:
    target, said = rows_of(kind, 1, 1)
    assert quantity_weights(kind, target, np.repeat(said, 3, axis=0)) == pytest.approx([1 / 3] * 3)


def test_a_search_that_comes_to_nothing_leaves_equal_weights() -> None:
    """Nothing moved, and both said so: there is nothing to choose by."""
    assert quantity_weights("return", np.zeros(50), np.zeros((2, 50))) == pytest.approx([0.5, 0.5])


def test_a_member_alone_is_found_behind_a_hill_of_qlike() -> None:
    """Over twice what came QLIKE is not convex: of far too high forecasts the way from equal weights may lead off."""
    target = np.full(100, 1e-8)
    said = np.stack([np.full(100, 1e-8), np.full(100, 1e-5), np.full(100, 2e-5)])
    assert quantity_weights("variance", target, said) == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)
