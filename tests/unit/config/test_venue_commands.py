"""``run.py venue capabilities``."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from config.venue_commands import app
from engine.errors import ConfigError


def test_one_exchange_is_shown_need_by_need() -> None:
    """Kraken has a stream for most of it; the JSON says the same."""
    done = CliRunner().invoke(app, ["capabilities", "ccxt:kraken", "--json"])
    assert done.exit_code == 0
    assert "watchBidsAsks" in done.stdout
    (found,) = json.loads(done.stdout.strip().splitlines()[-1])["exchanges"]
    assert (found["exchange"], found["can_trade"], found["quotes"]) == ("kraken", True, "watchBidsAsks")


def test_all_of_them_are_listed_with_what_stands_against_orders() -> None:
    """More than a hundred."""
    done = CliRunner().invoke(app, ["capabilities", "--json"])
    found = {one["exchange"]: one for one in json.loads(done.stdout.strip().splitlines()[-1])["exchanges"]}
    assert len(found) > 100
    assert found["upbit"]["missing"] == ["fetchMyTrades"]


def test_an_exchange_that_there_is_none_of_is_an_error_of_one_line() -> None:
    """With those that are near it."""
    done = CliRunner().invoke(app, ["capabilities", "krakn"])
    assert isinstance(done.exception, ConfigError)
    assert "kraken" in str(done.exception)
    assert isinstance(CliRunner().invoke(app, ["capabilities", "ccxt:"]).exception, ConfigError)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
