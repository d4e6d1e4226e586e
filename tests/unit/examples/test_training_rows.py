"""The example of training rows runs as its first lines say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.support.scripts import load_script

PROGRAM = Path(__file__).resolve().parents[3] / "examples" / "training_rows.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_script(PROGRAM)


def test_generated_candles_become_batches_and_rows_are_kept(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice with a folder: one store, the same words."""
    assert example.main(["--rows", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "2 instruments in generated.parquet, candles of 3600 s" in told
    assert "8,800 rows of 11 columns" in told
    assert "origin 5:" in told
    assert "the first is (32, 24, 11) float32" in told
    assert example.main(["--rows", str(tmp_path)]) == 0
    assert capsys.readouterr().out == told
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_recorded_candles_become_batches(
    example: ModuleType, market_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hourly file of two coins, with holes."""
    assert example.main([str(market_data / "bars" / "crypto_1h_ethusd_ltcusd_2017_2019.parquet")]) == 0
    assert "2 instruments in crypto_1h_ethusd_ltcusd_2017_2019.parquet" in capsys.readouterr().out
