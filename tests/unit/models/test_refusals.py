"""What becomes one line."""

from __future__ import annotations

import errno
import importlib
import sys

import pytest
import typer
from typer.testing import CliRunner

from engine.errors import KestrelError
from models import commands
from models.evaluation import commands as evaluation_commands
from models.mixture import commands as mixture_commands
from models.refusals import needing
from models.results import commands as results_commands
from models.trainer import commands as trainer_commands
from models.trainer import refresh_command
from models.tuning import commands as tuning_commands

BROKEN = {
    "add": ("models.trainer.judged", ["add", "run"]),
    "convert": ("models.trainer.convert", ["convert", "run", "--precision", "fp16"]),
    "evaluate": ("models.evaluation.evaluate", ["evaluate", "--run", "run"]),
    "refresh": ("models.trainer.incremental", ["refresh", "tiny", "--run", "run"]),
    "results": ("models.results.work", ["results", "--list"]),
    "train": ("models.trainer.training_folder", ["train", "--config", "x.yaml"]),
    "tune": ("models.trainer.run", ["tune", "--config", "x.yaml"]),
    "weigh": ("models.mixture.learning", ["weigh", "a", "b", "--out", "weights.json"]),
}


class Broken:
    """As torch is where a library of its own is missing: found, and not to be loaded."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name, self.error = name, error

    def find_spec(self, name: str, *_about: object) -> None:
        if name == self.name:
            raise self.error


@pytest.mark.parametrize("command", BROKEN)
@pytest.mark.parametrize(
    "error", [OSError("libcudart.so.12: no such file"), ImportError("libcudart.so.12: no such file")]
)
def test_a_library_that_cannot_be_loaded_is_one_line(monkeypatch, tmp_path, command, error):
    app = typer.Typer()
    trainer_commands.register(app, lambda: "c" * 40)
    refresh_command.register(app, lambda *_: None, lambda: "c" * 40)
    evaluation_commands.register(app, lambda: "c" * 40)
    results_commands.register(app, lambda: "c" * 40)
    tuning_commands.register(app)
    mixture_commands.register(app)
    app.command("add")(commands.models_add)
    app.command("convert")(commands.models_convert)
    module, words = BROKEN[command]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    monkeypatch.delitem(sys.modules, module, raising=False)
    # A test before this one may have loaded it: then its package has it, and nobody would look for it again.
    package, _, name = module.rpartition(".")
    monkeypatch.delattr(importlib.import_module(package), name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(module, error), *sys.meta_path])
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, KestrelError)
    assert "cannot load what it needs: " in str(done.exception)
    assert "libcudart.so.12: no such file; install it again: pip install" in str(done.exception)


def test_a_full_disk_is_no_library_that_cannot_be_loaded():
    """What the work itself meets has a number, and is left to whoever knows what it was doing."""
    with pytest.raises(OSError, match="No space left"), needing("the trainer"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_library_that_is_missing_is_named_with_its_extra():
    with (
        pytest.raises(
            KestrelError,
            match=r"^tuning needs no_such_library; expected the extra tune-ray; pip install -e '.\[cpu,tune-ray\]'$",
        ),
        needing("tuning", "tune-ray"),
    ):
        importlib.import_module("no_such_library")
