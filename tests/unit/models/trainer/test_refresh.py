"""Incremental learning: what may move, from which rows, and when the result may stand beside the champion."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from engine.errors import BundleError, ConfigError, DataError, KestrelError
from models.catalogue import verify_bundle
from models.registry.audit import lines
from models.registry.store import Registry
from tests.support.training import tiny_settings, write_quotes, write_settings

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

from models.onnx_model import OnnxModel  # noqa: E402
from models.trainer import dataset, refresh_command  # noqa: E402
from models.trainer.fit import forecasts  # noqa: E402
from models.trainer.incremental import Refresh, _mixed, refresh  # noqa: E402
from models.trainer.refresh import refresh_run  # noqa: E402
from models.trainer.run import fit_normaliser_of, load_fitted, run_training  # noqa: E402
from models.trainer.run_bundle import bundle_run  # noqa: E402
from models.trainer.settings import Data, load_settings  # noqa: E402

NEWER = Data(files=("quotes.parquet", "later.parquet"))
NETWORK = {"name": "mlp", "sizes": [8]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion of quotes that revert to a mean, and later ones that swing, as it has never seen them."""
    folder = write_quotes(tmp_path_factory.mktemp("quotes"))
    table = pq.read_table(folder / "quotes.parquet")
    span_ns = table["ts_ns"][-1].as_py() - table["ts_ns"][0].as_py() + 1_000_000_000
    random, rows = np.random.default_rng(9), np.arange(len(table))
    bid = np.round(1.38 + 0.00002 * (8.0 * np.sin(2 * np.pi * rows / 24) + random.normal(size=len(rows))), 5)
    later = pa.table({"ts_ns": np.asarray(table["ts_ns"]) + span_ns, "bid": bid, "ask": bid + 0.00002})
    pq.write_table(later.replace_schema_metadata(table.schema.metadata), folder / "later.parquet")
    same = table.set_column(table.column_names.index("ts_ns"), "ts_ns", later["ts_ns"])
    pq.write_table(same.replace_schema_metadata(table.schema.metadata), folder / "same.parquet")
    plain = tiny_settings(network=NETWORK)
    plain["fit"] |= {"learning_rate": 0.02, "rows_per_epoch": 256}
    settings, _ = load_settings(write_settings(folder, plain))
    run_training(settings, folder=folder / "runs" / "tiny", data=folder, commit="c" * 40)
    bundle_run(folder / "runs" / "tiny", data=folder)
    return folder


def champion(place: Path):
    from models.trainer.judged import bundle_in

    return bundle_in(place / "runs" / "tiny")


def parts(place: Path):
    """Settings, old rows, newer rows and the champion's network."""
    settings, _ = load_settings(place / "runs" / "tiny" / "config.yaml")
    spec = dataset.feature_spec(settings.features)
    old = dataset.build(settings, spec, place)
    changed = msgspec.structs.replace(settings, data=Data(files=("later.parquet",)))
    new = dataset.build(changed, spec, place)
    return settings, old, new, load_fitted(place / "runs" / "tiny", settings, old, fit_normaliser_of(settings, old), 1)


def test_only_the_head_and_the_affine_of_the_normaliser_move(place: Path) -> None:
    """Each other number of the state is the champion's, bit for bit, and the champion itself is left alone."""
    settings, old, new, before = parts(place)
    was = deepcopy(before.served.state_dict())
    after = refresh(before, old, new, settings, Refresh(epochs=1), normaliser=True)
    moved = {name for name, value in after.served.state_dict().items() if not torch.equal(value, was[name])}
    assert moved - {"temperature"} == {"normaliser.mean", "normaliser.std", "network.head.weight", "network.head.bias"}
    assert all(torch.equal(value, was[name]) for name, value in before.served.state_dict().items())
    again = refresh(before, old, new, settings, Refresh(epochs=1), normaliser=True)
    assert all(torch.equal(value, again.served.state_dict()[name]) for name, value in after.served.state_dict().items())
    alone = refresh(before, old, new, settings, Refresh(epochs=1), normaliser=False)
    assert torch.equal(alone.served.normaliser.mean, was["normaliser.mean"])


def test_the_pull_to_the_champion_holds_the_weights(place: Path) -> None:
    """A hundred times the weight of the distance: nearer to where they were."""
    settings, old, new, before = parts(place)
    start = before.served.network.head.weight
    far, near = (
        (
            refresh(before, old, new, settings, Refresh(epochs=2, l2=l2), normaliser=True).served.network.head.weight
            - start
        )
        for l2 in (1e-6, 10.0)
    )
    assert near.norm() < 0.5 * far.norm()


