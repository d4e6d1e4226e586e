"""The Binance sandbox as a server on loopback.

Owns how one is put together.  One port serves REST (``/api/v3``), market streams (``/ws``, ``/stream``) and the
WebSocket API (``/ws-api/v3``); for USD-M futures it serves their market: REST (``/fapi/v1``) and streams under
``/public`` and ``/market``.
"""

from __future__ import annotations

import time

from connectors.binance.sandbox.settings import BinanceSettings
from connectors.binance.sandbox.venue import Venue
from connectors.binance.streams import SPOT, USDM
from connectors.local.exchange import Exchange
from connectors.local.keys import key_of, key_place, make_key
from connectors.local.serving import RunningVenue, listen, warm_up
from connectors.local.serving import run as run_until_stopped
from connectors.local.tape import NS

PATHS = {
    SPOT: {"ws": "/ws", "stream": "/stream", "ws_api": "/ws-api/v3"},
    # Clients of the venue are given the first, and put the path of a stream before it.
    USDM: {"ws": "/ws", "public": "/public/ws", "market": "/market/ws"},
}


async def serve(settings: BinanceSettings) -> RunningVenue:
    """Make key (where there are accounts) and history, open the port, let the market run.

    Raises ``ConfigError`` for settings or files that cannot be used and ``VenueError`` when the port is taken.
    """
    settings.check()
    key_file = None
    if settings.venue == SPOT:
        key_file = key_place(settings.key_file, "binance_key.json")
    from_ns = time.time_ns() - int(settings.warmup_s * NS)
    key = make_key() if key_file is None else key_of(key_file)
    venue = Venue(settings, Exchange(settings, "binance", from_ns), key, time.time_ns)
    await warm_up(venue.pass_time, from_ns)
    return await listen(settings, venue, key_file, PATHS[settings.venue])


def run(settings: BinanceSettings) -> int:
    """Serve until a signal, or until the parent that holds our stdin is gone.  Returns the exit code."""
    return run_until_stopped(serve(settings))
