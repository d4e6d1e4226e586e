"""The probability of over-fitting from sums of pieces is that of its definition, half by half."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.evaluation.selection import overfitting, sharpes

tables = st.tuples(st.integers(8, 20), st.integers(2, 5)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=st.integers(-50, 50).map(lambda n: n / 1000))
)


def by_definition(returns: np.ndarray, blocks: int) -> float:
    pieces = np.array_split(np.arange(len(returns)), blocks)
    lost = []
    for inside in combinations(range(blocks), blocks // 2):
        train = np.concatenate([pieces[n] for n in inside])
        test = np.concatenate([pieces[n] for n in range(blocks) if n not in inside])
        scores = np.round(sharpes(returns[test]), 9)
        best = int(np.round(sharpes(returns[train]), 9).argmax())
        rank = 1 + (scores < scores[best]).sum() + 0.5 * ((scores == scores[best]).sum() - 1)
        relative = rank / (returns.shape[1] + 1)
        lost.append(1.0 if relative < 0.5 else 0.5 if relative == 0.5 else 0.0)
    return float(np.mean(lost))


@given(tables, st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_it_is_that_of_the_definition(table: np.ndarray, seed: int) -> None:
    """Tables of any shape with a little noise, so that no two ratios are equal by chance of rounding."""
    returns = table + np.random.default_rng(seed).normal(0, 1e-3, table.shape)
    assert overfitting(returns, 4) == pytest.approx(by_definition(returns, 4))
