"""robin_stocks as a kind of venue: what its settings become, and what it refuses before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config.load import load
from config.schema import Settings
from config.venue_kind import Opening
from config.venue_registry import kind_of
from config.venue_robin_stocks import KIND, SYMBOLS, robin_stocks_settings
from connectors.fakes import FakeClock
from connectors.robin_stocks.settings import LIMITS
from engine.errors import ConfigError
from engine.events import InputEvent
from engine.instruments import AssetClass

OPTION = "AAPL/USD:USD-261218-200-C"


def settings_with(**overrides: Any) -> Settings:
    named = {key.replace("__", "."): value for key, value in overrides.items()}
    return load(env={}, overrides={"venue.name": "robin_stocks", **named})


def opening(**fields: Any) -> Opening:
    def publish(_event: InputEvent) -> None:
        """Nobody listens."""

    return Opening(publish, FakeClock(), lambda: 0, lambda _instrument: (0, 0), **fields)


def login_file(folder: Path) -> Path:
    path = folder / "login.json"
    path.write_text(json.dumps({"username": "somebody", "password": "hidden words"}))
    path.chmod(0o600)
    return path


def test_one_line_chooses_it_and_the_profiles_symbols_are_of_another_venue(tmp_path: Path) -> None:
    """The name alone: two symbols of its own; named ones are taken; a server of ours is asked more often."""
    said = {"rest": "http://127.0.0.1:1", "key_file": str(login_file(tmp_path))}
    made = robin_stocks_settings(settings_with(), said, opening(money="play"))
    assert (made.symbols, made.rest_url, made.money, made.key_file) == (SYMBOLS, said["rest"], "play", said["key_file"])
    real = robin_stocks_settings(
        settings_with(venue__symbols=["F/USD", OPTION], venue__key_file=said["key_file"]), {}, opening(money="real")
    )
    assert (real.symbols, real.rest_url) == (("F/USD", OPTION), "")
    assert real.requests_per_min < made.requests_per_min
    assert kind_of(settings_with()) is KIND


def test_foreseen_instruments_are_shares_and_contracts() -> None:
    """In all that a limit or a model goes by."""
    stock, option = KIND.foresee(settings_with(venue__symbols=["F/USD", OPTION]))
    assert (stock.id, stock.asset_class, stock.quote, stock.multiplier) == (
        "F/USD@robin_stocks", AssetClass.EQUITY, "USD", 1,
    )  # fmt: skip
    assert (option.id, option.asset_class, option.multiplier, option.strike_px) == (
        f"{OPTION}@robin_stocks", AssetClass.OPTION, 100, 200,
    )  # fmt: skip
    assert not stock.can_short
    assert not option.can_short


def test_the_sandbox_lists_each_stock_once_and_gives_dollars_alone(tmp_path: Path) -> None:
    """An option and its stock are one listing; other money is refused."""
    chosen = settings_with(venue__symbols=["AAPL/USD", OPTION], sandbox__balances={"USD": "5000"})
    command = KIND.sandbox_command(chosen, tmp_path / "login.json", Path("run.py"))
    assert command[2:4] == ["sandbox", "robin_stocks"]
    assert command.count("--stock") == 1
    assert command[command.index("--cash") + 1] == "5000"
    with pytest.raises(ConfigError, match="USD alone"):
        KIND.sandbox_command(settings_with(sandbox__balances={"EUR": "1"}), tmp_path, Path("run.py"))


def test_there_is_no_market_without_a_login() -> None:
    """Feed live on paper, before anything is asked."""
    with pytest.raises(ConfigError, match="no prices without a login"):
        KIND.watch(settings_with(), {}, opening())


def test_the_watchdog_is_told_what_it_needs_and_no_secret(tmp_path: Path) -> None:
    """Plain values; the file's path, not what is in it."""
    chosen = settings_with(venue__key_file=str(login_file(tmp_path)), venue__rest_url="http://127.0.0.1:9")
    found = KIND.cancel_only(chosen)
    assert found.module == "connectors.robin_stocks.cancel_only"
    assert found.told["rest_url"] == "http://127.0.0.1:9"
    assert "hidden words" not in json.dumps(found.told)


def test_the_connector_says_its_limits(tmp_path: Path) -> None:
    """What is told at the start goes where the session talks."""
    assert any("unofficial" in line for line in LIMITS)
    lines: list[str] = []
    said = {"rest": "http://127.0.0.1:1", "key_file": str(login_file(tmp_path))}
    venue = KIND.connect(settings_with(), said, opening(money="play", say=lines.append))
    assert venue.name == "robin_stocks"
    assert venue.gateway is None
    assert "hidden words" not in repr(vars(venue))
    assert KIND.key_name(settings_with(venue__key_file=said["key_file"])) != "somebody"
