"""Settings become an OANDA connector: addresses, token, symbols, what will be listed, and the sandbox beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.load import load
from config.preflight import check_session
from config.schema import Settings
from config.venue_kind import Opening, TellsRates
from config.venue_oanda import KIND, SYMBOLS, needed_instruments, oanda_settings, symbols_of
from config.venue_registry import kind_of
from connectors.fakes import FakeClock
from connectors.oanda.orders import define
from connectors.oanda.sandbox.settings import instruments_named
from connectors.oanda.sandbox.views import instrument_json
from connectors.oanda.wire import InstrumentRow
from engine.errors import ConfigError
from engine.instruments import AssetClass, Instrument
from engine.ports import Assignment

SAID = {"rest": "http://127.0.0.1:1", "stream": "http://127.0.0.1:2", "account": "101-004-1-001", "key_file": "t.txt"}


def settings_with(**overrides: Any) -> Settings:
    given = {"venue.name": "oanda"} | {key.replace("__", "."): value for key, value in overrides.items()}
    return load(env={}, overrides=given)


def opening() -> Opening:
    return Opening(lambda _: None, FakeClock(), lambda: 0, lambda _: (0, 0), money="play")


def test_one_line_of_configuration_is_enough() -> None:
    """The profile's symbols are meant for another venue; currencies need no rate, the venue tells them."""
    settings = settings_with()
    assert kind_of(settings) is KIND
    assert symbols_of(settings) == SYMBOLS
    assert symbols_of(settings_with(venue__symbols=["USD/JPY"])) == ("USD/JPY",)
    assert isinstance(KIND, TellsRates)
    made = oanda_settings(settings, SAID, opening())
    assert (made.rest_url, made.stream_url, made.token_file) == (SAID["rest"], SAID["stream"], "t.txt")
    assert (made.account, made.money, made.counted_in, made.dial_gap_s) == ("101-004-1-001", "play", "USD", 0.0)


def test_the_users_own_addresses_win_and_the_venues_are_of_practice() -> None:
    """Over those of a sandbox; without any, the pace of new connections is the venue's."""
    mine = {"venue__rest_url": "https://host", "venue__account": "001-001-7-001", "venue__key_file": "mine.txt"}
    made = oanda_settings(settings_with(**mine), SAID, opening())
    assert (made.rest_url, made.stream_url, made.account) == ("https://host", SAID["stream"], "001-001-7-001")
    assert made.token_file == "mine.txt"
    assert made.dial_gap_s > 0
    assert made.order_connections == 2
    assert oanda_settings(settings_with(venue__order_connections=4), {}, opening()).order_connections == 4
    plain = oanda_settings(settings_with(), {}, opening())
    assert plain.rest_url == "https://api-fxpractice.oanda.com"


def test_guaranteed_stops_are_asked_for_and_nowhere_else() -> None:
    """Off unless set; a venue that would leave the setting unheard refuses it."""
    assert not oanda_settings(settings_with(), SAID, opening()).guaranteed_stops
    assert oanda_settings(settings_with(venue__guaranteed_stops=True), SAID, opening()).guaranteed_stops
    with pytest.raises(ConfigError, match="guaranteed_stops with coinbase"):
        kind_of(settings_with(venue__name="coinbase", venue__guaranteed_stops=True))


def test_foreseen_instruments_are_what_the_venue_will_define() -> None:
    """Held against definitions as the sandbox makes them: all but steps, bounds and margin is the same."""
    names = ["EUR_USD", "USD_JPY", "XAU_USD", "SPX500_USD"]
    foreseen = KIND.foresee(settings_with(venue__symbols=[name.replace("_", "/") for name in names]))
    rows = msgspec.convert(
        [instrument_json(one) for one in instruments_named(names)], list[InstrumentRow], strict=False
    )
    told = ("tick_px", "lot_qty", "min_qty", "max_qty", "margin_rate")
    assert foreseen == [
        msgspec.structs.replace(define(row, "oanda"), **{name: getattr(mine, name) for name in told})
        for row, mine in zip(rows, foreseen, strict=True)
    ]
    assert [one.asset_class for one in foreseen] == [AssetClass.FX, AssetClass.FX, AssetClass.CFD, AssetClass.CFD]


@pytest.mark.parametrize(
    ("symbols", "home", "counted_in", "names"),
    [
        (("EUR/USD",), "USD", "USD", ["EUR_USD"]),
        (("USD/JPY",), "USD", "USD", ["USD_JPY"]),
        (("EUR/GBP",), "USD", "USD", ["EUR_GBP", "GBP_USD"]),
        (("EUR/USD",), "EUR", "EUR", ["EUR_USD"]),
        (("USD/JPY",), "EUR", "USD", ["USD_JPY", "EUR_JPY", "EUR_USD"]),
        (("XAU/USD",), "CHF", "USD", ["XAU_USD", "USD_CHF"]),
    ],
)
def test_the_sandbox_lists_what_converts_the_money(
    symbols: tuple[str, ...], home: str, counted_in: str, names: list[str]
) -> None:
    """What is earned into the account's currency, and that into the portfolio's."""
    assert needed_instruments(symbols, home, counted_in) == names


def test_the_sandboxs_account_has_one_currency(tmp_path: Path) -> None:
    """Its command names it; two are refused in one line."""
    settings = settings_with(sandbox__balances={"EUR": 5000})
    command = KIND.sandbox_command(settings, tmp_path / "token.txt", Path("run.py"))
    assert command[command.index("--currency") + 1 : command.index("--currency") + 4] == ["EUR", "--balance", "5000"]
    assert command.count("--instrument") == 2
    for balances in ({"EUR": 1, "USD": 1}, {}):
        with pytest.raises(ConfigError, match="one currency"):
            KIND.sandbox_command(settings_with(sandbox__balances=balances), tmp_path / "token.txt", Path("run.py"))


def test_an_account_is_told_apart_by_its_id_or_its_token(tmp_path: Path) -> None:
    """The token itself is in neither; the watchdog is told the same account."""
    path = tmp_path / "token.txt"
    path.write_text("secret-token\n")
    named = settings_with(venue__key_file=str(path), venue__account="001-001-7-001", venue__rest_url="https://host")
    unnamed = settings_with(venue__key_file=str(path))
    assert KIND.key_name(named) == "001-001-7-001"
    assert "secret" not in KIND.key_name(unnamed)
    assert len(KIND.key_name(unnamed)) == 16
    told = KIND.cancel_only(named)
    assert told.module == "connectors.oanda.cancel_only"
    assert (told.told["account"], told.told["rest_url"]) == ("001-001-7-001", "https://host")


class Nobody:
    """An assembly that serves nothing."""

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        return Assignment()

    def features(self, instrument: Instrument, assignment: Assignment) -> None: ...

    def model(self, instrument: Instrument, assignment: Assignment) -> None: ...


def test_currencies_without_a_configured_rate_are_no_reason_to_refuse() -> None:
    """Yen in a portfolio of dollars; played from files, nobody would tell what they are worth."""
    settings = settings_with(venue__symbols=["USD/JPY"], risk__allowed_instruments=["USD/JPY@oanda"])
    check_session(settings, KIND.foresee(settings), Nobody())
    played = settings_with(
        venue__symbols=["USD/JPY"], risk__allowed_instruments=["USD/JPY@oanda"], venue__feed="replay"
    )
    with pytest.raises(ConfigError, match="JPY"):
        check_session(played, KIND.foresee(played), Nobody())
