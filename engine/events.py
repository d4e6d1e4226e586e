"""Facts, in the past tense: everything that reaches the core, as one closed union of frozen structs.

Owns the event types and nothing else.  Requests that leave the core are in ``engine.commands``; the wire form of both
in the journal is ``engine.codec``.

Conventions
-----------
- ``ts_event_ns``: the venue's time of the fact, UTC nanoseconds; equals ``ts_recv_ns`` where the venue gives none.
- ``ts_recv_ns``: our receive time, stamped once at the socket (monotonic clock anchored to UTC at start).
- Market facts are float64.  Account facts are ``Decimal``.
- ``instrument`` is the canonical id ``BASE/QUOTE@venue``.
- Tags are part of the journal format: a tag is never reused, a field is only ever added at the end with a default.  A
  release that does not know a field refuses the record: what was added may change what the others mean.
- Structs are array-like in MessagePack and untracked by the cycle collector: they hold no cycles.
"""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec

from engine.instruments import Instrument


class Side(enum.IntEnum):
    """Direction of an order, a fill or an aggressor; the value is the sign of the position change."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class Liquidity(enum.StrEnum):
    MAKER = "maker"
    TAKER = "taker"
    UNKNOWN = "unknown"


class TradingStatus(enum.StrEnum):
    """What a venue or an instrument accepts now."""

    TRADING = "trading"
    POST_ONLY = "post_only"
    LIMIT_ONLY = "limit_only"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"
    UNKNOWN = "unknown"


class PredictionStatus(enum.StrEnum):
    OK = "ok"
    LATE = "late"
    FAILED = "failed"
    SKIPPED = "skipped"


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Base of all events: when it happened there, when it arrived here."""

    ts_event_ns: int
    ts_recv_ns: int


# --- market facts (float64) -------------------------------------------------------------------------------------


class Quote(Event, frozen=True, array_like=True, gc=False, tag=1):
    """Best bid and offer.  Quantities are NaN where the instrument declares ``has_quote_sizes`` False."""

    instrument: str
    bid_px: float
    bid_qty: float
    ask_px: float
    ask_qty: float


class Trade(Event, frozen=True, array_like=True, gc=False, tag=2):
    """A public trade.  ``aggressor`` is +1 for a buyer, -1 for a seller, 0 where the venue does not say."""

    instrument: str
    px: float
    qty: float
    aggressor: int
    trade_id: str


class BookSnapshot(Event, frozen=True, array_like=True, gc=False, tag=3):
    """The whole book, replacing what was known.  Levels are ``(px, qty)``, best first."""

    instrument: str
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]


class BookDelta(Event, frozen=True, array_like=True, gc=False, tag=4):
    """Level changes ``(side, px, qty)``: side +1 bid, -1 ask; qty is absolute and 0 removes the level."""

    instrument: str
    changes: tuple[tuple[int, float, float], ...]


class Bar(Event, frozen=True, array_like=True, gc=False, tag=5):
    """A finished candle from a venue's history.  ``ts_event_ns`` is the END of the bar; volumes are base units."""

    instrument: str
    interval_ns: int
    open_px: float
    high_px: float
    low_px: float
    close_px: float
    volume_qty: float


class InstrumentDefined(Event, frozen=True, array_like=True, gc=False, tag=6):
    """An instrument's rules became known or changed."""

    definition: Instrument


class InstrumentStatus(Event, frozen=True, array_like=True, gc=False, tag=7):
    instrument: str
    status: TradingStatus


class VenueStatus(Event, frozen=True, array_like=True, gc=False, tag=8):
    venue: str
    status: TradingStatus
    text: str = ""


class RateReported(Event, frozen=True, array_like=True, gc=False, tag=9):
    """One unit of ``currency`` is worth ``rate`` units of the portfolio's currency."""

    currency: str
    rate: Decimal


class Observation(Event, frozen=True, array_like=True, gc=False, tag=10):
    """A value of a published series (fundamental, macro).  ``ts_event_ns`` is its publication, not the period's end."""

    series: str
    value: float
    period_end_ns: int


# --- account facts (Decimal) ------------------------------------------------------------------------------------


class OrderAccepted(Event, frozen=True, array_like=True, gc=False, tag=20):
    venue: str
    client_order_id: str
    venue_order_id: str


