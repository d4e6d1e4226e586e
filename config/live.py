"""What a live session asks of its settings before anything else: which venue, whose money, over which lines.

Owns the refusals that are about real orders alone.  Limits are ``config.load.session_limits``'s, all that paper asks as
well ``config.preflight``'s, and what is found by looking around ``config.doctor``'s.

Whose money it is follows from ``venue.feed``: ``live`` is the real venue at addresses that are written down,
``sandbox`` a server of ours that runs by itself, for play money.  The connector asks the server which of the two it is,
before the key is used.
"""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

from config.exchange import Named, account_of, is_here
from config.schema import Settings
from engine.errors import ConfigError, WrongAccount

PROFILE: Final = "production"
Money = Literal["play", "real"]
WORDS: Final = {"play": "play money: a server of our own", "real": "REAL MONEY"}


def money_of(settings: Settings) -> Money:
    """Of which kind server and key must be."""
    return "real" if settings.venue.feed == "live" else "play"


def check_profile(settings: Settings) -> str:
    """Raises ``ConfigError`` for settings over another profile: its strategies and limits were made for play money."""
    if settings.profile != PROFILE:
        raise ConfigError(
            f"profile is {settings.profile}",
            expected=f"{PROFILE}, which comes without strategies and limits of its own",
            do=f"write profile: {PROFILE} into your file, so that config show and config approve mean the same",
        )
    return f"profile {settings.profile}"


def check_place(settings: Settings) -> str:
    """Where the orders would go.  Raises ``ConfigError`` for addresses that are missing, in the clear, or on the wrong
    machine for their kind of money."""
    if settings.venue.feed == "replay":
        raise ConfigError(
            "venue.feed is replay",
            expected="live, or sandbox for a rehearsal",
            do="recorded files: python run.py paper --replay",
        )
    named = Named(settings, live=True)
    money = money_of(settings)
    if money == "play" and not named.addresses:
        raise ConfigError(
            f"venue.feed is sandbox, and {settings.venue.name} has no address of a server of ours",
            expected="live: the real venue, real money",
            do="rehearse on a venue that has a sandbox of its own",
        )
    for setting, address in named.addresses.items():
        parts = urlsplit(address)
        if parts.scheme not in ("https", "wss"):
            raise ConfigError(
                f"venue.{setting} is {parts.scheme}://{parts.netloc}",
                expected="https or wss: a live session speaks TLS, also to a server on this machine",
                do="start it with --tls FOLDER, and set venue.ca_file to FOLDER/authority.pem",
            )
        if is_here(parts.hostname or "") is not (money == "play"):
            raise ConfigError(
                f"venue.feed is {settings.venue.feed}, and venue.{setting} is at {parts.hostname}",
                expected="the real venue's address" if money == "real" else "a server on this machine",
                do="correct one of them: play money and real money are never mixed",
            )
    return f"{named.first}: {WORDS[money]}"


def check_confirmed(settings: Settings, confirm: str) -> str:
    """The account, which whoever starts the session has named.  Raises ``WrongAccount`` where it is another one."""
    account = account_of(settings, live=True)
    if not confirm:
        raise WrongAccount(
            "nobody has confirmed the account",
            expected="--confirm ACCOUNT",
            do="python run.py doctor, with the same options, names the account of these settings",
        )
    if confirm != account:
        raise WrongAccount(
            f"--confirm {confirm}, but address and key are those of {account}",
            expected="the account that is meant",
            do="correct venue.key_file and the addresses, or the name",
        )
    return account
