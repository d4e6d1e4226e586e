from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import run as program
from engine.errors import ConfigError, DataError
from models.evaluation.run_folder import RunFolder
from tests.support.training import candle_settings, write_candles

pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
for library in ("lightgbm", "mapie", "shap"):
    pytest.importorskip(library)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user works: candles, settings, and runs under var/runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KESTREL_DATA", str(write_candles(tmp_path)))
    return tmp_path


def settings(folder: Path, task: str = "signal", **changes) -> str:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(candle_settings(task, **changes)))
    return str(path)


def invoke(*words: str):
    done = CliRunner().invoke(program.app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_run_is_trained_and_its_test_is_opened_on_record(folder):
    """The two commands as a user types them: the second predicts the test itself, behind a line of the ledger."""
    done = invoke("train", "--config", settings(folder), "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["trained"][0]["folder"] == "var/runs/tiny"
    assert "python run.py evaluate --run var/runs/tiny" in done.stdout
    assert not RunFolder("var/runs/tiny").has_predictions("test")
    done = invoke("evaluate", "--run", "var/runs/tiny", "--ledger", "ledger.jsonl", "--explain", "made up", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["primary"] == "pr_auc"
    assert len(Path("ledger.jsonl").read_text().splitlines()) == 1
    assert RunFolder("var/runs/tiny").has_predictions("test")


def test_a_second_run_of_a_name_has_a_number(folder):
    """Nothing is written over; a folder that was named is another matter."""
    config = settings(folder, "return", fit={"epochs": 1})
    for name in ("tiny", "tiny-2"):
        assert f"var/runs/{name}: 1 epochs" in invoke("train", "--config", config).stdout
    with pytest.raises(ConfigError, match="var/runs/tiny exists"):
        invoke("train", "--config", config, "--run", "var/runs/tiny")


def test_a_dry_run_tells_what_a_run_takes_and_leaves_nothing(folder):
    """Rows, steps, time and memory; no folder."""
    done = invoke("train", "--config", settings(folder), "--dry-run", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["steps_per_epoch"] == 8
    assert "if no seed ends early" in done.stdout
    assert not (folder / "var").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "train without --config"),
        (("--resume", "none"), "no run to resume at none"),
        (("--config", "tiny.yaml", "--resume", "a", "--run", "b"), "--run with --resume"),
        (("--config", "none.yaml"), "cannot read none.yaml"),
    ],
)
def test_a_wrong_call_is_one_line(folder, words, said):
    """Each by itself."""
    with pytest.raises((ConfigError, DataError), match=said):
        invoke("train", *words)


def test_a_finished_run_is_told_again_and_another_config_is_refused(folder):
    """``--resume`` alone, and with settings that are not the run's."""
    invoke("train", "--config", settings(folder, "regime"))
    assert "var/runs/tiny: 2 epochs" in invoke("train", "--resume", "var/runs/tiny").stdout
    other = settings(folder, "regime", network={"name": "mlp", "sizes": [9]})
    with pytest.raises(ConfigError, match=r"made with other settings \(network.sizes\)"):
        invoke("train", "--config", other, "--resume", "var/runs/tiny")


def test_a_run_that_is_interrupted_says_how_to_go_on(folder, monkeypatch):
    """Ctrl-C behind the first epoch; what it says is what goes on."""
    from models.trainer import run as training

    real = training.append_line

    def interrupted(place, line):
        real(place, line)
        if line.epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "append_line", interrupted)
        done = invoke("train", "--config", settings(folder))
    assert done.exit_code == 130
    assert "stopped; go on with --resume var/runs/tiny" in done.stderr
    assert "var/runs/tiny: 2 epochs" in invoke("train", "--resume", "var/runs/tiny").stdout


def test_a_run_that_goes_on_with_new_rates_and_is_interrupted_keeps_them(folder, monkeypatch):
    """Ctrl-C, new rates, Ctrl-C again: what is said then goes on with the new rates, and not with the run's first."""
    from models.trainer import run as training

    real, constant = training.append_line, {"schedule": {"kind": "constant"}, "epochs": 3}

    def interrupted(place, line):
        real(place, line)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "append_line", interrupted)
        invoke("train", "--config", settings(folder, fit=constant))
        changed = settings(folder, fit={**constant, "learning_rate": 5e-4})
        done = invoke("train", "--config", changed, "--resume", "var/runs/tiny")
    told = f"--config {changed} --resume var/runs/tiny"
    assert f"stopped; go on with {told}\n" in done.stderr
    invoke("train", *told.split())
    assert {line.learning_rate for line in RunFolder("var/runs/tiny").epochs()} == {5e-4}
    assert "var/runs/tiny: 3 epochs" in invoke("train", "--resume", "var/runs/tiny").stdout
    with pytest.raises(ConfigError, match=r"is done, and had other values of fit \(learning_rate\)"):
        invoke("train", "--config", settings(folder, fit={**constant, "learning_rate": 1e-4}), *told.split()[2:])


def test_a_walk_forward_that_is_interrupted_goes_on_by_its_folder_alone(folder, monkeypatch):
    """Ctrl-C in the second of two origins: what it says is what goes on, and the first is left as it is."""
    from models.trainer import run as training

    real, lines = training.append_line, []

    def interrupted(place, line):
        real(place, line)
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt

    forward = {"split": {"walk_forward": {"origins": 2}}, "fit": {"epochs": 1}}
    with monkeypatch.context() as patched:
        patched.setattr(training, "append_line", interrupted)
        done = invoke("train", "--config", settings(folder, "return", **forward))
    assert "stopped; go on with --resume var/runs/tiny" in done.stderr
    first = Path("var/runs/tiny/origin-1/result.json").read_bytes()
    told = invoke("train", "--resume", "var/runs/tiny").stdout
    assert [f"var/runs/tiny/origin-{origin}: 1 epochs" in told for origin in (1, 2)] == [True, True]
    assert Path("var/runs/tiny/origin-1/result.json").read_bytes() == first
