"""The Kraken sandbox as a server on loopback.

Owns how one is put together.  One port serves REST (``/0``), public streams (``/v2``) and
private ones (``/auth/v2``).
"""

from __future__ import annotations

import time

from connectors.kraken.sandbox.settings import KrakenSettings
from connectors.kraken.sandbox.streams import AUTH_PATH
from connectors.kraken.sandbox.venue import Venue
from connectors.local.exchange import Exchange
from connectors.local.keys import key_of, key_place
from connectors.local.serving import RunningVenue, listen, warm_up
from connectors.local.serving import run as run_until_stopped
from connectors.local.tape import NS

PATHS = {"ws": "/v2", "ws_auth": AUTH_PATH}


async def serve(settings: KrakenSettings) -> RunningVenue:
    """Make key and history, open the port, let the market run.

    Raises ``ConfigError`` for settings or files that cannot be used and ``VenueError`` when the port is taken.
    """
    settings.check()
    key_file = key_place(settings.key_file, "kraken_key.json")
    from_ns = time.time_ns() - int(settings.warmup_s * NS)
    venue = Venue(settings, Exchange(settings, "kraken", from_ns), key_of(key_file), time.time_ns)
    await warm_up(venue.pass_time, from_ns)
    return await listen(settings, venue, key_file, PATHS)


def run(settings: KrakenSettings) -> int:
    """Serve until a signal, or until the parent that holds our stdin is gone.  Returns the exit code."""
    return run_until_stopped(serve(settings))
