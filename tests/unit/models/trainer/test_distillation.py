from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import ConfigError
from models.evaluation.run_folder import RunFolder
from models.trainer.fit_settings import Loss
from models.trainer.settings import Distillation, load_settings, settings_of
from models.trainer.tasks import Target
from tests.support.training import candle_settings, write_candles

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.networks.settings import MlpSettings  # noqa: E402
from models.trainer import run  # noqa: E402
from models.trainer.dataset import build, feature_spec  # noqa: E402
from models.trainer.distillation import taught, teacher_of  # noqa: E402
from models.trainer.losses import TargetLoss  # noqa: E402
from models.trainer.predict_test import prepare  # noqa: E402
from models.trainer.readings import Reading, forecast, unit_of  # noqa: E402
from models.trainer.run import estimate_run, run_training  # noqa: E402

TEACHER = {"network": {"name": "mlp", "sizes": [24]}, "seeds": [7, 8]}
THREE = Target("classes", "classes", "classes", slice(0, 3), "label", 1)
VARIANCE = Target("variance", "variance", "variance", slice(0, 1), "label", 5)


class StoppedError(Exception):
    """What a user's callback ends a run with."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_candles(tmp_path_factory.mktemp("candles"))


def distilled(task: str = "classes", **changes):
    fit = {"label_smoothing": 0.0, **changes.pop("fit", {})}
    return settings_of(candle_settings(task, fit=fit, distillation={**TEACHER, **changes.pop("distillation", {})}))


def test_the_loss_against_a_teacher_is_hintons():
    """Three classes at temperature 3, by hand; a copy of the teacher has none, whatever the label says."""
    told = Distillation(MlpSettings(), temperature=3.0, share=0.25)
    ours, theirs = torch.tensor([[0.3, -0.2, 0.9]]), torch.tensor([[1.5, 0.1, -0.4]])
    label = torch.tensor([2.0])
    loss = TargetLoss(THREE, Loss(), Reading(), np.arange(3.0), 0.0, told)
    p, q = torch.softmax(theirs / 3, dim=1), torch.softmax(ours / 3, dim=1)
    wanted = 0.75 * -torch.log_softmax(ours, dim=1)[0, 2] + 0.25 * 9 * (p * (p / q).log()).sum()
    assert loss(ours, label, theirs).item() == pytest.approx(wanted.item())
    assert loss(ours, label).item() == pytest.approx(-torch.log_softmax(ours, dim=1)[0, 2].item())
    alone = TargetLoss(THREE, Loss(), Reading(), np.arange(3.0), 0.0, Distillation(MlpSettings(), share=1.0))
    assert alone(theirs + 1.0, label, theirs).item() == pytest.approx(0.0, abs=1e-6)
    quantity = TargetLoss(VARIANCE, Loss(), Reading(scale=0.5), np.ones(3), 0.0, told)
    one, two, value = torch.tensor([[0.2]]), torch.tensor([[0.8]]), torch.tensor([-0.1])
    plain = TargetLoss(VARIANCE, Loss(), Reading(scale=0.5), np.ones(3), 0.0)
    mixed = 0.75 * plain(one, value) + 0.25 * plain(one, two[:, 0])
    assert quantity(one, value, two).item() == pytest.approx(mixed.item())


@pytest.mark.parametrize("task", ["classes", "signal", "variance"])
def test_what_is_taught_says_what_the_teacher_says(tmp_path, data, task):
    """Read as the outputs of a network, it gives back the mean forecast of the teacher's seeds on training rows."""
    settings = distilled(task)
    teacher = teacher_of(settings)
    assert (teacher.network.sizes, teacher.fit.seeds, teacher_of(teacher)) == ((24,), (7, 8), None)
    rows = build(settings, feature_spec(settings.features), data)
    run_training(teacher, folder=tmp_path / "run", data=data)
    said = RunFolder(tmp_path / "run").predictions("train")
    raw = taught(rows, [said])
    assert np.isnan(raw[rows.validation.index]).all()
    reading = Reading() if task != "variance" else unit_of(rows, 0)
    again = forecast(rows.plan.targets[0], reading, raw[rows.train.index])
    assert again == pytest.approx(said.values.mean(axis=0), rel=1e-4, abs=1e-6)


