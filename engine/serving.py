"""Which model serves an instrument: assigned at first, offered later, taken away.

Owns who takes a seat (``engine.seats``) and who leaves it, between two events.  What depends on time, threads or files
has happened outside by then and came as an event (``engine.model_events``).  How who sits there stands is
``engine.standings``', rows and answers are ``engine.predicting``'s, what entries and positions feel of it
``engine.trusting``'s.  Part of ``engine.core.TradingCore``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from engine import events as e
from engine.asking import Asking
from engine.buffers import Buffers, main_of
from engine.counters import Counters
from engine.errors import JournalError, KestrelError
from engine.instruments import Instrument
from engine.intents import writable
from engine.lanes import Lane, StrategySlot, seats_of
from engine.latch import RiskLatch
from engine.ports import Assembly, Assignment, Features, Recorder
from engine.resets import Resets, reset
from engine.seats import (
    CANARY,
    CHAMPION,
    EXPIRED,
    GONE,
    NEVER_NS,
    OLDER,
    SERVING,
    WARMING,
    Seat,
    ServingRules,
    expiry_of,
    is_vacant,
)
from engine.standings import Standings
from engine.suitability import Suitability
from engine.trusting import Trust, acting
from engine.twins import Twins
from engine.venues import VenueStates
from engine.view import CoreView

NOBODY = "no model serves"
SHARE_MAX = 0.5
"""Of the size of entries, a canary's."""


