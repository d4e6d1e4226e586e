"""Incremental learning: what may move, from which rows, and when the result may stand beside the champion."""

from __future__ import annotations

import shutil
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from engine.errors import BundleError, ConfigError, DataError, KestrelError
from models.bundle import load_bundle
from models.evaluation.ledger import Ledger
from models.evaluation.run_folder import RunFolder
from models.manifest import Metric
from models.registry.audit import lines
from models.registry.promotion import promote
from models.registry.store import Registry
from tests.support.training import tiny_settings, write_quotes, write_settings

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

from models.onnx_model import OnnxModel  # noqa: E402
from models.trainer import dataset, incremental, refresh_command  # noqa: E402
from models.trainer import refresh as refresh_module  # noqa: E402
from models.trainer.fit import forecasts  # noqa: E402
from models.trainer.incremental import Refresh, _mixed, refresh  # noqa: E402
from models.trainer.lineage import read_lineage  # noqa: E402
from models.trainer.opened import open_run  # noqa: E402
from models.trainer.refresh import Gate, Record, _newer, check, judge, refresh_run  # noqa: E402
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
    latest = later.set_column(0, "ts_ns", pa.array(np.asarray(later["ts_ns"]) + span_ns))
    pq.write_table(latest.replace_schema_metadata(table.schema.metadata), folder / "latest.parquet")
    same = table.set_column(table.column_names.index("ts_ns"), "ts_ns", later["ts_ns"])
    pq.write_table(same.replace_schema_metadata(table.schema.metadata), folder / "same.parquet")
    plain = tiny_settings(network=NETWORK)
    plain["fit"] |= {"learning_rate": 0.02, "rows_per_epoch": 256}
    settings, _ = load_settings(write_settings(folder, plain))
    run_training(settings, folder=folder / "runs" / "tiny", data=folder, commit="c" * 40)
    bundle_run(folder / "runs" / "tiny", data=folder)
    return folder


class Refreshed(NamedTuple):
    """``version``: the shadow, which went on from ``parent``; its ``run``, and what the command said."""

    registry: Registry
    parent: str
    version: str
    run: Path
    output: str


def record(folder: Path) -> Record:
    return Record(folder / "ledger.jsonl", "c" * 40, 1_700_000_000_000_000_000)


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
    after = refresh(before, [old], new, settings, Refresh(epochs=1), normaliser=True)
    moved = {name for name, value in after.served.state_dict().items() if not torch.equal(value, was[name])}
    assert moved - {"temperature"} == {"normaliser.mean", "normaliser.std", "network.head.weight", "network.head.bias"}
    assert all(torch.equal(value, was[name]) for name, value in before.served.state_dict().items())
    again = refresh(before, [old], new, settings, Refresh(epochs=1), normaliser=True)
    assert all(torch.equal(value, again.served.state_dict()[name]) for name, value in after.served.state_dict().items())
    alone = refresh(before, [old], new, settings, Refresh(epochs=1), normaliser=False)
    assert torch.equal(alone.served.normaliser.mean, was["normaliser.mean"])


