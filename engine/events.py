"""Facts, in the past tense: everything that reaches the core, as one closed union of frozen structs.

Owns what time, the system, operators and the core itself tell, the unions, and the names of all: facts of the market
(``engine.market_events``), of accounts (``engine.account_events``) and of models (``engine.model_events``) are imported
from here too.  Requests that leave
the core are in ``engine.commands``; the wire form of both in the journal is ``engine.codec``.

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

from decimal import Decimal

from engine.account_events import (
    AccountEvent,
    AccountSettled,
    AttachmentMissing,
    BalanceReported,
    CancelRejected,
    FillCorrected,
    FundingSettled,
    OrderAccepted,
    OrderAttached,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderFound,
    OrderOutcomeUnknown,
    OrderRejected,
    OrderReplaced,
    PositionReported,
    ReplaceOutcomeUnknown,
    ReplaceRejected,
)
from engine.event import (
    Event,
    Liquidity,
    PredictionStatus,
    Side,
    TradingStatus,
)
from engine.market_events import (
    MARKET_TYPES,
    Bar,
    BookDelta,
    BookSnapshot,
    InstrumentDefined,
    InstrumentStatus,
    MarketEvent,
    Observation,
    Quote,
    RateReported,
    SessionScheduled,
    Trade,
    VenueStatus,
)
from engine.model_events import (
    ModelAlarmed,
    ModelOffered,
    ModelStanding,
    ModelWeighed,
    PredictionMade,
    ProviderChanged,
)

__all__ = [
    "MARKET_TYPES",
    "AccountEvent",
    "AccountSettled",
    "AttachmentMissing",
    "BalanceReported",
    "Bar",
    "BookDelta",
    "BookSnapshot",
    "CancelRejected",
    "ClockStepped",
    "ControlEvent",
    "Event",
    "FeedDown",
    "FeedUp",
    "FillCorrected",
    "FundingSettled",
    "Gap",
    "Halted",
    "InputEvent",
    "InstrumentDefined",
    "InstrumentStatus",
    "JournalFailed",
    "JournalSynced",
    "Liquidity",
    "MarketEvent",
    "ModelAlarmed",
    "ModelAssigned",
    "ModelEvent",
    "ModelOffered",
    "ModelStanding",
    "ModelWeighed",
    "Observation",
    "OperatorRequested",
    "OrderAccepted",
    "OrderAttached",
    "OrderCancelled",
    "OrderExpired",
    "OrderFilled",
    "OrderFound",
    "OrderOutcomeUnknown",
    "OrderRejected",
    "OrderReplaced",
    "PositionReported",
    "Prediction",
    "PredictionMade",
    "PredictionStatus",
    "ProviderChanged",
    "Quote",
    "RateReported",
    "Reduced",
    "ReplaceOutcomeUnknown",
    "ReplaceRejected",
    "Resumed",
    "SessionScheduled",
    "SessionStarted",
    "ShutdownRequested",
    "Side",
    "StateCarried",
    "StateKept",
    "SystemEvent",
    "Timer",
    "Trade",
    "TradingStatus",
    "VenueStatus",
]


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
ModelEvent = PredictionMade | ModelOffered | ModelAlarmed | ModelWeighed | ProviderChanged
InputEvent = MarketEvent | AccountEvent | SystemEvent | ControlEvent | ModelEvent
