"""Robinhood's official crypto API as a kind of venue."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from config.schema import Settings
from config.venue_kind import Address, CancelOnly, Opening, Said, start_px_text
from connectors.robinhood.auth import Key
from connectors.robinhood.directory import make_instrument
from connectors.robinhood.offer import OFFER
from connectors.robinhood.settings import RobinhoodSettings
from connectors.robinhood.venue import RobinhoodVenue
from connectors.robinhood.wire import Pair
from connectors.route import Route
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.offers import Offer


class RobinhoodKind:
    """``config.venue_kind.VenueKind``."""

    offer: Offer = OFFER
    speaks: Final = "Robinhood Crypto Trading API"
    addresses: Final = (Address("rest", "rest_url"), Address("key_file", "key_file"))

    def connect(self, settings: Settings, said: Said, opening: Opening) -> RobinhoodVenue:
        return RobinhoodVenue(
            msgspec.structs.replace(robinhood_settings(settings, said), money=opening.money),
            opening.publish,
            opening.clock,
            carried=opening.carried,
            carried_balances=opening.carried_balances,
            identify=opening.identify,
            rival=opening.rival,
        )

    def watch(self, settings: Settings, said: Said, opening: Opening) -> RobinhoodVenue:  # noqa: ARG002
        raise ConfigError(
            "robinhood tells nothing without a key",
            expected="feed sandbox, or live trading with a key",
            do="leave out --feed live",
        )

    def foresee(self, settings: Settings) -> list[Instrument]:
        """Spot, with a feed of best prices that tells neither sizes nor trades."""
        one, found = Decimal(1), []
        for symbol in settings.venue.symbols:
            base, _, quote = symbol.partition("/")
            pair = Pair(f"{base}-{quote}", base, quote, one, one, one)
            found.append(make_instrument(settings.venue.name, symbol, pair, Decimal(0)))
        return found

    def sandbox_command(self, settings: Settings, key_file: Path, run: Path) -> list[str]:
        command = [sys.executable, str(run), "sandbox", "robinhood", "--key-file", str(key_file)]
        command += ["--port", str(settings.sandbox.port), "--seed", str(settings.sandbox.seed)]
        command += ["--speed", str(settings.sandbox.speed), "--rate", str(settings.sandbox.rate_per_s)]
        command += ["--history", str(settings.sandbox.history_s)]
        for currency, amount in sorted(settings.sandbox.balances.items()):
            command += ["--balance", f"{currency}={amount}"]
        for symbol in settings.venue.symbols:
            command += ["--pair", symbol.replace("/", "-") + start_px_text(settings, symbol)]
        return command

    def key_name(self, settings: Settings) -> str:
        assert settings.venue.key_file is not None
        return Key.from_file(settings.venue.key_file).api_key

    def cancel_only(self, settings: Settings) -> CancelOnly:
        venue = settings.venue
        assert venue.key_file is not None
        told = {
            "rest_url": str(venue.rest_url),
            "key_file": str(venue.key_file.absolute()),
            "timeout_s": venue.request_timeout_ms / 1000,
            "account_number": venue.account or "",
        }
        return CancelOnly("connectors.robinhood.cancel_only", told)


KIND: Final = RobinhoodKind()


def robinhood_settings(settings: Settings, said: Said) -> RobinhoodSettings:
    """The connector's settings; explicit configuration wins over the address of a sandbox."""
    venue = settings.venue
    rest_url = venue.rest_url or said.get("rest", "")
    made = RobinhoodSettings(
        symbols=tuple(venue.symbols),
        name=venue.name,
        account_number=venue.account or "",
        key_file=str(venue.key_file) if venue.key_file else said.get("key_file", ""),
        route=Route(proxy=venue.proxy, ca_file=str(venue.ca_file or "")),
        order_connections=venue.order_connections,
        order_timeout_s=venue.request_timeout_ms / 1000,
        reconcile_s=venue.reconcile_s,
        products_s=venue.products_s,
    )
    if rest_url:
        made = msgspec.structs.replace(made, rest_url=str(rest_url))
    made.check()
    return made
