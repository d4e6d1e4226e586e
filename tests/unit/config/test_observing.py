"""Recorded sessions that are judged count each hour once."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.observing import judge_again
from engine.errors import ConfigError
from engine.events import Prediction
from models.bundle import load_bundle
from models.registry.store import Registry
from tests.support.daemon import ROOT
from tests.support.watched import play


def test_sessions_that_would_count_the_same_rows_twice_are_refused(market_data: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    played = play(market_data, registry.root, 600)
    version, _ = registry.add(load_bundle(ROOT / "models" / "artifacts" / "demo-crypto"))
    config = played.settings.model_dump(mode="json")
    assert sum(type(record) is Prediction for record in played.records) > 2
    one, copied = ("one", config, played.records), ("copied", config, played.records)
    with pytest.raises(ConfigError, match="session one is named twice"):
        judge_again([one, one], registry.root, version)
    with pytest.raises(ConfigError, match="session copied predicted before the one named in front of it had ended"):
        judge_again([one, copied], registry.root, version)
