"""Values that a view shows: prices, positions, results, open orders and groups."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

import msgspec

from engine.events import Side


class Top(msgspec.Struct, gc=False):
    """Best prices of one instrument, float64, updated in place by the book.  NaN means "not known"."""

    bid_px: float = float("nan")
    bid_qty: float = float("nan")
    ask_px: float = float("nan")
    ask_qty: float = float("nan")
    last_px: float = float("nan")
    ts_event_ns: int = 0
    ts_recv_ns: int = 0
    """Receive time of the last quote or book change that stands here (0: none yet)."""
    crossed: bool = False
    suspect: bool = False
    """True from a dropped bad tick or gap until the next good quote, and with prices of which the time alone is
    refused; blocks entries, not exits."""

    @property
    def mid_px(self) -> float:
        return 0.5 * (self.bid_px + self.ask_px)

    @property
    def is_readable(self) -> bool:
        """Both sides known and bid below ask: prices to value a position and to leave it by.  They may be suspect,
        which is no reason to ignore a stop: what stands here was believed once, or is refused for its time alone."""
        return not self.crossed and isfinite(self.bid_px) and isfinite(self.ask_px) and self.bid_px < self.ask_px


class Position(msgspec.Struct, frozen=True):
    """Signed quantity, average entry price, realised profit, fees, and what funding has earned or cost without an
    execution (portfolio currency for the last three)."""

    qty: Decimal
    avg_px: Decimal
    realised: Decimal
    fees: Decimal
    funding: Decimal = Decimal(0)


class Stake(msgspec.Struct, gc=False):
    """What one strategy holds of an instrument, by its own executions; updated in place by ``engine.stakes``.

    ``realised`` (settlement currency) and ``fees`` (portfolio currency, its share of funding included) count since it
    first traded; ``trip`` is the profit after fees (portfolio currency) since it was flat last.  ``since_ns``: when it
    left flat; 0 while it is flat or holds less than the venue takes in one order.
    """

    qty: Decimal = Decimal(0)
    avg_px: Decimal = Decimal(0)
    realised: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    trip: Decimal = Decimal(0)
    since_ns: int = 0


class Tally(msgspec.Struct, gc=False):
    """How a strategy has done; updated in place by ``engine.stakes``.

    ``fills``: executions of its orders.  ``losses``: round trips in a row that lost, fees included, the last of them at
    ``lost_ns``.  ``day``: profit in the current UTC day after fees (portfolio currency) at the last valuation, None
    when something it held then had no price or rate; ``day_low``: the lowest it was.  ``day_base``: worth of all its
    trades when the day began.
    """

    fills: int = 0
    losses: int = 0
    lost_ns: int = 0
    day: Decimal | None = Decimal(0)
    day_base: Decimal | None = Decimal(0)
    day_low: Decimal = Decimal(0)


class OpenOrder(msgspec.Struct, frozen=True):
    """An order that may still fill: not final, unknown outcomes included."""

    client_order_id: str
    strategy: str
    instrument: str
    side: Side
    qty: Decimal
    leaves_qty: Decimal
    limit_px: Decimal | None
    state: str
    reduce_only: bool
    opened_ns: int
    trigger_px: Decimal | None = None
    """Of a stop: until the price is there, it waits and trades with nobody."""
    touches: bool = False
    """It waits for a better price than the market's (market-if-touched), where a stop waits for a worse one."""
    other_px: Decimal | None = None
    """The price that it is being changed to: until the venue has shown which one it has, it may trade at either.
    ``qty`` and ``leaves_qty`` are the larger ones then."""


class OpenGroup(msgspec.Struct, frozen=True):
    """Orders that belong together and are not done: see ``engine.commands.GroupIntent``.

    ``side`` and ``open_qty``: what the exits are still to close.  ``entry_ids``: orders of the entry, the newest last.
    ``exit_id``: the exit that is at the venue, empty for none.  ``levels_px``: where each exit acts, None for one that
    trails and has seen no price.  ``fired``: the exit whose price was reached, -1 for none.
    """

    group_id: str
    strategy: str
    instrument: str
    side: Side
    open_qty: Decimal
    entry_ids: tuple[str, ...]
    exit_id: str
    levels_px: tuple[Decimal | None, ...]
    fired: int