@pytest.mark.parametrize(("batch", "share"), [(64, 0.5), (64, 0.75), (7, 0.5)])
def test_half_of_each_batch_at_least_is_old(batch: int, share: float) -> None:
    """Each new row once an epoch; also of a last batch that is not full."""
    old, new = np.arange(1000), np.arange(5000, 5101)
    seen = []
    for of_old, of_new in _mixed(old, new, batch, share, np.random.default_rng(0)):
        assert len(of_old) >= share * (len(of_old) + len(of_new)) - 1e-9
        assert len(of_old) + len(of_new) <= batch + 1
        assert of_old.max() < 1000
        seen += of_new.tolist()
    assert sorted(seen) == new.tolist()


def test_what_is_better_on_newer_rows_becomes_a_bundle_that_names_its_parent(place: Path) -> None:
    """Through export and golden tape; what the runtime says is what the torch networks of the refresh say, and no
    evaluation of the run's is taken over."""
    parent = champion(place)
    made, gate = refresh_run(parent, place / "runs" / "tiny", Refresh(epochs=8), NEWER, data=place)
    assert gate.verdict == "ahead"
    assert gate.refreshed < gate.champion
    assert gate.difference.high < 0
    manifest = made.manifest
    assert (manifest.name, manifest.run.parent) == (parent.manifest.name, parent.version)
    assert made.version != parent.version
    assert not manifest.scored
    assert manifest.evaluation is None
    assert manifest.training.config_hash != parent.manifest.training.config_hash
    assert manifest.training.periods["train"][0] > parent.manifest.training.periods["test"][1]
    assert {file.name for file in manifest.training.data} == {"quotes.parquet", "later.parquet"}
    assert f"weights went on from | {parent.version}" in (made.path / "README.md").read_text()
    assert verify_bundle(made.path)["golden_predictions"] == 24
    _, old, _, before = parts(place)
    window = old.windows(old.validation.position[:1])
    said = [OnnxModel(one).predict("X", window[0], 1, 2).values[0] for one in (parent, made)]
    assert said[0] == pytest.approx(forecasts(before, old, old.validation.every(10**9))[0][0, 1], abs=1e-5)
    assert said[0] != said[1]


def test_what_is_not_better_is_refused_with_the_figures(place: Path) -> None:
    """Newer quotes of the very market that it was trained on: there is nothing to learn that would show."""
    newer = Data(files=("quotes.parquet", "same.parquet"))
    with pytest.raises(DataError, match=r"refreshed is (level within noise|behind): log-loss .* on [\d,]+ newer rows"):
        refresh_run(champion(place), place / "runs" / "tiny", Refresh(), newer, data=place)


@pytest.mark.parametrize(
    "changes",
    [{"replay_share": 0.4}, {"rate_share": 0.2}, {"l2": 0.0}, {"epochs": 0}, {"learn_share": 0.9, "choose_share": 0.1}],
)
def test_settings_that_would_forget_the_champion_are_refused(place: Path, changes: dict[str, float]) -> None:
    """The bounds are the point of it."""
    with pytest.raises(ConfigError, match="a refresh with"):
        refresh_run(champion(place), place / "runs" / "tiny", Refresh(**changes), NEWER, data=place)


def test_rows_that_the_champion_has_seen_are_none(place: Path) -> None:
    """Only the old file: nothing is left after the end of what it learned from."""
    with pytest.raises(KestrelError):
        refresh_run(champion(place), place / "runs" / "tiny", Refresh(), Data(files=("quotes.parquet",)), data=place)


def test_the_command_registers_a_shadow_with_its_figures(place: Path, tmp_path: Path) -> None:
    """The registry has the new version as a shadow, and the audit why; the parent stands where it stood.  A name that
    nobody is champion by is refused."""
    registry = Registry(tmp_path / "registry")
    version, _ = registry.add(champion(place))
    app = typer.Typer()
    refresh_command.register(app, lambda *_: None)
    app.command("other")(lambda: None)
    words = ["--run", str(place / "runs" / "tiny"), "--registry", str(registry.root), "--data", str(place)]
    words += ["--files", "quotes.parquet", "--files", "later.parquet"]
    refused = CliRunner().invoke(app, ["refresh", "tiny", *words])
    assert isinstance(refused.exception, BundleError)
    done = CliRunner().invoke(app, ["refresh", version, *words])
    assert done.exit_code == 0, done.exception
    (standing,) = registry.standings()
    assert standing.champion is None
    (shadow,) = standing.shadow
    assert registry.manifest(shadow).run.parent == version
    assert f"refreshed from {version}: log-loss" in lines(registry.root)[-1].why