class OrderRejected(Event, frozen=True, array_like=True, gc=False, tag=21):
    """The venue, or our own shell before any byte left, refused the order.  It does not exist."""

    venue: str
    client_order_id: str
    reason: str
    text: str = ""


class OrderFilled(Event, frozen=True, array_like=True, gc=False, tag=22):
    """One execution.  Distinct by ``(venue, trade_id)``; ``fee`` is positive when paid."""

    venue: str
    client_order_id: str
    venue_order_id: str
    trade_id: str
    instrument: str
    side: Side
    qty: Decimal
    px: Decimal
    fee: Decimal
    fee_currency: str
    liquidity: Liquidity


class OrderCancelled(Event, frozen=True, array_like=True, gc=False, tag=23):
    venue: str
    client_order_id: str
    venue_order_id: str
    reason: str = ""


class OrderExpired(Event, frozen=True, array_like=True, gc=False, tag=24):
    venue: str
    client_order_id: str
    venue_order_id: str


class CancelRejected(Event, frozen=True, array_like=True, gc=False, tag=25):
    """The venue did not cancel.  Says nothing about the order's state by itself."""

    venue: str
    client_order_id: str
    reason: str


class OrderOutcomeUnknown(Event, frozen=True, array_like=True, gc=False, tag=26):
    """The request left, no trustworthy answer came (timeout, reset, 5xx).  The order may live: it holds its risk."""

    venue: str
    client_order_id: str
    reason: str


class BalanceReported(Event, frozen=True, array_like=True, gc=False, tag=27):
    venue: str
    currency: str
    total: Decimal
    available: Decimal


class PositionReported(Event, frozen=True, array_like=True, gc=False, tag=28):
    venue: str
    instrument: str
    qty: Decimal
    avg_px: Decimal


class AccountSettled(Event, frozen=True, array_like=True, gc=False, tag=29):
    """Everything that happened to the account before this has been told, and these are its balances.

    ``balances``: every ``(currency, total)`` of the venue, read while nothing was filled.  ``unresolved``: our orders
    of which the venue has not said what became of them.
    """

    venue: str
    balances: tuple[tuple[str, Decimal], ...]
    unresolved: tuple[str, ...] = ()


class OrderFound(Event, frozen=True, array_like=True, gc=False, tag=31):
    """An order lives at the venue that this session has not sent: made by hand, by another program, or by a session
    whose record of it was lost.  ``filled_qty`` of it is part of the balances already."""

    venue: str
    client_order_id: str
    venue_order_id: str
    instrument: str
    side: Side
    qty: Decimal
    filled_qty: Decimal
    limit_px: Decimal | None


class FillCorrected(Event, frozen=True, array_like=True, gc=False, tag=32):
    """The venue takes an execution back (``new_qty`` 0), or says that it was another.  ``qty``, ``px`` and ``fee`` are
    those that were told before."""

    venue: str
    client_order_id: str
    venue_order_id: str
    trade_id: str
    instrument: str
    side: Side
    qty: Decimal
    px: Decimal
    fee: Decimal
    fee_currency: str
    new_qty: Decimal
    new_px: Decimal
    new_fee: Decimal


# --- time, system, control --------------------------------------------------------------------------------------


class Timer(Event, frozen=True, array_like=True, gc=False, tag=40):
    """The periodic heartbeat by which anything timed happens (bar closes, breakers, horizon exits)."""

    name: str


class FeedUp(Event, frozen=True, array_like=True, gc=False, tag=41):
    """All subscriptions of this stream are confirmed.  ``stream`` is ``market`` or ``user``."""

    venue: str
    stream: str


class FeedDown(Event, frozen=True, array_like=True, gc=False, tag=42):
    venue: str
    stream: str
    reason: str


class Gap(Event, frozen=True, array_like=True, gc=False, tag=43):
    """Messages were lost.  ``instrument`` is empty when the whole venue's stream is meant."""

    venue: str
    instrument: str
    expected: int
    got: int


class ClockStepped(Event, frozen=True, array_like=True, gc=False, tag=44):
    """Wall clock moved against the monotonic clock by ``delta_ns``."""

    delta_ns: int


class JournalSynced(Event, frozen=True, array_like=True, gc=False, tag=45):
    """Every record up to and including ``upto_seq`` is on disk (journal mode ``always``)."""

    upto_seq: int


