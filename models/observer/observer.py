"""Everything that is watched in one session: the record goes in, figures, alarms and verdicts come out.

Owns the way of a record through its parts.  It reads no clock and asks nobody but the registry: what it says depends on
the record alone, apart from how long predictions take here.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from engine import events as e
from engine.alarms import STOP
from engine.codec import Record
from engine.errors import BundleError
from engine.instruments import Instrument
from engine.ports import Float32Array
from engine.seats import GONE
from models.bundle import Bundle
from models.observer.admission import Admission
from models.observer.comparing import Comparisons
from models.observer.evidence import EvidenceStore, Key
from models.observer.paired import Paired
from models.observer.readings import Traded
from models.observer.rebuilding import CoreOf, Rebuilding, Rows
from models.observer.rollout import RolloutRules
from models.observer.roster import Roster
from models.observer.rules import CLEAR, SOURCES, WatchRules
from models.observer.shadows import Workshop
from models.observer.told import Alarmed, Ended, Judged, Told, Unsettled, Weighed
from models.observer.track import CANARY, SHADOW, Track
from models.observer.turns import Ask, Turns
from models.registry.store import Registry

AGAIN_NS: Final = 30_000_000_000
"""Of the record's time, until what could not be carried out is told again; twice as long each time."""
_AGAIN_MAX_NS: Final = 3_600_000_000_000
_TRIES_MAX: Final = 256
_WINDOWS_KEPT: Final = 8
"""Of the rows whose predictions are made again, until they come (an answer may be computed off the loop)."""


