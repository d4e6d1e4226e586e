"""Statistics against scikit-learn, rows against a poisoned future, and a bundle of each family of normalisers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import ConfigError, DataError
from engine.events import PredictionStatus
from engine.features.sets import quote40_spec
from models.bundle import load_bundle
from models.golden import run_tape
from models.onnx_model import OnnxModel
from models.trainer.dataset import Part
from models.trainer.normalise import check_scope, column_kinds, fit_normaliser, statistics, training_rows
from models.trainer.settings import NormaliserSettings, ScopeSettings
from tests.support.training import tiny_dataset, train_bundle, write_quotes

KINDS = ("scale_free", "min_max", "z_score", "robust", "per_window", "none")
COLUMNS = quote40_spec().columns
SCALERS = {"min_max": "MinMaxScaler", "z_score": "StandardScaler", "robust": "RobustScaler"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_dataset(write_quotes(tmp_path_factory.mktemp("quotes")))


def _fit(kind, data, clip=None):
    pytest.importorskip("torch", reason="the trainer is not installed")
    kinds = column_kinds(data, COLUMNS)
    return fit_normaliser(NormaliserSettings(kind, clip), data, kinds, COLUMNS.index("close"))


def _graph_values(fitted, windows):
    torch = pytest.importorskip("torch", reason="the trainer is not installed")
    with torch.no_grad():
        return fitted.module(torch.from_numpy(windows)).numpy()


# --- statistics ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SCALERS)
def test_training_rows_come_out_as_scikit_learns_scaler_would_have_them(data, kind):
    """The scaler is fitted on the same rows in float64; the module must agree on them to 1e-6, float32 as it is."""
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="the trainer is not installed")
    rows = data.values[training_rows(data)]
    wanted = getattr(preprocessing, SCALERS[kind])().fit_transform(rows.astype(np.float64))
    # Where the quartiles are equal scikit-learn divides by 1 and we by the deviation: compared below.
    same = np.percentile(rows, 75, axis=0) > np.percentile(rows, 25, axis=0) if kind == "robust" else np.ones(40, bool)
    assert same.sum() >= 38
    seen = _graph_values(_fit(kind, data, clip=False), rows[None])[0]
    np.testing.assert_allclose(seen[:, same], wanted[:, same], rtol=1e-6, atol=1e-6)


def test_a_column_whose_quartiles_are_equal_is_divided_by_its_deviation():
    """Nine zeros and a one in ten rows: median 0, no distance of quartiles, deviation 0.3."""
    rows = np.tile(np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 0], np.float32), 100)[:, None]
    centre, scale = statistics("robust", rows)
    assert (centre[0], scale[0]) == (0.0, pytest.approx(0.3))


@pytest.mark.parametrize("kind", SCALERS)
def test_a_constant_column_has_no_scale(kind):
    """Zero, a price and a size that no double of a float32 sum would hold."""
    rows = np.tile(np.array([0.0, 60_000.01, 1e30], np.float32), (1_000_003, 1))
    centre, scale = statistics(kind, rows)
    assert (centre == rows[0].astype(np.float64)).all()
    assert (scale == 0.0).all()


def test_only_robust_does_not_feel_one_wrong_tick():
    """A thousand ordinary rows and one of a million: what each kind takes its scale to be."""
    rows = np.random.default_rng(1).normal(size=(1_001, 1)).astype(np.float32)
    clean = {kind: statistics(kind, rows)[1][0] for kind in SCALERS}
    rows[500] = 1e6
    dirty = {kind: statistics(kind, rows)[1][0] for kind in SCALERS}
    assert dirty["robust"] == pytest.approx(clean["robust"], rel=0.02)
    assert dirty["min_max"] > 1e5 * clean["min_max"]
    assert dirty["z_score"] > 1e4 * clean["z_score"]


# --- rows ------------------------------------------------------------------------------------------------------


def test_the_rows_fitted_on_are_those_of_training_windows_each_once(data):
    """Against a set of them made window by window; all lie before the first row of validation."""
    expected = {int(last) - back for last in data.train.position for back in range(data.window)}
    rows = training_rows(data)
    assert rows.tolist() == sorted(expected)
    assert data.ts_ns[rows].max() < data.validation.ts_ns.min()


def test_nothing_after_the_training_moves_a_bit_of_what_is_fitted(data, tmp_path):
    """Makes every quote after the cut a seventh larger and fits all kinds again: equal, bit for bit."""
    after_the_cut_ns = int(data.ts_ns[data.validation.position[0] - data.window])
    poisoned = tiny_dataset(write_quotes(tmp_path, wild_from_ns=after_the_cut_ns))
    close = COLUMNS.index("close")
    assert poisoned.values[poisoned.validation.position, close].min() > 1.1 * data.values[:, close].max()
    assert (poisoned.train.position == data.train.position).all()
    for kind in KINDS:
        clean, dirty = _fit(kind, data), _fit(kind, poisoned)
        assert dirty.module.column_scaling() == clean.module.column_scaling(), kind
        assert dirty.description == clean.description, kind
        for name, value in clean.module.state_dict().items():
            assert value.numpy().tobytes() == dirty.module.state_dict()[name].numpy().tobytes(), (kind, name)


def _with(data, values):
    """The same rows with other values in their columns."""
    table = replace(data.table, values=values)
    samples = replace(data.samples, table=table)
    parts = {name: Part(samples, data.part(name).part) for name in ("train", "validation", "test")}
    return replace(data, samples=samples, **parts)


def test_rows_that_are_not_clean_are_left_out_and_counted(data):
    """Puts a NaN and an infinity into two training rows: what is fitted equals a fit without these rows."""
    rows = training_rows(data)
    bad = rows[[100, 900]]
    values = data.values.copy()
    values[bad[0], 3], values[bad[1], 7] = np.nan, np.inf
    broken = _with(data, values)
    for kind in SCALERS:
        centre, scale = statistics(kind, data.values[np.setdiff1d(rows, bad)])
        fitted = _fit(kind, broken)
        assert fitted.module.column_scaling() == [
            (kind, c, s) for c, s in zip(centre.tolist(), scale.tolist(), strict=True)
        ]
        assert fitted.description.fitted_on.rows_left_out == 2
        assert fitted.description.fitted_on.rows == len(rows) - 2
    free = _fit("scale_free", broken)
    assert all(np.isfinite((mean, std)).all() for _, mean, std in free.module.column_scaling())
    assert free.description.fitted_on.rows_left_out >= 2


@pytest.mark.parametrize("kind", ["scale_free", "robust"])
def test_a_column_without_any_value_is_refused(data, kind):
    """All of it NaN."""
    values = data.values.copy()
    values[:, 30] = np.nan
    with pytest.raises(DataError, match="not finite"):
        _fit(kind, _with(data, values))


# --- settings --------------------------------------------------------------------------------------------------


def test_a_normaliser_of_absolute_prices_is_refused_for_every_instrument():
    """The four that take a price as it is, with and without named instruments; the two that do not."""
    spec, anywhere = quote40_spec(), ScopeSettings(("fx",))
    here = ScopeSettings(("fx",), instruments=("EUR/USD@oanda",))
    for kind in KINDS:
        check_scope(NormaliserSettings(kind), here, spec)
        if kind in ("scale_free", "per_window"):
            check_scope(NormaliserSettings(kind), anywhere, spec)
        else:
            with pytest.raises(ConfigError, match=rf"normaliser {kind} takes sma_20 as it is.*; name them") as caught:
                check_scope(NormaliserSettings(kind), anywhere, spec)
            assert "\n" not in str(caught.value)


def test_ratios_alone_may_be_scaled_for_every_instrument():
    """A spec of returns and ratios has no level."""
    spec = msgspec.structs.replace(quote40_spec(), columns=("rsi_14", "ret_1", "spread_bps"))
    check_scope(NormaliserSettings("z_score"), ScopeSettings(("fx",)), spec)


def test_a_spec_without_a_close_is_not_scaled_by_it():
    """Refused by name for the default; a whole run with another normaliser needs none (below)."""
    spec = msgspec.structs.replace(quote40_spec(), columns=("rsi_14", "ret_1", "spread_bps"))
    with pytest.raises(ConfigError, match=r"scale_free scales by the column close.*add it, or choose another"):
        check_scope(NormaliserSettings(), ScopeSettings(("fx",)), spec)


# --- the whole run ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["robust", "per_window"])
def test_a_bundle_takes_raw_features_and_says_what_it_was_fitted_on(tmp_path, kind):
    """Trains, loads the bundle from disk and serves its own tape: raw windows in, the trained module's answers out."""
    pytest.importorskip("torch", reason="the trainer is not installed")
    write_quotes(tmp_path)
    scope = {"asset_classes": ["fx"], "instruments": ["EUR/USD@oanda"]}
    bundle = load_bundle(train_bundle(tmp_path / "run", tmp_path, normaliser={"kind": kind}, scope=scope))
    model = OnnxModel(bundle)
    windows: list[np.ndarray] = []
    run_tape(bundle.spec, bundle.golden.instrument, bundle.golden.events, lambda w: windows.append(w.copy()) or (0.0,))
    seen = [model.predict("EUR/USD@oanda", window, 0, 0) for window in windows]
    assert {prediction.status for prediction in seen} == {PredictionStatus.OK}
    np.testing.assert_allclose([p.values[0] for p in seen], bundle.golden.outputs, rtol=0, atol=1e-6)
    assert np.ptp(bundle.golden.outputs) > 1e-3
    described, card = bundle.manifest.normaliser, Path(bundle.path, "README.md").read_text()
    data = tiny_dataset(tmp_path)
    if kind == "per_window":
        assert described.fitted_on is None
        assert {scaling.std for scaling in bundle.manifest.scaling} == {1.0}
        assert "| normaliser | per_window, inside the graph |" in card
    else:
        rows = training_rows(data)
        centre, scale = statistics(kind, data.values[rows])
        assert [(s.column, s.kind, s.mean, s.std) for s in bundle.manifest.scaling] == [
            (name, kind, c, s) for name, c, s in zip(COLUMNS, centre.tolist(), scale.tolist(), strict=True)
        ]
        assert (described.kind, described.limits) == (kind, (-8.0, 8.0))
        assert (described.fitted_on.rows, described.fitted_on.rows_left_out) == (len(rows), 0)
        assert described.fitted_on.last == bundle.manifest.training.periods["train"][1]
        assert f"fitted on {len(rows):,} training rows, {described.fitted_on.first} to" in card
        assert bundle.golden.instrument.tick_px.adjusted() == -5
