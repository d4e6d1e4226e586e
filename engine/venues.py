"""Which venues, streams and instruments are open for orders, from the facts that said so.  One writer: the core.

A venue that confirms its account (``AccountSettled``) takes no entries after it, its user stream or an instrument of it
was closed, until it has confirmed the account again: what happened meanwhile is not known before (fault C10).  So it is
after the clock has stepped, which is how a machine that slept shows, and after nothing was handled for long (C16).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.commands import OrderIntent, OrderType
from engine.events import (
    AccountSettled,
    ClockStepped,
    FeedDown,
    FeedUp,
    InstrumentStatus,
    SessionScheduled,
    TradingStatus,
    VenueStatus,
)
from engine.hours import TradingHours
from engine.instruments import Instrument
from engine.stakes import OPERATOR

CONSOLIDATED = "consolidated"
"""Venue of instruments that are a price over several venues and no market: nothing is ever ordered there."""
INVENTED = "_sandbox"
"""Ending of the venue under which is stored what no market has traded: nobody can mistake it for a market's prices."""
STANDSTILL_NS = 10_000_000_000
"""A live session handles a timer at least every 5 s (``engine.timer_ms``): where nothing was handled for longer
than this it stood still.  A stream that tells nothing for as long is given up, too."""
_ENTRY_STATUSES = frozenset({TradingStatus.TRADING, TradingStatus.LIMIT_ONLY, TradingStatus.POST_ONLY})
_SHUT_STATUSES = frozenset({TradingStatus.HALTED, TradingStatus.CANCEL_ONLY})
"""Nothing fills, and nobody knows at which price it begins again."""


class Restriction(str):
    """A reason that stands against some orders only; as text it says all of them."""

    def __new__(
        cls,
        *reasons: str,
        status: TradingStatus = TradingStatus.TRADING,
        exits_only: bool = False,
        is_blind: bool = False,
    ) -> Restriction:
        """``status``: the strictest of venue and instrument.  ``exits_only``: no order that adds risk.  ``is_blind``:
        nobody sees the market, so that nobody but an operator may order anything."""
        made = super().__new__(cls, "; ".join(reasons))
        made.status = status
        made.exits_only = exits_only
        made.is_blind = is_blind
        return made

    status: TradingStatus
    exits_only: bool
    is_blind: bool

    def stops(self, intent: OrderIntent) -> bool:
        """Whether no order of this kind may leave now, whatever it would do to the position."""
        if self.is_blind and intent.strategy != OPERATOR:
            return True
        if self.status is TradingStatus.POST_ONLY:
            return not intent.post_only
        return self.status is TradingStatus.LIMIT_ONLY and intent.order_type is not OrderType.LIMIT


class _Reasons(dict[str, str]):
    """Reasons by instrument id, each looked for when it is first asked for after a change; again each time where it
    ``expires`` by itself."""

    def __init__(self, find: Callable[[str], str | None], expires: Callable[[str], bool]) -> None:
        super().__init__()
        self._find = find
        self._expires = expires

    def __missing__(self, instrument: str) -> str:
        reason = self._find(instrument)
        if reason is None:
            return "instrument not defined"
        if not self._expires(instrument):
            self[instrument] = reason
        return reason


