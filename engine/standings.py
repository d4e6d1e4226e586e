"""How the models on each instrument stand: serving, broken, expired, stopped, sized down, and what says so.

Owns a seat's state once it is taken, the alarms against its version, and the records of both.  Who takes a seat is
``engine.serving``'s, what entries and positions feel of it ``engine.trusting``'s.  Part of ``engine.core.TradingCore``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine import events as e
from engine.alarms import Alarms
from engine.asking import Asking
from engine.counters import Counters
from engine.lanes import Lane, StrategySlot, seats_of
from engine.latch import RiskLatch
from engine.ports import Assignment
from engine.seats import EXPIRED, SERVING, STOPPED, Seat, has_members
from engine.trusting import Trust, acting
from engine.view import CoreView


class Standings:
    """Of one core.  ``lanes`` is shared with the market's side, by instrument.

    ``keep`` puts the state of the core on record: alarms that have ended with a seat are not in other records.  Those
    that end so size down; a stop does not (``engine.alarms.Alarms.forget``).
    """

    def __init__(
        self,
        *,
        lanes: dict[str, Lane],
        view: CoreView,
        asking: Asking,
        counters: Counters,
        trust: Trust,
        latch: RiskLatch,
        keep: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._view = view
        self._tell_model = asking.tell_model
        self._counters = counters
        self._trust = trust
        self._latch = latch
        self._keep = keep
        # Champions that were replaced where the one before may step in: what stands against them does until then.
        self._replaced: dict[str, str] = {}
        self.alarms = Alarms()
        self.served: set[str] = set()
        """Versions that somebody could trade on in this session: champions, canaries, and whoever stepped in."""

    # --- states -----------------------------------------------------------------------------------------------------

    def set_state(self, lane: Lane, seat: Seat, state: str, reason: str) -> None:
        """Put on record how a model stands, and let entries and positions feel it."""
        serving = acting(lane)
        sized = self.alarms.factor_of(lane.instrument.id, seat.version)[1] if state == SERVING else ""
        seat.state, seat.reason = state, "; ".join([text for text in (reason, sized) if text])
        seat.settle()
        self.record_standing(lane, seat)
        self.settle(lane, serving)

    def expire(self, lane: Lane, seat: Seat) -> None:
        """Too old from here on (fault E11): the model was not meant to be trusted any longer."""
        self.set_state(lane, seat, EXPIRED, f"model {seat.version} has expired")

    def settle(self, lane: Lane, before: Seat | None) -> None:
        """Whose predictions are told may be another's now: then its suggestions hold."""
        after = acting(lane)
        if after is not None and after is not before:
            self.served.add(after.version)
            twins = lane.twins if lane.canary is None else ()
            self.tell_slots((*lane.model_slots, *twins), lane.instrument.id, after.assignment)
        self._trust.settle(lane)

    # --- alarms -----------------------------------------------------------------------------------------------------

    def on_alarmed(self, event: e.ModelAlarmed) -> None:
        """It holds at once for whoever it names."""
        if self.alarms.take(event):
            Counters.add(self._counters.alarms, "unreadable")
            return
        Counters.add(self._counters.alarms, event.action)
        lane = self._lanes.get(event.instrument)
        for seat in () if lane is None else seats_of(lane):
            if lane is not None and seat.version == event.model and seat is not lane.warming:
                self.heed(lane, seat)

    def heed(self, lane: Lane, seat: Seat) -> None:
        """The alarms that stand against a version are its seat's state."""
        name = lane.instrument.id
        stop = self.alarms.stop_of(name, seat.version)
        factor, _ = self.alarms.factor_of(name, seat.version)
        changed, seat.factor = factor != seat.factor, factor
        if stop and seat.state not in (STOPPED, EXPIRED):
            seat.beneath = (seat.state, seat.reason)
            self.set_state(lane, seat, STOPPED, stop)
        elif not stop and seat.state == STOPPED:
            over = "its alarm is over" if factor == 1.0 else ""
            state, reason = seat.beneath  # an alarm's end takes the alarm away: what was broken or cold is so still
            self.set_state(lane, seat, state, reason if state != SERVING else over)
        elif changed or (stop and seat.state == STOPPED and seat.reason != stop):
            whole = "its size is whole again" if factor == 1.0 else ""
            reason = {STOPPED: stop, SERVING: whole}.get(seat.state, seat.reason)
            self.set_state(lane, seat, seat.state, reason)

    def forget_replaced(self, lane: Lane) -> None:
        """The champion before is not what steps in, or stands as that: its alarms are those of its seat."""
        version = self._replaced.pop(lane.instrument.id, "")
        if version:
            self.forget_alarms(lane, version)

    def replaced(self, lane: Lane, before: Seat | None, *, may_step_in: bool) -> None:
        """The champion's seat is another version's now.  Whoever does not stand there any more, since now or since an
        earlier session, is whole if it comes back, unless it was stopped; but for the champion before, where that may
        step in: it is as it was."""
        name = lane.instrument.id
        self._replaced.pop(name, None)
        if before is not None and may_step_in:
            self._replaced[name] = before.version
        stands = {self._replaced.get(name), *(seat.version for seat in seats_of(lane))}
        ended = [self.alarms.forget(name, version) for version in self.alarms.versions(name) if version not in stands]
        if any(ended):
            self._keep()

    def forget_alarms(self, lane: Lane, version: str) -> None:
        """Those that end with a seat, unless it stands in another role."""
        if all(seat.version != version for seat in seats_of(lane)) and self.alarms.forget(lane.instrument.id, version):
            self._keep()

    def leave(self, lane: Lane, seat: Seat) -> None:
        """A seat was given up.  Of several models that served as one, or were to, alarms stand until another champion
        serves: whoever took a member away has looked at none of them."""
        if not has_members(seat.assignment):
            self.forget_alarms(lane, seat.version)

    def inherit_alarms(self, lane: Lane, seat: Seat) -> None:
        """Several models that serve as one, with another member than before: what was said against them holds until
        somebody clears it, as who changed a member has not looked at it."""
        if has_members(seat.assignment) and self.alarms.inherit(lane.instrument.id, seat.version):
            self._keep()

    # --- records ----------------------------------------------------------------------------------------------------

    def assigned(self, instrument: str, assignment: Assignment) -> e.ModelAssigned:
        """The record of who is champion."""
        now_ns = self._view.now_ns
        if assignment.model:
            self.served.add(assignment.model)
        return e.ModelAssigned(now_ns, now_ns, instrument, assignment.model, assignment.spec, assignment.facts)

    def record_standing(self, lane: Lane, seat: Seat) -> None:
        """As it is now."""
        now_ns = self._view.now_ns
        Counters.add(self._counters.standings, seat.state)
        if seat is lane.canary and seat.serves:
            self.served.add(seat.version)
        self.put_on_record(
            e.ModelStanding(
                now_ns, now_ns, lane.instrument.id, seat.role, seat.version, seat.state, seat.factor, seat.reason
            )
        )

    def put_on_record(self, record: e.ModelAssigned | e.ModelStanding) -> bool:
        """False where the journal took it not: trading halts, and what a standing means for entries holds all the
        same."""
        return self._latch.put_on_record(record)

    def tell_slots(self, slots: Sequence[StrategySlot], instrument: str, assignment: Assignment) -> None:
        """Strategies that are asked about its predictions from now on."""
        for slot in slots:
            if slot.alive:
                self._tell_model(slot, instrument, assignment.facts)
