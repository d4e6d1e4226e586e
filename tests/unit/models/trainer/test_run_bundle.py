"""From a finished run to a bundle that a session could trade on."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.errors import BundleError, DataError
from engine.events import PredictionStatus
from engine.instruments import AssetClass
from models.catalogue import bundle_paths, verify_bundle
from models.facts import facts_of
from models.onnx_model import OnnxModel
from models.reference import newest_in_unit
from strategies.threshold import ThresholdParams, ThresholdStrategy
from tests.support.fake_view import FakeView
from tests.support.training import (
    candle_settings,
    tiny_dataset,
    tiny_settings,
    write_candles,
    write_quotes,
    write_settings,
)

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

from models.networks.served import Normaliser  # noqa: E402
from models.trainer import dataset  # noqa: E402
from models.trainer.fit import forecasts  # noqa: E402
from models.trainer.judged import bundle_in  # noqa: E402
from models.trainer.run import fit_normaliser_of, load_fitted, run_training  # noqa: E402
from models.trainer.run_bundle import bundle_run, real_rows  # noqa: E402
from models.trainer.settings import load_settings  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Quotes, and a run of two seeds on them that tells instruments apart."""
    folder = write_quotes(tmp_path_factory.mktemp("quotes"))
    plain = tiny_settings(network={"name": "mlp", "sizes": [8]}, assets={})
    plain["fit"]["seeds"] = [1, 2]
    settings, _ = load_settings(write_settings(folder, plain))
    run_training(settings, folder=folder / "runs" / "tiny", data=folder, commit="c" * 40)
    return folder, folder / "runs" / "tiny"


def test_the_bundle_says_what_the_run_says(trained, make_instrument):
    """Both seeds averaged: the runtime gives what the trainer forecasts of validation rows, and the manifest has task,
    seeds, thresholds and asset ids; strategies may trade on it."""
    folder, run = trained
    bundle = bundle_run(run, data=folder, seeds="all")
    manifest = bundle.manifest
    assert manifest.task.name == "direction"
    assert manifest.task.forecasts[0].classes == ("UP",)
    assert (manifest.run.name, manifest.run.commit, manifest.run.served_seeds) == ("tiny", "c" * 40, (1, 2))
    entries = manifest.thresholds
    assert entries.sell < entries.buy
    assert 0.3 < entries.share < 0.5  # beyond the quantiles 0.2 and 0.8
    assert abs(entries.move_bps) < manifest.return_scale_bps * 3
    assert entries.cost_bps > 0
    assert f"a round trip costs {entries.cost_bps:.3f} bps" in (bundle.path / "README.md").read_text()
    assert manifest.return_scale_bps > 0
    assert not manifest.scored
    assert manifest.reference.fits(bundle.spec.columns)
    assert all(sum(shares) == pytest.approx(1.0) for shares in manifest.reference.shares.values())
    facts = dict(facts_of(manifest))
    assert (facts["output.p_up"], facts["direction.p_up"]) == (0.0, 1.0)
    assert verify_bundle(bundle.path)["golden_predictions"] == 24
    fx = make_instrument(AssetClass.FX, sizes=False, trades=False)
    assert bundle.reasons_against(fx) == []

    settings, _ = load_settings(run / "config.yaml")
    rows = dataset.build(settings, bundle.spec, folder)
    normaliser = fit_normaliser_of(settings, rows)
    part = rows.validation.every(40)
    found = [load_fitted(run, settings, rows, normaliser, seed) for seed in (1, 2)]
    wanted = np.mean([forecasts(one, rows, part)[0][:, 1] for one in found], axis=0)
    model = OnnxModel(bundle)
    (instrument,) = rows.instruments
    said = [model.predict(instrument.id, window, 1, 2) for window in rows.windows(part.position)]
    assert {one.status for one in said} == {PredictionStatus.OK}
    np.testing.assert_allclose([one.values[0] for one in said], wanted, rtol=0, atol=1e-5)
    assert np.ptp(wanted) > 1e-4

    shown = rows.validation.every(300)
    p_up = np.mean([forecasts(one, rows, shown)[0][:, 1] for one in found], axis=0)
    scores = np.where(rows.targets[shown.index, 0] == 1, 1.0 - p_up, p_up)
    for error in (0.1, 0.3, 0.5):
        quantile = facts[f"conformal_{error:g}"]
        assert np.mean(scores <= quantile + 1e-6) >= 1.0 - error
        assert np.mean(scores < quantile - 1e-6) <= 1.0 - error + 1.0 / len(scores)
    assert model.predict("X/Y@nowhere", rows.windows(part.position[:1])[0], 1, 2).values != said[0].values


@pytest.mark.parametrize("validation", [0.2, 0.45])
def test_a_graph_is_held_to_torch_on_a_thousand_windows(tmp_path, validation):
    """Of validation rows, of which here are fewer, and then a few more: each once, none of the test."""
    rows = tiny_dataset(write_quotes(tmp_path), split={"train": 0.4, "validation": validation})
    assert (len(rows.validation) < 1_000) is (validation < 0.4)
    found = real_rows(rows).tolist()
    assert len(set(found)) == len(found) == 1_000
    held, learned = (set(part.index.tolist()) for part in (rows.validation, rows.train))
    assert len(set(found) & held) == min(1_000, len(held))
    assert set(found) <= held | learned


