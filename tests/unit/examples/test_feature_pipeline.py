"""The example of the features runs as its first lines say, and would notice a difference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.support.scripts import load_script

PROGRAM = Path(__file__).resolve().parents[3] / "examples" / "feature_pipeline.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_script(PROGRAM)


def test_generated_ticks_give_the_same_bits_live_and_in_bulk(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file, no folder of recordings: 3,000 generated events, and the last rows are shown."""
    monkeypatch.delenv("KESTREL_DATA", raising=False)
    assert example.main(["--events", "3000"]) == 0
    told = capsys.readouterr().out
    assert "3000 events of BTC/USDT@binance_usdm, generated" in told
    assert "equal in every bit" in told
    assert "rsi_14" in told
    assert "nan" not in told.splitlines()[-1]


def test_recorded_ticks_give_the_same_bits_live_and_in_bulk(
    example: ModuleType, market_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """20,000 events of a recorded day, found by the variable; and quotes alone, named as files."""
    monkeypatch.setenv("KESTREL_DATA", str(market_data))
    assert example.main([]) == 0
    assert "20000 events of BTC/USDT@binance_usdm, recorded" in capsys.readouterr().out
    file = next((market_data / "ticks").glob("oanda_eurusd*.parquet"))
    assert example.main(["--set", "quote40", "--events", "3000", str(file)]) == 0
    told = capsys.readouterr().out
    assert "3000 events of EUR/USD@oanda, recorded" in told
    assert "equal in every bit" in told


def test_a_difference_of_one_bit_is_seen(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bulk rows are given back with the lowest bit of one value turned round."""
    compute = example.compute_ticks

    def tampered(*arguments: object) -> object:
        rows = compute(*arguments)
        bits = rows.values.copy()
        bits.view(np.uint32)[1_000, 7] ^= 1
        return rows._replace(values=bits)

    monkeypatch.delenv("KESTREL_DATA", raising=False)
    monkeypatch.setattr(example, "compute_ticks", tampered)
    assert example.main(["--events", "3000"]) == 1
    assert "row 1000, column macd_signal: live and bulk differ" in capsys.readouterr().out


def test_a_wrong_name_is_one_line() -> None:
    """As a program: the nearest set, no traceback."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--set", "core4", "--events", "10"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("did you mean 'core40'?")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--events", "-5"], "-5 is no count"), (["--window", "0"], "window 0; expected 1 to 4096")]
)
def test_a_number_that_is_none_is_one_line(arguments: list[str], said: str) -> None:
    """As a program: what was wrong with it, no traceback."""
    done = subprocess.run([sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
