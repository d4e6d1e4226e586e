"""Coinbase Advanced Trade as a kind of venue."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from config.schema import Settings
from config.venue_kind import Address, CancelOnly, Opening, Said, start_px_text
from connectors.coinbase.auth import Key
from connectors.coinbase.contracts import foreseen
from connectors.coinbase.directory import make_instrument
from connectors.coinbase.offer import OFFER
from connectors.coinbase.settings import CoinbaseSettings
from connectors.coinbase.symbols import product_id_of
from connectors.coinbase.venue import CoinbaseVenue
from connectors.route import Route
from engine.instruments import Instrument
from engine.offers import Offer


class CoinbaseKind:
    """``config.venue_kind.VenueKind``."""

    offer: Offer = OFFER
    speaks: Final = "Coinbase Advanced Trade"
    addresses: Final = (
        Address("rest", "rest_url"),
        Address("ws_market", "ws_market_url"),
        Address("ws_user", "ws_user_url"),
        Address("key_file", "key_file"),
    )

    def connect(self, settings: Settings, said: Said, opening: Opening) -> CoinbaseVenue:
        return _connector(coinbase_settings(settings, said), opening)

    def watch(self, settings: Settings, said: Said, opening: Opening) -> CoinbaseVenue:
        return _connector(msgspec.structs.replace(coinbase_settings(settings, said), key_file=""), opening)

    def foresee(self, settings: Settings) -> list[Instrument]:
        """Pairs and contracts are told apart by their names, and its feed gives sizes and trades."""
        return [
            make_instrument(
                settings.venue.name,
                symbol,
                foreseen(symbol),
                Decimal(0),
                Decimal(0),
                has_depth="level2" in settings.venue.channels,
            )
            for symbol in settings.venue.symbols
        ]

    def sandbox_command(self, settings: Settings, key_file: Path, run: Path) -> list[str]:
        command = [sys.executable, str(run), "sandbox", "coinbase", "--key-file", str(key_file)]
        command += ["--port", str(settings.sandbox.port), "--seed", str(settings.sandbox.seed)]
        command += ["--speed", str(settings.sandbox.speed), "--rate", str(settings.sandbox.rate_per_s)]
        command += ["--history", str(settings.sandbox.history_s)]
        for currency, amount in sorted(settings.sandbox.balances.items()):
            command += ["--balance", f"{currency}={amount}"]
        for symbol in settings.venue.symbols:
            command += ["--product", product_id_of(symbol) + start_px_text(settings, symbol)]
        return command

    def key_name(self, settings: Settings) -> str:
        assert settings.venue.key_file is not None
        return Key.from_file(settings.venue.key_file).name

    def cancel_only(self, settings: Settings) -> CancelOnly:
        venue = settings.venue
        assert venue.key_file is not None
        told = {
            "rest_url": str(venue.rest_url),
            "key_file": str(venue.key_file.absolute()),
            "timeout_s": venue.request_timeout_ms / 1000,
        }
        return CancelOnly("connectors.coinbase.cancel_only", told)


KIND: Final = CoinbaseKind()


def coinbase_settings(settings: Settings, said: Said) -> CoinbaseSettings:
    """The connector's settings; explicit configuration wins over the addresses of a sandbox."""
    venue = settings.venue
    given: Mapping[str, str] = {
        "rest_url": venue.rest_url or said.get("rest", ""),
        "ws_market_url": venue.ws_market_url or said.get("ws_market", ""),
        "ws_user_url": venue.ws_user_url or said.get("ws_user", ""),
        "key_file": str(venue.key_file) if venue.key_file else said.get("key_file", ""),
    }
    made = CoinbaseSettings(
        symbols=tuple(venue.symbols),
        channels=tuple(venue.channels),
        transport=venue.transport,
        route=Route(proxy=venue.proxy, ca_file="" if venue.ca_file is None else str(venue.ca_file)),
        order_connections=venue.order_connections,
        order_timeout_s=venue.request_timeout_ms / 1000,
        reconcile_s=venue.reconcile_s,
        products_s=venue.products_s,
        conflate_lag_ms=settings.engine.conflate_lag_ms,
        **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]  # all of these are text
    )
    made.check()
    return made


def _connector(settings: CoinbaseSettings, opening: Opening) -> CoinbaseVenue:
    return CoinbaseVenue(
        msgspec.structs.replace(settings, money=opening.money),
        opening.publish,
        opening.clock,
        lag_ns=opening.lag_ns,
        history=opening.history,
        carried=opening.carried,
        carried_balances=opening.carried_balances,
        carried_trades=() if opening.earlier is None else opening.earlier.trades,
        identify=opening.identify,
        rival=opening.rival,
    )
