from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.training import write_candles


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_candles(tmp_path_factory.mktemp("candles"))
