"""Settings of the robin_stocks connector.  Owns names, units and defaults; ``config`` fills them from files."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from engine.errors import ConfigError

LIMITS = (
    "robin_stocks is unofficial: Robinhood does not offer this API to programs, may change or end it without a word,",
    "and its terms may not allow it.  A login can ask for an approval in the phone app at any time, also in the night.",
    "There is no stream: quotes are seconds old, fills are learnt by asking.  One request at a time: an order may wait",
    "two seconds for a question that is under way, and is not sent then.  That an order of ours can be found by its",
    "reference is nowhere promised: one whose answer is lost may stay unknown until somebody has looked it up.",
    "Stops and good-till-cancelled orders rest at the venue; nothing else protects a position while this is down.",
)
"""What whoever starts this has to know, one line each."""
PLAY_NICKNAME = "KESTREL_SANDBOX"
"""What the sandbox calls every account of its own."""
_SYMBOL = re.compile(r"[A-Z][A-Z.]{0,5}/USD(:USD-\d{6}-\d+(\.\d+)?-[CP])?")


class RobinStocksSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``symbols`` are canonical without venue: ``AAPL/USD``, options ``AAPL/USD:USD-261218-200-C``.

    ``key_file`` holds name and password (``login_file``).  ``rest_url`` empty: the venue's own hosts.
    """

    symbols: tuple[str, ...] = ("AAPL/USD",)
    key_file: str = ""
    rest_url: str = ""
    authority: str = ""
    """Certificate of whoever signed the sandbox's; empty: those of the system."""
    proxy: str = ""
    """``http://HOST:PORT``; ``none``; empty: as the environment says (HTTPS_PROXY).  Not used for ``rest_url``."""
    money: Literal["", "play", "real"] = ""
    """What the account must be of."""
    name: str = "robin_stocks"
    session_folder: str = ""
    """Where the client may keep its tokens, so that a restart needs no new approval; empty: nowhere."""
    fractional: bool = False
    """Whether market orders may be for parts of a share."""
    quotes_s: float = 2.0
    orders_s: float = 2.0
    """Between two looks at orders while one is open."""
    idle_s: float = 20.0
    """And while none is."""
    reconcile_s: float = 120.0
    hours_s: float = 900.0
    requests_per_min: int = 90
    """What this may ask in all; nobody knows the venue's own limit."""
    answer_s: float = 8.0
    wait_s: float = 10.0
    login_s: float = 150.0
    """The client itself waits for two minutes until a device is approved."""
    token_s: int = 86_400
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 300.0
    silence_s: float = 15.0
    """Quotes that are older by our clock than this: the market stream counts as down."""
    absent_s: float = 120.0
    """How long an order without outcome must be missing from complete listings before it counts as never arrived."""
    immediate_s: float = 3.0
    """An immediate order that has not ended by then is cancelled: the venue has no such time in force for all."""
    market_slip: Decimal = Decimal("0.01")
    """A market buy is a limit order at the ask plus this share: the venue takes no other."""

    def check(self) -> None:
        """Raises ``ConfigError`` with one line for the first setting that cannot work."""
        if not self.symbols:
            raise ConfigError("robin_stocks symbols is empty", expected="at least one, such as AAPL/USD")
        for symbol in self.symbols:
            if _SYMBOL.fullmatch(symbol) is None:
                raise ConfigError(
                    f"robin_stocks symbol {symbol!r}", expected="AAPL/USD, or an option AAPL/USD:USD-261218-200-C"
                )
        if not self.key_file:
            raise ConfigError(
                "robin_stocks has no key file", expected="a file with username and password", do="set venue.key_file"
            )
        if self.rest_url:
            url = urlsplit(self.rest_url)
            if url.scheme not in ("http", "https") or not url.hostname:
                raise ConfigError(f"robin_stocks rest_url {self.rest_url!r}", expected="http or https://HOST[:PORT]")
            if url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
                raise ConfigError(f"robin_stocks rest_url {self.rest_url!r}", expected="https, but on this machine")
        if self.proxy not in ("", "none") and urlsplit(self.proxy).scheme not in ("http", "https"):
            raise ConfigError(
                "robin_stocks goes through no such proxy", expected="http://HOST:PORT, none or nothing: venue.proxy"
            )
        for field, low, high in (
            ("quotes_s", 0.05, 60),
            ("orders_s", 0.05, 60),
            ("idle_s", 0.05, 600),
            ("reconcile_s", 0.5, 3_600),
            ("hours_s", 0.5, 86_400),
            ("requests_per_min", 6, 100_000),
            ("answer_s", 0.1, 30),
            ("absent_s", 0.1, 3_600),
            ("market_slip", Decimal(0), Decimal("0.05")),
        ):
            value = getattr(self, field)
            if not low <= value <= high:
                raise ConfigError(f"robin_stocks {field} {value}", expected=f"{low} to {high}")
