"""Which model serves an instrument: assigned at first, offered later, trusted less, taken away.

Owns the seats (``engine.seats``) and every change of them, between two events.  What depends on time, threads or files
has happened outside by then and came as an event (``engine.model_events``).  Rows and answers are
``engine.predicting``'s, what entries and positions feel of it ``engine.trusting``'s.  Part of
``engine.core.TradingCore``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Any

from engine import events as e
from engine.alarms import Alarms
from engine.asking import Asking
from engine.counters import Counters
from engine.errors import JournalError, KestrelError
from engine.features.spec import FeatureSpec
from engine.feeds import FedTogether, Feeds
from engine.instruments import Instrument
from engine.intents import writable
from engine.lanes import Lane, StrategySlot
from engine.latch import RiskLatch
from engine.ports import Assembly, Assignment, Features, Recorder
from engine.seats import (
    CANARY,
    CHAMPION,
    EXPIRED,
    GONE,
    NEVER_NS,
    OLDER,
    SERVING,
    STOPPED,
    WARMING,
    Seat,
    ServingRules,
    expiry_of,
)
from engine.trusting import Trust, acting
from engine.twins import Twins
from engine.venues import VenueStates
from engine.view import CoreView

SHARE_MAX = 0.5
"""Of the size of entries, a canary's."""


