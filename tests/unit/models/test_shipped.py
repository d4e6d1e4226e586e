"""Commands typed in any folder: the bundles that ship are found, a folder of one's own goes before them."""

from __future__ import annotations

from pathlib import Path

from models.commands import models_list, models_show, models_verify


def test_commands_find_the_shipped_bundles_from_any_working_folder(tmp_path: Path, monkeypatch, capsys) -> None:
    """List, show and verify, typed in an empty folder; then in one that has a folder of bundles itself."""
    monkeypatch.chdir(tmp_path)
    models_list()
    assert "demo-crypto" in capsys.readouterr().out
    models_show("demo-crypto")
    models_verify("demo-fx")
    assert "demo-fx" in capsys.readouterr().out
    Path("models/artifacts").mkdir(parents=True)
    models_list()
    assert capsys.readouterr().out == ""
