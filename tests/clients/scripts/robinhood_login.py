"""The ways into the private stock API with robin_stocks, unmodified: by password, code, device and SMS, and twice.

Settings as ``robinhood_stocks`` has them: ``main`` has a user of each way.
"""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import robin_stocks.robinhood as rs
from cases import List
from robin_stocks.robinhood import helper
from robin_stocks_client import Venue, fields, main_venue

cases = List("robin_stocks", "robin_stocks")
PLAIN, BY_CODE, BY_PROMPT, BY_SMS = range(4)


@cases.case(13, "login with a password; the session file is used again, a stale one is not")
def login_plain(settings: dict[str, Any]) -> None:
    home = Path(settings["home"]) / "plain"
    venue = Venue(settings["main"], home)
    first = venue.login()
    assert first["expires_in"] > 0
    assert (home / "robinhood.pickle").exists()
    again = Venue(settings["main"], home).login()
    assert "logged in using authentication" in again["detail"]
    assert again["access_token"] == first["access_token"]
    venue.act("expire_tokens")
    renewed = Venue(settings["main"], home).login()
    assert renewed["access_token"] != first["access_token"]
    assert "detail" not in renewed


@cases.case(13, "a wrong password, and a code that is asked for")
def login_refused(settings: dict[str, Any]) -> None:
    venue = Venue(settings["main"], Path(settings["home"]) / "refused")
    user = settings["main"]["users"][PLAIN]
    assert rs.login(user["username"], "wrong", store_session=False, pickle_path=str(venue.home)) is None
    assert not helper.LOGGED_IN
    code = settings["main"]["users"][BY_CODE]["mfa"]
    assert venue.login(BY_CODE, store_session=False) is None
    assert not helper.LOGGED_IN
    assert venue.login(BY_CODE, mfa_code=code)["access_token"]
    assert "mfa_code" in fields(venue.mounted.posted("/oauth2/token/")[-1])


@cases.case(13, "without a session file the client is logged in and says that it failed")
def login_unsaid(settings: dict[str, Any]) -> None:
    venue = Venue(settings["main"], Path(settings["home"]) / "unsaid")
    assert venue.login(store_session=False) is None
    assert helper.LOGGED_IN
    assert rs.load_account_profile(info="account_number") == settings["main"]["users"][PLAIN]["account"]


@cases.case(13, "another device approves, or says nothing until time is up")
def login_prompt(settings: dict[str, Any]) -> None:
    venue = Venue(settings["main"], Path(settings["home"]) / "prompt")
    threading.Timer(0.2, venue.act, ["approve"]).start()
    assert venue.login(BY_PROMPT)["access_token"]
    paths = [path for _, path, _, _ in venue.mounted.sent]
    assert any(path.endswith("/get_prompts_status/") for path in paths)
    venue = Venue(settings["main"], Path(settings["home"]) / "silent")
    venue.act("forget_devices")
    thread = threading.Thread(target=venue.login, args=[BY_PROMPT], daemon=True)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()  # it looks at the prompt for ever: no limit of its own
    assert not helper.LOGGED_IN
    venue.act("approve")
    thread.join(10)
    assert helper.LOGGED_IN


@cases.case(13, "a code by SMS, asked for on the terminal")
def login_sms(settings: dict[str, Any]) -> None:
    venue = Venue(settings["main"], Path(settings["home"]) / "sms")
    asked: list[str] = []
    typed = builtins.input
    builtins.input = lambda prompt="": asked.append(prompt) or settings["main"]["users"][BY_SMS]["code"]  # type: ignore[func-returns-value]
    try:
        assert venue.login(BY_SMS)["access_token"]
    finally:
        builtins.input = typed
    assert "sms" in asked[0]


@cases.case(13, "a token that ends in mid-session: None, and a new login helps")
def login_expired(settings: dict[str, Any]) -> None:
    venue = main_venue(settings)
    venue.act("expire_tokens")
    assert rs.load_account_profile() is None
    assert rs.get_open_stock_positions() == []  # as if there were none
    assert venue.mounted.sent[-1][3] == 401
    assert venue.login()["access_token"]
    assert rs.load_account_profile(info="state") == "active"


@cases.case(21, "a second login takes over the one session: two accounts are two processes")
def two_accounts(settings: dict[str, Any]) -> None:
    first = main_venue(settings)
    mine = rs.load_account_profile(info="account_number")
    code = (
        "import json, sys; from pathlib import Path; from robin_stocks_client import Venue; "
        "import robin_stocks.robinhood as rs; at = json.loads(sys.argv[1]); "
        "Venue(at, Path(sys.argv[2])).login(); "
        "print(json.dumps(rs.load_account_profile(info='account_number')))"
    )
    home = Path(settings["home"]) / "second"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(settings["second"]), str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr[-1_000:]
    other = json.loads(done.stdout.splitlines()[-1])
    assert other == settings["second"]["users"][0]["account"] != mine
    assert rs.load_account_profile(info="account_number") == mine
    # In one process the first account would be gone.
    Venue(settings["second"], home / "again").login()
    assert rs.load_account_profile(info="account_number") == other
    assert first.rest != settings["second"]["rest"]


if __name__ == "__main__":
    cases.main()
