"""What can be known without Ray; ``make ray`` runs studies on a cluster."""

from __future__ import annotations

import socket
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from engine.errors import KestrelError
from models.tuning.ray_executor import check_address
from models.tuning.tune import tune
from tests.support.tuning import bowl, write_study

ROOT = Path(__file__).resolve().parents[4]


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    """One line, before anything is written."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(KestrelError, match="executor ray needs ray; expected the extra train,tune-ray; pip install -e"):
        tune(write_study(tmp_path, executor="ray"), out=tmp_path / "a", run=bowl)
    assert not (tmp_path / "a").exists()


def test_a_cluster_that_is_not_there_is_told_at_once():
    """A port that was just given back; the same once somebody listens; a word that Ray itself looks up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_address(f"127.0.0.1:{port}")
        check_address(f"ray://127.0.0.1:{port}")
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:99999"):
        with pytest.raises(KestrelError, match=f"no Ray cluster at {address}: .*; start it, or correct ray.address"):
            check_address(address)
    check_address("auto")


def test_the_ray_that_is_tried_is_the_one_that_the_extra_installs():
    """The list of `make ray` and pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = (ROOT / "requirements" / "ray.txt").read_text().splitlines()
    assert [line for line in listed if not line.startswith("#")] == extras["tune-ray"]
