"""Exchanges of the ccxt library as kinds of venue: ``ccxt:kraken`` and a hundred others.

Three of them have a built-in server to try it with; the others are traded, or watched, where they are.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from config.schema import Settings
from config.venue_kind import Address, CancelOnly, Opening, Said, start_px_text
from connectors.ccxt_venue.capabilities import offer_of
from connectors.ccxt_venue.keys import read_credentials
from connectors.ccxt_venue.library import class_of
from connectors.ccxt_venue.markets import TICK_SIZE, make_instrument
from connectors.ccxt_venue.settings import PREFIX, CcxtSettings
from connectors.ccxt_venue.venue import CcxtVenue
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.offers import Offer

SANDBOXES: Final = ("coinbase", "kraken", "binance")


class CcxtKind:
    """``config.venue_kind.VenueKind`` of one exchange, by the library's id of it."""

    addresses: Final = (
        Address("rest", "rest_url"),
        Address("ws_market", "ws_market_url"),
        Address("ws_user", "ws_user_url"),
        Address("key_file", "key_file"),
    )

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self.speaks = f"{exchange}, through ccxt"
        self.home = f"{exchange} as ccxt knows it"

    @cached_property
    def offer(self) -> Offer:
        """Raises ``ConfigError`` where the library is not installed, or has no such exchange."""
        return offer_of(class_of(self.exchange)().features, self.exchange)

    def connect(self, settings: Settings, said: Said, opening: Opening) -> CcxtVenue:
        return _connector(ccxt_settings(self.exchange, settings, said, opening.money), opening)

    def watch(self, settings: Settings, said: Said, opening: Opening) -> CcxtVenue:
        return _connector(ccxt_settings(self.exchange, settings, said, opening.money, keyed=False), opening)

    def foresee(self, settings: Settings) -> list[Instrument]:
        """Spot markets and perpetuals; whether trades are told depends on the exchange, and most tell them."""
        made = ccxt_settings(self.exchange, settings, {}, "", keyed=False)
        found = []
        for symbol in made.symbols:
            base, _, rest = symbol.partition("/")
            quote, is_contract, _ = rest.partition(":")
            market: dict[str, object] = {"symbol": symbol, "base": base, "quote": quote, "id": symbol}
            market |= {"swap": True, "linear": True, "contractSize": 1} if is_contract else {"spot": True}
            market |= {"precision": {"price": 1, "amount": 1}, "limits": {}}
            found.append(
                make_instrument(
                    made.name,
                    symbol,
                    market,
                    TICK_SIZE,
                    default_fee_rate=Decimal(0),
                    has_trades=made.trades,
                    has_depth=made.depth,
                )
            )
        return found

    def sandbox_command(self, settings: Settings, key_file: Path, run: Path) -> list[str]:
        if self.exchange not in SANDBOXES:
            raise ConfigError(
                f"there is no built-in exchange that speaks {self.exchange}",
                expected=" or ".join(f"ccxt:{name}" for name in SANDBOXES),
                do="set venue.feed to live: the real public market, with orders on paper",
            )
        if contracts := [symbol for symbol in settings.venue.symbols if ":" in symbol]:
            raise ConfigError(
                f"{', '.join(contracts)} at the built-in exchange that speaks {self.exchange}",
                expected="spot markets",
                do="set venue.feed to live, with orders on paper; the built-in market of futures is binance_usdm",
            )
        command = [sys.executable, str(run), "sandbox", self.exchange, "--key-file", str(key_file)]
        command += ["--port", str(settings.sandbox.port), "--seed", str(settings.sandbox.seed)]
        command += ["--speed", str(settings.sandbox.speed)]
        if self.exchange == "coinbase":
            command += ["--rate", str(settings.sandbox.rate_per_s), "--history", str(settings.sandbox.history_s)]
        for currency, amount in sorted(settings.sandbox.balances.items()):
            command += ["--balance", f"{currency}={amount}"]
        for symbol in settings.venue.symbols:
            name = symbol.replace("/", "-") if self.exchange == "coinbase" else symbol
            command += ["--product", name + start_px_text(settings, symbol)]
        return command

    def key_name(self, settings: Settings) -> str:
        assert settings.venue.key_file is not None
        return read_credentials(settings.venue.key_file).name

    def cancel_only(self, settings: Settings) -> CancelOnly:
        venue = settings.venue
        assert venue.key_file is not None
        told = {
            "exchange": self.exchange,
            "symbols": list(venue.symbols),
            "rest_url": str(venue.rest_url or ""),
            "rest_fallbacks": list(venue.rest_fallbacks),
            "key_file": str(venue.key_file.absolute()),
            "timeout_s": venue.request_timeout_ms / 1000,
        }
        return CancelOnly("connectors.ccxt_venue.cancel_only", told)


@lru_cache(maxsize=4)
def kind_named(venue: str) -> CcxtKind:
    """Of a name that begins with ``ccxt_``."""
    return CcxtKind(venue.removeprefix(PREFIX))


def ccxt_settings(
    exchange: str, settings: Settings, said: Said, money: str = "", *, keyed: bool = True
) -> CcxtSettings:
    """The connector's settings; explicit configuration wins over what a sandbox says, however it names that."""
    venue = settings.venue

    def told(explicit: object, *names: str) -> str:
        return str(explicit) if explicit else next((str(said[name]) for name in names if said.get(name)), "")

    made = CcxtSettings(
        exchange=exchange,
        symbols=tuple(venue.symbols),
        rest_url=told(venue.rest_url, "rest"),
        rest_fallbacks=tuple(venue.rest_fallbacks),
        ws_market_url=told(venue.ws_market_url, "ws_market", "ws"),
        ws_user_url=told(venue.ws_user_url, "ws_user", "ws_auth", "ws_api"),
        key_file=told(venue.key_file, "key_file") if keyed else "",
        proxy=venue.proxy,
        ca_file="" if venue.ca_file is None else str(venue.ca_file),
        money=money,  # type: ignore[arg-type]  # one of its words
        trades="market_trades" in venue.channels,
        depth="level2" in venue.channels,
        order_timeout_s=venue.request_timeout_ms / 1000,
        reconcile_s=venue.reconcile_s,
        products_s=venue.products_s,
        dead_man_s=0.0 if settings.watchdog.on_death == "keep" else settings.watchdog.at_venue_s,
    )
    made.check()
    return made


def _connector(settings: CcxtSettings, opening: Opening) -> CcxtVenue:
    return CcxtVenue(
        settings,
        opening.publish,
        opening.clock,
        history=opening.history,
        carried=opening.carried,
        carried_balances=opening.carried_balances,
        identify=opening.identify,
        rival=opening.rival,
    )
