"""What becomes one line."""

from __future__ import annotations

import sys

import pytest
import typer
from typer.testing import CliRunner

from engine.errors import KestrelError
from models import commands
from models.trainer import commands as trainer_commands
from models.trainer import refresh_command

BROKEN = {
    "convert": ("models.trainer.convert", ["convert", "run", "--precision", "fp16"]),
    "refresh": ("models.trainer.incremental", ["refresh", "tiny", "--run", "run"]),
    "train": ("models.trainer.training_folder", ["train", "--config", "x.yaml"]),
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
    app.command("convert")(commands.models_convert)
    module, words = BROKEN[command]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(module, error), *sys.meta_path])
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, KestrelError)
    assert "cannot load what it needs: " in str(done.exception)
    assert "libcudart.so.12: no such file; install it again: pip install" in str(done.exception)