class Serving:
    """See the module's docstring.  ``lanes`` is shared with the market's side, by instrument.

    ``keep`` puts the state of the core on record: alarms that have ended with a seat are not in other records.
    """

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
        self._tell_model = asking.tell_model
        self._assembly = assembly
        self._recorder = recorder
        self._counters = counters
        self._venues = venues
        self._trust = trust
        self._twins = twins
        self._latch = latch
        self._keep = keep
        self._rules = rules
        self._fed: dict[str, list[tuple[str, Features]]] = {}  # by instrument: spec and buffer
        self._next_expiry_ns = NEVER_NS
        # Champions that were replaced where the one before may step in: what stands against them does until then.
        self._replaced: dict[str, str] = {}
        self._shut: set[str] = set()  # instruments that do not trade now, of models that keep a state
        self.alarms = Alarms()
        self.feeds = Feeds()

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """What is done with each fact of models but answers."""
        return {
            e.ModelOffered: self._on_offered,
            e.ModelAlarmed: self._on_alarmed,
            e.ModelWeighed: self._on_weighed,
            e.ProviderChanged: self._on_provider,
        }

    # --- the first model --------------------------------------------------------------------------------------------

    def assign(self, instrument: Instrument, slots: Sequence[StrategySlot]) -> tuple[Features | None, Seat | None]:
        """What serves an instrument that has become known, put on record and told to its strategies."""
        assembly = self._assembly
        uses_model = any(slot.uses_model for slot in slots)
        assignment = assembly.assign(instrument, uses_model)
        self._recorder.record(self._assigned(instrument.id, assignment))
        features = assembly.features(instrument, assignment)
        model = assembly.model(instrument, assignment) if uses_model else None
        self._tell_slots([slot for slot in slots if slot.uses_model], instrument.id, assignment)
        if features is not None:
            self._fed[instrument.id] = [(assignment.spec, features)]
            self.feeds.connect(features)
        return features, None if model is None else Seat(CHAMPION, assignment, model, features)

    def begin(self, lane: Lane) -> None:
        """What an earlier session has left holds for the lane: alarms of the version, twins that hold something."""
        if lane.seat is not None:
            self._next_expiry_ns = min(self._next_expiry_ns, lane.seat.expires_ns)
            self._heed(lane, lane.seat)
        if lane.twins:
            self._refit(lane)
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
            self._refit(lane)
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
        self._record_standing(lane, seat)
        self._refit(lane)

    def take_over(self, lane: Lane) -> None:
        """The version that was to serve serves: between two events, so that each decision rests on one."""
        before, seat = lane.seat, lane.warming
        if seat is None:
            return
        if self._view.now_ns >= seat.expires_ns:
            self._leave(lane, seat, f"model {seat.version} has expired")
            self._refit(lane)
            return
        serving = acting(lane)
        if not self._put_on_record(self._assigned(lane.instrument.id, seat.assignment)):
            # With a next row: no decision rests on a version that is not on record as the one that serves.
            seat.state, seat.reason = WARMING, "the journal has no room for its assignment"
            self._refit(lane)
            return
        lane.seat, lane.warming = seat, None
        seat.state, seat.reason = SERVING, ""
        seat.settle()
        self._counters.swaps += 1
        self._trust.fill(lane)
        for other in (lane.canary, lane.older):
            if other is not None and other.version == seat.version:
                self._leave(lane, other, "it is the champion now")
        self._forget_replaced(lane)
        if before is not None and self._rules.fallback == OLDER:
            self._replaced[lane.instrument.id] = before.version
        elif before is not None:
            self._forget_alarms(lane, before.version)
        self._next_expiry_ns = min(self._next_expiry_ns, seat.expires_ns)
        self._refit(lane)
        self._reset(lane, seat, "another version serves")
        self._heed(lane, seat)
        self._settle(lane, serving)

    def _offer_beside(self, lane: Lane, event: e.ModelOffered) -> None:
        serving = acting(lane)
        present = lane.canary if event.role == CANARY else lane.older
        if present is not None and present.version == event.model:
            if present.share != event.share:
                present.share = event.share
                self._record_standing(lane, present)
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
            self._tell_slots(lane.twins, lane.instrument.id, seat.assignment)
        else:
            lane.older = seat
        cold = seat.features is not None and seat.features is not main_of(lane.features) and not seat.features.warm
        seat.state, seat.reason = (WARMING, seat.features.reason) if cold and seat.features else (SERVING, event.reason)
        seat.settle()
        self._record_standing(lane, seat)
        if event.role == CANARY and lane.older is not None and lane.older.version == event.model:
            self._leave(lane, lane.older, "it is the canary now")
        if event.role == OLDER:
            self._forget_replaced(lane)
        self._next_expiry_ns = min(self._next_expiry_ns, seat.expires_ns)
        self._refit(lane)
        self._reset(lane, seat, "it takes its seat")
        self._heed(lane, seat)
        self._settle(lane, serving)

    def _make_seat(self, lane: Lane, event: e.ModelOffered) -> Seat | None:
        """None where it cannot be had after all: whoever serves goes on."""
        assignment = Assignment(event.model, event.spec, event.facts)
        if event.ts_recv_ns >= expiry_of(assignment):
            self._refuse(event, f"model {event.model} has expired")
            return None
        fed = self._fed.setdefault(lane.instrument.id, [])
        known = next((one for spec, one in fed if same_features(spec, event.spec)), None)
        try:
            features = self._assembly.features(lane.instrument, assignment) if known is None else known
            model = self._assembly.model(lane.instrument, assignment)
        except KestrelError as error:
            self._refuse(event, writable(str(error)))
            return None
        if model is None or features is None:
            self._refuse(event, "no such model is at hand")
            return None
        if known is None:
            fed.append((event.spec, features))
            self.feeds.connect(features)
        return Seat(event.role, assignment, model, features, event.share)

    def _take_away(self, lane: Lane, role: str, reason: str) -> None:
        """The role is nobody's from here on; without a champion the features go on, for strategies that read them."""
        serving = acting(lane)
        if role == CHAMPION and lane.warming is not None:
            self._leave(lane, lane.warming, reason)
        if role == OLDER:
            self._forget_replaced(lane)
        seat = {CHAMPION: lane.seat, CANARY: lane.canary, OLDER: lane.older}[role]
        if seat is None:
            return
        if role == CHAMPION:
            self._trust.vacate(lane, reason or "no model serves")
        self._leave(lane, seat, reason)
        if role == CHAMPION and lane.canary is not None:
            self._leave(lane, lane.canary, "its champion was taken away")
        if role == CHAMPION:
            self._put_on_record(self._assigned(lane.instrument.id, Assignment("", seat.assignment.spec, ())))
        self._refit(lane)
        self._settle(lane, serving)

    def _leave(self, lane: Lane, seat: Seat, reason: str) -> None:
        """A seat is given up."""
        for role in ("seat", "canary", "older", "warming"):
            if getattr(lane, role) is seat:
                setattr(lane, role, None)
        seat.state, seat.reason = GONE, reason
        self._record_standing(lane, seat)
        self._forget_alarms(lane, seat.version)
        serving = acting(lane)
        if seat.role == CANARY and serving is not None:
            self._tell_slots(lane.twins, lane.instrument.id, serving.assignment)
        if seat.role == CANARY and (serving is None or serving.version != seat.version):
            self._trust.retire(lane)

    def _refuse(self, event: e.ModelOffered, reason: str) -> None:
        """Whoever serves goes on."""
        self._counters.refused_offers += 1
        now_ns = self._view.now_ns
        self._put_on_record(
            e.ModelStanding(now_ns, now_ns, event.instrument, event.role, event.model, GONE, 1.0, reason)
        )

    # --- states -----------------------------------------------------------------------------------------------------

    def set_state(self, lane: Lane, seat: Seat, state: str, reason: str) -> None:
        """Put on record how a model stands, and let entries and positions feel it."""
        serving = acting(lane)
        sized = self.alarms.factor_of(lane.instrument.id, seat.version)[1] if state == SERVING else ""
        seat.state, seat.reason = state, "; ".join([text for text in (reason, sized) if text])
        seat.settle()
        self._record_standing(lane, seat)
        self._settle(lane, serving)

    def expire(self, lane: Lane, seat: Seat) -> None:
        """Too old from here on (fault E11): the model was not meant to be trusted any longer."""
        self.set_state(lane, seat, EXPIRED, f"model {seat.version} has expired")

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
                        self._refit(lane)
                    else:
                        self.expire(lane, seat)
        self._trust.on_timer()

    def settle_twins(self) -> None:
        """Wherever there are twins: one has come, or a strategy is not trusted any more."""
        for lane in self._lanes.values():
            if lane.twins:
                self._trust.settle(lane)

    def _settle(self, lane: Lane, before: Seat | None) -> None:
        """Whose predictions are told may be another's now: then its suggestions hold."""
        after = acting(lane)
        if after is not None and after is not before:
            twins = lane.twins if lane.canary is None else ()
            self._tell_slots((*lane.model_slots, *twins), lane.instrument.id, after.assignment)
        self._trust.settle(lane)

    # --- alarms -----------------------------------------------------------------------------------------------------

    def _on_alarmed(self, event: e.ModelAlarmed) -> None:
        if self.alarms.take(event):
            Counters.add(self._counters.alarms, "unreadable")
            return
        Counters.add(self._counters.alarms, event.action)
        lane = self._lanes.get(event.instrument)
        for seat in () if lane is None else seats_of(lane):
            if lane is not None and seat.version == event.model and seat is not lane.warming:
                self._heed(lane, seat)

    def _heed(self, lane: Lane, seat: Seat) -> None:
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

    def _forget_replaced(self, lane: Lane) -> None:
        """The champion before is not what steps in, or stands as that: its alarms are those of its seat."""
        version = self._replaced.pop(lane.instrument.id, "")
        if version:
            self._forget_alarms(lane, version)

    def _forget_alarms(self, lane: Lane, version: str) -> None:
        if all(seat.version != version for seat in seats_of(lane)) and self.alarms.forget(lane.instrument.id, version):
            self._keep()

    # --- models that keep a state -------------------------------------------------------------------------------------

    def on_break(self, lane: Lane, reason: str) -> None:
        """The rows that come do not follow on those before (fault E8)."""
        for seat in seats_of(lane):
            seat.whole_ns = self._view.now_ns
            self._reset(lane, seat, reason)

    def on_status(self) -> None:
        """A market has opened or closed, as far as a model that keeps a state must know."""
        for name, lane in self._lanes.items():
            seats = [seat for seat in seats_of(lane) if seat.reset is not None]
            if not seats:
                continue
            if self._venues.why_shut(name):
                self._shut.add(name)
            elif name in self._shut:
                self._shut.discard(name)
                for seat in seats:
                    self._reset(lane, seat, "the market has opened")

    def _reset(self, lane: Lane, seat: Seat, reason: str) -> None:
        if seat.reset is not None:
            seat.reset(lane.instrument.id, reason)

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

    # --- records and buffers ------------------------------------------------------------------------------------------

    def _assigned(self, instrument: str, assignment: Assignment) -> e.ModelAssigned:
        now_ns = self._view.now_ns
        return e.ModelAssigned(now_ns, now_ns, instrument, assignment.model, assignment.spec, assignment.facts)

    def _record_standing(self, lane: Lane, seat: Seat) -> None:
        now_ns = self._view.now_ns
        Counters.add(self._counters.standings, seat.state)
        self._put_on_record(
            e.ModelStanding(
                now_ns, now_ns, lane.instrument.id, seat.role, seat.version, seat.state, seat.factor, seat.reason
            )
        )

    def _put_on_record(self, record: e.ModelAssigned | e.ModelStanding) -> bool:
        """False where the journal took it not: trading halts, and what a standing means for entries holds all the
        same."""
        try:
            self._recorder.record(record)
        except JournalError as error:
            self._latch.halt_for_journal(error.seen)
            return False
        return True

    def _tell_slots(self, slots: Sequence[StrategySlot], instrument: str, assignment: Assignment) -> None:
        for slot in slots:
            if slot.alive:
                self._tell_model(slot, instrument, assignment.facts)

    def _refit(self, lane: Lane) -> None:
        """Buffers that some seat reads are fed together; the first is what strategies read."""
        fed = self._fed.get(lane.instrument.id, [])
        first = main_of(lane.features) if lane.seat is None else lane.seat.features
        wanted = [first, *[seat.features for seat in seats_of(lane)]]
        for spec, one in list(fed):
            if not any(one is other for other in wanted):
                fed.remove((spec, one))
                self.feeds.disconnect(one)
        others = [one for _, one in fed if one is not first]
        lane.features = FedTogether(first, others) if first is not None and others else first
        lane.beside = bool(others or lane.canary or lane.warming or lane.older or lane.twins)


def seats_of(lane: Lane) -> Iterator[Seat]:
    """All that are taken."""
    for seat in (lane.seat, lane.canary, lane.older, lane.warming):
        if seat is not None:
            yield seat


def main_of(features: Features | None) -> Features | None:
    """The buffer that strategies read."""
    return features.first if isinstance(features, FedTogether) else features


def same_features(one: str, other: str) -> bool:
    """Whether two feature specs (JSON) make the same numbers.  What cannot be read is like nothing else."""
    if one == other:
        return True
    try:
        return FeatureSpec.from_json(one).fingerprint() == FeatureSpec.from_json(other).fingerprint()
    except KestrelError:
        return False
