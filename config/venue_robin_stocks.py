"""Robinhood's stocks and options through robin_stocks as a kind of venue: opt-in, its limits said at each start."""

from __future__ import annotations

import hashlib
import sys
from decimal import Decimal
from pathlib import Path
from typing import Final, NoReturn

from config.load import is_own
from config.schema import Settings
from config.venue_kind import Address, CancelOnly, Opening, Said, start_px_text
from connectors.robin_stocks.login_file import read_login
from connectors.robin_stocks.orders import OFFER, define_option, define_stock, option_name
from connectors.robin_stocks.settings import RobinStocksSettings
from connectors.robin_stocks.venue import RobinStocksVenue
from connectors.robin_stocks.wire import ContractRow, InstrumentRow
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.offers import Offer

SYMBOLS: Final = ("AAPL/USD", "SPY/USD")
"""What is traded where nobody has named anything: the profiles name what other venues have."""
_LOCAL_REQUESTS_PER_MIN: Final = 1_200
"""A server of ours has no limit unless it is asked for one; nobody knows the venue's own."""
_LOCAL: Final = (
    "http://127.",
    "http://localhost",
    "https://127.",
    "https://localhost",
    "http://[::1]",
    "https://[::1]",
)


class RobinStocksKind:
    """``config.venue_kind.VenueKind``."""

    offer: Offer = OFFER
    speaks: Final = "Robinhood's private stock API"
    home: Final = "Robinhood as robin_stocks knows it"
    addresses: Final = (Address("rest", "rest_url"), Address("key_file", "key_file"))

    def connect(self, settings: Settings, said: Said, opening: Opening) -> RobinStocksVenue:
        return RobinStocksVenue(
            robin_stocks_settings(settings, said, opening),
            opening.publish,
            opening.clock,
            history=opening.history,
            carried=opening.carried,
            identify=opening.identify,
            say=opening.say,
        )

    def watch(self, settings: Settings, said: Said, opening: Opening) -> NoReturn:  # noqa: ARG002
        raise ConfigError(
            "venue.feed live at robin_stocks",
            expected="feed sandbox, or a live session: there are no prices without a login",
            do="choose another venue for the real market on paper",
        )

    def foresee(self, settings: Settings) -> list[Instrument]:
        made = []
        for symbol in symbols_of(settings):
            option = option_name(symbol)
            if option is None:
                row = InstrumentRow("", "", symbol.partition("/")[0])
                made.append(define_stock(row, settings.venue.name, 100.0, fractional=False))
            else:
                contract = ContractRow("", "", option.symbol, option.expiry, Decimal(option.strike), option.kind)
                made.append(define_option(contract, settings.venue.name, symbol, 0))
        return made

    def sandbox_command(self, settings: Settings, key_file: Path, run: Path) -> list[str]:
        """An account has dollars.  Raises ``ConfigError`` where the settings give it something else."""
        balances = settings.sandbox.balances
        if set(balances) != {"USD"}:
            raise ConfigError(
                f"sandbox.balances has {', '.join(sorted(balances)) or 'nothing'}",
                expected="USD alone: an account at Robinhood has no other money",
                do="set sandbox.balances to {USD: 100000}",
            )
        command = [sys.executable, str(run), "sandbox", "robin_stocks", "--key-file", str(key_file)]
        command += ["--port", str(settings.sandbox.port), "--seed", str(settings.sandbox.seed)]
        command += ["--speed", str(settings.sandbox.speed), "--cash", str(balances["USD"])]
        for stock in dict.fromkeys(symbol.partition("/")[0] for symbol in symbols_of(settings)):
            command += ["--stock", stock + start_px_text(settings, f"{stock}/USD")]
        return command

    def key_name(self, settings: Settings) -> str:
        """The account where it is named; else what the login is, which names its first account."""
        assert settings.venue.key_file is not None
        login = read_login(settings.venue.key_file)
        return login.account or hashlib.sha256(login.username.encode()).hexdigest()[:16]

    def cancel_only(self, settings: Settings) -> CancelOnly:
        """It logs in by itself: where the venue asks for approvals, there are two at a start."""
        venue = settings.venue
        assert venue.key_file is not None
        told = {
            "rest_url": str(venue.rest_url or ""),
            "key_file": str(venue.key_file.absolute()),
            "proxy": venue.proxy,
            "ca_file": "" if venue.ca_file is None else str(venue.ca_file),
            "timeout_s": venue.request_timeout_ms / 1000,
        }
        return CancelOnly("connectors.robin_stocks.cancel_only", told)


KIND: Final = RobinStocksKind()


def symbols_of(settings: Settings) -> tuple[str, ...]:
    """What the user has named; what a profile names is meant for another venue."""
    return tuple(settings.venue.symbols) if is_own(settings, "venue.symbols") else SYMBOLS


def robin_stocks_settings(settings: Settings, said: Said, opening: Opening) -> RobinStocksSettings:
    """The connector's settings; explicit configuration wins over the addresses of a sandbox."""
    venue = settings.venue
    rest_url = str(venue.rest_url or said.get("rest", ""))
    of_ours = {"requests_per_min": _LOCAL_REQUESTS_PER_MIN, "quotes_s": 0.5, "orders_s": 0.5, "idle_s": 5.0}
    made = RobinStocksSettings(
        symbols=symbols_of(settings),
        key_file=str(venue.key_file) if venue.key_file else str(said.get("key_file", "")),
        rest_url=rest_url,
        authority=str(venue.ca_file) if venue.ca_file else str(said.get("authority", "")),
        proxy=venue.proxy,
        money=opening.money,
        name=venue.name,
        answer_s=min(30.0, venue.request_timeout_ms / 1000),
        reconcile_s=min(3_600.0, venue.reconcile_s),
        **(of_ours if rest_url.startswith(_LOCAL) else {}),  # type: ignore[arg-type]  # each has its own type
    )
    made.check()
    return made