class JournalFailed(Event, frozen=True, array_like=True, gc=False, tag=46):
    """The disk is full or broken: no new orders, cancels stay possible."""

    text: str


class SessionStarted(Event, frozen=True, array_like=True, gc=False, tag=47):
    """First record of a session: what decides, by hash (invariant I9 refers orders to it)."""

    session: str
    config_hash: str
    code_hash: str
    models: tuple[str, ...]
    features: tuple[str, ...]


class ShutdownRequested(Event, frozen=True, array_like=True, gc=False, tag=48):
    """Entries stop and open orders are cancelled; the session ends when they are gone or time is up."""

    reason: str


class StateCarried(Event, frozen=True, array_like=True, gc=False, tag=49):
    """What the session before left on this account (``engine.carried``): this one goes on from there.

    ``upto_seq`` is the last record of it that ``state`` includes.
    """

    session: str
    upto_seq: int
    state: bytes


class Halted(Event, frozen=True, array_like=True, gc=False, tag=60):
    """Kill switch: nothing that can add risk leaves any more, open orders are cancelled.  Latched."""

    source: str
    reason: str


class Reduced(Event, frozen=True, array_like=True, gc=False, tag=61):
    """Only orders that reduce a position may leave.  Latched."""

    source: str
    reason: str


class Resumed(Event, frozen=True, array_like=True, gc=False, tag=62):
    """An operator returned the engine to ACTIVE."""

    source: str
    reason: str


class OperatorRequested(Event, frozen=True, array_like=True, gc=False, tag=63):
    """An operator asks by hand (``engine.manual``).  ``action``: order, cancel, close or flatten; ``who`` is the user
    as the system knows it.

    ``cancel`` names a ``client_order_id`` (ours or the venue's), ``close`` an ``instrument``; the rest is of ``order``,
    with type and time in force by their names in ``engine.commands``.
    """

    action: str
    who: str
    reason: str = ""
    instrument: str = ""
    client_order_id: str = ""
    side: Side = Side.BUY
    qty: Decimal = Decimal(0)
    order_type: str = "market"
    limit_px: Decimal | None = None
    time_in_force: str = "ioc"
    post_only: bool = False
    reduce_only: bool = False
    trigger_px: Decimal | None = None


# --- derived facts: made by the core while it handles an input, journaled, compared on replay --------------------


class Prediction(Event, frozen=True, array_like=True, gc=False, tag=80):
    """What a model said.  ``values`` has the manifest's output order; empty unless ``status`` is ok or late."""

    instrument: str
    model: str
    status: PredictionStatus
    values: tuple[float, ...]
    text: str = ""


class ModelAssigned(Event, frozen=True, array_like=True, gc=False, tag=81):
    """What serves an instrument from now on: model version, feature spec (its JSON) and the bundle's suggestions.

    ``model`` and ``spec`` are empty where the instrument has none.  With this on record a session replays without its
    bundle, and a bundle that changed shows as the first difference.
    """

    instrument: str
    model: str
    spec: str
    facts: tuple[tuple[str, float], ...]


class StateKept(Event, frozen=True, array_like=True, gc=False, tag=82):
    """The core's state at this record (``engine.carried``), from time to time: what a next start begins with."""

    state: bytes


MarketEvent = (
    Quote
    | Trade
    | BookSnapshot
    | BookDelta
    | Bar
    | Observation
    | InstrumentDefined
    | InstrumentStatus
    | VenueStatus
    | RateReported
)
AccountEvent = (
    OrderAccepted
    | OrderRejected
    | OrderFilled
    | OrderCancelled
    | OrderExpired
    | CancelRejected
    | OrderOutcomeUnknown
    | BalanceReported
    | PositionReported
    | AccountSettled
    | OrderFound
    | FillCorrected
)
SystemEvent = (
    Timer
    | FeedUp
    | FeedDown
    | Gap
    | ClockStepped
    | JournalSynced
    | JournalFailed
    | SessionStarted
    | ShutdownRequested
    | StateCarried
)
ControlEvent = Halted | Reduced | Resumed | OperatorRequested
InputEvent = MarketEvent | AccountEvent | SystemEvent | ControlEvent

MARKET_TYPES: frozenset[type[Event]] = frozenset({Quote, Trade, BookSnapshot, BookDelta, Bar, Observation})
"""Types that go to the journal's ``market`` stream; everything else goes to ``orders``."""
