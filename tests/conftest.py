"""Rules for every test: money is never made of floats, and numba's cache is shared by the workers."""

from __future__ import annotations

import decimal
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_float_becomes_money():
    """``Decimal(float)`` and comparing the two raise, as they do in the daemon."""
    with decimal.localcontext() as context:
        context.traps[decimal.FloatOperation] = True
        yield


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of recorded market data; a test that needs it is skipped with a message where it is absent."""
    folder = Path(os.environ.get("KESTREL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ticks").is_dir():
        pytest.skip(f"no recorded market data at {folder}: set KESTREL_DATA")
    return folder
