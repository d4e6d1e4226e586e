"""What a live session refuses by its settings alone, each in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.exchange import account_of, cancel_only_of
from config.live import check_confirmed, check_place, check_profile, money_of
from config.load import load
from config.schema import Settings
from config.session_options import watchdog_plan
from config.session_plan import SessionPlan
from connectors.coinbase.sandbox.keys import make_key_file
from engine.errors import ConfigError, KestrelError, WrongAccount
from tests.support.daemon import NO_CHAMPIONS
from tests.support.live import write_live


def check_both(made: Settings) -> None:
    check_profile(made)
    check_place(made)


REAL = {
    "feed": "live",
    "rest_url": "https://api.coinbase.com",
    "ws_market_url": "wss://advanced-trade-ws.coinbase.com",
    "ws_user_url": "wss://advanced-trade-ws-user.coinbase.com",
}


def settings(folder: Path, **changes: Any) -> Settings:
    return load([write_live(folder, **changes)], env=NO_CHAMPIONS)


def test_whose_money_it_is_follows_from_the_feed(tmp_path: Path) -> None:
    """A server of ours is play money, the venue's own addresses are real, and each is said."""
    rehearsal, real = settings(tmp_path), settings(tmp_path, venue=REAL)
    assert (money_of(rehearsal), money_of(real)) == ("play", "real")
    assert check_place(rehearsal) == "https://127.0.0.1:1: play money: a server of our own"
    assert check_place(real) == "https://api.coinbase.com: REAL MONEY"
    assert check_profile(real) == "profile production"


@pytest.mark.fault("F10")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profile": "paper"}, "profile is paper; expected production"),
        ({"venue": {"feed": "replay"}}, "venue.feed is replay; expected live, or sandbox for a rehearsal"),
        ({"venue": {"rest_url": None}}, "venue.rest_url is empty; expected all of venue.rest_url, .*docs/live.md"),
        ({"venue": {"key_file": None, "ws_user_url": None}}, "venue.ws_user_url, venue.key_file are empty"),
        ({"venue": {"rest_url": "http://127.0.0.1:1"}}, "venue.rest_url is http://127.0.0.1:1; expected https or wss"),
        ({"venue": {"ws_user_url": "ws://localhost/ws"}}, "ws_user_url is ws://localhost; expected https or wss"),
        ({"venue": {"feed": "live"}}, "feed is live, and venue.rest_url is at 127.0.0.1; expected the real venue's"),
        ({"venue": REAL | {"feed": "sandbox"}}, "feed is sandbox, and venue.rest_url is at api.coinbase.com; .*never"),
        ({"venue": REAL | {"ws_user_url": "wss://[::1]/ws"}}, "feed is live, and venue.ws_user_url is at ::1"),
    ],
)
def test_the_wrong_place_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    """No address is a default, none is in the clear, and none is another kind of money's."""
    made = settings(tmp_path, **changes)
    with pytest.raises(ConfigError, match=said) as caught:
        check_both(made)
    assert "\n" not in str(caught.value)


@pytest.mark.fault("F10")
def test_the_account_has_to_be_named_by_whoever_starts(tmp_path: Path) -> None:
    """None, another one, the right one; a key that is none is said as such."""
    made = settings(tmp_path)
    make_key_file(tmp_path / "key.json")
    account = account_of(made, live=True)
    assert account == account_of(made)
    assert check_confirmed(made, account) == account
    for confirm, said in (
        ("", "nobody has confirmed the account; expected --confirm ACCOUNT; python run.py doctor"),
        ("coinbase-000000000000", f"--confirm coinbase-000000000000, but address and key are those of {account}"),
        (account.upper(), "--confirm COINBASE-"),
    ):
        with pytest.raises(WrongAccount, match=said):
            check_confirmed(made, confirm)
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(KestrelError, match="is not a key file"):
        check_confirmed(made, account)


def test_a_venue_whose_library_knows_its_addresses_has_none_written_down(tmp_path: Path) -> None:
    """Name, feed, key and account are explicit all the same; with an address of ours it is a rehearsal."""
    (tmp_path / "key.json").write_text(json.dumps({"api_key": "k-1", "api_secret": "s-1"}))
    (tmp_path / "key.json").chmod(0o600)
    bare = {"name": "ccxt:kraken", "feed": "live", "rest_url": None, "ws_market_url": None, "ws_user_url": None}
    real = settings(tmp_path, venue=bare)
    assert check_place(real) == "kraken as ccxt knows it: REAL MONEY"
    rehearsal = settings(tmp_path, venue={"name": "ccxt:kraken"})
    assert check_place(rehearsal) == "https://127.0.0.1:1: play money: a server of our own"
    accounts = {account_of(real, live=True), account_of(rehearsal, live=True)}
    assert len(accounts) == 2
    assert all(account.startswith("ccxt_kraken-") for account in accounts)
    assert account_of(real) == ""
    for changes, said in (
        (
            {"rest_url": "https://api.kraken.com"},
            "venue.rest_url is set, and kraken, through ccxt has addresses",
        ),
        ({"feed": "sandbox"}, "venue.rest_url, venue.ws_market_url, venue.ws_user_url are empty"),
        ({"key_file": None}, "venue.key_file is empty; expected all of venue.key_file;"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_place(settings(tmp_path, venue=bare | changes))


@pytest.mark.fault("A11")
def test_a_session_that_only_checks_has_a_watchdog_that_cancels_nothing(tmp_path: Path) -> None:
    """However it ends: killed, or by a second Ctrl-C."""
    make_key_file(tmp_path / "key.json")
    made = settings(tmp_path, watchdog={"on_death": "halt"})
    checks, trades = (watchdog_plan(made, SessionPlan("live", only_check=only)) for only in (True, False))
    assert checks is not None
    assert trades is not None
    assert (checks.rules.on_death, trades.rules.on_death) == ("keep", "halt")
    assert checks.rules == msgspec.structs.replace(trades.rules, on_death="keep", only_looks=True)


def test_the_real_venues_account_is_only_there_in_a_live_session(tmp_path: Path) -> None:
    """On paper with feed live nobody's account is touched; live, it has a name and a watchdog of its own."""
    make_key_file(tmp_path / "key.json")
    real = settings(tmp_path, venue=REAL)
    assert account_of(real) == ""
    assert cancel_only_of(real) is None
    assert account_of(real, live=True).startswith("coinbase-")
    told = cancel_only_of(real, live=True)
    assert told is not None
    assert told.told["rest_url"] == "https://api.coinbase.com"
    assert account_of(real, live=True) != account_of(settings(tmp_path), live=True)
