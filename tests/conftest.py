"""Rules for every test: money is never made of floats, no test meets a daemon or a HALT file that is not its own."""

from __future__ import annotations

import decimal
import os
from itertools import count
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_numbers = count()


@pytest.fixture(autouse=True)
def _no_float_becomes_money():
    """``Decimal(float)`` and comparing the two raise, as they do in the daemon."""
    with decimal.localcontext() as context:
        context.traps[decimal.FloatOperation] = True
        yield


@pytest.fixture(scope="session", autouse=True)
def _run_folders(tmp_path_factory: pytest.TempPathFactory):
    """Before any wider fixture starts a daemon: never the run folder of the user who runs the tests."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KESTREL_RUN_DIR", str(folder / "shared"))
        yield folder


@pytest.fixture(autouse=True)
def run_folder_of_the_user(_run_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where daemons of this test alone, and of its child processes, register; not made yet."""
    folder = _run_folders / str(next(_numbers))
    monkeypatch.setenv("KESTREL_RUN_DIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of recorded market data; a test that needs it is skipped with a message where it is absent."""
    folder = Path(os.environ.get("KESTREL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ticks").is_dir():
        pytest.skip(f"no recorded market data at {folder}: set KESTREL_DATA")
    return folder
