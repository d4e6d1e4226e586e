"""What strategies and risk may read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from engine.commands import RiskState
from engine.events import Side
from engine.instruments import Instrument
from engine.ports.readings import OpenGroup, OpenOrder, Position, Stake, Tally, Top

if TYPE_CHECKING:
    from engine.consolidated.values import Consolidated


class FeatureView(Protocol):
    """What a strategy may read of a feature buffer."""

    @property
    def warm(self) -> bool: ...

    @property
    def reason(self) -> str:
        """Why it is not warm; empty when it is."""
        ...

    def latest(self, column: str) -> float:
        """The newest value of a column (float64, NaN before the first row).  Raises ``KeyError`` for unknown names."""
        ...


class ServedModel(Protocol):
    """How the model that serves an instrument stands.  States are those of ``engine.events.ModelStanding``."""

    @property
    def version(self) -> str: ...

    @property
    def role(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def reason(self) -> str:
        """Why it is in that state; empty where it simply serves."""
        ...

    @property
    def factor(self) -> float:
        """What alarms leave of the size of entries, 0 to 1."""
        ...


class View(Protocol):
    """Read-only state of the core at one event.  Nothing in it may be kept beyond the call."""

    @property
    def now_ns(self) -> int: ...

    @property
    def risk_state(self) -> RiskState: ...

    def instrument(self, instrument: str) -> Instrument:
        """Raises ``KeyError`` when not defined yet."""
        ...

    def instruments(self) -> Sequence[str]: ...

    def top(self, instrument: str) -> Top | None:
        """Best prices, None when nothing was ever received."""
        ...

    def position(self, instrument: str) -> Position: ...

    def held(self) -> Collection[str]:
        """Instruments with a position that is not zero."""
        ...

    def strategy_qty(self, strategy: str, instrument: str) -> Decimal:
        """Signed quantity that this strategy's own fills have built up."""
        ...

    def held_by(self, strategy: str) -> Collection[str]:
        """Instruments of which that quantity is not zero, also such as the session does not know."""
        ...

    def stake(self, strategy: str, instrument: str) -> Stake:
        """The same with what it cost; the strategy ``""`` is all of them together."""
        ...

    def tallies(self) -> Mapping[str, Tally]:
        """How each strategy that ever traded has done."""
        ...

    def open_orders(self, instrument: str | None = None) -> Sequence[OpenOrder]: ...

    def groups(self, instrument: str | None = None) -> Sequence[OpenGroup]:
        """Groups that are not done, oldest first."""
        ...

    def open_qty(self, instrument: str, side: Side) -> Decimal:
        """Worst-case quantity that open and unknown orders of that side may still fill."""
        ...

    def mark_px(self, instrument: str) -> Decimal | None:
        """Mid price as Decimal, None when there is no price."""
        ...

    def rate(self, currency: str) -> Decimal | None:
        """Units of portfolio currency for one unit of ``currency``; None when not known."""
        ...

    def rate_markets(self) -> Sequence[str]:
        """Ids of the instruments by whose prices money that is there, and what is held, is counted in it."""
        ...

    def equity(self) -> Decimal | None:
        """Equity in portfolio currency; None when any part of it has no price or rate (unknown is not zero)."""
        ...

    def equity_peak(self) -> Decimal | None: ...

    def equity_day_start(self) -> Decimal | None:
        """Equity at the first valuation of the current UTC day."""
        ...

    def features(self, instrument: str) -> FeatureView | None: ...

    def model(self, instrument: str) -> ServedModel | None:
        """The model whose predictions the strategy is asked about, of a canary's twin the canary; None where there is
        none."""
        ...

    def consolidated(self, instrument: str) -> Consolidated | None:
        """Price, confidence and attribution as of now of an id ``...@consolidated``; None for any other instrument."""
        ...

    def tradable(self, instrument: str) -> str:
        """Empty when market and user streams are up and the venue trades; else the reason it is not."""
        ...