def test_a_student_comes_nearer_to_its_teacher_and_goes_on_after_a_kill(tmp_path, data):
    """Taught alone it says on validation rows what the teacher says, more than one that never heard it; stopped in its
    first epoch and resumed it has the same weights; what it is evaluated by knows no teacher."""
    fit = {"epochs": 12, "patience": 11, "learning_rate": 0.03, "rows_per_epoch": 1024}
    settings = distilled(fit=fit, distillation={"share": 1.0})
    run_training(settings, folder=tmp_path / "taught", data=data)
    alone = settings_of(candle_settings("classes", fit={"label_smoothing": 0.0, **fit}))
    run_training(alone, folder=tmp_path / "alone", data=data)
    said = {
        name: RunFolder(tmp_path / name).predictions("validation").values.mean(axis=0)
        for name in ("taught", "taught/teacher", "alone")
    }
    distance = {name: np.abs(said[name] - said["taught/teacher"]).mean() for name in ("taught", "alone")}
    assert distance["taught"] < 0.85 * distance["alone"]
    assert load_settings(tmp_path / "taught" / "config.yaml")[0] == settings

    def stop(line):
        raise StoppedError

    with pytest.raises(StoppedError):
        run_training(settings, folder=tmp_path / "stopped", data=data, on_epoch=stop)
    made = run_training(settings, folder=tmp_path / "stopped", data=data, resume=True)
    assert made.runs == (tmp_path / "stopped",)
    left, right = (
        torch.load(tmp_path / run / "weights" / "seed-1.pt", weights_only=True)["served"]
        for run in ("taught", "stopped")
    )
    assert all(torch.equal(value, right[key]) for key, value in left.items())
    assert callable(prepare(tmp_path / "taught", data))


def test_a_teacher_that_was_stopped_goes_on(tmp_path, data):
    """Killed while the teacher learns: its run is in the folder, half done, and the student has none."""

    def killed(text: str, share: float) -> None:
        if text.startswith("teacher, seed 8"):
            raise StoppedError

    settings = distilled("variance")
    with pytest.raises(StoppedError):
        run_training(settings, folder=tmp_path / "run", data=data, progress=killed)
    assert not (tmp_path / "run" / "teacher" / "result.json").exists()
    run_training(settings, folder=tmp_path / "run", data=data, resume=True)
    whole = run_training(settings, folder=tmp_path / "whole", data=data)
    assert RunFolder(tmp_path / "run").predictions("train").values == pytest.approx(
        RunFolder(whole.folder).predictions("train").values, abs=0.0
    )


def test_a_dry_run_counts_the_teacher_too(data, monkeypatch):
    """Both are measured: parameters and memory of the student's process, seconds of both together."""
    measured = []

    def watched(*given):
        measured.append((given[0].network, run.estimate_of(*given)))
        return measured[-1][1]

    monkeypatch.setattr(run, "estimate_of", run.estimate, raising=False)
    monkeypatch.setattr(run, "estimate", watched)
    settings = distilled()
    found = estimate_run(settings, data=data)
    assert {network for network, _ in measured} == {settings.network, settings.distillation.network}
    assert found["seconds"] == pytest.approx(sum(one.seconds for _, one in measured))
    assert found["parameters"] == next(one.parameters for network, one in measured if network == settings.network)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"fit": {"label_smoothing": 0.1}},
            "distillation with fit.label_smoothing 0.1; expected fit.label_smoothing 0",
        ),
        ({"distillation": {"seeds": [1, 1]}}, r"distillation.seeds \[1, 1\]; expected each seed once"),
        ({"distillation": {"network": {"name": "mpl"}}}, "did you mean `mlp`"),
        ({"distillation": {"network": {"name": "mlp", "size": [3]}}}, "did you mean `sizes`"),
        ({"distillation": {"warmth": 3}}, "unknown field `warmth`"),
    ],
)
def test_settings_that_make_no_distillation_are_a_line(changes, said):
    """Before a row is read."""
    with pytest.raises(ConfigError, match=said):
        distilled(**changes)


def test_a_teacher_that_does_not_fit_the_rows_is_a_line(tmp_path, data):
    """Its window is checked as the network's own; nothing is written."""
    settings = distilled(distillation={"network": {"name": "cnn"}})
    with pytest.raises(ConfigError, match="a window of 6 rows is too short for the network cnn"):
        run_training(settings, folder=tmp_path / "run", data=data)
    assert not (tmp_path / "run").exists()
