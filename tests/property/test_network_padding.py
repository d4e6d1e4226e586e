"""Padding changes nothing: neither what stands in it nor that it is there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.networks import ANY_LENGTH, COLUMNS, MODES, WINDOW, small

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

NETWORKS = {}
"""By mode; made once: an example is about windows and masks."""
lengths = st.lists(st.integers(1, WINDOW), min_size=2, max_size=4)


def network_of(mode: str, input_norm: str):
    key = mode, input_norm
    if key not in NETWORKS:
        plain = input_norm == "none" or "ensemble" in mode or mode == "two_stage"
        NETWORKS[key] = small(mode) if plain else small(mode, input_norm=input_norm)
    return NETWORKS[key]


def padded(lengths: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows whose last rows are real, as many as ``lengths`` say, and the mask of them."""
    x = torch.randn(len(lengths), WINDOW, COLUMNS, generator=torch.Generator().manual_seed(seed))
    return x, torch.arange(WINDOW) >= WINDOW - torch.tensor(lengths).unsqueeze(1)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=12, deadline=None)
@given(lengths=lengths, seed=st.integers(0, 99), norm=st.sampled_from(["none", "bilinear", "instance"]))
def test_what_stands_in_padding_does_not_matter(mode: str, lengths: list[int], seed: int, norm: str) -> None:
    """Zeros, other numbers, and NaN, which would go through a product with zero."""
    network = network_of(mode, norm)
    x, mask = padded(lengths, seed)
    real = mask.unsqueeze(2)
    with torch.no_grad():
        wanted = network(torch.where(real, x, 0.0), mask)
        for other in (1e6, float("nan")):
            seen = network(torch.where(real, x, other), mask)
            if mode == "multi_filter_cnn:steps":
                seen, wanted = torch.where(real, seen, 0.0), torch.where(real, wanted, 0.0)
            assert torch.isfinite(seen).all()
            torch.testing.assert_close(seen, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("mode", [*ANY_LENGTH, "temporal_lstm:sequence"])
@settings(max_examples=12, deadline=None)
@given(lengths=lengths, seed=st.integers(0, 99), norm=st.sampled_from(["none", "bilinear", "instance"]))
def test_a_padded_window_is_the_shorter_window(mode: str, lengths: list[int], seed: int, norm: str) -> None:
    """The same rows without padding and without a mask give the same forecast."""
    network = network_of(mode, norm)
    x, mask = padded(lengths, seed)
    with torch.no_grad():
        seen = network(x, mask)
        for at, length in enumerate(lengths):
            alone = network(x[at : at + 1, WINDOW - length :])
            torch.testing.assert_close(seen[at : at + 1], alone, rtol=1e-4, atol=1e-5)
