"""Everything that is watched in one session: the record goes in, figures, alarms and verdicts come out.

Owns which versions are watched and who is compared with whom.  It reads no clock and asks nobody but the registry: what
it says depends on the record alone, apart from how long predictions take here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine import events as e
from engine.codec import Record
from engine.errors import BundleError, KestrelError
from engine.features import FeatureSpec
from engine.ports import Float32Array
from models.bundle import Bundle
from models.observer.maturing import Matured
from models.observer.paired import Paired
from models.observer.rebuilding import CoreOf, Rebuilding, Rows
from models.observer.rollout import RolloutRules, Verdict, judge
from models.observer.rules import WatchRules
from models.observer.shadows import Workshop, reasons_against, shadows_for
from models.observer.track import Track, reading_of, reading_of_facts
from models.observer.weighing import Weighing, is_mixture
from models.registry.store import STANDINGS, Registry

CHAMPION, CANARY, SHADOW = "champion", "canary", "shadow"
TRACKS_MAX: Final = 256
"""Versions on instruments that are watched at once; more are told and left out."""
_WINDOWS_KEPT: Final = 8
"""Of the rows whose predictions are made again, until they come (an answer may be computed off the loop)."""


class Alarmed(NamedTuple):
    """What the daemon is to be told, as ``engine.events.ModelAlarmed``."""

    instrument: str
    model: str
    source: str
    action: str
    factor: float
    text: str


class Weighed(NamedTuple):
    """Weights of a mixture's members, as ``engine.events.ModelWeighed``."""

    instrument: str
    model: str
    weights: tuple[float, ...]
    reason: str


class Judged(NamedTuple):
    """What the tests said of a challenger."""

    model: str
    champion: str
    role: str
    verdict: Verdict


