"""Small contracts between the core and everything around it.

Adapters implement them outside ``engine``; each port's fake ships with the part that owns it.  These signatures change
only with a decision record: everything hangs on them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt

from engine.codec import Record
from engine.commands import (
    CancelOrder,
    Command,
    Intent,
    NewOrder,
    OrderIntent,
    ReplaceOrder,
    RiskState,
    RiskStateChanged,
    Verdict,
)
from engine.events import Halted, InputEvent, MarketEvent, OrderFilled, Prediction, Reduced, Resumed, Side, Timer
from engine.instruments import Instrument

if TYPE_CHECKING:
    from engine.consolidated.values import Consolidated

Float32Array = npt.NDArray[np.float32]


# --- time -------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Where time comes from.  The core never holds one: it sees time only on events."""

    def now_ns(self) -> int:
        """UTC nanoseconds that never step back: the monotonic clock anchored to UTC at start."""
        ...

    def wall_ns(self) -> int:
        """The wall clock, which may step; compared with ``now_ns`` to make ``ClockStepped`` events."""
        ...


# --- what strategies and risk may read ----------------------------------------------------------------------------


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

    def equity(self) -> Decimal | None:
        """Equity in portfolio currency; None when any part of it has no price or rate (unknown is not zero)."""
        ...

    def equity_peak(self) -> Decimal | None: ...

    def equity_day_start(self) -> Decimal | None:
        """Equity at the first valuation of the current UTC day."""
        ...

    def features(self, instrument: str) -> FeatureView | None: ...

    def model(self, instrument: str) -> ServedModel | None:
        """The model whose predictions strategies are asked about; None where there is none."""
        ...

    def consolidated(self, instrument: str) -> Consolidated | None:
        """Price, confidence and attribution as of now of an id ``...@consolidated``; None for any other instrument."""
        ...

    def tradable(self, instrument: str) -> str:
        """Empty when market and user streams are up and the venue trades; else the reason it is not."""
        ...


class Assignment(msgspec.Struct, frozen=True):
    """What serves an instrument: see ``engine.events.ModelAssigned``."""

    model: str = ""
    spec: str = ""
    facts: tuple[tuple[str, float], ...] = ()


class Assembly(Protocol):
    """Chooses and builds what serves an instrument, when the instrument becomes known."""

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        """Raises ``BundleError`` when a model is asked for and none may be used here."""
        ...

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None: ...

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None: ...


# --- model, features, strategy, risk ------------------------------------------------------------------------------


class Features(FeatureView, Protocol):
    """The rolling buffer of one instrument."""

    @property
    def follows(self) -> Sequence[str]:
        """Ids of other instruments whose accepted quotes, trades and candles ``update`` is given too."""
        ...

    @property
    def awaits(self) -> Sequence[str]:
        """Names of published series whose observations ``update`` is given too, those before its time included."""
        ...

    def update(self, event: MarketEvent) -> bool:
        """Take in an accepted market event; True when it completed a new row."""
        ...

    def on_timer(self, now_ns: int) -> bool:
        """Close a time bar whose boundary plus lateness has passed; True when that made a new row."""
        ...

    def window(self) -> Float32Array:
        """The last W rows, oldest first: ``(W, F)`` float32, C-contiguous; a view, valid until the next update."""
        ...

    def mark_gap(self, reason: str, of: str = "") -> None:
        """The feed had a hole: not warm until W clean rows have passed.

        ``of`` is one that it follows: what that one costs is unknown until it comes again.
        """
        ...


class Model(Protocol):
    """May have two capabilities besides, which are looked up when it takes its seat, and which never raise:
    ``reset(instrument, reason)``, told where the row that comes does not follow on the one before (a hole in the feed,
    a market that has opened, rows it was not asked about), and ``weigh(weights)``, of ensembles."""

    @property
    def version(self) -> str: ...

    def predict(self, instrument: str, window: Float32Array, ts_event_ns: int, ts_recv_ns: int) -> Prediction | None:
        """Never raises: a failure is a ``Prediction`` with that status.  ``window`` is only valid during the call.

        None: it has been asked, and the answer comes as ``PredictionMade`` with these times as those of the row.
        """
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


class Strategy(Protocol):
    """Turns predictions and market state into intents.  Pure: same calls, same intents.  Sends nothing.

    ``name`` is unique in a session.  Whatever a method raises quarantines the strategy.
    """

    name: str

    def on_model(self, instrument: str, facts: Mapping[str, float]) -> None:
        """A model serves the instrument from now on; ``facts`` are its bundle's suggestions, such as thresholds."""
        ...

    def on_prediction(self, prediction: Prediction, prediction_seq: int, view: View) -> Sequence[Intent]: ...

    def on_row(self, instrument: str, view: View) -> Sequence[Intent]:
        """A new feature row is complete (also without a model)."""
        ...

    def on_quote(self, instrument: str, view: View) -> Sequence[Intent]:
        """The best prices changed: exits by stop and take-profit live here."""
        ...

    def on_fill(self, fill: OrderFilled, view: View) -> Sequence[Intent]: ...

    def on_timer(self, timer: Timer, view: View) -> Sequence[Intent]: ...

    def state(self) -> dict[str, Any]:
        """Plain JSON-able state, enough for ``restore`` to go on as if never stopped."""
        ...

    def restore(self, state: dict[str, Any]) -> None: ...