def test_the_pull_to_the_champion_holds_the_weights(place: Path) -> None:
    """A hundred times the weight of the distance: nearer to where they were."""
    settings, old, new, before = parts(place)
    start = before.served.network.head.weight
    far, near = (
        (
            refresh(before, [old], new, settings, Refresh(epochs=2, l2=l2), normaliser=True).served.network.head.weight
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


@pytest.fixture(scope="module")
def refreshed(place: Path) -> Refreshed:
    """What the command makes of the champion and the later quotes."""
    registry = Registry(place / "registry")
    version, _ = registry.add(champion(place))
    words = ["refresh", version, "--run", str(place / "runs" / "tiny"), "--registry", str(registry.root)]
    words += ["--data", str(place), "--ledger", str(place / "ledger.jsonl"), "--forget-max", "0.1"]
    words += ["--files", "quotes.parquet", "--files", "later.parquet", "--explain", "they swing by construction"]
    done = CliRunner().invoke(command(), words)
    assert done.exit_code == 0, done.exception
    (standing,) = registry.standings()
    assert standing.champion is None
    (shadow,) = standing.shadow
    return Refreshed(registry, version, shadow, place / "runs" / "tiny-r1", done.output)


def command() -> typer.Typer:
    app = typer.Typer()
    refresh_command.register(app, lambda *_: None, lambda: "c" * 40)
    app.command("other")(lambda: None)
    return app


def test_what_is_better_on_newer_rows_becomes_a_shadow_that_names_its_parent(place: Path, refreshed: Refreshed) -> None:
    """Through export and golden tape; what the runtime says is what the torch networks of the refresh say."""
    registry, version = refreshed.registry, refreshed.version
    manifest = registry.manifest(version)
    before = registry.manifest(refreshed.parent)
    assert (manifest.name, manifest.run.parent, manifest.run.name) == (before.name, refreshed.parent, "tiny-r1")
    assert manifest.scope == before.scope
    assert manifest.reference is not None
    assert manifest.training.periods["train"][0] > before.training.periods["test"][1]
    assert {file.name for file in manifest.training.data} == {"quotes.parquet", "later.parquet"}
    assert f"refreshed from {refreshed.parent}: log-loss" in lines(registry.root)[-1].why
    assert f"run: {refreshed.run}" in refreshed.output
    made = load_bundle(registry.path_of(version))
    assert f"weights went on from | {refreshed.parent}" in (made.path / "README.md").read_text()
    opened = open_run(refreshed.run, place)
    window = opened.rows.windows(opened.rows.validation.position[:1])
    (fitted,) = (opened.network(seed, opened.normaliser()) for seed in opened.settings.fit.seeds)
    said = [OnnxModel(one).predict("X", window[0], 1, 2).values[0] for one in (champion(place), made)]
    assert said[1] == pytest.approx(
        forecasts(fitted, opened.rows, opened.rows.validation.every(10**9))[0][0, 1], abs=1e-5
    )
    assert said[0] != said[1]


def test_it_was_judged_on_rows_that_the_ledger_tells_of_and_may_become_champion(
    place: Path, refreshed: Refreshed
) -> None:
    """Beside baselines, as any run; nobody has to force it.  Figures to beat are of other rows."""
    assert RunFolder(refreshed.run).data.test_of == f"a refresh of {refreshed.parent}"
    (line,) = Ledger(place / "ledger.jsonl").lines()
    assert (line.run, line.test.rows) == ("tiny-r1", RunFolder(refreshed.run).data.parts["test"].rows)
    judged = refreshed.registry.manifest(refreshed.version).evaluation
    assert judged.opened_at == line.at
    assert judged.best_baseline
    assert judged.explained == "they swing by construction"
    digits = refreshed.version.partition("@")[2]
    standing = promote(refreshed.registry, "tiny", digits, who="ann", why="better", now_ns=time.time_ns())
    assert standing.champion == refreshed.version


def test_what_was_refreshed_is_refreshed_again_and_learns_from_all_rows_of_its_line(
    place: Path, refreshed: Refreshed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old rows are those of both runs, and none may be forgotten: the old test was opened, and is on record again."""
    seen = []
    real = incremental._Replay.rows

    def noted(self: object, chosen: np.ndarray) -> object:
        seen.append([len(data.train) for data in self._old])
        return real(self, chosen)

    monkeypatch.setattr(incremental._Replay, "rows", noted)
    parent = load_bundle(refreshed.registry.path_of(refreshed.version))
    newer = Data(files=("quotes.parquet", "later.parquet", "latest.parquet"))
    with pytest.raises(DataError, match=r"refreshed (is|has) .*; on old rows [-+]"):
        refresh_run(parent, refreshed.run, Refresh(epochs=1), newer, record(place), data=place)
    assert set(map(tuple, seen)) == {(len(open_run(refreshed.run, place).rows.train), len(parts(place)[1].train))}
    assert [line.run for line in Ledger(place / "ledger.jsonl").lines()] == ["tiny-r1", "tiny-r2", "tiny-r2"]
    assert not (place / "runs" / "tiny-r2").exists()


def test_what_is_not_better_is_refused_with_the_figures_and_leaves_no_run(place: Path) -> None:
    """Newer quotes of the very market that it was trained on: there is nothing to learn that would show."""
    newer = Data(files=("quotes.parquet", "same.parquet"))
    into = place / "runs" / "level"
    with pytest.raises(DataError, match=r"refreshed is (level within noise|behind): log-loss .* on [\d,]+ newer rows"):
        refresh_run(
            champion(place), place / "runs" / "tiny", Refresh(), newer, record(place / "level"), into=into, data=place
        )
    assert not into.exists()


def test_a_refresh_that_is_killed_before_its_gate_leaves_nothing_that_passes_for_a_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its folder lies when the evaluation begins: it names its parent, and is neither bundled nor gone on with."""
    left = place / "runs" / "killed-copy"

    def killed(folder: Path, **_about: object) -> None:
        shutil.copytree(folder, left)
        raise KeyboardInterrupt

    monkeypatch.setattr(refresh_module, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        refresh_run(
            champion(place),
            place / "runs" / "tiny",
            Refresh(epochs=1),
            NEWER,
            record(place / "killed"),
            into=place / "runs" / "killed",
            data=place,
        )
    assert not (place / "runs" / "killed").exists()
    version = champion(place).version
    assert read_lineage(left).version == version
    with pytest.raises(DataError, match="is not done"):
        bundle_run(left, data=place)
    settings, _ = load_settings(left / "config.yaml")
    with pytest.raises(DataError, match=f"is a refresh of {version} that did not come to its end; .*refresh again"):
        run_training(settings, folder=left, data=place, resume=True)


def test_what_forgets_the_old_market_is_refused(place: Path) -> None:
    """Better on newer rows beyond chance, and beyond what is allowed worse on the old ones."""
    gate = Gate(759, 0.70, 0.29, Metric(-0.41, -0.45, -0.37), "ahead", Metric(0.013, -0.02, 0.05), forgotten=True)
    with pytest.raises(DataError, match=r"forgotten too much: .* on old rows \+0\.01300 \(-0\.02000 to \+0\.05000\)"):
        check("tiny@0", gate)
    check("tiny@0", replace(gate, forgotten=False))


@pytest.mark.parametrize(("forget_max", "forgotten"), [(0.1, False), (1e-6, True)])
def test_the_upper_end_of_the_interval_on_old_rows_decides(place: Path, forget_max: float, forgotten: bool) -> None:
    """Against itself nothing rises; against a network whose head was shifted, the loss does."""
    _, _, _, before = parts(place)
    own = open_run(place / "runs" / "tiny", place)
    shifted = deepcopy(before)
    with torch.no_grad():
        shifted.served.network.head.bias += 0.05
    opening = Ledger(place / "gate.jsonl").open(
        own.runs[0].test_set(), run="x", commit="c", config_sha256="s", data_fingerprint="d", now_ns=1
    )
    allowed = Refresh(forget_max=forget_max)
    about = record(place / "gate")
    assert not judge([before], [before], own, [own], allowed, about, opening).forgotten
    assert judge([before], [shifted], own, [own], allowed, about, opening).forgotten is forgotten


@pytest.mark.parametrize(
    "changes",
    [
        {"replay_share": 0.4},
        {"rate_share": 0.2},
        {"l2": 0.0},
        {"epochs": 0},
        {"learn_share": 0.9, "choose_share": 0.1},
        {"forget_max": 0.5},
    ],
)
def test_settings_that_would_forget_the_champion_are_refused(place: Path, changes: dict[str, float]) -> None:
    """The bounds are the point of it."""
    with pytest.raises(ConfigError, match=r"a refresh with|--forget-max 0\.5"):
        refresh_run(champion(place), place / "runs" / "tiny", Refresh(**changes), NEWER, record(place), data=place)


def test_rows_that_the_champion_has_seen_are_none(place: Path) -> None:
    """Only the old file: nothing is left after the end of what it learned from."""
    with pytest.raises(KestrelError):
        refresh_run(
            champion(place),
            place / "runs" / "tiny",
            Refresh(),
            Data(files=("quotes.parquet",)),
            record(place),
            data=place,
        )


def test_the_gate_judges_on_the_instruments_that_the_run_is_judged_on(place: Path) -> None:
    """Rows of another are learned from, as the run did; chosen and judged by are those of its own alone."""
    table = pq.read_table(place / "later.parquet")
    pq.write_table(table.replace_schema_metadata({"venue": "OANDA", "symbol": "GBPUSD"}), place / "beside.parquet")
    own = open_run(place / "runs" / "tiny", place)
    split = msgspec.structs.replace(own.settings.split, judged_instruments=("EUR/USD@oanda",))
    judged = replace(own, settings=msgspec.structs.replace(own.settings, split=split))
    newer = Data(files=("later.parquet", "beside.parquet"))
    settings, rows = _newer(judged, Refresh(), newer, (1,), place)
    names = [instrument.id for instrument in rows.instruments]
    each = [
        {names[at] for at in rows.samples.instrument[rows.part(part).index]} for part in ("train", "validation", "test")
    ]
    assert each == [{"EUR/USD@oanda", "GBP/USD@oanda"}, {"EUR/USD@oanda"}, {"EUR/USD@oanda"}]
    assert settings.split.judged_instruments == split.judged_instruments


def test_a_name_that_nobody_is_champion_by_is_refused(place: Path, tmp_path: Path) -> None:
    words = ["refresh", "tiny", "--run", str(place / "runs" / "tiny"), "--registry", str(tmp_path / "registry")]
    refused = CliRunner().invoke(command(), words)
    assert isinstance(refused.exception, BundleError)
