from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.trainer import dataset
from models.trainer.dataset import Dataset
from models.trainer.settings import TrainSettings, settings_of
from models.trainer.tabular import HAR, feature_names, rows_of, task_of
from tests.support.training import candle_settings, write_candles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_candles(tmp_path_factory.mktemp("candles"))


def made(folder: Path, task: str, **changes: object) -> tuple[TrainSettings, Dataset]:
    settings = settings_of(candle_settings(task, **changes))
    return settings, dataset.build(settings, dataset.feature_spec(settings.features), folder)


def test_columns_are_the_newest_values_and_the_means_of_the_window(folder: Path) -> None:
    """Against windows that are cut by hand."""
    settings, data = made(folder, "classes", judged={"means": True})
    target, part = data.plan.targets[0], data.validation
    rows = rows_of(settings, data, target, part)
    windows = data.windows(part.position)
    assert feature_names(settings, data, target)[3:] == ("mean(ret_1)", "mean(rv_5)", "mean(range_ratio)")
    assert np.array_equal(rows.features[:, :3], windows[:, -1])
    assert np.allclose(rows.features[:, 3:], windows.mean(axis=1), atol=1e-9)
    assert np.array_equal(rows.label, data.targets[part.index, 0])


@pytest.mark.parametrize("task", ["direction", "classes", "return", "variance", "regime"])
def test_what_was_before_is_the_label_of_the_horizon_that_ended(folder: Path, task: str) -> None:
    """Row by row from the labels of the table; a price that stood still has no direction."""
    settings, data = made(folder, task)
    target, part = data.plan.targets[0], data.train
    rows = rows_of(settings, data, target, part)
    assert rows.past_label is not None
    labels = data.table.labels["label"].values
    horizon = target.horizon_rows
    for place in range(0, len(part), 37):
        before = labels[part.position[place] - horizon]
        wanted = target.values(before[None], data.volatile_above, settings.regimes.trend)[0]
        if math.isfinite(wanted):
            assert rows.past_label[place] == wanted
    assert np.isfinite(rows.past_label).all()


def test_the_series_of_the_parts_are_one_without_a_hole(folder: Path) -> None:
    """Every return to the end of the test, each once: GARCH walks from training to the test and misses no day, not
    even those between the parts, of which no sample is."""
    settings, data = made(folder, "variance")
    target, table = data.plan.targets[0], data.table
    parts = [rows_of(settings, data, target, part).series for part in (data.train, data.validation, data.test)]
    assert all(part is not None for part in parts)
    told = [
        (number, ns) for part in parts for number, ns in zip(part.instrument.tolist(), part.ts_ns.tolist(), strict=True)
    ]
    wanted = [
        (number, ns)
        for number in range(len(table.instruments))
        for ns in table.ts_ns[table.starts[number] + 1 : table.starts[number + 1]].tolist()
        if ns <= data.test.ts_ns.max()
    ]
    assert sorted(told) == sorted(wanted)
    for earlier, later in pairwise(parts):
        assert earlier.ts_ns.max() < later.ts_ns.min()


def test_what_is_known_before_a_variance_is_of_the_past_alone(folder: Path) -> None:
    """Another future changes no column, no past label and no return of the series up to its moment."""
    settings, data = made(folder, "variance")
    target, part = data.plan.targets[0], data.train
    rows = rows_of(settings, data, target, part)
    assert feature_names(settings, data, target)[-3:] == HAR
    assert task_of(settings, data, target).columns.har == HAR
    table = data.table
    moment_ns = int(np.median(table.ts_ns))
    later = table.ts_ns > moment_ns
    other = replace(
        table,
        high_px=np.where(later, 3 * table.high_px, table.high_px),
        close_px=np.where(later, 2 * table.close_px, table.close_px),
    )
    samples = replace(data.samples, table=other)
    changed = replace(data, samples=samples, train=dataset.Part(samples, part.part))
    again = rows_of(settings, changed, target, changed.train)
    before = rows.ts_ns <= moment_ns
    assert 0 < before.sum() < len(before)
    assert np.array_equal(again.features[before], rows.features[before])
    assert rows.series is not None
    assert again.series is not None
    early = rows.series.ts_ns <= moment_ns
    assert np.array_equal(again.series.log_return[: early.sum()], rows.series.log_return[early])
    assert not np.array_equal(again.features, rows.features)
    at = int(part.position[50])
    ranges = np.log(table.high_px[at - 4 : at + 1] / table.low_px[at - 4 : at + 1]) ** 2 / (4 * math.log(2))
    assert rows.features[50, -2] == pytest.approx(math.log(ranges.mean()), rel=1e-5)


def test_a_task_is_named_by_its_label_alone(folder: Path) -> None:
    """Another network, name or loss judges the same test; another threshold another one."""
    names = []
    for changes in ({}, {"name": "other", "loss": {"kind": "focal"}}, {"label": {"kind": "class", "threshold": 0.003}}):
        settings, data = made(folder, "classes", **changes)
        names.append(task_of(settings, data, data.plan.targets[0]).name)
    assert names[0] == names[1] == "class over 1 rows, threshold 0.004, bars of 60 s of trades"
    assert names[2] != names[0]
