"""Binance spot and USD-M futures as kinds of venue: the market, natively, of the venue or of the built-in server.

Orders are matched in this process; real ones go through the connector for many exchanges.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, NoReturn

from config.load import is_own
from config.schema import Settings
from config.venue_kind import Address, CancelOnly, Opening, Said, start_px_text
from connectors.binance.directory import Filter, Row, instrument_of
from connectors.binance.settings import REST_URLS, WS_URLS, BinanceSettings
from connectors.binance.streams import SPOT, USDM
from connectors.binance.venue import BinanceVenue
from connectors.paper.offer import OFFER
from connectors.route import Route
from engine.errors import ConfigError
from engine.instruments import Instrument
from engine.offers import Offer


class BinanceKind:
    """``config.venue_kind.VenueKind`` of ``binance_spot`` or ``binance_usdm``."""

    market_only: Literal[True] = True
    offer: Offer = OFFER
    speaks: Final = "Binance's market streams"
    addresses: Final = (Address("rest", "rest_url"), Address("ws_market", "ws_market_url"))

    def __init__(self, venue: str) -> None:
        self._venue = venue

    def connect(self, settings: Settings, said: Said, opening: Opening) -> NoReturn:  # noqa: ARG002
        raise self._no_orders()

    def watch(self, settings: Settings, said: Said, opening: Opening) -> BinanceVenue:
        return BinanceVenue(
            binance_settings(self._venue, settings, said),
            opening.publish,
            opening.clock,
            lag_ns=opening.lag_ns,
            history=opening.history,
        )

    def foresee(self, settings: Settings) -> list[Instrument]:
        """A perpetual is named as spot is; what ends one day has its end in its name and is not foreseen in time."""
        made = binance_settings(self._venue, settings, {})
        steps = [
            Filter("PRICE_FILTER", tick_size=Decimal(1)),
            Filter("LOT_SIZE", step_size=Decimal(1), min_qty=Decimal(1), max_qty=Decimal(1)),
        ]
        rows = []
        for symbol, name in made.venue_symbols().items():
            base, _, quote = symbol.partition("/")
            rows.append(Row(name, "TRADING", base, quote, steps, "PERPETUAL" if self._venue == USDM else ""))
        return [instrument_of(self._venue, row, has_depth=made.has_depth, has_trades=made.has_trades) for row in rows]

    def sandbox_command(self, settings: Settings, key_file: Path, run: Path) -> list[str]:
        spot = self._venue == SPOT
        command = [sys.executable, str(run), "sandbox", "binance" if spot else USDM]
        command += ["--key-file", str(key_file)] if spot else []
        command += ["--port", str(settings.sandbox.port), "--seed", str(settings.sandbox.seed)]
        command += ["--speed", str(settings.sandbox.speed)]
        for symbol in symbols_of(settings):
            command += ["--product", symbol + start_px_text(settings, symbol)]
        return command

    def key_name(self, settings: Settings) -> NoReturn:  # noqa: ARG002
        raise self._no_orders()

    def cancel_only(self, settings: Settings) -> CancelOnly:  # noqa: ARG002
        raise self._no_orders()

    def _no_orders(self) -> ConfigError:
        return ConfigError(
            f"orders and an account at {self._venue}",
            expected="run.py paper: its market, with orders that are matched in this process",
            do="for an account there use the venue ccxt:binance" if self._venue == SPOT else "",
        )


DEFAULT_SYMBOLS: Final = ("BTC/USDT", "ETH/USDT")
KINDS: Final = {venue: BinanceKind(venue) for venue in (SPOT, USDM)}


def symbols_of(settings: Settings) -> tuple[str, ...]:
    """What the user has named; what a profile names is meant for another venue."""
    return tuple(settings.venue.symbols) if is_own(settings, "venue.symbols") else DEFAULT_SYMBOLS


def binance_settings(venue: str, settings: Settings, said: Said) -> BinanceSettings:
    """The connector's settings; explicit configuration wins over the addresses of a server."""
    chosen = settings.venue
    rest_url = chosen.rest_url or said.get("rest", "")
    # Our server says where its streams begin, for clients that put the rest of the path behind that.
    ws_url = chosen.ws_market_url or said.get("ws_market", "") or str(said.get("ws", "")).removesuffix("/ws")
    made = BinanceSettings(
        venue=venue,
        symbols=symbols_of(settings),
        rest_urls=(*((rest_url,) if rest_url else REST_URLS[venue]), *chosen.rest_fallbacks),
        ws_urls=(*((ws_url,) if ws_url else WS_URLS[venue]), *chosen.ws_market_fallbacks),
        channels=tuple(chosen.channels),
        transport=chosen.transport,
        route=Route(proxy=chosen.proxy, ca_file="" if chosen.ca_file is None else str(chosen.ca_file)),
        products_s=chosen.products_s,
        conflate_lag_ms=settings.engine.conflate_lag_ms,
    )
    made.check()
    return made