class RiskGate(Protocol):
    """Judges intents and owns the kill switch: the state latches until an explicit ``Resumed``."""

    @property
    def state(self) -> RiskState: ...

    def review(self, intent: OrderIntent, view: View) -> Verdict:
        """Judge one intent against the view.  Fails closed: what cannot be judged is rejected."""
        ...

    def review_again(self, intent: OrderIntent, view: View) -> Verdict:
        """Judge an order that waited for the disk once more.  It was counted when it was opened: rate and duplicate
        checks are skipped, all others apply."""
        ...

    def on_opened(self, order: NewOrder) -> None:
        """The approved order was opened, or one was changed in place to be like it: count it (rates, duplicates)."""
        ...

    def breach(self, view: View) -> tuple[RiskState, str] | None:
        """Loss and drawdown breakers: the state to go to and why, or None.  Called on timers and after fills."""
        ...

    def apply(self, event: Halted | Reduced | Resumed) -> RiskStateChanged | None:
        """An operator's command; None when it changes nothing."""
        ...

    def latch(self, state: RiskState, reason: str, ts_ns: int) -> RiskStateChanged | None:
        """A breaker's or the core's own decision; never towards more freedom."""
        ...

    def carried(self) -> str:
        """What it has latched besides ``state``, for the next session; empty for nothing.  Asked on each timer and
        fill: where it has changed, the core puts its state on record at once."""
        ...

    def restore(self, carried: str) -> None:
        """Go on with what ``carried`` said in an earlier session."""
        ...


# --- recording and sending ----------------------------------------------------------------------------------------


class Recorder(Protocol):
    """Gives a derived record the next ``seq`` and makes it outlive the process before it returns."""

    def record(self, record: Record) -> int: ...


class Journal(Protocol):
    """Append-only storage.  ``append`` returns when the bytes are in mapped memory."""

    def append(self, seq: int, record: Record) -> None:
        """Raises ``JournalError`` when the record cannot be stored."""
        ...

    def close(self) -> None: ...


class VenueGateway(Protocol):
    """Encodes and writes.  Calls never block; answers arrive as events.

    ``submit`` and ``cancel`` raise nothing: what fails before a byte left is an ``OrderRejected`` event; what fails
    after is an ``OrderOutcomeUnknown`` event.
    """

    @property
    def venue(self) -> str: ...

    def submit(self, order: NewOrder) -> None: ...

    def cancel(self, cancel: CancelOrder) -> None: ...


@runtime_checkable
class EditingGateway(Protocol):
    """What a gateway has besides where its venue changes orders in place (``engine.offers.Offer.edits``).

    ``replace`` raises nothing.  Each call ends in one of three events: ``OrderReplaced`` when the venue has shown the
    new version, ``ReplaceRejected`` when the order is and stays as it was, or the order's own end.  Meanwhile it may
    tell ``ReplaceOutcomeUnknown``.
    """

    def replace(self, replace: ReplaceOrder) -> None: ...


class Router(Protocol):
    def send(self, command: Command) -> None: ...


Publish = Callable[[InputEvent], None]
"""How adapters hand facts to the bus.  Safe to call while the bus is busy: the event waits its turn."""


class Probe(Protocol):
    """Stage timing of one tick; the null probe does nothing (replay, tests)."""

    def begin(self, ts_recv_ns: int) -> None: ...

    def mark(self, stage: int) -> None: ...

    def end(self) -> None:
        """The event and its commands are done: off the path, work out what the marks mean."""
        ...


STAGES = ("decode", "journal", "book", "features", "model", "strategy", "risk", "order", "write")
"""Names of the probe's stages, in path order; ``mark(i)`` ends stage ``i``."""


# --- venue protocols (sans-I/O) -----------------------------------------------------------------------------------


@runtime_checkable
class VenueProtocol(Protocol):
    """Bytes in, events out; commands in, bytes out.  No clock, no socket, no await."""

    def receive_frame(self, frame: bytes | bytearray | memoryview, recv_ns: int) -> Sequence[InputEvent]:
        """Events of one text frame.  A malformed frame yields nothing and is counted; never raises."""
        ...


class FrameSink(Protocol):
    """What a transport calls, synchronously: all frames of one socket read, stamped once."""

    def on_frames(self, frames: Sequence[bytes | bytearray | memoryview], recv_ns: int) -> None: ...

    def on_open(self) -> None: ...

    def on_close(self, reason: str) -> None: ...


class FeedCounts(msgspec.Struct, frozen=True):
    """``conflated``: superseded quotes dropped before they got a ``seq``; ``reconnects``: connections made again."""

    conflated: int = 0
    reconnects: int = 0


class Venue(Protocol):
    """A connected venue as the supervisor drives it."""

    @property
    def name(self) -> str: ...

    @property
    def gateways(self) -> Sequence[VenueGateway]:
        """Order entry; a recording of several venues has several.  May be empty until the venue is being started."""
        ...

    async def start(self) -> None:
        """Publish instruments, balances and ``FeedUp``; returns when every stream is confirmed.

        Raises ``VenueError`` (one line) when that cannot be had.
        """
        ...

    async def finished(self) -> None:
        """Returns when the feed has ended by itself (a recording); a live feed never does."""
        ...

    def settle(self) -> None:
        """Called on each timer: let an in-process exchange handle what is due.  Nothing to do for a real venue."""
        ...

    def confirm(self) -> None:
        """Something may have hidden facts (a clock that stepped, a suspended machine): have the account confirmed soon,
        which ends with ``AccountSettled``.  Nothing to do where the account is in this process."""
        ...

    def counts(self) -> FeedCounts:
        """What the feed did out of the core's sight."""
        ...

    async def stop(self) -> None:
        """Close every connection.  Safe to call twice."""
        ...
