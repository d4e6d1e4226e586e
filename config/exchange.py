"""A server that runs by itself in place of the child that ``paper`` starts, and whose account is there.

What is traded there is ``config.venues``.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from urllib.parse import urlsplit

from config.schema import Settings
from config.venue_kind import CancelOnly, KnowsHome, MarketOnly
from config.venue_registry import kind_of
from engine.errors import ConfigError


class Named:
    """The server that the settings name, with all that an account there needs."""

    def __init__(self, settings: Settings, *, live: bool = False) -> None:
        """Raises ``ConfigError`` when not all of it is given, or too much: ``live``, some kinds know where the real
        venue is (``KnowsHome``)."""
        kind = kind_of(settings)
        needed, home = kind.addresses, home_of(settings, live=live)
        given = {each.setting: getattr(settings.venue, each.setting) for each in needed}
        missing = [f"venue.{name}" for name, value in given.items() if not value and not (home and _is_url(name))]
        if home and (spare := [f"venue.{name}" for name, value in given.items() if value and _is_url(name)]):
            raise ConfigError(
                f"{', '.join(spare)} is set, and {kind.speaks} has addresses of its own",
                expected="feed sandbox for a server of ours, or no address",
                do="leave it out",
            )
        if missing:
            raise ConfigError(
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} empty",
                expected=f"all of {', '.join(f'venue.{name}' for name in given if not (home and _is_url(name)))}",
                do="a server of ours prints them when it starts; those of a real venue: docs/live.md",
            )
        self.addresses = {name: value for name, value in given.items() if "://" in str(value)}
        """By setting; a key file and the name of an account are none."""
        self.said: dict[str, Any] = {each.said: str(given[each.setting] or "") for each in needed}
        self.first = home or str(given[needed[0].setting])


class RunningServer:
    """A server that was started by somebody else and goes on without us: its account outlives the session."""

    last_words = ""

    def __init__(self, settings: Settings, *, live: bool = False) -> None:
        """``live``: at any address, which ``config.live`` has looked at.  Raises ``ConfigError`` when not all of its
        addresses are given."""
        named = Named(settings, live=live)
        for name, address in named.addresses.items():
            host = urlsplit(address).hostname or ""
            if not live and not is_here(host):
                raise ConfigError(
                    f"paper trading at {host}",
                    expected="the built-in exchange, on this machine: a real venue takes real money",
                    do=f"correct venue.{name}",
                )
        self._said = named.said

    async def start(self, timeout_s: float) -> dict[str, Any]:  # noqa: ARG002
        return dict(self._said)

    async def ended(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def stop(self) -> None: ...


def is_here(host: str) -> bool:
    """Whether it is this machine: the only place of servers of ours."""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _is_url(setting: str) -> bool:
    return setting.endswith("_url")


def home_of(settings: Settings, *, live: bool) -> str:
    """What the real venue of a live session is called where nobody writes its address down; else empty."""
    kind = kind_of(settings)
    return kind.home if live and settings.venue.feed == "live" and isinstance(kind, KnowsHome) else ""


def is_running(settings: Settings) -> bool:
    """Whether an exchange is named that runs by itself."""
    return getattr(settings.venue, kind_of(settings).addresses[0].setting) is not None


def is_matched_here(settings: Settings) -> bool:
    """Whether a paper session matches its orders in this process: nobody else takes them, or may."""
    return settings.venue.feed == "live" or isinstance(kind_of(settings), MarketOnly)


def account_of(settings: Settings, *, live: bool = False) -> str:
    """Names the account that is traded on, where it outlives the session: venue and a fingerprint of server and key.

    Empty for an account that is made with the session, and on paper for the real venue, whose account is not touched
    there.  Raises ``ConfigError`` for a key file that is none.
    """
    venue = settings.venue
    if not live and (venue.feed != "sandbox" or is_matched_here(settings)):
        return ""
    home = home_of(settings, live=live)
    if venue.key_file is None or not (home or is_running(settings)):
        return ""
    kind = kind_of(settings)
    server = home or urlsplit(str(getattr(venue, kind.addresses[0].setting))).netloc
    digest = hashlib.sha256(f"{server} {kind.key_name(settings)}".encode()).hexdigest()
    return f"{venue.name}-{digest[:12]}"


def cancel_only_of(settings: Settings, *, live: bool = False) -> CancelOnly | None:
    """What can cancel on the account and nothing else; None where the account ends with the session.

    It takes the same way to the venue as the daemon, in ``told``: ``proxy`` and ``ca_file`` (``connectors.blocking``).
    """
    if not account_of(settings, live=live):
        return None
    made, venue = kind_of(settings).cancel_only(settings), settings.venue
    route = {"proxy": venue.proxy, "ca_file": "" if venue.ca_file is None else str(venue.ca_file.absolute())}
    return CancelOnly(made.module, {**made.told, **route})