class Observer:
    """``find`` loads a version that serves (raises ``BundleError``); ``registry`` None: there are no shadows.

    ``shadows``: versions that run as shadows whatever the registry says, to judge them on recorded sessions; ``pairs``:
    what was found of them in those before.  ``store`` keeps what is found of challengers for later sessions, on
    a live market: what came there before a shadow was made is none of its evidence.  ``traded``: what the strategies of
    an instrument trade on.
    """

    def __init__(
        self,
        core_of: CoreOf,
        *,
        find: Callable[[str], Bundle],
        workshop: Workshop,
        registry: Path | None,
        rules: WatchRules,
        rollout: RolloutRules,
        admission: Admission,
        shadows: tuple[Bundle, ...] = (),
        pairs: dict[Key, Paired] | None = None,
        store: EvidenceStore | None = None,
        traded: Callable[[Instrument], Traded] = lambda _: Traded(),
    ) -> None:
        self._workshop = workshop
        self._registry = None if registry is None else Registry(registry)
        self._rules = rules
        self._is_judging = bool(shadows)
        # A record that is read again from its begin has what a version was trained on since.
        self._is_live_market = store is not None
        self._rebuilding = Rebuilding(core_of, self._on_row)
        self._admission = admission
        self._roster = Roster(
            self._rebuilding,
            find=find,
            workshop=workshop,
            registry=registry,
            rules=rules,
            given=shadows,
            admission=admission,
            now_ns=lambda: self.last_seq_ns,
            traded=traded,
        )
        self._comparisons = Comparisons(rollout, latency_us=admission.p99_us, store=store, pairs=pairs)
        self._windows: dict[int, OrderedDict[int, Float32Array]] = {}
        self._ended: list[Ended] = []
        self._not_done: list[tuple[int, Judged | Alarmed]] = []
        """With the record's time at which it is told again."""
        self._tries: dict[tuple[str, ...], int] = {}
        """How often that was, of who was judged or stopped."""
        self._number = 0
        self._are_paused = False
        self._was_current = False
        """The end of the record was reached: alarms that are on record from then on are this process's own."""
        self.is_live = False
        """By the last look: what it told is of now, whatever the clocks say."""
        self.records = 0
        self.last_seq_ns = 0
        """Receive time of the last record."""

    # --- the record -------------------------------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        """The next record, input or derived."""
        self.records += 1
        self.last_seq_ns = record.ts_recv_ns if isinstance(record, e.Event) else self.last_seq_ns
        if type(record) is e.Prediction:
            self._on_prediction(record)
        elif type(record) is e.ModelAssigned:
            self._roster.on_assigned(record)
            self._forget_stops(record.instrument, but=record.model)
            self._settle()
        elif type(record) is e.ModelOffered:
            self._roster.on_offered(record)
            self._settle()
        elif type(record) is e.ModelStanding:
            self._roster.on_standing(record)
            if record.state == GONE and record.role == CANARY:
                self._forget_stops(record.instrument, of=record.model)
            self._settle()
        elif type(record) is e.ModelAlarmed:
            if record.action == CLEAR:
                self._not_done = [one for one in self._not_done if not _is_cleared(one[1], record)]
            elif record.action == STOP and record.source in SOURCES and not self._was_current:
                self._recall_stop(record)
            if (track := self._roster.get(record.instrument, record.model)) is not None:
                track.on_alarm(record.source, record.action)
        else:
            self._number += 1
            if self._rebuilding.take(record):
                if type(record) is e.InstrumentDefined:
                    self._roster.begin_shadows(record.definition.id)
                    self._settle()
                elif isinstance(record, e.Quote | e.BookDelta | e.BookSnapshot):
                    for name in self._rebuilding.priced_by(record.instrument):
                        self._on_prices(name)

    def _recall_stop(self, event: e.ModelAlarmed) -> None:
        """A stop that a process before this one told the daemon: nobody knows what it could still do in the registry,
        where doing it twice does nothing."""
        told = Alarmed(event.instrument, event.model, event.source, event.action, event.factor, event.text)
        self._not_done = [one for one in self._not_done if one[1][:3] != told[:3]]
        self._not_done.append((self.last_seq_ns + AGAIN_NS, told))

    def _forget_stops(self, instrument: str, *, of: str = "", but: str = "") -> None:
        """A version has left its seat there: whoever brings it back has decided that anew."""
        self._not_done = [
            (at_ns, told)
            for at_ns, told in self._not_done
            if isinstance(told, Judged)
            or told.instrument != instrument
            or told.model == but
            or of not in ("", told.model)
        ]

    def _settle(self) -> None:
        """What was known of those who are not watched any more, or as something else, is forgotten."""
        if not self._is_judging:
            self._comparisons.keep_only(self._roster.roles(), self._stands)
        held = {id(rows) for rows in self._roster.rows()}
        self._windows = {key: windows for key, windows in self._windows.items() if key in held}

    # --- predictions and what becomes of them -----------------------------------------------------------------------

    def _on_row(self, rows: Rows) -> None:
        row, window = rows.count - 1, rows.buffer.window()
        tracks = [track for track in self._roster.of(rows.instrument) if track.rows is rows]
        for track in tracks:
            for matured in track.mature():
                for pair in self._roster.opponents(track):
                    self._comparisons.matured(pair, track, matured, self.records)
            track.on_row(window)
        if row % self._rules.skew_every == 0 and any(track.role != SHADOW for track in tracks):
            kept = self._windows.setdefault(id(rows), OrderedDict())
            kept[row] = window.copy()
            if len(kept) > _WINDOWS_KEPT:
                kept.popitem(last=False)
        for track in tracks:
            if track.role == SHADOW and track.bundle is not None:
                asked = Ask(rows.instrument, row, window, rows.ts_event_ns, rows.ts_recv_ns, self._number)
                self._ask_shadow(track.bundle, asked)

    def _ask_shadow(self, bundle: Bundle, asked: Ask) -> None:
        """Whatever goes wrong with it ends this shadow alone, and is told once."""
        if self._are_paused or (self._is_live_market and asked.ts_recv_ns < bundle.manifest.created_ns):
            return
        try:
            turns = self._admission.turns(bundle)
            for one in turns.ask(asked):
                track = self._roster.get(one.instrument, bundle.version)
                if track is not None and track.role == SHADOW and one.row >= track.rows.begun:
                    self._run_shadow(track, bundle, turns, one)
        except Exception as error:
            self._end_shadow(bundle.version, error)

    def _run_shadow(self, track: Track, bundle: Bundle, turns: Turns, one: Ask) -> None:
        model = self._workshop.model(bundle)
        prediction, took_ns = self._workshop.run(model, one.instrument, one.window, one.ts_event_ns, one.ts_recv_ns)
        latency_ns, late = turns.took(one, took_ns)
        if late and prediction.status is e.PredictionStatus.OK:
            prediction = msgspec.structs.replace(prediction, status=e.PredictionStatus.LATE)
        track.outcomes.add_latency(latency_ns)
        # Who waited is answered before this event: its prices are the first that could be traded at.
        # What the worker would still compute is traded on when its answer comes, as the champion's is.
        from_ns = one.ts_recv_ns + latency_ns if turns.on_worker else 0
        spread_bps = self._spread_bps(one.instrument)
        number = max(one.number, self._number - 1)
        track.on_prediction(prediction, one.row, number, from_ns=from_ns, spread_bps=spread_bps)
        self._workshop.keep(prediction)

    def pause_shadows(self, paused: bool) -> None:
        """Not to ask them for a time, where the record comes too fast.  What serves meanwhile is not compared with
        them: they would have lost nothing."""
        self._are_paused = paused
        self._admission.begin_anew()
        for _, track in self._roster.all():
            if track.role == SHADOW:
                track.spoken.allow(not paused, self.last_seq_ns)

    def _end_shadow(self, version: str, error: Exception) -> None:
        if version not in self._workshop.refused:
            self._workshop.refuse(version, f"{type(error).__name__}: {error}")
        why = self._workshop.refused[version]
        self._roster.end_shadow(version, why)
        self._settle()
        self._ended.append(Ended(version, why))

    def _on_prediction(self, live: e.Prediction) -> None:
        """What a model that serves said."""
        track = self._roster.get(live.instrument, live.model)
        if track is None or track.role == SHADOW:
            return
        rows = track.rows
        row = rows.find(live.ts_event_ns, live.ts_recv_ns)
        track.on_prediction(live, row, self._number, spread_bps=self._spread_bps(live.instrument))
        kept = self._windows.get(id(rows))
        window = None if kept is None else kept.get(row)
        if window is None or track.bundle is None or not live.values:
            return
        try:
            model = self._workshop.model(track.bundle)
            again, took_ns = self._workshop.run(model, live.instrument, window, live.ts_event_ns, live.ts_recv_ns)
        except BundleError as error:
            self._roster.note(live.instrument, live.model, str(error))
            return
        track.outcomes.add_latency(took_ns)
        track.compare(live, again, track.bundle.manifest.tolerance.outputs_abs)

    def _spread_bps(self, instrument: str) -> float:
        """Of the best prices now; NaN where they are not to be believed."""
        lane = self._rebuilding.core.lanes.get(instrument)
        if lane is None or lane.top.suspect or not 0.0 < lane.top.bid_px <= lane.top.ask_px:
            return math.nan
        return 2e4 * (lane.top.ask_px - lane.top.bid_px) / (lane.top.ask_px + lane.top.bid_px)

    def _on_prices(self, instrument: str) -> None:
        lane = self._rebuilding.core.lanes.get(instrument)
        if lane is None or lane.top.suspect:
            return
        for track in self._roster.of(instrument):
            ended = track.on_prices(lane.top.bid_px, lane.top.ask_px, self._number, self.last_seq_ns)
            if ended is None:
                continue
            made_ns, profit_bps = ended
            for pair in self._roster.opponents(track):
                self._comparisons.ended(pair, track, made_ns, self.last_seq_ns, profit_bps, self.records)

    # --- what is told -----------------------------------------------------------------------------------------------

    def look(self, *, caught_up: bool = True, is_live: bool = False) -> list[Told]:
        """To be called from time to time: shadows that came and went, and what has to be told.

        ``caught_up``: the end of the record was reached.  Until then no alarm and no verdict is told: what stands in
        what was read may be over in what comes.  ``is_live``: the daemon goes on, and what is known is of now.
        """
        self.is_live = is_live
        if self._roster.follow_registry() or self._roster.go_on():
            self._settle()
        self._workshop.flush()
        self._comparisons.keep(self.records, self.last_seq_ns, self._stands, self._tracks)
        told: list[Told] = list(self._ended)
        self._ended.clear()
        if not caught_up:
            return told
        self._was_current = True
        for instrument, track in self._roster.all():
            if track.role != SHADOW:
                told += [
                    Alarmed(instrument, track.version, source, action, self._rules.factor, text)
                    for source, action, text in track.alarm_changes()
                ]
            if track.weighing is not None and (weights := track.weighing.due()):
                reason = f"losses of the last {track.weighing.rows} rows"
                told.append(Weighed(instrument, track.version, weights, reason))
        return [*told, *self._again(), *self._comparisons.due(self._tracks)]

    def not_done(self, told: Judged | Alarmed) -> None:
        """It could not be carried out: it is told again, a verdict as it is by then."""
        tries = self._tries.pop(told[:3], 0)
        self._tries[told[:3]] = tries + 1
        if len(self._tries) > _TRIES_MAX:
            del self._tries[next(iter(self._tries))]
        wait_ns = min(AGAIN_NS << min(tries, 16), _AGAIN_MAX_NS)
        # A verdict is told anew after as many signals again, whatever waits here: one of them is enough to go on.
        self._not_done = [one for one in self._not_done if one[1][:3] != told[:3]]
        self._not_done.append((self.last_seq_ns + wait_ns, told))

    def _again(self) -> list[Told]:
        """What was not done and is to be tried again now."""
        due = [told for at_ns, told in self._not_done if self.last_seq_ns >= at_ns]
        self._not_done = [one for one in self._not_done if self.last_seq_ns < one[0]]
        for told in due:
            if isinstance(told, Judged):
                self._comparisons.not_done(told)
        return [Unsettled(told) for told in due if isinstance(told, Alarmed)]

    def judge_now(self) -> list[Judged]:
        """Every challenger, as far as its figures go."""
        return self._comparisons.judge_now(self._tracks)

    def close(self) -> None:
        """The record has ended: what is known of challengers is kept for the next session."""
        self._admission.close()
        self._workshop.flush()
        self._comparisons.keep(self.records, self.last_seq_ns, self._stands, self._tracks, at_end=True)

    @property
    def _tracks(self) -> list[Track]:
        return [track for _, track in self._roster.all()]

    def _stands(self, key: Key) -> bool:
        """Whether a challenger still has the role that something is known of, and its champion was not replaced."""
        if self._registry is None:
            return True
        try:
            standings = self._registry.standings()
        except BundleError:
            return True  # damage is told by whoever needs it
        if any(standing.state_of(key[0]) == "retired" for standing in standings):
            return False
        return any(standing.state_of(key[1]) == key[2] for standing in standings)

    def figures(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Instrument, version and figures of everything that is watched; of challengers the verdict as of now."""
        verdicts = self._comparisons.verdicts(self._tracks)
        for instrument, track in self._roster.all():
            verdict = verdicts.get((track.version, track.role), "")
            yield instrument, track.version, track.figures() | ({"verdict": verdict} if verdict else {})

    def summary(self) -> dict[str, Any]:
        """How far the record was read, who is compared with whom, and what could not be watched."""
        return {
            "records": self.records,
            "upto_ns": self.last_seq_ns,
            "pairs": self._comparisons.plain(),
            "troubles": self.troubles,
        }

    @property
    def troubles(self) -> dict[str, str]:
        """What could not be watched or kept, and why."""
        kept = {"evidence": self._comparisons.trouble} if self._comparisons.trouble else {}
        paused = {"shadows": "not run: the record comes faster than it is watched"} if self._are_paused else {}
        return {**self._roster.troubles, **self._workshop.refused, **kept, **paused}


def _is_cleared(told: Judged | Alarmed, event: e.ModelAlarmed) -> bool:
    if isinstance(told, Judged) or told.model != event.model:
        return False
    return event.instrument in ("", told.instrument) and event.source in ("", told.source)
