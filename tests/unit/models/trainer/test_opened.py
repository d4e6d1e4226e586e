"""A run opened again when its catalogue has grown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.catalogue import Catalogue
from engine.data.parts import Source
from engine.errors import DataError
from models.evaluation.run_folder import CONFIG, RunFolder
from models.trainer.settings import settings_of
from tests.support.training import tiny_settings, write_quotes

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.trainer import dataset, normalise  # noqa: E402
from models.trainer.opened import open_run  # noqa: E402
from models.trainer.run import fit_normaliser_of, run_training  # noqa: E402
from models.trainer.training_folder import create  # noqa: E402


def store(root: Path, table: pa.Table, name: str) -> None:
    with Catalogue(root).writer("oanda", "EURUSD", "quotes", source=Source(name)) as writer:
        writer.write(table.replace_schema_metadata(None))


def test_what_has_come_into_its_catalogue_since_is_not_of_the_run(tmp_path: Path) -> None:
    """A session stored later: the run's rows are the same ones, and a new run would have all."""
    table = pq.read_table(write_quotes(tmp_path) / "quotes.parquet")
    root = tmp_path / "catalogue"
    store(root, table, "first")
    settings = settings_of(tiny_settings(data={"catalogue": str(root), "instruments": ["EUR/USD@oanda"]}))
    spec = dataset.feature_spec(settings.features)
    before = dataset.build(settings, spec, tmp_path)
    create(tmp_path / "run", settings, before, "c" * 40, 1)
    day_ns = 86_400_000_000_000
    later = table.set_column(0, "ts_ns", pa.array(np.asarray(table["ts_ns"]) + day_ns))
    store(root, later, "second")
    after = open_run(tmp_path / "run", tmp_path).rows
    assert after.fingerprint == before.fingerprint
    assert np.array_equal(after.values, before.values, equal_nan=True)
    assert len(dataset.build(settings, spec, tmp_path).values) > 1.9 * len(before.values)


def test_a_run_whose_data_are_gone_or_that_is_none_is_refused(tmp_path: Path) -> None:
    write_quotes(tmp_path)
    settings = settings_of(tiny_settings())
    rows = dataset.build(settings, dataset.feature_spec(settings.features), tmp_path)
    create(tmp_path / "run", settings, rows, "c" * 40, 1)
    assert RunFolder(tmp_path / "run").data.fingerprint == rows.fingerprint
    table = pq.read_table(tmp_path / "quotes.parquet")
    pq.write_table(table.slice(0, 2_900).replace_schema_metadata(table.schema.metadata), tmp_path / "quotes.parquet")
    with pytest.raises(
        DataError, match=r"learned from data of fingerprint .*; bring back quotes\.parquet, or train again"
    ):
        open_run(tmp_path / "run", tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / CONFIG).write_bytes((tmp_path / "run" / CONFIG).read_bytes())
    with pytest.raises(DataError, match="no run at"):
        open_run(tmp_path / "empty", tmp_path)


def test_a_run_keeps_the_statistics_that_it_was_trained_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a later release fits on other rows of the training part: a bundle's graph has one normaliser, and weights
    that learned behind another would say something else."""
    write_quotes(tmp_path)
    settings = settings_of(tiny_settings(network={"name": "mlp", "sizes": [8]}))
    run_training(settings, folder=tmp_path / "run", data=tmp_path)
    before = open_run(tmp_path / "run", tmp_path).normaliser().module
    monkeypatch.setattr(normalise, "_WINDOWS_MAX", 50)
    opened = open_run(tmp_path / "run", tmp_path)
    assert not torch.equal(fit_normaliser_of(settings, opened.rows).module.mean, before.mean)
    after = opened.normaliser()
    for name, value in before.state_dict().items():
        assert torch.equal(after.module.state_dict()[name], value), name
    fitted = opened.network(1, after)
    assert torch.equal(fitted.served.normaliser.mean, after.module.mean)