class Observer:
    """``find`` loads a version that serves (raises ``BundleError``); ``registry`` None: there are no shadows.

    ``shadows``: versions that run as shadows whatever the registry says, to judge them on recorded sessions; ``pairs``:
    what was found of them in those before.
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
        shadows: tuple[Bundle, ...] = (),
        pairs: dict[tuple[str, str, str], Paired] | None = None,
    ) -> None:
        self._find = find
        self._workshop = workshop
        self._registry = None if registry is None else Registry(registry)
        self._rules = rules
        self._rollout = rollout
        self._given = shadows
        self._rebuilding = Rebuilding(core_of, self._on_row)
        self._tracks: dict[tuple[str, str], Track] = {}
        self._pairs = {} if pairs is None else pairs
        """By champion, challenger and its role: what a shadow showed is no figure of the canary that it became."""
        self._coming: dict[str, Rows] = {}
        """By instrument, of a model that is offered and serves when they are warm."""
        self._windows: dict[int, OrderedDict[int, Float32Array]] = {}
        self._stamp: tuple[tuple[str, int], ...] | None = None
        self._number = 0
        self.records = 0
        self.last_seq_ns = 0
        """Receive time of the last record."""
        self.troubles: dict[str, str] = {}
        """What could not be watched, and why; bounded as tracks are."""

    # --- the record -------------------------------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        """The next record, input or derived."""
        self.records += 1
        self.last_seq_ns = record.ts_recv_ns if isinstance(record, e.Event) else self.last_seq_ns
        if type(record) is e.Prediction:
            self._on_prediction(record)
        elif type(record) is e.ModelAssigned:
            self._on_assigned(record)
        elif type(record) is e.ModelOffered:
            self._on_offered(record)
            self._drop_pairs()
        elif type(record) is e.ModelAlarmed:
            if (track := self._tracks.get((record.instrument, record.model))) is not None:
                track.on_alarm(record.source, record.action)
        else:
            self._number += 1
            if self._rebuilding.take(record):
                if type(record) is e.InstrumentDefined:
                    self._begin_shadows(record.definition.id)
                elif isinstance(record, e.Quote | e.BookDelta | e.BookSnapshot):
                    self._on_prices(record.instrument)

    def _on_assigned(self, event: e.ModelAssigned) -> None:
        """Who serves from here on.  What was known of another champion's challengers was against that one."""
        before = self._champion(event.instrument)
        if before is not None and before.version != event.model:
            del self._tracks[event.instrument, before.version]
        self._coming.pop(event.instrument, None)
        if event.model and (before is None or before.version != event.model):
            self._watch(event.instrument, event.model, CHAMPION, event.spec, event.facts)
        self._tidy(event.instrument)

    def _on_offered(self, event: e.ModelOffered) -> None:
        """Rows of a model that comes begin with its offer, as in the core: it serves when they are warm."""
        known = self._tracks.get((event.instrument, event.model))
        if event.role == CANARY:
            for track in [one for one in self._of(event.instrument) if one.role == CANARY]:
                del self._tracks[event.instrument, track.version]
        if not event.model or (known is not None and known.role == CHAMPION):
            return
        if event.role == CANARY:
            self._watch(event.instrument, event.model, CANARY, event.spec, event.facts)
            return
        try:
            self._coming[event.instrument] = self._rebuilding.add(event.instrument, FeatureSpec.from_json(event.spec))
        except KestrelError as error:
            self._trouble(event.instrument, event.model, error)

    def _watch(
        self, instrument: str, version: str, role: str, spec: str, facts: tuple[tuple[str, float], ...]
    ) -> Track | None:
        """A version that the session serves."""
        bundle: Bundle | None = None
        try:
            # A mixture is no bundle: the record tells what is to be known of it.
            bundle = None if is_mixture(facts) else self._find(version)
        except BundleError as error:
            self._trouble(instrument, version, error)
        reading = reading_of(bundle.manifest) if bundle is not None else reading_of_facts(facts)
        if reading is None:
            return None
        try:
            rows = self._rebuilding.add(instrument, FeatureSpec.from_json(spec))
        except KestrelError as error:
            self._trouble(instrument, version, error)
            return None
        made = Track(
            version, role, rows, reading, self._rules, fee_bps=self._fee_bps(instrument), bundle=bundle
        )  # fmt: skip
        made.weighing = Weighing.of(facts, reading.direction)
        return self._enter(instrument, made)

    def _enter(self, instrument: str, track: Track) -> Track | None:
        if len(self._tracks) >= TRACKS_MAX:
            self.troubles["more"] = f"more than {TRACKS_MAX} versions on instruments are not watched"
            return None
        self._tracks[instrument, track.version] = track
        return track

    def _trouble(self, instrument: str, version: str, error: KestrelError) -> None:
        if len(self.troubles) < TRACKS_MAX:
            self.troubles[f"{version} on {instrument}"] = str(error)

    def _fee_bps(self, instrument: str) -> float:
        known = self._rebuilding.instrument(instrument)
        return 0.0 if known is None else 1e4 * float(known.taker_fee_rate)

    def _of(self, instrument: str) -> Iterator[Track]:
        return (track for (name, _), track in self._tracks.items() if name == instrument)

    def _champion(self, instrument: str) -> Track | None:
        return next((track for track in self._of(instrument) if track.role == CHAMPION), None)

    def _tidy(self, instrument: str) -> None:
        """Rows that nobody reads any more are forgotten; pairs of those who are no more what they were too."""
        wanted = [track.rows for track in self._of(instrument)]
        if instrument in self._coming:
            wanted.append(self._coming[instrument])
        self._rebuilding.keep_only(instrument, wanted)
        self._drop_pairs()
        held = {id(track.rows) for track in self._tracks.values()}
        self._windows = {key: windows for key, windows in self._windows.items() if key in held}

    def _drop_pairs(self) -> None:
        """Of champions that are none any more, and of challengers that left or have another role."""
        if not self._given:
            roles = {(track.version, track.role) for track in self._tracks.values()}
            self._pairs = {
                key: pair for key, pair in self._pairs.items() if (key[0], CHAMPION) in roles and key[1:] in roles
            }

    # --- predictions and what becomes of them -----------------------------------------------------------------------

    def _on_row(self, rows: Rows) -> None:
        row, window = rows.count - 1, rows.buffer.window()
        tracks = [track for track in self._of(rows.instrument) if track.rows is rows]
        for track in tracks:
            for matured in track.mature():
                self._pair(track, matured)
            track.on_row(window)
        if row % self._rules.skew_every == 0 and any(track.role != SHADOW for track in tracks):
            kept = self._windows.setdefault(id(rows), OrderedDict())
            kept[row] = window.copy()
            if len(kept) > _WINDOWS_KEPT:
                kept.popitem(last=False)
        for track in tracks:
            if track.role == SHADOW and track.bundle is not None:
                self._run_shadow(track, row, window)

    def _run_shadow(self, track: Track, row: int, window: Float32Array) -> None:
        assert track.bundle is not None
        rows = track.rows
        try:
            model = self._workshop.model(track.bundle)
        except BundleError as error:
            self._trouble(rows.instrument, track.version, error)
            del self._tracks[rows.instrument, track.version]
            self._drop_pairs()
            return
        prediction, took_ns = self._workshop.run(model, rows.instrument, window, rows.ts_event_ns, rows.ts_recv_ns)
        track.outcomes.add_latency(took_ns)
        track.on_prediction(prediction, row, self._number)
        self._workshop.keep(prediction)

    def _on_prediction(self, live: e.Prediction) -> None:
        """What a model that serves said."""
        track = self._tracks.get((live.instrument, live.model))
        if track is None or track.role == SHADOW:
            return
        rows = track.rows
        row = rows.find(live.ts_event_ns, live.ts_recv_ns)
        track.on_prediction(live, row, self._number)
        kept = self._windows.get(id(rows))
        window = None if kept is None else kept.get(row)
        if window is None or track.bundle is None or not live.values:
            return
        try:
            model = self._workshop.model(track.bundle)
        except BundleError as error:
            self._trouble(live.instrument, live.model, error)
            return
        again, took_ns = self._workshop.run(model, live.instrument, window, live.ts_event_ns, live.ts_recv_ns)
        track.outcomes.add_latency(took_ns)
        track.compare(live, again, track.bundle.manifest.tolerance.outputs_abs)

    def _pair(self, track: Track, matured: Matured) -> None:
        """Losses of the same row of a champion and a challenger, when the later of the two is known."""
        for champion, challenger in self._opponents(track):
            other = challenger if track is champion else champion
            if other.rows is not track.rows:
                continue
            loss, theirs = track.loss_of(matured.row), other.loss_of(matured.row)
            if loss is None or theirs is None or other.reach != track.reach:
                continue
            ours, best = (theirs, loss) if track is champion else (loss, theirs)
            self._between(champion, challenger).lost(matured.ts_ns, ours, best, matured.label_ns)

    def _on_prices(self, instrument: str) -> None:
        lane = self._rebuilding.core.lanes.get(instrument)
        if lane is None or lane.top.suspect:
            return
        for track in list(self._of(instrument)):
            ended = track.on_prices(lane.top.bid_px, lane.top.ask_px, self._number)
            if ended is None:
                continue
            for champion, challenger in self._opponents(track):
                self._between(champion, challenger).won(*ended, challenger=track is challenger)

    def _opponents(self, track: Track) -> list[tuple[Track, Track]]:
        """The champion and a challenger on one instrument, of each pair that ``track`` is one of."""
        own = list(self._of(track.rows.instrument))
        if track.role == CHAMPION:
            return [(track, one) for one in own if one.role != CHAMPION]
        return [(one, track) for one in own if one.role == CHAMPION]

    def _between(self, champion: Track, challenger: Track) -> Paired:
        key = champion.version, challenger.version, challenger.role
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = Paired(int(self._rollout.span_s * 1e9))
        return pair

    # --- shadows ----------------------------------------------------------------------------------------------------

    def _begin_shadows(self, instrument: str) -> None:
        """As the registry has them now, and those that were given."""
        known = self._rebuilding.instrument(instrument)
        if known is None:
            return
        wanted = {bundle.version: bundle for bundle in self._given}
        try:
            names = [] if self._registry is None else shadows_for(self._registry, known)
        except BundleError as error:
            self._trouble(instrument, "shadows", error)
            return
        for version in names:
            if version in self._workshop.refused:
                self.troubles[f"{version} on {instrument}"] = self._workshop.refused[version]
                continue
            try:
                wanted.setdefault(version, self._workshop.load(version))
            except BundleError as error:
                self._trouble(instrument, version, error)
        for track in [one for one in self._of(instrument) if one.role == SHADOW and one.version not in wanted]:
            del self._tracks[instrument, track.version]
        for version, bundle in wanted.items():
            if (instrument, version) in self._tracks or reasons_against(bundle, known):
                continue
            try:
                rows = self._rebuilding.add(instrument, bundle.spec)
            except KestrelError as error:
                self._trouble(instrument, version, error)
                continue
            reading, fee_bps = reading_of(bundle.manifest), self._fee_bps(instrument)
            self._enter(
                instrument,
                Track(version, SHADOW, rows, reading, self._rules, fee_bps=fee_bps, bundle=bundle),
            )
        self._drop_pairs()

    def look(self, *, caught_up: bool = True) -> list[Alarmed | Judged | Weighed]:
        """To be called from time to time: shadows that came and went, and what has to be told.

        ``caught_up``: the end of the record was reached.  Until then no alarm is told: one that stands in what was read
        may be cleared in what comes.
        """
        self._follow_registry()
        self._workshop.flush()
        told: list[Alarmed | Judged | Weighed] = []
        for (instrument, version), track in self._tracks.items():
            if not caught_up:
                continue
            if track.role != SHADOW:
                told += [
                    Alarmed(instrument, version, source, action, self._rules.factor, text)
                    for source, action, text in track.alarm_changes()
                ]
            if track.weighing is not None and (weights := track.weighing.due()):
                reason = f"losses of the last {track.weighing.rows} rows"
                told.append(Weighed(instrument, version, weights, reason))
        for key, pair in self._pairs.items():
            if pair.signals >= self._rollout.signals_min:
                told.append(self._judge(*key, pair))
                pair.clear()
        return told

    def judge_now(self) -> list[Judged]:
        """Every challenger, as far as its figures go."""
        return [self._judge(*key, pair) for key, pair in self._pairs.items()]

    def _judge(self, champion: str, challenger: str, role: str, pair: Paired) -> Judged:
        """The figures of all instruments together; calibration and latency are the worst of them."""
        ours = [track for (_, version), track in self._tracks.items() if (version, track.role) == (challenger, role)]
        theirs = [track for (_, version), track in self._tracks.items() if version == champion]
        verdict = judge(
            pair,
            self._rollout,
            ece=_worst([track.outcomes.calibration_error() for track in ours]),
            champion_ece=_worst([track.outcomes.calibration_error() for track in theirs]),
            latency_p99_us=_worst([track.outcomes.latency_us(0.99) for track in ours]),
        )
        return Judged(challenger, champion, role, verdict)

    def _follow_registry(self) -> None:
        """Looked at again when a standing was changed: each change replaces a file."""
        if self._registry is None:
            return
        try:
            files = sorted((self._registry.root / STANDINGS).glob("*.json"))
            stamp = tuple((path.name, path.stat().st_mtime_ns) for path in files)
        except OSError:
            return
        if stamp == self._stamp:
            return
        self._stamp = stamp
        for instrument in self._rebuilding.instruments:
            self._begin_shadows(instrument.id)
            self._tidy(instrument.id)

    # --- what is told -----------------------------------------------------------------------------------------------

    def figures(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Instrument, version and figures of everything that is watched."""
        for (instrument, version), track in self._tracks.items():
            yield instrument, version, track.figures()

    def summary(self) -> dict[str, Any]:
        """How far the record was read, who is compared with whom, and what could not be watched."""
        return {
            "records": self.records,
            "upto_ns": self.last_seq_ns,
            "pairs": self.pairs(),
            "troubles": {**self.troubles, **self._workshop.refused},
        }

    def pairs(self) -> dict[str, dict[str, float]]:
        """By challenger with its role, and champion: rows of both, signals with an outcome."""
        return {
            f"{challenger} ({role}) beside {champion}": {"rows": pair.rows, "signals": pair.signals}
            for (champion, challenger, role), pair in self._pairs.items()
        }


def _worst(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None
