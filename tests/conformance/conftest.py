"""Fixtures of the tests that run the real program."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.bad_input import NAME


@pytest.fixture(scope="session")
def market(market_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The first rows of a recorded day: ``(quotes, trades)``.  For reading only: a test that damages copies first."""
    folder = tmp_path_factory.mktemp("market")
    made = []
    for kind, rows in (("quotes", 3000), ("trades", 1000)):
        target = folder / f"{NAME}_{kind}.parquet"
        pq.write_table(pq.read_table(market_data / "ticks" / target.name).slice(0, rows), target)
        made.append(target)
    return made[0], made[1]
