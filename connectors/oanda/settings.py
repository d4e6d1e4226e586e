"""Settings of the OANDA connector.  Owns names, units and defaults; ``config`` fills them from files."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from connectors.route import Route
from engine.errors import ConfigError


class OandaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``symbols`` are canonical without venue (``EUR/USD``).  The addresses are those of practice accounts.

    ``token_file`` holds a personal access token in one line.  ``account``: its id; empty takes the token's first.
    ``counted_in``: currency of the portfolio, in which rates are told; empty tells none.  ``rated``: currencies whose
    rate is configured.
    """

    symbols: tuple[str, ...] = ("EUR/USD",)
    rest_url: str = "https://api-fxpractice.oanda.com"
    stream_url: str = "https://stream-fxpractice.oanda.com"
    token_file: str = ""
    account: str = ""
    route: Route = Route()
    """Proxy and certificates."""
    money: Literal["", "play", "real"] = ""
    """What the server must be of; nothing is asked of whoever only looks (empty)."""
    name: str = "oanda"
    counted_in: str = ""
    rated: tuple[str, ...] = ()
    order_connections: int = 2
    order_timeout_s: float = 5.0
    order_warm_s: float = 20.0
    """An order connection that was idle for so long is used for a small question, so that nobody closes it."""
    rest_timeout_s: float = 10.0
    open_timeout_s: float = 20.0
    """Both streams must be up in this time at the start."""
    silence_timeout_s: float = 10.0
    """Two heartbeats of the venue: a stream that says nothing for so long is dead."""
    dial_gap_s: float = 0.5
    """Between the first dials: the venue takes two new connections a second."""
    unknown_grace_s: float = 15.0
    """How long an order without outcome may stay missing from the transactions before it counts as never arrived."""
    reconcile_s: float = 300.0
    """How often the account is read as a whole and compared with the books."""
    products_s: float = 60.0
    """How often the rules of the instruments are read again."""
    guaranteed_stops: bool = False
    """Stops at market that close a trade are the venue's guaranteed ones where the instrument has them."""
    rates_s: float = 15.0
    """How often currency rates are asked for, where any is needed."""
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    orders_per_s: float = 100.0
    """REST requests a second that the venue recommends at most; a quarter is kept for cancels."""
    skew_limit_s: float = 30.0
    """The venue's clock may differ from ours by this much; more is refused at the start."""

    def check(self) -> None:
        """Raises ``ConfigError`` with one line for the first setting that cannot work."""
        for field in ("rest_url", "stream_url"):
            value = getattr(self, field)
            if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
                raise ConfigError(f"oanda {field} {value!r}", expected="https://HOST[:PORT]")
        if not self.symbols:
            raise ConfigError("oanda symbols is empty", expected="at least one, such as EUR/USD")
        for symbol in self.symbols:
            base, slash, quote = symbol.partition("/")
            if not base or not slash or not quote or "@" in quote or "_" in symbol:
                raise ConfigError(f"oanda symbol {symbol!r}", expected="BASE/QUOTE, such as EUR/USD")
        self.route.check("oanda")
        if self.order_connections < 1:
            raise ConfigError(f"oanda order_connections {self.order_connections}", expected="1 or more")
