"""A venue as a session drives it: its server as a child, or its market with fills here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from config.load import load
from config.schema import Settings
from config.venue_coinbase import KIND
from config.venue_kind import Address, Opening
from config.venues import AccountTrading, MarketOnPaper, with_paper_fees
from connectors.fakes import EventLog
from engine.errors import ConfigError, VenueError
from engine.runtime.books import Renews
from engine.runtime.clocks import ManualClock
from engine.runtime.succession import Left
from tests.support.core import D, spot


def settings_with(**overrides: Any) -> Settings:
    return load(env={}, overrides={key.replace("__", "."): value for key, value in overrides.items()})


def test_paper_fees_replace_only_what_is_set() -> None:
    """Basis points become a share of notional; an unset rate stays the instrument's."""
    made = with_paper_fees(spot(), settings_with(paper__taker_fee_bps=25))
    assert (made.taker_fee_rate, made.maker_fee_rate) == (D("0.0025"), spot().maker_fee_rate)
    assert with_paper_fees(spot(), settings_with(paper__maker_fee_bps=0)).maker_fee_rate == D(0)


class DeadChild:
    """A server process that starts nothing and ends."""

    last_words = "no port"

    def __init__(self, rest: str = "") -> None:
        self.rest = rest

    async def start(self, timeout_s: float) -> dict[str, Any]:
        if self.rest:
            return {"rest": self.rest}
        raise VenueError("the exchange did not start: no port")

    async def ended(self) -> None:
        await asyncio.sleep(0)

    async def stop(self) -> None:
        self.stopped = True


class RenewingConnector:
    """Hears which books are asked for."""

    name, gateway = "coinbase", None

    def __init__(self) -> None:
        self.renewed: list[tuple[str, int]] = []

    def renew(self, instrument: str, attempt: int) -> None:
        self.renewed.append((instrument, attempt))

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class RenewingKind:
    """A kind of venue with such a connector, whichever way it is opened."""

    speaks = "nothing"
    addresses = (Address("rest", "rest_url"),)

    def connect(self, *opening: object) -> RenewingConnector:
        return RenewingConnector()

    watch = connect


class AskingKind(RenewingKind):
    """Remembers whose money it was opened for."""

    def __init__(self) -> None:
        self.money: list[str] = []

    def connect(self, _settings: object, _said: object, opening: Opening) -> RenewingConnector:  # type: ignore[override]
        self.money.append(opening.money)
        return RenewingConnector()


@pytest.mark.fault("F10")
@pytest.mark.parametrize(("feed", "money", "said"), [("sandbox", "play", "built-in"), ("live", "real", "REAL MONEY")])
async def test_an_account_is_opened_for_the_money_of_its_feed_and_says_so(feed: str, money: str, said: str) -> None:
    """The server and its key are held to it before the key is used."""
    kind, lines = AskingKind(), list[str]()
    child = DeadChild("https://there")
    parts: Any = (kind, settings_with(venue__feed=feed), child, EventLog(), ManualClock(), lambda: 0)
    venue = AccountTrading(*parts, lines.append, lambda _: (0, 0))
    await venue.start()
    assert (kind.money, lines) == ([money], [f"  exchange https://there ({said}, speaks nothing)"])
    await venue.stop()


def test_a_key_file_that_others_can_read_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """Mode 644, then 600: the line says what to run."""
    key = tmp_path / "key.json"
    key.write_text("{}")
    key.chmod(0o644)
    settings = settings_with(venue__key_file=str(key))

    def make() -> AccountTrading:
        return AccountTrading(
            KIND, settings, DeadChild(), EventLog(), ManualClock(), lambda: 0, lambda line: None, lambda _: (0, 0)
        )

    with pytest.raises(ConfigError, match=f"mode 644.*chmod 600 {key}"):
        make()
    key.chmod(0o600)
    assert make().gateways == ()


@pytest.mark.fault("A10")
def test_only_sessions_of_other_machines_are_rivals(tmp_path: Path) -> None:
    """Its own orders, those of the session before, those of one whose folder lies here, those of nobody; and with no
    name of its own (an account of one session, or --venue-truth) nobody is one."""
    mine, before, here, other = (f"20261121T10453{digit}-7f3a" for digit in range(4))
    (tmp_path / here).mkdir()
    settings = settings_with(session__directory=str(tmp_path))
    parts = (KIND, settings, DeadChild(), EventLog(), ManualClock(), lambda: 0, lambda line: None, lambda _: (0, 0))
    state: Any = None  # not looked at before the start
    left = Left(before, 1, state, 0, 0)
    venue = AccountTrading(*parts, left, session=mine)
    assert [venue.rival(f"k{one}-1") for one in (mine, before, here, other)] == ["", "", "", other]
    assert venue.rival("by-hand") == ""
    assert AccountTrading(*parts, left).rival(f"k{other}-1") == ""


async def test_an_exchange_that_does_not_start_or_ends_is_an_error() -> None:
    """Before its start there is no order entry and nothing to count; its death ends the feed; stopping is safe."""
    child = DeadChild()
    venue = AccountTrading(
        KIND, settings_with(), child, EventLog(), ManualClock(), lambda: 0, lambda line: None, lambda _: (0, 0)
    )
    assert (venue.gateways, venue.shadow(), venue.connector, venue.counts().reconnects) == ((), None, None, 0)
    with pytest.raises(VenueError, match="no port"):
        await venue.start()
    with pytest.raises(VenueError, match="the built-in exchange ended: no port"):
        await venue.finished()
    await venue.stop()
    assert child.stopped


def test_paper_on_the_live_feed_has_no_key_and_fills_here() -> None:
    """A key that happens to be configured is not used where nothing is sent to the venue."""
    settings = settings_with(venue__key_file="mine.json")
    venue = MarketOnPaper(KIND, settings, EventLog(), ManualClock(), lambda: 0, {}, "t", lambda _: (0, 0))
    assert [gateway.venue for gateway in venue.gateways] == ["coinbase"]
    assert venue.connector.gateway is None
    assert venue.name == "coinbase"


@pytest.mark.fault("D2")
@pytest.mark.parametrize("trades", [True, False])
async def test_a_book_that_makes_no_sense_is_asked_for_anew_through_what_the_session_holds(trades: bool) -> None:
    """The supervisor knows the wrapped venue alone: before its start nobody is there to ask, then its connector is."""
    kind: Any = RenewingKind()
    parts = (EventLog(), ManualClock(), lambda: 0)
    venue: AccountTrading | MarketOnPaper = MarketOnPaper(kind, settings_with(), *parts, {}, "t", lambda _: (0, 0))
    if trades:
        child = DeadChild("http://127.0.0.1:1")
        venue = AccountTrading(kind, settings_with(), child, *parts, lambda line: None, lambda _: (0, 0))
    assert isinstance(venue, Renews)
    venue.renew("BTC/USD@coinbase", 1)
    await venue.start()
    venue.renew("BTC/USD@coinbase", 2)
    connector: Any = venue.connector
    assert connector.renewed[-1] == ("BTC/USD@coinbase", 2)
    await venue.stop()
