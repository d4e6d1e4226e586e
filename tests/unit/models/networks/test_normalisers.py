"""Normalisers against their formulas in float64, and their graphs against the modules."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnxruntime as ort
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from torch import nn  # noqa: E402

from models.networks.normalisers import Affine, PerWindow, Unscaled  # noqa: E402
from models.networks.served import INPUT_LIMIT  # noqa: E402
from models.trainer.export import OPSET  # noqa: E402

COLUMNS = 6
CENTRE = np.array([60_000.013, 1.38, -0.2, 1e6, 5.0, 0.0])
SCALE = np.array([0.37, 1e-4, 2.0, 3e5, 0.0, 1.0])


def _affine(kind: str = "z_score", limits: tuple[float, float] | None = (-8.0, 8.0)) -> Affine:
    return Affine(kind, CENTRE, SCALE, limits)


def _ordinary(count: int = 64) -> np.ndarray:
    """Windows of columns as they come: within a few scales of the centre, the fifth one constant."""
    random = np.random.default_rng(3)
    return (CENTRE + SCALE * random.normal(size=(count, 30, COLUMNS))).astype(np.float32)


def _run(module: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(np.ascontiguousarray(x))).numpy()


def _per_window_reference(x: np.ndarray) -> np.ndarray:
    """The documented formula, float64, straight from the values."""
    x = x.astype(np.float64)
    last = x[:, -1:]
    reach = np.abs(x - last).max(axis=1, keepdims=True)
    mean, std = x.mean(axis=1, keepdims=True), x.std(axis=1, keepdims=True)
    floor = 2.0**-23 * (np.abs(last) + reach)
    return np.divide(x - mean, std + floor, out=np.zeros_like(x), where=std + floor > 0)


class _All(nn.Module):
    """Every normaliser on one input, so that one export shows them all."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            [
                _affine("min_max", (0.0, 1.0)),
                _affine("min_max", None),
                _affine("z_score"),
                _affine("robust"),
                PerWindow(COLUMNS),
                Unscaled(COLUMNS),
            ]
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [part(x) for part in self.parts]


