"""What can be known without Ray; ``make ray`` runs studies on a cluster."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from engine.errors import ConfigError
from models.tuning.executor import Unwatched
from models.tuning.ray_executor import RayCluster
from models.tuning.settings import Ray

ROOT = Path(__file__).resolve().parents[4]


def test_without_ray_it_says_what_to_install(monkeypatch):
    """One line, before anything runs."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="executor ray without ray; expected the extra tune-ray; pip install -e"):
        RayCluster(Ray(), Unwatched())


def test_the_ray_that_is_tried_is_the_one_that_the_extra_installs():
    """The list of `make ray` and pyproject.toml."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = (ROOT / "requirements" / "ray.txt").read_text().splitlines()
    assert [line for line in listed if not line.startswith("#")] == extras["tune-ray"]
