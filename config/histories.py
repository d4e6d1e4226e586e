"""Which venues can tell their past, and what asks them.

A venue joins by a class with the methods of ``connectors.history.VenueHistory`` and a line in ``VENUES``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from engine.errors import ConfigError

if TYPE_CHECKING:
    from config.schema import Settings
    from connectors.history import VenueHistory

Say = Callable[[str], None]
"""Told of a wait, and with an empty text of its end."""


def coinbase(settings: Settings, say: Say) -> VenueHistory:
    """Coinbase Advanced Trade: candles of 1m to 1d and public trades, without a key."""
    from connectors.coinbase.archive import PUBLIC_PER_S, CoinbaseHistory
    from connectors.coinbase.settings import CoinbaseSettings
    from connectors.paced import PacedRest

    rest_url = settings.venue.rest_url
    made = CoinbaseSettings(rest_url=rest_url) if rest_url else CoinbaseSettings()
    return CoinbaseHistory(
        made, pace=lambda client: PacedRest(client, made.name, rate_per_s=PUBLIC_PER_S, rng=random.Random(), say=say)
    )


def binance(venue: str) -> Callable[[Settings, Say], VenueHistory]:
    """Binance: candles of 1m to 1d (1s on spot) and aggregate trades, without a key."""

    def history(settings: Settings, say: Say) -> VenueHistory:
        from connectors.binance.archive import PUBLIC_PER_S, BinanceHistory
        from connectors.binance.settings import REST_URLS, BinanceSettings
        from connectors.paced import PacedRest
        from connectors.route import Route

        chosen = settings.venue
        made = BinanceSettings(
            venue=venue,
            rest_urls=(*((chosen.rest_url,) if chosen.rest_url else REST_URLS[venue]), *chosen.rest_fallbacks),
            route=Route(proxy=chosen.proxy, ca_file="" if chosen.ca_file is None else str(chosen.ca_file)),
        )
        return BinanceHistory(
            made, pace=lambda client: PacedRest(client, venue, rate_per_s=PUBLIC_PER_S, rng=random.Random(), say=say)
        )

    return history


def oanda(settings: Settings, say: Say) -> VenueHistory:
    """OANDA v20: candles of 5s to 1d.  The venue tells nothing without a token (``venue.key_file``)."""
    from connectors.oanda.archive import REST_PER_S, OandaHistory
    from connectors.oanda.settings import OandaSettings
    from connectors.oanda.tokens import read_token
    from connectors.paced import PacedRest
    from connectors.route import Route

    chosen = settings.venue
    return OandaHistory(
        str(chosen.rest_url or OandaSettings().rest_url),
        read_token("" if chosen.key_file is None else str(chosen.key_file)),
        account=chosen.account or "",
        route=Route(proxy=chosen.proxy, ca_file="" if chosen.ca_file is None else str(chosen.ca_file)),
        pace=lambda client: PacedRest(client, "oanda", rate_per_s=REST_PER_S, rng=random.Random(), say=say),
    )


def robin_stocks(settings: Settings, say: Say) -> VenueHistory:
    """Robinhood's stocks: bars of 5m, 10m, 1h and 1d in regular hours, with a login (``venue.key_file``)."""
    from connectors.robin_stocks.archive import RobinStocksHistory
    from connectors.robin_stocks.settings import RobinStocksSettings

    say("robin_stocks is unofficial: its login may ask for an approval in the phone app")
    chosen = settings.venue
    return RobinStocksHistory(
        RobinStocksSettings(
            key_file="" if chosen.key_file is None else str(chosen.key_file),
            rest_url=str(chosen.rest_url or ""),
            proxy=chosen.proxy,
            authority="" if chosen.ca_file is None else str(chosen.ca_file),
        )
    )


def ccxt(exchange: str) -> Callable[[Settings, Say], VenueHistory]:
    """An exchange of the ccxt library: candles of the lengths that it has, without a key."""

    def history(settings: Settings, say: Say) -> VenueHistory:
        from connectors.ccxt_venue.archive import CcxtHistory
        from connectors.ccxt_venue.settings import CcxtSettings

        chosen = settings.venue
        made = CcxtSettings(
            exchange=exchange,
            rest_url=chosen.rest_url or "",
            rest_fallbacks=tuple(chosen.rest_fallbacks),
            proxy=chosen.proxy,
            ca_file="" if chosen.ca_file is None else str(chosen.ca_file),
            requests_share=1.0,
        )
        return CcxtHistory(made, say=say)

    return history


VENUES: Final[dict[str, Callable[[Settings, Say], VenueHistory]]] = {
    "coinbase": coinbase,
    "binance_spot": binance("binance_spot"),
    "binance_usdm": binance("binance_usdm"),
    "oanda": oanda,
    "robin_stocks": robin_stocks,
}
"""By name as in instrument ids."""
KEYED: Final = frozenset({"oanda", "robin_stocks"})
"""Those that tell nothing without a key."""
_CCXT: Final = re.compile(r"ccxt[:_]([a-z][a-z0-9]{1,30})")


def history_of(venue: str) -> Callable[[Settings, Say], VenueHistory]:
    """Raises ``ConfigError``."""
    through = _CCXT.fullmatch(venue)
    if through is not None:
        return ccxt(through[1])
    name = "binance_spot" if venue == "binance" else venue
    if name not in VENUES:
        untold = "its API tells no past prices; coins have them at ccxt:kraken and others, stocks at robin_stocks"
        raise ConfigError(
            f"--venue {venue}",
            expected=f"one of {', '.join(VENUES)}, or ccxt:EXCHANGE",
            do=untold if venue == "robinhood" else "",
        )
    return VENUES[name]


def check_owner(settings: Settings, venue: str, *, has_url: bool) -> None:
    """Raises ``ConfigError`` where another venue's address would be asked, or its key shown: what opens one account is
    told to nobody else."""
    from config.load import is_own

    told = settings.venue.name.replace(":", "_")
    wanted = "binance_spot" if venue == "binance" else venue.replace(":", "_")
    used = ["venue.key_file"] if venue in KEYED else []
    used += [] if has_url else ["venue.rest_url", "venue.rest_fallbacks"]
    lent = [key for key in used if is_own(settings, key)]
    if lent and is_own(settings, "venue.name") and told not in (wanted, venue):
        raise ConfigError(
            f"--venue {venue} with {', '.join(lent)} of {settings.venue.name}",
            expected="settings of one venue",
            do=f"leave --config out, or name the venue's own with --set venue.name={venue}",
        )