def bytes_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Each file, and when it was written."""
    return {one.name: (one.stat().st_mtime_ns, one.read_bytes()) for one in folder.iterdir()}


def test_a_run_that_is_bundled_again_keeps_its_version(trained, tmp_path):
    """Of the same inputs the bundle that is there, untouched; another one only where it is asked for."""
    run = Path(shutil.copytree(trained[1], tmp_path / "tiny", ignore=shutil.ignore_patterns("bundle")))
    first = bundle_run(run, data=trained[0])
    before = bytes_of(first.path)
    assert bundle_run(run, data=trained[0]).version == first.version
    said = rf"there is the bundle {first.version} of this run already, and this one differs in .*run\.served_seeds; .*"
    with pytest.raises(BundleError, match=said + r"nothing is overwritten; .*--replace"):
        bundle_run(run, data=trained[0], seeds="all")
    assert bytes_of(first.path) == before
    both = bundle_run(run, data=trained[0], seeds="all", replace=True)
    assert (both.path, both.version != first.version) == (first.path, True)
    assert [one.name for one in run.iterdir() if one.name.startswith(".bundle")] == []


def test_a_bundle_that_is_damaged_or_has_expired_is_told_and_made_anew_where_asked(trained, tmp_path):
    """What cannot be loaded is no answer, and is somebody's file."""
    run = Path(shutil.copytree(trained[1], tmp_path / "tiny", ignore=shutil.ignore_patterns("bundle")))
    made = bundle_run(run, data=trained[0])
    (made.path / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"there is a bundle of this run already, and .*model\.onnx.*--replace"):
        bundle_run(run, data=trained[0])
    again = bundle_run(run, data=trained[0], replace=True)
    assert again.manifest.files == made.manifest.files


def test_what_a_killed_export_left_is_no_bundle(trained, tmp_path):
    """A draft beside the bundle, and one in its place: neither is taken for it, and the next takes its own away."""
    run = Path(shutil.copytree(trained[1], tmp_path / "tiny", ignore=shutil.ignore_patterns("bundle")))
    made = bundle_run(run, data=trained[0])
    shutil.copytree(made.path, made.path.parent / ".tiny-k1lled")
    shutil.copytree(made.path.parent, run / ".bundle-k1lled")
    assert bundle_in(run).version == made.version
    assert bundle_paths(made.path.parent) == [made.path]
    assert bundle_run(run, data=trained[0]).version == made.version
    assert not (run / ".bundle-k1lled").exists()


def test_a_run_that_is_not_done_has_no_bundle(trained, tmp_path):
    """Begun and not finished, and a folder that is no run: only the first can be gone on with."""
    with pytest.raises(DataError, match=r"no run at .*nowhere; expected a folder with config\.yaml"):
        bundle_run(tmp_path / "nowhere", data=trained[0])
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(DataError, match=rf"is not done; expected a run with result\.json; .*--resume {tmp_path}"):
        bundle_run(tmp_path, data=trained[0])


def test_a_strategy_trades_on_the_horizon_that_it_names(tmp_path):
    """Returns of one and of three minutes in one bundle: the facts say where each is, in which unit and how far it
    reaches; without a name the bundle is refused."""
    folder = write_candles(tmp_path)
    settings, _ = load_settings(write_settings(folder, candle_settings("multi_horizon")))
    run_training(settings, folder=tmp_path / "runs" / "far", data=folder, commit="c" * 40)
    bundle = bundle_run(tmp_path / "runs" / "far", data=folder)
    (instrument, _) = known = dataset.build(settings, bundle.spec, folder).instruments
    assert bundle.reasons_against(instrument) == [
        "its task is horizons, and strategies that name no output trade on direction alone"
    ]
    assert bundle.reasons_against(instrument, {"h1", "h3"}) == []
    facts = dict(facts_of(bundle.manifest))
    assert (facts["horizon_rows"], facts["horizon_rows.h3"], facts["output.h3"], facts["bps.h3"]) == (1, 3, 1, 1e4)
    assert facts["conformal_0.1.h3"] > facts["conformal_0.1"] > 0

    view = FakeView(*known)
    prediction = OnnxModel(bundle).predict(
        instrument.id, dataset.build(settings, bundle.spec, folder).windows(np.array([40]))[0], 1, 2
    )
    far_bps = prediction.values[1] * 1e4
    near = -1.0 if far_bps > 0 else 1.0
    said = msgspec.structs.replace(prediction, values=(near, abs(prediction.values[1])))
    params = ThresholdParams(
        mode="return_bps", output="h3", buy=abs(far_bps) / 2, sell=-1e9, cost_multiple=0.0, sizing="fixed"
    )
    strategy = ThresholdStrategy("s", [instrument.id], params)
    strategy.on_model(instrument.id, facts)
    (entry,) = strategy.on_prediction(said, 1, view)
    assert entry.reason == f"long {abs(far_bps):.4f}"


def test_drift_is_measured_in_the_unit_that_the_graph_takes():
    """The newest row of windows at 60,000, beside the scale-free values of the normaliser itself."""
    rng = np.random.default_rng(5)
    kinds = ("price", "price_difference", "qty", "plain")
    windows = np.stack(
        [60_000 + rng.normal(size=(7, 12)), rng.normal(size=(7, 12)), rng.random((7, 12)), rng.normal(size=(7, 12))],
        axis=2,
    ).astype(np.float32)
    ours = newest_in_unit(windows, kinds, 0)
    theirs = Normaliser(kinds, 0).scale_free(torch.from_numpy(windows))[:, -1].numpy()
    assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