class Serving:
    """See the module's docstring.  ``lanes`` is shared with the market's side, by instrument; ``keep`` is as in
    ``engine.standings.Standings``."""

    def __init__(
        self,
        *,
        lanes: dict[str, Lane],
        view: CoreView,
        asking: Asking,
        assembly: Assembly,
        recorder: Recorder,
        counters: Counters,
        venues: VenueStates,
        trust: Trust,
        twins: Twins,
        latch: RiskLatch,
        keep: Callable[[], None],
        rules: ServingRules,
    ) -> None:
        self._lanes = lanes
        self._view = view
        self._assembly = assembly
        self._recorder = recorder
        self._counters = counters
        self._trust = trust
        self._twins = twins
        self._rules = rules
        self._suitability = Suitability(asking)
        self._next_expiry_ns = NEVER_NS
        self.buffers = Buffers()
        self.resets = Resets(lanes, view, venues)
        self.standings = Standings(
            lanes=lanes,
            view=view,
            asking=asking,
            counters=counters,
            trust=trust,
            latch=latch,
            keep=keep,
        )

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """What is done with each fact of models but answers."""
        return {
            e.ModelOffered: self._on_offered,
            e.ModelAlarmed: self.standings.on_alarmed,
            e.ModelWeighed: self._on_weighed,
            e.ProviderChanged: self._on_provider,
        }

    # --- the first model --------------------------------------------------------------------------------------------

    def assign(self, instrument: Instrument, slots: Sequence[StrategySlot]) -> tuple[Features | None, Seat | None]:
        """What serves an instrument that has become known, put on record and told to its strategies."""
        assembly = self._assembly
        uses_model = any(slot.uses_model for slot in slots)
        assignment = assembly.assign(instrument, uses_model)
        self._recorder.record(self.standings.assigned(instrument.id, assignment))
        features = assembly.features(instrument, assignment)
        model = assembly.model(instrument, assignment) if uses_model else None
        if not is_vacant(assignment):
            self.standings.tell_slots([slot for slot in slots if slot.uses_model], instrument.id, assignment)
        elif uses_model:
            self._trust.vacate(instrument.id, NOBODY)
        if features is not None:
            self.buffers.add(instrument.id, assignment.spec, features)
        return features, None if model is None else Seat(CHAMPION, assignment, model, features)

    def begin(self, lane: Lane) -> None:
        """What an earlier session has left holds for the lane: alarms of the version, twins that hold something.  A
        version whose date has come begins as expired, before anybody trades on it, and so does what nobody serves any
        more."""
        if lane.seat is not None:
            if self._view.now_ns >= lane.seat.expires_ns:
                self.standings.expire(lane, lane.seat)
            else:
                self._next_expiry_ns = min(self._next_expiry_ns, lane.seat.expires_ns)
            self.standings.inherit_alarms(lane, lane.seat)
            self.standings.heed(lane, lane.seat)
        if lane.twins:
            self.buffers.refit(lane)
        if lane.twins or self._trust.why_vacant(lane.instrument.id):
            self._trust.settle(lane)

    # --- offers -----------------------------------------------------------------------------------------------------

    def _on_offered(self, event: e.ModelOffered) -> None:
        lane = self._lanes.get(event.instrument)
        refusal = self._why_refused(lane, event)
        if refusal or lane is None:
            self._refuse(event, refusal)
        elif not event.model:
            self._take_away(lane, event.role, event.reason)
        elif event.role == CHAMPION:
            self._offer_champion(lane, event)
        else:
            self._offer_beside(lane, event)

    def _why_refused(self, lane: Lane | None, event: e.ModelOffered) -> str:
        if lane is None:
            return "the instrument is not known here"
        if not lane.model_slots:
            return "no strategy here uses a model"
        if event.role not in (CHAMPION, CANARY, OLDER):
            return f"no role {event.role!r} here"
        if event.role == OLDER and self._rules.fallback != OLDER:
            return f"the fallback is {self._rules.fallback}"
        if not event.model:
            return ""
        if event.role == CHAMPION:
            return ""
        if lane.seat is None or lane.seat.version == event.model:
            return "it is the champion" if lane.seat is not None else "nobody serves beside whom it could"
        if event.role == OLDER and lane.canary is not None and lane.canary.version == event.model:
            return "it is the canary"
        if event.role == CANARY and not (isfinite(event.share) and 0.0 < event.share <= SHARE_MAX):
            return f"share {event.share}, expected above 0 and at most {SHARE_MAX}"
        return ""

    def _offer_champion(self, lane: Lane, event: e.ModelOffered) -> None:
        if lane.warming is not None and lane.warming.version != event.model:
            self._leave(lane, lane.warming, "another version is to serve")
        if lane.seat is not None and lane.seat.version == event.model:
            self.buffers.refit(lane)
            return
        if lane.warming is not None:
            return
        seat = self._make_seat(lane, event)
        if seat is None:
            return
        lane.warming = seat
        if seat.features is main_of(lane.features) or (seat.features is not None and seat.features.warm):
            self.take_over(lane)
            return
        seat.state = WARMING
        seat.reason = "" if seat.features is None else seat.features.reason
        self.standings.record_standing(lane, seat)
        self.buffers.refit(lane)

    def take_over(self, lane: Lane) -> None:
        """The version that was to serve serves: between two events, so that each decision rests on one."""
        before, seat = lane.seat, lane.warming
        if seat is None:
            return
        if self._view.now_ns >= seat.expires_ns:
            self._leave(lane, seat, f"model {seat.version} has expired")
            self.buffers.refit(lane)
            return
        serving = acting(lane)
        if not self.standings.put_on_record(self.standings.assigned(lane.instrument.id, seat.assignment)):
            # With a next row: no decision rests on a version that is not on record as the one that serves.
            seat.state, seat.reason = WARMING, "the journal has no room for its assignment"
            self.buffers.refit(lane)
            return
        lane.seat, lane.warming = seat, None
        seat.state, seat.reason = SERVING, ""
        seat.settle()
        self._counters.swaps += 1
        self._trust.fill(lane)
        for other in (lane.canary, lane.older):
            if other is not None and other.version == seat.version:
                self._leave(lane, other, "it is the champion now")
        self.standings.inherit_alarms(lane, seat)
        self.standings.replaced(lane, before, may_step_in=self._rules.fallback == OLDER)
        self._next_expiry_ns = min(self._next_expiry_ns, seat.expires_ns)
        self.buffers.refit(lane)
        reset(lane, seat, "another version serves")
        self.standings.heed(lane, seat)
        self.standings.settle(lane, serving)

    def _offer_beside(self, lane: Lane, event: e.ModelOffered) -> None:
        serving = acting(lane)
        present = lane.canary if event.role == CANARY else lane.older
        if present is not None and present.version == event.model:
            if present.share != event.share:
                present.share = event.share
                if present.state == SERVING:
                    present.reason = event.reason
                self.standings.record_standing(lane, present)
                self._trust.settle(lane)
            return
        if event.role == CANARY:
            refusal = self._twins.wake(lane)
            self.settle_twins()  # awake wherever they listen: without a canary there, they enter nothing
            if refusal:
                self._refuse(event, refusal)
                return
        seat = self._make_seat(lane, event)
        if seat is None:
            return
        if present is not None:
            self._leave(lane, present, "another version takes its place")
        if event.role == CANARY:
            lane.canary = seat
            self.standings.tell_slots(lane.twins, lane.instrument.id, seat.assignment)
        else:
            lane.older = seat
        cold = seat.features is not None and seat.features is not main_of(lane.features) and not seat.features.warm
        seat.state, seat.reason = (WARMING, seat.features.reason) if cold and seat.features else (SERVING, event.reason)
        seat.settle()
        self.standings.record_standing(lane, seat)
        if event.role == CANARY and lane.older is not None and lane.older.version == event.model:
            self._leave(lane, lane.older, "it is the canary now")
        if event.role == OLDER:
            self.standings.forget_replaced(lane)
        self._next_expiry_ns = min(self._next_expiry_ns, seat.expires_ns)
        self.buffers.refit(lane)
        reset(lane, seat, "it takes its seat")
        self.standings.heed(lane, seat)
        self.standings.settle(lane, serving)

    def _make_seat(self, lane: Lane, event: e.ModelOffered) -> Seat | None:
        """None where it cannot be had after all: whoever serves goes on."""
        assignment = Assignment(event.model, event.spec, event.facts)
        if event.ts_recv_ns >= expiry_of(assignment):
            self._refuse(event, f"model {event.model} has expired")
            return None
        name = lane.instrument.id
        known = self.buffers.find(name, event.spec)
        try:
            features = self._assembly.features(lane.instrument, assignment) if known is None else known
            objection = "" if features is None else self._objection(lane, event.role, assignment, features)
            if objection:
                self._refuse(event, objection)
                return None
            model = self._assembly.model(lane.instrument, assignment)
        except KestrelError as error:
            self._refuse_lost(event, writable(str(error)))
            return None
        if model is None or features is None:
            self._refuse_lost(event, "no such model is at hand")
            return None
        if known is None:
            self.buffers.add(name, event.spec, features)
        seat = Seat(event.role, assignment, model, features, event.share)
        seat.whole_ns = event.ts_recv_ns  # what the version was asked in another turn is not this seat's
        return seat

    def _objection(self, lane: Lane, role: str, assignment: Assignment, features: Features) -> str:
        """Why the strategies that would be asked about its predictions could not be; empty where they can."""
        name, suits, serving = lane.instrument.id, self._suitability, acting(lane) or lane.seat
        told = None if serving is None else serving.assignment
        if role == CANARY:
            return suits.of_facts(lane.twins, name, assignment, told if lane.canary is None else lane.canary.assignment)
        # Strategies read the champion's features, whoever predicts.
        missing = suits.of_columns(lane, features) if role == CHAMPION else ""
        others = lane.twins if lane.canary is None else ()
        return missing or suits.of_facts((*lane.model_slots, *others), name, assignment, told)

    def _take_away(self, lane: Lane, role: str, reason: str) -> None:
        """The role is nobody's from here on; without a champion the features go on, for strategies that read them."""
        serving = acting(lane)
        if role == CHAMPION and lane.warming is not None:
            self._leave(lane, lane.warming, reason)
        if role == OLDER:
            self.standings.forget_replaced(lane)
        seat = {CHAMPION: lane.seat, CANARY: lane.canary, OLDER: lane.older}[role]
        if seat is None:
            return
        if role == CHAMPION:
            self._trust.vacate(lane.instrument.id, reason or NOBODY)
        self._leave(lane, seat, reason)
        if role == CHAMPION and lane.canary is not None:
            self._leave(lane, lane.canary, "its champion was taken away")
        if role == CHAMPION:
            self.standings.put_on_record(
                self.standings.assigned(lane.instrument.id, Assignment("", seat.assignment.spec, ()))
            )
        self.buffers.refit(lane)
        self.standings.settle(lane, serving)

    def _leave(self, lane: Lane, seat: Seat, reason: str) -> None:
        """A seat is given up."""
        for role in ("seat", "canary", "older", "warming"):
            if getattr(lane, role) is seat:
                setattr(lane, role, None)
        seat.state, seat.reason = GONE, reason
        self.standings.record_standing(lane, seat)
        self.standings.leave(lane, seat)
        serving = acting(lane)
        if seat.role == CANARY and serving is not None:
            self.standings.tell_slots(lane.twins, lane.instrument.id, serving.assignment)
        if seat.role == CANARY and (serving is None or serving.version != seat.version):
            self._trust.retire(lane)

    def _refuse(self, event: e.ModelOffered, reason: str) -> None:
        """Whoever serves goes on."""
        self.standings.put_on_record(self._refusal(event, reason))

    def _refuse_lost(self, event: e.ModelOffered, reason: str) -> None:
        """The model cannot be had; nothing else on record says so.  Raises ``JournalError`` where that finds no room,
        with trading halted and open orders asked back: a session that went on would decide by what its replay cannot
        know."""
        if not self.standings.put_on_record(self._refusal(event, reason)):
            raise JournalError(f"that {event.model} cannot be had is not on record", do="free disk space")

    def _refusal(self, event: e.ModelOffered, reason: str) -> e.ModelStanding:
        self._counters.refused_offers += 1
        now_ns, state, factor = self._view.now_ns, GONE, 1.0
        lane = self._lanes.get(event.instrument)
        for seat in () if lane is None else seats_of(lane):
            if (seat.role, seat.version) == (event.role, event.model):  # offered again, in a way that cannot be
                state, factor, reason = seat.state, seat.factor, f"{reason}: it goes on as it was"
        return e.ModelStanding(now_ns, now_ns, event.instrument, event.role, event.model, state, factor, reason)

    # --- states -----------------------------------------------------------------------------------------------------

    def on_timer(self, now_ns: int) -> None:
        """Models expire, and what is wanted is asked for again, also where no rows come."""
        if now_ns >= self._next_expiry_ns:
            self._next_expiry_ns = NEVER_NS
            for lane in self._lanes.values():
                for seat in tuple(seats_of(lane)):
                    if seat.state in (EXPIRED, GONE):
                        continue
                    if now_ns < seat.expires_ns:
                        self._next_expiry_ns = min(self._next_expiry_ns, seat.expires_ns)
                    elif seat is lane.warming:
                        self._leave(lane, seat, f"model {seat.version} has expired")
                        self.buffers.refit(lane)
                    else:
                        self.standings.expire(lane, seat)
        self._trust.on_timer()

    def settle_twins(self) -> None:
        """Wherever there are twins: one has come, or a strategy is not trusted any more."""
        for lane in self._lanes.values():
            if lane.twins:
                self._trust.settle(lane)

    # --- what else is told ------------------------------------------------------------------------------------------

    def _on_weighed(self, event: e.ModelWeighed) -> None:
        lane = self._lanes.get(event.instrument)
        if not event.weights or not all(isfinite(one) and one >= 0.0 for one in event.weights):
            Counters.add(self._counters.alarms, "unreadable")
            return
        for seat in () if lane is None else seats_of(lane):
            if seat.version == event.model and seat.weigh is not None:
                seat.weigh(event.weights)

    def _on_provider(self, event: e.ProviderChanged) -> None:  # noqa: ARG002
        self._counters.provider_changes += 1
