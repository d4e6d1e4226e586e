"""Consolidated instruments inside a session: from the lanes of their members to lanes of their own.

Owns which lanes are connected and what a consolidated lane's ``Top`` says when no new quote comes of an event.  The
core calls it with what it has accepted and passes on what comes back; nothing here is journaled, because all of it
follows from journaled events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.consolidated.consolidator import Consolidator
from engine.consolidated.definition import ConsolidatedDefinition
from engine.events import Quote, Trade
from engine.instruments import Instrument
from engine.lanes import Lane
from engine.quality.verdicts import ISSUES, KEEPS_ENTRIES

Derived = tuple[Lane, Quote | Trade]
"""An event of a consolidated instrument and the lane it is for."""


class MemberFeed:
    """From one member's lane into each consolidated instrument that it is a member of."""

    __slots__ = ("_into", "_member")

    def __init__(self, member: str) -> None:
        self._member = member
        self._into: list[tuple[Lane, Consolidator]] = []

    def join(self, lane: Lane, consolidator: Consolidator) -> None:
        self._into.append((lane, consolidator))

    @property
    def reference_px(self) -> float:
        """What the venues together say: a price near it needs no second tick to be believed.  NaN where unknown."""
        return self._into[0][1].mid_px

    def on_quote(self, quote: Quote) -> Sequence[Derived]:
        """An accepted quote.  Raises ``ConfigError`` at start-up where its price is another instrument's."""
        derived = []
        for lane, consolidator in self._into:
            made = consolidator.on_quote(quote)
            if made is not None:
                derived.append((lane, made))
            else:
                _refresh(lane, consolidator)
        return derived

    def on_unchanged(self, source: Lane, ts_event_ns: int, ts_recv_ns: int) -> Sequence[Derived]:
        """The member's book made no new best prices at this time: the old ones stand, or a side is empty."""
        if not source.book.has_levels:
            return ()  # nobody knows the levels: that was told when they were lost
        derived: list[Derived] = []
        for lane, consolidator in self._into:
            if source.top.suspect:
                derived += _left(lane, consolidator, consolidator.on_empty_side(self._member, ts_recv_ns))
                continue
            made = consolidator.on_confirmed(self._member, ts_event_ns, ts_recv_ns)
            if made is not None:
                derived.append((lane, made))
            else:
                _refresh(lane, consolidator)
        return derived

    def on_trade(self, trade: Trade) -> Sequence[Derived]:
        """An accepted trade."""
        return [(lane, made) for lane, consolidator in self._into if (made := consolidator.on_trade(trade)) is not None]

    def on_refused(self, ts_recv_ns: int, issue: int) -> Sequence[Derived]:
        """A quote or book of the member that the quality gate held back or dropped, and what it found.

        What says nothing against the prices that stand (a late one, a repeated one) changes no vote.
        """
        if issue in KEEPS_ENTRIES:
            return ()
        derived: list[Derived] = []
        for lane, consolidator in self._into:
            made = consolidator.on_defect(self._member, ts_recv_ns, ISSUES[issue])
            derived += _left(lane, consolidator, made)
        return derived

    def redefine(self, instrument: Instrument) -> None:
        """The member's rules were told anew."""
        for _, consolidator in self._into:
            consolidator.redefine(instrument)


class ConsolidatedViews:
    """The consolidated instruments of one core.  ``lanes`` are the core's, by instrument id."""

    def __init__(self, definitions: Sequence[ConsolidatedDefinition], lanes: dict[str, Lane]) -> None:
        self._waiting = list(definitions)
        self._lanes = lanes
        self._own: list[tuple[Lane, Consolidator]] = []

    def complete(self, instrument: Instrument) -> list[Consolidator]:
        """Those of which every member is defined, now that this one is: each wants a lane (``connect``).

        Raises ``ConfigError`` where the members are not the same thing.
        """
        feed = self._lanes[instrument.id].member_feed
        if feed is not None:
            feed.redefine(instrument)
        ready = [one for one in self._waiting if all(member in self._lanes for member in one.members)]
        self._waiting = [one for one in self._waiting if one not in ready]
        return [Consolidator(one, [self._lanes[member].instrument for member in one.members]) for one in ready]

    def connect(self, consolidator: Consolidator, lane: Lane) -> None:
        """Let the members' lanes feed this one."""
        lane.consolidator = consolidator
        self._own.append((lane, consolidator))
        for member in consolidator.definition.members:
            source = self._lanes[member]
            if source.member_feed is None:
                source.member_feed = MemberFeed(member)
            source.member_feed.join(lane, consolidator)

    def on_break(
        self, broken: Sequence[Lane], ts_recv_ns: int, reason: str, mark_gap: Callable[[Lane, str], None]
    ) -> Sequence[Derived]:
        """A hole in the feeds of these lanes.  Where nobody else has a price, it is one in the consolidated instrument
        too, as ``mark_gap`` is told."""
        derived: list[Derived] = []
        names = {lane.instrument.id for lane in broken}
        for lane, consolidator in self._own:
            members = names.intersection(consolidator.definition.members)
            if not members:
                continue
            derived += _left(lane, consolidator, consolidator.on_break(members, ts_recv_ns))
            if consolidator.voters:
                continue
            mark_gap(lane, f"{', '.join(sorted(members))}: {reason}")
        return derived

    def on_timer(self, now_ns: int) -> Sequence[Derived]:
        """Time has passed: members that went mute lose their vote."""
        derived: list[Derived] = []
        for lane, consolidator in self._own:
            derived += _left(lane, consolidator, consolidator.on_timer(now_ns))
        return derived


def _refresh(lane: Lane, consolidator: Consolidator) -> None:
    """A member spoke and the price stays: it is as fresh as that."""
    if consolidator.voters:
        top = lane.top
        top.ts_event_ns = top.ts_recv_ns = consolidator.now_ns
        top.suspect = consolidator.suspect
    else:
        lane.book.invalidate()


def _left(lane: Lane, consolidator: Consolidator, made: Quote | None) -> Sequence[Derived]:
    """After a member may have lost its vote: the new price, or a lane that says that it has none."""
    if made is not None:
        return ((lane, made),)
    if not consolidator.voters:
        lane.book.invalidate()
    return ()
