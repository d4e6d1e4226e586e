"""Settings of the Robinhood crypto connector.  Owns names, units and defaults; ``config`` fills them from files."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from connectors.robinhood.wire import Generation
from connectors.route import Route
from engine.errors import ConfigError

GENERATIONS: Final[dict[str, tuple[Generation, ...]]] = {"auto": ("v2", "v1"), "v1": ("v1",), "v2": ("v2",)}
"""Those that are tried, in this order."""


class RobinhoodSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``symbols`` are canonical without venue (``BTC/USD``).  Nothing here is public: a key is needed for all of it.

    With the defaults quotes cost 60 and open orders 30 requests a minute, of the 100 that the venue grants.
    """

    symbols: tuple[str, ...] = ("BTC/USD",)
    rest_url: str = "https://trading.robinhood.com"
    key_file: str = ""
    route: Route = Route()
    """The proxy, and whose certificates are believed."""
    money: Literal["", "play", "real"] = ""
    """What the server, and the key with it, must be of; nothing is asked of whoever only looks (empty)."""
    name: str = "robinhood"
    generation: Literal["auto", "v1", "v2"] = "auto"
    """``v1`` has its fee in the price; ``v2`` has fee tiers and wants an account number; ``auto`` takes ``v2`` where
    the key may use it."""
    account_number: str = ""
    """Of v2; empty takes the only one that the key has."""
    quote_poll_s: float = 1.0
    order_poll_s: float = 2.0
    """While an order of ours is open or its outcome is unknown."""
    idle_poll_s: float = 15.0
    """While none is: what others do on the account shows this late."""
    order_connections: int = 4
    order_timeout_s: float = 5.0
    order_warm_s: float = 45.0
    """An order connection that was idle for so long is used for a small question, so that nobody closes it."""
    rest_timeout_s: float = 10.0
    open_timeout_s: float = 10.0
    unknown_grace_s: float = 20.0
    """How long an order without outcome may stay missing from listings before it counts as never arrived."""
    reconcile_s: float = 300.0
    """How often orders and balances are compared with the books."""
    products_s: float = 300.0
    """How often rules and states of the pairs are read again; 0: never."""
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 30.0
    requests_per_minute: float = 100.0
    burst: int = 300
    skew_limit_s: float = 30.0
    """The venue's clock may differ from ours by this much at the start; the difference is corrected."""

    def check(self) -> None:
        """Raises ``ConfigError`` with one line for the first setting that cannot work."""
        self.route.check("robinhood")
        url = urlsplit(self.rest_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/") or url.query:
            raise ConfigError(f"robinhood rest_url {self.rest_url!r}", expected="http or https://HOST[:PORT]")
        if self.generation not in GENERATIONS:
            raise ConfigError(f"robinhood generation {self.generation!r}", expected="auto, v1 or v2")
        if not self.symbols:
            raise ConfigError("robinhood symbols is empty", expected="at least one, such as BTC/USD")
        for symbol in self.symbols:
            base, slash, quote = symbol.partition("/")
            if not base or not slash or quote != "USD":
                raise ConfigError(f"robinhood symbol {symbol!r}", expected="ASSET/USD, such as BTC/USD")
        if not self.key_file:
            raise ConfigError(
                "robinhood has no key_file",
                expected="an API key: the venue shows nothing without one",
                do="set venue.key_file",
            )
        if self.order_connections < 1 or self.burst < 20 or self.requests_per_minute < 10:
            raise ConfigError(
                f"robinhood order_connections {self.order_connections}, burst {self.burst}, requests_per_minute "
                f"{self.requests_per_minute:g}",
                expected="at least 1, 20 and 10",
            )
        if min(self.quote_poll_s, self.order_poll_s, self.idle_poll_s) <= 0:
            raise ConfigError("robinhood polls every 0 s", expected="quote_poll_s, order_poll_s, idle_poll_s above 0")