def test_the_exported_graph_of_every_normaliser_equals_torch_on_raw_features():
    """One graph of them all, made as bundles are: ordinary windows, flat ones, wide ones and the limits, to 1e-6."""
    module = _All().eval()
    random = np.random.default_rng(4)
    x = np.concatenate(
        [
            _ordinary(),
            np.repeat(_ordinary(8)[:, -1:], 30, axis=1),
            *(
                np.full((1, 30, COLUMNS), value, np.float32)
                for value in (0.0, 1e-38, -1e-10, INPUT_LIMIT, -INPUT_LIMIT)
            ),
            (np.sign(random.normal(size=(4, 30, COLUMNS))) * INPUT_LIMIT).astype(np.float32),
            random.standard_cauchy(size=(64, 30, COLUMNS)).astype(np.float32) * np.float32(1e5),
        ]
    )
    names = [f"z_{i}" for i in range(len(module.parts))]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (torch.zeros(2, 30, COLUMNS),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["x"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            verbose=False,
        )
    session = ort.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = module(torch.from_numpy(x))
    for batch in (slice(None), slice(70, 71)):
        for want, seen in zip(wanted, session.run(names, {"x": x[batch]}), strict=True):
            assert np.isfinite(seen).all()
            np.testing.assert_allclose(seen, want.numpy()[batch], rtol=1e-6, atol=1e-6)


# --- statistics of the training --------------------------------------------------------------------------------


def test_a_price_of_60_000_is_scaled_as_exactly_as_float64_would():
    """Steps of a cent around a centre that float32 cannot hold; in one part it would shift all of them by far more."""
    x = _ordinary()
    exact = (x.astype(np.float64) - CENTRE) / np.where(SCALE > 0, SCALE, np.inf)
    z = _run(_affine(limits=None), x)
    assert (np.abs(z - exact) <= 4e-7 * (1 + np.abs(exact))).all()
    naive = (x - CENTRE.astype(np.float32)) / np.where(SCALE > 0, SCALE, np.inf).astype(np.float32)
    assert np.abs(naive - exact)[..., 0].max() > 1e-3


def test_recorded_bitcoin_mids_are_scaled_as_exactly_as_float64_would(market_data):
    """All mids of a recording, by the mean and deviation of its first half, float32 against float64."""
    table = pq.read_table(market_data / "ticks" / "binance_usdm_btcusdt_20240808_quotes.parquet")
    mid = ((table["bid"].to_numpy() + table["ask"].to_numpy()) / 2).astype(np.float32)
    exact = mid.astype(np.float64)
    half = exact[: len(exact) // 2]
    module = Affine("z_score", np.array([half.mean()]), np.array([half.std()]), None)
    z, wanted = _run(module, mid.reshape(1, -1, 1))[0, :, 0], (exact - half.mean()) / half.std()
    assert (np.abs(z - wanted) <= 4e-7 * (1 + np.abs(wanted))).all()


def test_values_beyond_the_training_are_cut_or_passed_on_as_declared():
    """Three ranges above and one below, with limits and without."""
    x = np.zeros((1, 2, COLUMNS), np.float32)
    x[0, 0], x[0, 1] = CENTRE + 3 * SCALE, CENTRE - SCALE
    cut, kept = _run(_affine("min_max", (0.0, 1.0)), x), _run(_affine("min_max", None), x)
    assert (cut[0, 0, 2], cut[0, 1, 2]) == (1.0, 0.0)
    assert kept[0, 0, 2] == pytest.approx(3.0)
    assert kept[0, 1, 2] == pytest.approx(-1.0)


def test_a_column_that_was_constant_in_training_is_always_zero():
    """Its constant, another value, and the limits: never a division by nothing."""
    for value in (5.0, 5.000001, 1e6, INPUT_LIMIT, -INPUT_LIMIT):
        x = _ordinary(1)
        x[..., 4] = value
        assert (_run(_affine(limits=None), x)[..., 4] == 0.0).all()


# --- the window itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 1e-3, 1.38, 60_000.0])
def test_per_window_is_numpys_z_score_of_each_window(level):
    """Random walks around a level, heavy tails and a single spike, against float64 on the same float32 input."""
    random = np.random.default_rng(6)
    walks = level + (level or 1.0) * 1e-4 * np.cumsum(random.normal(size=(200, 30, 3)), axis=1)
    tails = level + random.standard_cauchy(size=(200, 30, 2))
    spike = np.full((200, 30, 1), level)
    spike[:, 7] += 1.0
    x = np.concatenate([walks, tails, spike], axis=2).astype(np.float32)
    wanted = _per_window_reference(x)
    z = _run(PerWindow(COLUMNS), x)
    assert (np.abs(z - wanted) <= 2e-6 * (1 + np.abs(wanted))).all()
    assert z[:, :, 0].std(axis=1).min() > 0.9
    assert np.abs(z).max() <= np.sqrt(29) + 1e-5


def test_per_window_makes_zeros_of_a_flat_column():
    """Every size from nothing to the limit."""
    for value in (0.0, 1e-38, 1e-12, -1.38, 60_000.01, INPUT_LIMIT):
        assert (_run(PerWindow(1), np.full((2, 30, 1), value, np.float32)) == 0.0).all()


def test_per_window_stays_finite_from_nothing_to_the_limit():
    """Mixed signs of one size: squares of the greatest would leave float32."""
    random = np.random.default_rng(7)
    for value in (1e-38, 1e-12, 1.0, 1e20, INPUT_LIMIT):
        z = _run(PerWindow(1), (np.sign(random.normal(size=(8, 30, 1))) * value).astype(np.float32))
        assert np.isfinite(z).all()


def test_per_window_does_not_blow_up_the_rounding_of_float32():
    """One row of 30 is one step of float32 above the rest at 60,000: alone it would be 5.4 deviations."""
    x = np.full((1, 30, 1), 60_000.0, np.float32)
    x[0, 11] = np.nextafter(np.float32(60_000.0), np.float32(np.inf))
    assert 0.0 < _run(PerWindow(1), x)[0, 11, 0] < 1.0


def test_unscaled_is_the_input():
    """Bit for bit."""
    x = _ordinary(2)
    assert (_run(Unscaled(COLUMNS), x) == x).all()
