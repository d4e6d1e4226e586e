"""What a session must know of a kind of venue: the one place where a venue's name becomes its own code.

A kind is a module ``config.venue_NAME`` with an object ``KIND``; ``config.venue_registry`` lists them.  How a session
uses it (its server as a child, on paper, live) is ``config.venues``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from config.schema import Settings
from engine.carried import Carried, CarriedOrder
from engine.instruments import Instrument
from engine.offers import Offer
from engine.ports import Clock, FeedCounts, Publish, VenueGateway

Said = Mapping[str, Any]
"""Where a venue's server listens and what opens it, as it says itself when it starts (``Address.said``)."""
History = Callable[[str], tuple[int, int]]
"""Asked with an instrument's id: bar length (ns) and number of past bars its features want."""


class Connector(Protocol):
    """A connected venue: ``engine.ports.Venue`` but for what ``config.venues`` does around it."""

    @property
    def name(self) -> str: ...

    @property
    def gateway(self) -> VenueGateway | None:
        """Order entry, from its start on; None without a key."""
        ...

    async def start(self) -> None: ...

    def confirm(self) -> None: ...

    def counts(self) -> FeedCounts: ...

    def queue_depths(self) -> dict[str, int]: ...

    def shadow(self) -> Any:
        """The wire half for shadow ticks (``engine.runtime.shadow.Shadow``); None where it has none."""
        ...

    def renew(self, instrument: str, attempt: int) -> None:
        """Have the book of an instrument told anew (``engine.runtime.books.Renews``); nothing to do without books."""
        ...

    async def stop(self) -> None: ...


@dataclass(frozen=True)
class Opening:
    """What a connector is made with.

    ``money``: what server and key must be of; nothing is asked of whoever only looks (empty).  ``carried`` are orders
    of an earlier session on the account, ``carried_balances`` what it held, by currency.  ``identify`` is told which
    account it is before it is touched, and may refuse it.  ``rival(client_order_id)`` names the session of another
    daemon that sent an order, empty for any other order.  ``earlier`` is all that the earlier session has left, and
    ``earlier_ns`` when it heard or decided anything last.  ``say`` is told what whoever starts it has to know.
    """

    publish: Publish
    clock: Clock
    lag_ns: Callable[[], int]
    history: History
    money: Literal["", "play", "real"] = ""
    carried: Sequence[CarriedOrder] = ()
    carried_balances: Mapping[str, Decimal] = field(default_factory=dict)
    identify: Callable[[str], None] | None = None
    rival: Callable[[str], str] = lambda _client_order_id: ""
    say: Callable[[str], None] = lambda _line: None
    earlier: Carried | None = None
    earlier_ns: int = 0


@dataclass(frozen=True)
class Address:
    """Something that must be known of a server to trade there: the key of ``Said``, and the field of ``venue``."""

    said: str
    setting: str


@dataclass(frozen=True)
class CancelOnly:
    """The module that can cancel on an account and nothing else, and what it must be told (plain JSON values)."""

    module: str
    told: dict[str, Any]


def start_px_text(settings: Settings, symbol: str) -> str:
    """``=12.5`` behind the name of a market that the built-in exchange is to make up; empty for any other."""
    px = settings.sandbox.products.get(symbol)
    return "" if px is None else f"={px}"


@runtime_checkable
class KnowsHome(Protocol):
    """A kind that reaches its real venue by a library which alone knows where that is: no address is written down."""

    @property
    def home(self) -> str:
        """What the venue is called there; with the key it names the account."""
        ...


@runtime_checkable
class MarketOnly(Protocol):
    """A kind without order entry: its market is read, and paper orders are matched in this process at every feed."""

    market_only: Literal[True]


@runtime_checkable
class TellsRates(Protocol):
    """A kind whose venue says itself what currencies are worth (``RateReported``): none has to be configured."""

    tells_rates: Literal[True]


class VenueKind(Protocol):
    """What differs from venue to venue."""

    @property
    def offer(self) -> Offer:
        """Which orders its venue takes as they are."""
        ...

    @property
    def speaks(self) -> str:
        """Its protocol in words, such as ``Coinbase Advanced Trade``."""
        ...

    @property
    def addresses(self) -> Sequence[Address]:
        """All that an account needs; the first is the one whose setting says that a server runs already."""
        ...

    def connect(self, settings: Settings, said: Said, opening: Opening) -> Connector:
        """With orders and the account.  Raises ``ConfigError`` for settings or a key that cannot work."""
        ...

    def watch(self, settings: Settings, said: Said, opening: Opening) -> Connector:
        """Public data alone, whatever keys there are.  Raises ``ConfigError`` where there is none without a key."""
        ...

    def foresee(self, settings: Settings) -> list[Instrument]:
        """The configured symbols as the venue will define them, in all that a model, a limit or a rate goes by.

        Steps, bounds and fees are stand-ins until it tells.
        """
        ...

    def sandbox_command(self, settings: Settings, key_file: Path, run: Path) -> list[str]:
        """The built-in server as a child (``run``: our ``run.py``): it prints ``Said`` and ends with its stdin."""
        ...

    def key_name(self, settings: Settings) -> str:
        """What names the configured key, without its secret; the account is told apart by server and key.

        Raises ``ConfigError`` for a key file that is none.
        """
        ...

    def cancel_only(self, settings: Settings) -> CancelOnly:
        """For the watchdog; asked only where there is an account that outlives the session."""
        ...