class VenueStates:
    """No order leaves for a venue unless both its market and its user stream are up and nothing is halted or outside of
    its hours; but without the market stream an operator still gets out.  ``now_ns`` is the time of the event that is
    handled."""

    def __init__(self, now_ns: Callable[[], int] = lambda: 0) -> None:
        self.hours = TradingHours(now_ns)
        self._up: dict[tuple[str, str], str] = {}  # (venue, stream) -> why it is down, "" when up
        self._venue_status: dict[str, VenueStatus] = {}
        self._instrument_status: dict[str, TradingStatus] = {}
        self._definitions: dict[str, Instrument] = {}
        self._doubts: dict[str, str] = {}
        self._confirms: set[str] = set()  # venues that have confirmed their account in this session
        self._unconfirmed: dict[str, str] = {}  # venue -> what happened since
        self._reasons = _Reasons(self._find_reason, self._has_hours)  # emptied by every fact
        # Asked for each order and by strategies: no more than a look-up of a dict.
        self.instrument: Callable[[str], Instrument] = self._definitions.__getitem__
        """The definition of an instrument id.  Raises ``KeyError``."""
        self.reason_closed: Callable[[str], str] = self._reasons.__getitem__
        """Empty when orders in that instrument id may leave; a ``Restriction`` when some may; else what stands against
        it."""

    # --- facts ------------------------------------------------------------------------------------------------------

    def define(self, instrument: Instrument) -> None:
        self._definitions[instrument.id] = instrument
        self._doubts.pop(instrument.id, None)
        self._reasons.clear()

    def doubt(self, instrument: str, reason: str) -> None:
        """It is not sure any more what the id means: no order until it is defined as it was."""
        self._doubts[instrument] = reason
        self._reasons.clear()

    def feed_up(self, event: FeedUp) -> None:
        key = (event.venue, event.stream)
        if event.stream == "user" and self._up.get(key):
            self._reopen(event.venue, "its user stream was down")
        self._up[key] = ""
        self._reasons.clear()

    def feed_down(self, event: FeedDown) -> None:
        self._up[event.venue, event.stream] = event.reason or "down"
        self._reasons.clear()

    def venue_status(self, event: VenueStatus) -> None:
        before = self._venue_status.get(event.venue)
        if before is not None and before.status not in _ENTRY_STATUSES and event.status in _ENTRY_STATUSES:
            self._reopen(event.venue, f"it was {_worded(before)}")
        self._venue_status[event.venue] = event
        self._reasons.clear()

    def instrument_status(self, event: InstrumentStatus) -> None:
        name = event.instrument
        before = self._instrument_status.get(name, TradingStatus.TRADING)
        definition = self._definitions.get(name)
        if before not in _ENTRY_STATUSES and event.status in _ENTRY_STATUSES and definition is not None:
            self._reopen(definition.venue, f"{name} was {before.value}")
        self._instrument_status[name] = event.status
        self._reasons.clear()

    def session_scheduled(self, event: SessionScheduled) -> None:
        self.hours.take(event)
        self._reasons.clear()

    def account_settled(self, event: AccountSettled) -> None:
        """What happened while something was closed is known now."""
        self._confirms.add(event.venue)
        if self._unconfirmed.pop(event.venue, None) is not None:
            self._reasons.clear()

    def clock_stepped(self, event: ClockStepped) -> None:
        """The machine may have slept."""
        self._doubt_all(f"the clock of this machine stepped by {event.delta_ns / 1e9:.1f} s")

    def stood_still(self, silence_ns: int) -> bool:
        """Nothing was handled for so long; whether any venue has to confirm its account for it."""
        return self._doubt_all(f"nothing was handled for {silence_ns / 1e9:.1f} s")

    def _doubt_all(self, why: str) -> bool:
        for venue in self._confirms:
            self._reopen(venue, why)
        self._reasons.clear()
        return bool(self._confirms)

    def _reopen(self, venue: str, why: str) -> None:
        """A venue that never confirms (an exchange in this process) hides nothing either."""
        if venue in self._confirms:
            self._unconfirmed[venue] = f"account of {venue} is not confirmed since {why}"

    # --- questions --------------------------------------------------------------------------------------------------

    def why_shut(self, name: str) -> str:
        """Why an instrument does not trade at all, as its venue says; empty when it does, or when nobody said so."""
        if name in self._doubts:
            return self._doubts[name]
        definition = self._definitions.get(name)
        venue = None if definition is None else self._venue_status.get(definition.venue)
        if venue is not None and venue.status in _SHUT_STATUSES:
            return f"venue {venue.venue} is {_worded(venue)}"
        status = self._instrument_status.get(name, TradingStatus.TRADING)
        if status in _SHUT_STATUSES:
            return f"{name} is {status.value}"
        return "" if definition is None else self.hours.why_closed(definition.venue, name)

    def _has_hours(self, name: str) -> bool:
        return self.hours.is_scheduled(self._definitions[name].venue, name)

    @property
    def streams_down(self) -> dict[tuple[str, str], str]:
        """Why, by venue and stream; one that was never told of is not among them."""
        return {key: why for key, why in self._up.items() if why}

    @property
    def unconfirmed(self) -> Sequence[str]:
        """Venues of which something was closed, and which have not confirmed their account since: what and why."""
        return tuple(self._unconfirmed.values())

    def is_reached(self, venue: str) -> bool:
        """Whether a connector of it is at work: it has told of a stream, also of one that is down."""
        return any(venue == name for name, _ in self._up)

    def is_doubtful(self, name: str) -> bool:
        """Whether it is not sure what the id means."""
        return name in self._doubts

    def _find_reason(self, name: str) -> str | None:
        instrument = self._definitions.get(name)
        if instrument is None:
            return None
        if instrument.venue == CONSOLIDATED:
            return f"{name} is a consolidated price, no market: orders go to one of its members"
        if name in self._doubts:
            return self._doubts[name]
        why = self._up.get((instrument.venue, "user"), "never up")
        if why:
            return f"user stream of {instrument.venue} is down: {why}"
        venue = self._venue_status.get(instrument.venue)
        if venue is not None and venue.status not in _ENTRY_STATUSES:
            return f"venue {instrument.venue} is {_worded(venue)}"
        status = self._instrument_status.get(name, TradingStatus.TRADING)
        if status not in _ENTRY_STATUSES:
            return f"{name} is {status.value}"
        closed = self.hours.why_closed(instrument.venue, name)
        if closed:
            return closed
        return self._restriction(name, instrument.venue, None if venue is None else venue.status, status)

    def _restriction(self, name: str, venue: str, of_venue: TradingStatus | None, status: TradingStatus) -> str:
        reasons = []
        strictest = TradingStatus.TRADING
        for who, said in ((f"venue {venue}", of_venue), (name, status)):
            if said is TradingStatus.POST_ONLY or (
                said is TradingStatus.LIMIT_ONLY and strictest is TradingStatus.TRADING
            ):
                strictest = said
                reasons.append(f"{who} is {said.value}")
        unconfirmed = self._unconfirmed.get(venue)
        if unconfirmed is not None:
            reasons.append(unconfirmed)
        blind = self._up.get((venue, "market"), "never up")
        if blind:
            reasons.append(f"market stream of {venue} is down: {blind}")
        if not reasons:
            return ""
        exits_only = unconfirmed is not None or bool(blind)
        return Restriction(*reasons, status=strictest, exits_only=exits_only, is_blind=bool(blind))


def _worded(event: VenueStatus) -> str:
    return f"{event.status.value} ({event.text})" if event.text else event.status.value
