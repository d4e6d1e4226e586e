"""A session on recorded market data, played once for all who look at its record."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.watched import EVENTS, Played, play


@pytest.fixture(scope="session")
def played(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(market_data, tmp_path_factory.mktemp("none") / "registry", EVENTS)
