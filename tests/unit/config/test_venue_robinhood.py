"""Settings become a Robinhood connector: address, key, symbols, what will be listed, and the sandbox beside it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.load import load
from config.schema import Settings
from config.venue_kind import Opening
from config.venue_registry import kind_of
from config.venue_robinhood import KIND, robinhood_settings
from connectors.fakes import FakeClock
from connectors.robinhood.auth import Key
from connectors.robinhood.directory import make_instrument
from connectors.robinhood.sandbox.settings import DEFAULT_PAIRS
from connectors.robinhood.wire import Pair
from engine.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
SAID = {"rest": "http://127.0.0.1:1", "account": "RH1", "key_file": "k.json"}


def settings_with(**overrides: Any) -> Settings:
    given = {"venue.name": "robinhood"} | {key.replace("__", "."): value for key, value in overrides.items()}
    return load(env={}, overrides=given)


def opening() -> Opening:
    return Opening(lambda _: None, FakeClock(), lambda: 0, lambda _: (0, 0), money="play")


def test_the_users_own_values_win_and_the_venue_stands_behind_both() -> None:
    """Over those of a sandbox; without any the address is the venue's, and a key is asked for."""
    settings = settings_with()
    assert kind_of(settings) is KIND
    made = robinhood_settings(settings, SAID)
    assert (made.rest_url, made.key_file, made.account_number) == (SAID["rest"], "k.json", "")
    assert made.symbols == ("BTC/USD", "ETH/USD")
    mine = {"venue__rest_url": "https://host", "venue__key_file": "mine.json", "venue__account": "RH2"}
    made = robinhood_settings(settings_with(**mine), SAID)
    assert (made.rest_url, made.key_file, made.account_number) == ("https://host", "mine.json", "RH2")
    with pytest.raises(ConfigError, match="no key_file"):
        robinhood_settings(settings, {})
    assert robinhood_settings(settings, {"key_file": "k"}).rest_url == "https://trading.robinhood.com"


def test_foreseen_instruments_are_what_the_venue_will_define() -> None:
    """All but steps, bounds and fees."""
    foreseen = KIND.foresee(settings_with())
    told = ("tick_px", "lot_qty", "min_qty", "max_qty", "min_notional", "maker_fee_rate", "taker_fee_rate")
    for mine, pair in zip(foreseen, DEFAULT_PAIRS, strict=False):
        row = Pair(pair.symbol, pair.asset, pair.quote, pair.quote_increment, pair.asset_increment, pair.max_order_size)
        defined = make_instrument("robinhood", f"{pair.asset}/{pair.quote}", row, mine.taker_fee_rate)
        assert msgspec.structs.replace(defined, **{name: getattr(mine, name) for name in told}) == mine


def test_the_real_market_is_not_to_be_had_on_paper() -> None:
    """Not a price without a key: said in one line."""
    with pytest.raises(ConfigError, match="without a key"):
        KIND.watch(settings_with(venue__feed="live"), {}, opening())


def test_the_child_is_the_sandbox_of_the_settings(tmp_path: Path) -> None:
    """The very command, run: it takes every option, and says what a connector needs; the watchdog is told the same."""
    settings = settings_with(
        venue__symbols=["DOGE/USD"], sandbox__balances={"USD": 500, "DOGE": 7}, sandbox__history_s=1
    )
    command = KIND.sandbox_command(settings, tmp_path / "key.json", ROOT / "run.py")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        said = json.loads(child.stdout.readline())
        child.stdin.close()
        assert child.wait(timeout=30) == 0
    assert command[0] == sys.executable
    assert {each.said for each in KIND.addresses} <= set(said)
    key = Key.from_file(tmp_path / "key.json")
    assert key.is_play
    assert stat.S_IMODE((tmp_path / "key.json").stat().st_mode) == 0o600
    named = settings_with(
        venue__rest_url=said["rest"], venue__key_file=str(tmp_path / "key.json"), venue__account="RH2"
    )
    assert KIND.key_name(named) == key.api_key
    assert KIND.connect(named, said, opening()).settings.money == "play"
    told = KIND.cancel_only(named)
    assert told.module == "connectors.robinhood.cancel_only"
    assert told.told == {
        "rest_url": said["rest"],
        "key_file": str(tmp_path / "key.json"),
        "timeout_s": 5.0,
        "account_number": "RH2",
    }
