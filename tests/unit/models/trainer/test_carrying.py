"""Whether a state may be carried on: long runs of consecutive rows, by steps and by windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.errors import BundleError
from models.bundle import Bundle
from models.onnx_model import OnnxModel
from models.serving.step import StepModel, step_graph
from tests.support.training import tiny_settings, write_quotes, write_settings

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
pytest.importorskip("onnxscript", reason="the trainer is not installed")

from models.trainer import carrying  # noqa: E402
from models.trainer.carrying import runs_of, with_carrying  # noqa: E402
from models.trainer.opened import OpenedRun, open_run  # noqa: E402
from models.trainer.run import run_training  # noqa: E402
from models.trainer.run_bundle import bundle_run  # noqa: E402
from models.trainer.settings import load_settings  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, OpenedRun]:
    """A GRU of one direction on ratios, with its bundle."""
    folder = write_quotes(tmp_path_factory.mktemp("quotes"))
    plain = tiny_settings(
        network={"name": "gru", "hidden": 6, "layers": 1, "bidirectional": False, "attention": "none", "dense": 6},
        normaliser={"kind": "robust"},
        split={"train": 0.5, "validation": 0.3},
        features={"columns": ["ret_1", "ret_5", "ret_20", "spread_bps"], "window": 30, "volume": "ticks"},
    )
    settings, _ = load_settings(write_settings(folder, plain))
    run = folder / "runs" / "tiny"
    run_training(settings, folder=run, data=folder, commit="c" * 40)
    return bundle_run(run, data=folder), open_run(run, folder)


def test_a_trained_network_that_loses_nothing_is_served_by_steps(trained: tuple[Bundle, OpenedRun]) -> None:
    """The manifest has both scores; what a session's steps say long after their first window is near the windows'."""
    bundle, opened = trained
    step = bundle.manifest.step
    assert step.carried, step.why_not
    assert step.carried_on.longest >= 10 * opened.rows.window
    assert step.carried_on.agreement >= 0.99
    assert step.carried_on.before.keys() == step.carried_on.after.keys() == {"macro_f1", "ece", "log_loss"}
    steps, windows = StepModel(bundle), OnnxModel(bundle)
    table = opened.rows.table
    _, positions = runs_of(opened.rows)[0]
    said = [
        [model.predict("EUR/USD@oanda", table.view[row - table.window + 1], 1, 2).values[0] for row in positions[:300]]
        for model in (steps, windows)
    ]
    assert said[0][0] == pytest.approx(said[1][0], abs=1e-5)
    np.testing.assert_allclose(said[0], said[1], atol=0.02)


def test_one_whose_state_says_something_else_is_served_by_windows(
    trained: tuple[Bundle, OpenedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps are made to drift: more with each row that they are carried on."""
    bundle, opened = trained
    real = carrying._carried

    def drifting(*about: object) -> list[np.ndarray]:
        (said,) = real(*about)
        up = np.linspace(0.0, 1.0, len(said))
        return [np.stack([said[:, 0] * (1 - up), 1 - said[:, 0] * (1 - up)], axis=1)]

    monkeypatch.setattr(carrying, "_carried", drifting)
    made = with_carrying(bundle, opened.rows)
    assert not made.manifest.step.carried
    assert "% of rows have the same class (at least 99 %)" in made.manifest.step.why_not
    with pytest.raises(BundleError, match=r"it is another model: carried on, on [\d,]+ validation rows: .*macro_f1"):
        step_graph(made)


def test_too_few_rows_in_a_row_prove_nothing(
    trained: tuple[Bundle, OpenedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, opened = trained
    monkeypatch.setattr(carrying, "WINDOWS_LEAST", 10_000)
    made = with_carrying(bundle, opened.rows)
    assert not made.manifest.step.carried
    assert "are too few to judge a carried state by" in made.manifest.step.why_not


def test_runs_end_where_a_window_does_not_reach(trained: tuple[Bundle, OpenedRun], monkeypatch) -> None:
    """A row that is not warm begins another run; labelled rows are each in one; no more rows than allowed."""
    _, opened = trained
    rows = opened.rows
    position = rows.validation.position
    cold = int(position[len(position) // 3]) + 1
    warm = rows.table.warm.copy()
    warm[cold] = False
    samples = replace(rows.samples, table=replace(rows.table, warm=warm))
    kept = rows.validation.index[position != cold]
    broken = replace(rows, samples=samples, validation=type(rows.validation)(samples, type(rows.validation.part)(kept)))
    runs = runs_of(broken)
    assert len(runs) == 2
    assert all(cold not in positions for _, positions in runs)
    assert sorted(np.concatenate([of for of, _ in runs])) == list(range(len(kept)))
    for of, positions in runs:
        assert set(broken.validation.position[of]) <= set(positions.tolist())
        assert (np.diff(positions) == 1).all()
    monkeypatch.setattr(carrying, "ROWS_MAX", 150)
    ((of, positions),) = runs_of(broken)
    assert len(positions) == 150
    assert broken.validation.position[of].max() <= positions[-1]
