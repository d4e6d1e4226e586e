"""OANDA v20 as a kind of venue."""

from __future__ import annotations

import hashlib
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from config.load import is_own
from config.schema import Settings
from config.venue_kind import Address, CancelOnly, Opening, Said, start_px_text
from connectors.oanda.offer import OFFER
from connectors.oanda.orders import define
from connectors.oanda.settings import OandaSettings
from connectors.oanda.tokens import read_token
from connectors.oanda.trading import Left
from connectors.oanda.venue import OandaVenue
from connectors.oanda.wire import InstrumentRow
from connectors.route import Route
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.offers import Offer

SYMBOLS: Final = ("EUR/USD", "GBP/USD")
"""What is traded where nobody has named anything: the profiles name what other venues have."""
CURRENCIES: Final = frozenset(
    {
        "AUD", "CAD", "CHF", "CNH", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "JPY", "MXN", "NOK", "NZD", "PLN", "SEK",
        "SGD", "THB", "TRY", "USD", "ZAR",
    }
)  # fmt: skip
"""That the venue pairs with each other; whatever else it lists is a metal or a contract for difference."""
_FAVOURED: Final = ("EUR", "GBP", "AUD", "NZD", "USD", "CAD", "CHF", "JPY")
"""Of two currencies the one that stands first in a pair's name."""
_DAY_S: Final = 86_400


class OandaKind:
    """``config.venue_kind.VenueKind``."""

    offer: Offer = OFFER
    speaks: Final = "OANDA v20"
    tells_rates: Final = True
    addresses: Final = (
        Address("rest", "rest_url"),
        Address("stream", "stream_url"),
        Address("key_file", "key_file"),
    )

    def connect(self, settings: Settings, said: Said, opening: Opening) -> OandaVenue:
        return _connector(settings, said, opening, orders=True)

    def watch(self, settings: Settings, said: Said, opening: Opening) -> OandaVenue:
        """The venue tells prices to nobody without a token, so a key file is needed here too."""
        return _connector(settings, said, opening, orders=False)

    def foresee(self, settings: Settings) -> list[Instrument]:
        one = Decimal(1)
        rows = []
        for symbol in symbols_of(settings):
            base, _, quote = symbol.partition("/")
            kind = "CURRENCY" if {base, quote} <= CURRENCIES else "CFD"
            rows.append(InstrumentRow(f"{base}_{quote}", 5, 0, one, one, one, kind))
        return [define(row, settings.venue.name) for row in rows]

    def sandbox_command(self, settings: Settings, key_file: Path, run: Path) -> list[str]:
        """An account has one currency.  Raises ``ConfigError`` where the settings give it several, or none."""
        balances = settings.sandbox.balances
        if len(balances) != 1:
            raise ConfigError(
                f"sandbox.balances has {', '.join(sorted(balances)) or 'nothing'}",
                expected="one currency: an account at OANDA has no others",
                do="set sandbox.balances to one amount, such as {USD: 100000}",
            )
        ((currency, amount),) = balances.items()
        command = [sys.executable, str(run), "sandbox", "oanda", "--key-file", str(key_file)]
        command += ["--port", str(settings.sandbox.port), "--seed", str(settings.sandbox.seed)]
        command += ["--speed", str(settings.sandbox.speed), "--rate", str(settings.sandbox.rate_per_s)]
        command += ["--history", str(math.ceil(settings.sandbox.history_s / _DAY_S))]
        command += ["--currency", currency, "--balance", str(amount)]
        for name in needed_instruments(symbols_of(settings), currency, settings.portfolio.currency):
            command += ["--instrument", name + start_px_text(settings, name.replace("_", "/"))]
        return command

    def key_name(self, settings: Settings) -> str:
        """The account where it is named; else what the token is, which names its first account."""
        assert settings.venue.key_file is not None
        token = read_token(str(settings.venue.key_file))
        return settings.venue.account or hashlib.sha256(token.encode()).hexdigest()[:16]

    def cancel_only(self, settings: Settings) -> CancelOnly:
        venue = settings.venue
        assert venue.key_file is not None
        told = {
            "rest_url": str(venue.rest_url),
            "key_file": str(venue.key_file.absolute()),
            "account": venue.account or "",
            "timeout_s": venue.request_timeout_ms / 1000,
        }
        return CancelOnly("connectors.oanda.cancel_only", told)


KIND: Final = OandaKind()


def symbols_of(settings: Settings) -> tuple[str, ...]:
    """What the user has named; what a profile names is meant for another venue."""
    return tuple(settings.venue.symbols) if is_own(settings, "venue.symbols") else SYMBOLS


def needed_instruments(symbols: tuple[str, ...], home: str, counted_in: str) -> list[str]:
    """The venue's names of what is traded, and of pairs that convert what is earned there into the account's currency
    and that into the portfolio's."""
    names = [symbol.replace("/", "_") for symbol in symbols]
    for currency in (*(symbol.partition("/")[2] for symbol in symbols), counted_in):
        pairs = {f"{currency}_{home}", f"{home}_{currency}"}
        if currency != home and not pairs & set(names):
            names.append(_pair(currency, home))
    return names


def _pair(one: str, other: str) -> str:
    order = {currency: place for place, currency in enumerate(_FAVOURED)}
    first, second = sorted((one, other), key=lambda currency: order.get(currency, len(order)))
    return f"{first}_{second}"


def oanda_settings(settings: Settings, said: Said, opening: Opening) -> OandaSettings:
    """The connector's settings; explicit configuration wins over the addresses of a sandbox."""
    venue = settings.venue
    given = {
        "rest_url": venue.rest_url or said.get("rest", ""),
        "stream_url": venue.stream_url or said.get("stream", ""),
        "token_file": str(venue.key_file) if venue.key_file else said.get("key_file", ""),
        "account": venue.account or said.get("account", ""),
    }
    host = urlsplit(str(given["rest_url"])).hostname or ""
    made = OandaSettings(
        symbols=symbols_of(settings),
        name=venue.name,
        money=opening.money,
        route=Route(proxy=venue.proxy, ca_file="" if venue.ca_file is None else str(venue.ca_file)),
        counted_in=settings.portfolio.currency,
        rated=tuple(settings.portfolio.rates),
        # The venue takes two new connections a second: more only where somebody has asked for them.
        order_connections=venue.order_connections if is_own(settings, "venue.order_connections") else 2,
        order_timeout_s=venue.request_timeout_ms / 1000,
        reconcile_s=venue.reconcile_s,
        products_s=venue.products_s,
        guaranteed_stops=venue.guaranteed_stops,
        # A server of ours has no such limit unless it is asked for one.
        dial_gap_s=0.0 if host == "localhost" or host.startswith("127.") else OandaSettings().dial_gap_s,
        **{name: str(value) for name, value in given.items() if value},  # type: ignore[arg-type]  # all are text
    )
    made.check()
    return made


def _connector(settings: Settings, said: Said, opening: Opening, *, orders: bool) -> OandaVenue:
    earlier = opening.earlier
    return OandaVenue(
        oanda_settings(settings, said, opening),
        opening.publish,
        opening.clock,
        orders=orders,
        history=opening.history,
        left=None if earlier is None else Left(earlier, opening.earlier_ns),
        identify=opening.identify,
        rival=opening.rival,
    )
