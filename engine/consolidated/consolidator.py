"""The consolidated price of one instrument: the medians of what its live members quote.  Pure: time comes with events.

Owns who has a vote and what comes of it.  Knows no core: ``views`` passes a session's accepted events in, ``history``
passes recorded ones; both get the consolidated instrument's own ``Quote`` and ``Trade`` events back.

Vote.  A member votes while its last quote was good (``member.Member.fault``) with its bid below its ask, is not older
than ``stale_ns`` and, where more than half of such members lie within ``wild_bps`` of the median of all their mids, is
one of those.  With two members, or two camps, nobody can say which of them is wrong: all stay, ``suspect`` is set
beyond ``wild_bps`` and the confidence falls with the distance.

Price.  Bid, ask and mid are the medians of the voters' bids, asks and mids (of an even number, the mean of the middle
two).  As each bid is below its own mid and ask, the medians are in that order too, and each lies within the voters'
lowest and highest.  Sizes are the sums of the voters' sizes in base units.

Time.  Everything is ordered by receive time, which never steps back here.  A quote's age counts from ``aligned_ns``:
the venue's time moved onto our clock, so that a venue which delivers late is as old as its news.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable
from math import fsum, nan

from engine.consolidated.bars import BarCutter
from engine.consolidated.confidence import age_factor, count_factor, dispersion_factor, quality_factor
from engine.consolidated.definition import (
    ConsolidatedDefinition,
    check_members,
    consolidated_instrument,
)
from engine.consolidated.member import BROKEN, LATE, LIVE, MUTE, ONE_SIDED, REFUSED, UNSEEN, WILD, Member
from engine.consolidated.values import Consolidated, Source
from engine.errors import ConfigError
from engine.events import Quote, Trade
from engine.instruments import Instrument

BPS = 1e4
START_UP_NS = 60_000_000_000
"""Time from the first member's first quote in which a price out of the band ends the session; a venue that shows itself
later with such a price is only kept out until it quotes within the band."""
MAD_TO_STD = 1.4826
"""Median absolute deviation to standard deviation of a normal distribution."""
LOCKED = "locked"


class Consolidator:
    """One consolidated instrument.  Events of its members in; its own quotes and trades out where they change it.

    ``instruments`` are the members' rules, any order, others among them are ignored.  Raises ``ConfigError`` where the
    members are not the same thing (``definition.check_members``).
    """

    def __init__(self, definition: ConsolidatedDefinition, instruments: Iterable[Instrument]) -> None:
        self.definition = definition
        rules = check_members(definition, {instrument.id: instrument for instrument in instruments})
        self.rules = {instrument.id: instrument for instrument in rules}
        """The members' rules by id."""
        self.instrument = consolidated_instrument(definition, rules)
        self._name = definition.instrument
        self._stale_ns = definition.stale_ns
        self._wild = definition.wild_bps / BPS
        self._members = [Member(instrument, at) for at, instrument in enumerate(rules)]
        self._by_id = {member.id: member for member in self._members}
        self._sized = self.instrument.has_quote_sizes
        self.bars = BarCutter(self._name, definition.bar_ns) if definition.bar_ns else None
        self._first_ns = 0
        # The voters' values in ascending order, kept as one of them changes; sizes by member, 0 of who has no vote.
        self._bids: list[float] = []
        self._asks: list[float] = []
        self._mids: list[float] = []
        self._all = self._mids  # with those of wild members; the same list while nobody is wild
        self._bid_qtys = [0.0] * len(rules)
        self._ask_qtys = [0.0] * len(rules)
        self._expires_ns = 0  # no voter is too old up to this time
        self._outvoted = False  # somebody is wild
        self.now_ns = 0
        """Receive time of the last event; never steps back."""
        self.suspect = True
        self.bid_px = self.ask_px = self.mid_px = nan
        self.bid_qty = self.ask_qty = nan

    # --- events -------------------------------------------------------------------------------------------------

    def on_quote(self, quote: Quote) -> Quote | None:
        """Take an accepted quote of a member; the consolidated quote where it changed.

        Raises ``ConfigError`` at start-up when its first price is out of the band.
        """
        now_ns = quote.ts_recv_ns
        if now_ns < self.now_ns:  # noqa: PLR1730 - a call costs more
            now_ns = self.now_ns
        self.now_ns = now_ns
        member = self._by_id[quote.instrument]
        bid_px, ask_px = quote.bid_px, quote.ask_px
        if not bid_px < ask_px:
            return self._fail(member, LOCKED)
        mid_px = 0.5 * (bid_px + ask_px)
        if not member.admitted and not self._admit(member, mid_px, now_ns):
            return self._update(now_ns, told=False)  # it has no vote, but time has passed for those who have
        bid_qty, ask_qty = quote.bid_qty, quote.ask_qty
        if not member.in_base_units:
            bid_qty, ask_qty = member.base_qty(bid_qty, bid_px), member.base_qty(ask_qty, ask_px)
        votes = member.votes
        if member.counted and mid_px != member.mid_px:
            self._all.remove(member.mid_px)
            insort(self._all, mid_px)
            if votes and self._outvoted:
                self._mids.remove(member.mid_px)
                insort(self._mids, mid_px)
        if votes:
            if bid_px != member.bid_px:
                self._bids.remove(member.bid_px)
                insort(self._bids, bid_px)
            if ask_px != member.ask_px:
                self._asks.remove(member.ask_px)
                insort(self._asks, ask_px)
            self._bid_qtys[member.at] = bid_qty
            self._ask_qtys[member.at] = ask_qty
        member.bid_px, member.ask_px, member.mid_px = bid_px, ask_px, mid_px
        member.bid_qty, member.ask_qty = bid_qty, ask_qty
        member.fault = ""
        member.take_time(quote.ts_event_ns, now_ns)
        if member.quality != 1.0:
            member.judge(True)
        expires_ns = member.aligned_ns + self._stale_ns
        if not member.counted or now_ns > self._expires_ns or now_ns > expires_ns:
            return self._update(now_ns)
        if expires_ns < self._expires_ns:  # noqa: PLR1730 - as above
            self._expires_ns = expires_ns
        return self._price(now_ns, True)

    def on_confirmed(self, member_id: str, ts_event_ns: int, ts_recv_ns: int) -> Quote | None:
        """A member's book was confirmed without a change of its best prices: its quote is as young as that."""
        self.now_ns = max(self.now_ns, ts_recv_ns)
        member = self._by_id[member_id]
        good = not member.fault
        if good:
            member.take_time(ts_event_ns, self.now_ns)
        return self._update(self.now_ns, told=good)

    def on_defect(self, member_id: str, ts_recv_ns: int, defect: str) -> Quote | None:
        """A quote of a member was not fit to be believed: it has no vote until its next good one."""
        self.now_ns = max(self.now_ns, ts_recv_ns)
        return self._fail(self._by_id[member_id], defect)

    def on_break(self, members: Collection[str], ts_recv_ns: int) -> Quote | None:
        """The feed of these members went down or lost messages: no vote until their next good quote."""
        return self._out(members, ts_recv_ns, BROKEN)

    def on_empty_side(self, member_id: str, ts_recv_ns: int) -> Quote | None:
        """Nobody bids, or nobody asks, in a member's book: no vote until its next good quote."""
        return self._out((member_id,), ts_recv_ns, ONE_SIDED)

    def on_trade(self, trade: Trade) -> Trade | None:
        """A member's trade as one of the consolidated instrument, in base units; None for one that does not count.

        It counts while there is a consolidated price and its own lies within ``wild_bps`` of it, whatever the venue's
        quotes are like.  A trade moves no price here, it adds to the volume.
        """
        self.now_ns = max(self.now_ns, trade.ts_recv_ns)
        mid_px = self.mid_px
        if not abs(trade.px - mid_px) <= self._wild * mid_px:  # also where there is no price: NaN compares false
            return None
        now_ns = self.now_ns
        qty = self._by_id[trade.instrument].base_qty(trade.qty, trade.px)
        if self.bars is not None:
            self.bars.trade(qty, now_ns)
        return Trade(now_ns, now_ns, self._name, trade.px, qty, trade.aggressor, trade.trade_id)

    def on_timer(self, now_ns: int) -> Quote | None:
        """Time has passed: members that went mute lose their vote without a tick of anybody."""
        self.now_ns = max(self.now_ns, now_ns)
        if self.bars is not None:
            self.bars.advance(self.now_ns)
        return self._update(self.now_ns, told=False)

    def redefine(self, instrument: Instrument) -> None:
        """A member's rules were told anew.  One that became something else has no vote any more."""
        member = self._by_id[instrument.id]
        rules = {**self.rules, instrument.id: instrument}
        try:
            check_members(self.definition, rules)
        except ConfigError:
            member.barred, member.admitted, member.fault = True, False, REFUSED
            self._expires_ns = 0  # the next event counts the votes anew
            return
        self.rules = rules
        member.barred = False
        member.define(instrument)

    # --- what others read -----------------------------------------------------------------------------------------

    @property
    def voters(self) -> int:
        """How many members made the price at the last event."""
        return len(self._mids)

    @property
    def next_expiry_ns(self) -> int | None:
        """From when on the next member is too old to vote, or to be counted as wild; None while nobody votes."""
        oldest_ns = min([member.aligned_ns for member in self._members if member.counted], default=None)
        return None if oldest_ns is None else oldest_ns + self._stale_ns + 1

    def at(self, now_ns: int) -> Consolidated:
        """Price, dispersion, confidence and attribution as of ``now_ns`` (receive time); changes nothing."""
        now_ns = max(now_ns, self.now_ns)
        voters, mids = self._choose(self._fresh(now_ns))
        definition, members = self.definition, self._members
        bar = None if self.bars is None else self.bars.last
        sources = tuple(self._describe(member, voters, now_ns) for member in members)
        if not voters:
            return Consolidated(self._name, now_ns, 0, nan, nan, nan, nan, nan, nan, nan, 0.0, True, sources, bar)
        mid_px = _middle(mids)
        dispersion_bps = BPS * (mids[-1] - mids[0]) / mid_px
        deviation_px = _middle(sorted([abs(value - mid_px) for value in mids]))
        count = len(voters)
        confidence = (
            count_factor(count, len(members))
            * age_factor(sum([now_ns - member.aligned_ns for member in voters]) / count, self._stale_ns)
            * dispersion_factor(dispersion_bps, definition.wild_bps)
            * quality_factor(fsum([member.quality for member in voters]) / count)
        )
        return Consolidated(
            self._name,
            now_ns,
            count,
            _middle(sorted([member.bid_px for member in voters])),
            fsum([member.bid_qty for member in voters]) if self._sized else nan,
            _middle(sorted([member.ask_px for member in voters])),
            fsum([member.ask_qty for member in voters]) if self._sized else nan,
            mid_px,
            dispersion_bps,
            BPS * MAD_TO_STD * deviation_px / mid_px,
            confidence,
            dispersion_bps > definition.wild_bps,
            sources,
            bar,
        )

    # --- inside ---------------------------------------------------------------------------------------------------

    def _fresh(self, now_ns: int) -> list[Member]:
        """Whose last quote was good and is not too old at that time."""
        oldest_ns = now_ns - self._stale_ns
        return [member for member in self._members if not member.fault and member.aligned_ns >= oldest_ns]

    def _choose(self, fresh: list[Member]) -> tuple[list[Member], list[float]]:
        """Who of them votes, and the voters' mids in ascending order."""
        mids = sorted([member.mid_px for member in fresh])
        if len(mids) > 2:
            low_px, high_px = self._bounds(mids)
            if mids[0] < low_px or mids[-1] > high_px:
                near = [member for member in fresh if low_px <= member.mid_px <= high_px]
                if 2 * len(near) > len(fresh):
                    return near, [px for px in mids if low_px <= px <= high_px]
        return fresh, mids

    def _bounds(self, mids: list[float]) -> tuple[float, float]:
        """Beyond which a mid is wild, by the median of all."""
        mid_px = _middle(mids)
        bound_px = self._wild * mid_px
        return mid_px - bound_px, mid_px + bound_px

    def _has_changed_sides(self) -> bool:
        """Somebody is wild; whether the votes, counted anew, would be others."""
        low_px, high_px = self._bounds(self._all)
        near = bisect_right(self._all, high_px) - bisect_left(self._all, low_px)
        mids = self._mids
        return near != len(mids) or mids[0] < low_px or mids[-1] > high_px or 2 * near <= len(self._all)

    def _update(self, now_ns: int, *, told: bool = True) -> Quote | None:
        """Count the votes anew and work the price out.  ``told``: by a good quote just now."""
        fresh = self._fresh(now_ns)
        voters, self._mids = self._choose(fresh)
        members = self._members
        for member in members:
            member.votes = member.counted = False
        for member in fresh:
            member.counted = True
        for member in voters:
            member.votes = True
        if self._sized:
            self._bid_qtys = [member.bid_qty if member.votes else 0.0 for member in members]
            self._ask_qtys = [member.ask_qty if member.votes else 0.0 for member in members]
        self._bids = sorted([member.bid_px for member in voters])
        self._asks = sorted([member.ask_px for member in voters])
        self._outvoted = len(fresh) > len(voters)
        self._all = sorted([member.mid_px for member in fresh]) if self._outvoted else self._mids
        if voters:
            self._expires_ns = self._stale_ns + min([member.aligned_ns for member in fresh])
            return self._price(now_ns, told)
        self.bid_px = self.ask_px = self.mid_px = self.bid_qty = self.ask_qty = nan
        self.suspect = True
        if self.bars is not None:
            self.bars.lose(now_ns)
        return None

    def _price(self, now_ns: int, told: bool) -> Quote | None:
        """The medians of the voters there are; the quote where it is another one than before."""
        bids, asks, mids = self._bids, self._asks, self._mids
        half = len(mids) >> 1
        if len(mids) & 1:
            bid_px, ask_px, mid_px = bids[half], asks[half], mids[half]
        else:
            bid_px = 0.5 * (bids[half - 1] + bids[half])
            ask_px = 0.5 * (asks[half - 1] + asks[half])
            mid_px = 0.5 * (mids[half - 1] + mids[half])
        apart = mids[-1] - mids[0] > self._wild * mid_px
        if (
            self._has_changed_sides()
            if self._outvoted
            else apart and len(self._choose(self._fresh(now_ns))[1]) < len(mids)
        ):
            return self._update(now_ns, told=told)
        self.suspect = apart
        if self.bars is not None and (told or mid_px != self.mid_px):
            self.bars.price(mid_px, now_ns)
        self.mid_px = mid_px
        bid_qty = ask_qty = nan
        if self._sized:
            # fsum: the sum must not depend on the order in which the members are named.
            bid_qty, ask_qty = fsum(self._bid_qtys), fsum(self._ask_qtys)
        if (
            bid_px == self.bid_px
            and ask_px == self.ask_px
            and (not self._sized or (bid_qty == self.bid_qty and ask_qty == self.ask_qty))
        ):
            return None
        self.bid_px, self.ask_px, self.bid_qty, self.ask_qty = bid_px, ask_px, bid_qty, ask_qty
        return Quote(now_ns, now_ns, self._name, bid_px, bid_qty, ask_px, ask_qty)

    def _out(self, members: Collection[str], ts_recv_ns: int, fault: str) -> Quote | None:
        """They lose their vote at once, through no bad quote."""
        self.now_ns = max(self.now_ns, ts_recv_ns)
        for member in [self._by_id[name] for name in members]:
            if member.admitted:
                member.fault = fault
        return self._update(self.now_ns, told=False)

    def _fail(self, member: Member, fault: str) -> Quote | None:
        member.judge(False)
        if member.admitted:
            member.fault = fault
        return self._update(self.now_ns, told=False)

    def _admit(self, member: Member, mid_px: float, now_ns: int) -> bool:
        """First sight of a member: its price has to be within the band of what the others say or, where all are silent,
        said in the last minute."""
        if member.barred:
            return False
        self._first_ns = self._first_ns or now_ns
        since_ns = now_ns - START_UP_NS
        others, mids = self._choose(
            self._fresh(now_ns) or [other for other in self._members if not other.fault and other.recv_ns >= since_ns]
        )
        if others:
            reference_px = _middle(mids)
            apart_bps = BPS * abs(mid_px - reference_px) / reference_px
            if not apart_bps <= self.definition.band_bps:
                if now_ns - self._first_ns <= START_UP_NS:
                    raise self._out_of_band(member, mid_px, others, apart_bps)
                member.fault = REFUSED
                return False
        member.admitted = True
        return True

    def _out_of_band(self, member: Member, mid_px: float, others: list[Member], apart_bps: float) -> ConfigError:
        said = ", ".join(f"{other.id} {other.mid_px:g}" for other in others)
        return ConfigError(
            f"{self._name}: at first sight {member.id} is at {mid_px:g}, {apart_bps:,.0f} bps from {said}",
            expected=f"prices within {self.definition.band_bps:g} bps of each other (consolidated.band_bps)",
            do="check that all of them quote the same thing in the same unit, or leave one of them out",
        )

    def _describe(self, member: Member, voters: list[Member], now_ns: int) -> Source:
        seen = member.recv_ns > 0
        if member.fault:
            status = member.fault if member.admitted or member.fault == REFUSED else UNSEEN
        elif now_ns - member.aligned_ns > self._stale_ns:
            status = MUTE if now_ns - member.recv_ns > self._stale_ns else LATE
        else:
            status = LIVE if member in voters else WILD
        return Source(
            member.id,
            member.venue,
            status,
            member.mid_px,
            now_ns - member.aligned_ns if seen else 0,
            member.recv_ns - member.aligned_ns if seen else 0,
            member.offset_ns,
            member.quality,
        )


def _middle(ordered: list[float]) -> float:
    """The median of ascending values; at least one."""
    half = len(ordered) >> 1
    return ordered[half] if len(ordered) & 1 else 0.5 * (ordered[half - 1] + ordered[half])
