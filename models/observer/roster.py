"""Who is watched on which instrument, and as what: by the record those who serve, by the registry the shadows.

Owns the tracks and the rows that they need.  What becomes of their predictions is ``models.observer.observer``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from engine import events as e
from engine.errors import BundleError, KestrelError
from engine.features import FeatureSpec
from engine.instruments import Instrument
from models.bundle import Bundle
from models.observer.admission import Admission
from models.observer.readings import Traded, reading_of, reading_of_facts
from models.observer.rebuilding import Rebuilding, Rows
from models.observer.rules import WatchRules
from models.observer.shadows import Workshop, reasons_against
from models.observer.track import CANARY, CHAMPION, OLDER, SHADOW, Track
from models.observer.weighing import Weighing, is_mixture
from models.registry.standing import Scope, Standing
from models.registry.store import STANDINGS, Registry

TRACKS_MAX: Final = 512
"""Versions on instruments that are watched at once; more are told and left out."""
_Stamp = tuple[tuple[str, int, int], ...]
_GONE: Final = "gone"
"""As ``engine.seats`` has it: a model that left its seat, or was refused one."""


class Roster:
    """``find`` loads a version that serves (raises ``BundleError``); ``registry`` None: there are no shadows.

    ``given``: versions that run as shadows whatever the registry says.  ``now_ns``: the record's time.
    ``traded``: what strategies trade on there.
    """

    def __init__(
        self,
        rebuilding: Rebuilding,
        *,
        find: Callable[[str], Bundle],
        workshop: Workshop,
        registry: Path | None,
        rules: WatchRules,
        given: tuple[Bundle, ...],
        admission: Admission,
        now_ns: Callable[[], int],
        traded: Callable[[Instrument], Traded],
    ) -> None:
        self._rebuilding = rebuilding
        self._find = find
        self._workshop = workshop
        self._registry = None if registry is None else Registry(registry)
        self._rules = rules
        self._given = given
        self._tracks: dict[str, dict[str, Track]] = {}
        """By instrument and version."""
        self._found: dict[str, Bundle] = {}
        """Versions that serve; on many instruments one bundle in memory."""
        self._coming: dict[str, tuple[str, Rows]] = {}
        """By instrument: a version that is offered, and its rows; it serves when they are warm."""
        self._offered: dict[tuple[str, str], e.ModelOffered] = {}
        """By instrument and role beside the champion's: whom the core has not said yet that it seats."""
        self._admission = admission
        self._now_ns = now_ns
        self._traded = traded
        self._wanted: dict[str, set[str]] = {}
        """By instrument: the shadows that the registry has there, whether they run or not."""
        self._waiting: set[str] = set()
        """Instruments with shadows that are being checked, or will be again."""
        self._standings: list[Standing] = []
        self._damaged: list[tuple[Scope | None, BundleError]] = []
        self._read_at: _Stamp | None = None
        """What the registry's files were when they were read."""
        self._followed: _Stamp | None = None
        """And when shadows were begun by them on every instrument."""
        self.troubles: dict[str, str] = {}
        """What could not be watched, and why; bounded as tracks are."""

    # --- who is watched ---------------------------------------------------------------------------------------------

    def of(self, instrument: str) -> list[Track]:
        return list(self._tracks.get(instrument, {}).values())

    def all(self) -> Iterator[tuple[str, Track]]:
        """Instrument and track."""
        return ((instrument, track) for instrument, held in self._tracks.items() for track in held.values())

    def get(self, instrument: str, version: str) -> Track | None:
        return self._tracks.get(instrument, {}).get(version)

    def champion(self, instrument: str) -> Track | None:
        return next((track for track in self.of(instrument) if track.role == CHAMPION), None)

    def opponents(self, track: Track) -> list[tuple[Track, Track]]:
        """The champion and a challenger on one instrument, of each pair that ``track`` is one of."""
        own = self.of(track.rows.instrument)
        if track.role == CHAMPION:
            return [(track, one) for one in own if one.role in (CANARY, SHADOW)]
        if track.role == OLDER:
            return []
        return [(one, track) for one in own if one.role == CHAMPION]

    def roles(self) -> set[tuple[str, str]]:
        """Version and role of everything that is watched."""
        return {(track.version, track.role) for _, track in self.all()}

    def rows(self) -> list[Rows]:
        """That somebody reads."""
        return [track.rows for _, track in self.all()]

    # --- the record -------------------------------------------------------------------------------------------------

    def on_assigned(self, event: e.ModelAssigned) -> None:
        """Who serves from here on."""
        before = self.champion(event.instrument)
        if before is not None and before.version != event.model:
            self._drop(event.instrument, before)
        self._coming.pop(event.instrument, None)
        if event.model and (before is None or before.version != event.model):
            self._watch(event.instrument, event.model, CHAMPION, event.spec, event.facts)
        self._tidy(event.instrument)

    def on_offered(self, event: e.ModelOffered) -> None:
        """Rows of a champion that comes begin with its offer, as in the core: it serves when they are warm.  Who is to
        stand beside it is watched from the standing on that the core makes of the offer, or is refused."""
        known = self.get(event.instrument, event.model)
        if known is not None and known.role in (CHAMPION, event.role):
            return
        if event.role in (CANARY, OLDER):
            self._offered.pop((event.instrument, event.role), None)
            if event.model:
                self._offered[event.instrument, event.role] = event
        elif event.model:
            try:
                rows = self._rebuilding.add(event.instrument, FeatureSpec.from_json(event.spec))
                self._coming[event.instrument] = event.model, rows
            except KestrelError as error:
                self.note(event.instrument, event.model, str(error))
        self._tidy(event.instrument)

    def on_standing(self, event: e.ModelStanding) -> None:
        """Who was offered has its seat, or was refused it; who has left one has it no more."""
        offered = self._offered.get((event.instrument, event.role))
        if offered is not None and offered.model == event.model:
            del self._offered[event.instrument, event.role]
            if event.state != _GONE:
                self._watch(event.instrument, offered.model, event.role, offered.spec, offered.facts)
                self._note_standing(event)
                self._tidy(event.instrument)
            return
        if event.state != _GONE:
            self._note_standing(event)
            return
        track = self.get(event.instrument, event.model)
        coming = self._coming.get(event.instrument)
        if event.role == CHAMPION and coming is not None and coming[0] == event.model:
            del self._coming[event.instrument]
        elif track is not None and track.role == event.role != CHAMPION:
            self._drop(event.instrument, track)
            self.begin_shadows(event.instrument)
        else:
            return
        self._tidy(event.instrument)

    def _note_standing(self, event: e.ModelStanding) -> None:
        track = self.get(event.instrument, event.model)
        if track is not None and track.role == event.role:
            track.on_standing(event.state, event.factor, event.reason, event.ts_recv_ns)

    def _watch(self, instrument: str, version: str, role: str, spec: str, facts: tuple[tuple[str, float], ...]) -> None:
        """A version that the session serves."""
        bundle: Bundle | None = None
        try:
            # A mixture is no bundle: the record tells what is to be known of it.
            bundle = None if is_mixture(facts) else self._bundle_of(version)
        except BundleError as error:
            self.note(instrument, version, str(error))
        traded = self._traded_on(instrument)
        reading = reading_of(bundle.manifest, traded) if bundle is not None else reading_of_facts(facts, traded)
        if reading is None:
            return
        try:
            rows = self._rebuilding.add(instrument, FeatureSpec.from_json(spec))
        except KestrelError as error:
            self.note(instrument, version, str(error))
            return
        fee_bps = self._fee_bps(instrument)
        made = Track(version, role, rows, reading, self._rules, fee_bps=fee_bps, bundle=bundle)
        made.weighing = Weighing.of(facts, reading.place)
        self._enter(instrument, made)

    def _traded_on(self, instrument: str) -> Traded:
        known = self._rebuilding.instrument(instrument)
        return Traded() if known is None else self._traded(known)

    def _bundle_of(self, version: str) -> Bundle:
        found = self._found.get(version)
        if found is None:
            found = self._found[version] = self._find(version)
        return found

    def _enter(self, instrument: str, track: Track) -> None:
        if sum(map(len, self._tracks.values())) >= TRACKS_MAX:
            self.troubles["more"] = f"more than {TRACKS_MAX} versions on instruments are not watched"
            return
        self._tracks.setdefault(instrument, {})[track.version] = track
        if track.bundle is not None:
            self._forget(instrument, track.version)

    def _drop(self, instrument: str, track: Track) -> None:
        del self._tracks[instrument][track.version]

    def note(self, instrument: str, version: str, why: str) -> None:
        """Something of a version cannot be watched.  Of too many the oldest is let go: it is of months ago."""
        self._forget(instrument, version)
        self.troubles[f"{version} on {instrument}"] = why
        if len(self.troubles) > TRACKS_MAX:
            del self.troubles[next(iter(self.troubles))]

    def _forget(self, instrument: str, version: str) -> None:
        """Nothing is the matter with it any more."""
        self.troubles.pop(f"{version} on {instrument}", None)

    def _fee_bps(self, instrument: str) -> float:
        """Of a consolidated price, which nobody trades at, the dearest member's."""
        traded = self._rebuilding.members_of(instrument) or (instrument,)
        known = [self._rebuilding.instrument(one) for one in traded]
        return max([1e4 * float(one.taker_fee_rate) for one in known if one is not None], default=0.0)

    def _tidy(self, instrument: str) -> None:
        """Rows that nobody reads any more are forgotten, and versions that nobody is."""
        wanted = [track.rows for track in self.of(instrument)]
        if instrument in self._coming:
            wanted.append(self._coming[instrument][1])
        self._rebuilding.keep_only(instrument, wanted)
        versions = {version for version, _ in self.roles()}
        self._found = {version: bundle for version, bundle in self._found.items() if version in versions}
        versions.update(*self._wanted.values())
        self._workshop.keep_only(versions)
        self._admission.keep_only(versions)

    # --- shadows ----------------------------------------------------------------------------------------------------

    def begin_shadows(self, instrument: str) -> None:
        """As the registry has them now, and those that were given."""
        known = self._rebuilding.instrument(instrument)
        if known is None:
            return
        wanted = {bundle.version: bundle for bundle in self._given}
        try:
            names = self._shadows_of(known)
        except BundleError as error:
            self.note(instrument, "shadows", str(error))
            return
        self._forget(instrument, "shadows")
        for version in self._wanted.get(instrument, set()).difference(names, wanted):
            self._forget(instrument, version)
        self._wanted[instrument] = {*names, *wanted}
        self._waiting.discard(instrument)
        for version in names:
            if version in self._workshop.refused:
                self.note(instrument, version, self._workshop.refused[version])
                continue
            try:
                wanted.setdefault(version, self._workshop.load(version))
            except BundleError as error:
                self.note(instrument, version, str(error))
        for track in [one for one in self.of(instrument) if one.role == SHADOW and one.version not in wanted]:
            self._drop(instrument, track)
        for version, bundle in wanted.items():
            if self.get(instrument, version) is not None or reasons_against(bundle, known):
                continue
            if not self._may_run(instrument, bundle):
                continue
            try:
                rows = self._rebuilding.add(instrument, bundle.spec)
            except KestrelError as error:
                self.note(instrument, version, str(error))
                continue
            fee_bps, reading = self._fee_bps(instrument), reading_of(bundle.manifest, self._traded(known))
            self._enter(instrument, Track(version, SHADOW, rows, reading, self._rules, fee_bps=fee_bps, bundle=bundle))

    def _read_standings(self) -> None:
        """Where a file has changed since."""
        if self._registry is None:
            return
        try:
            files = sorted((self._registry.root / STANDINGS).glob("*.json"))
            # Each change is a file of its own; times alone are too coarse for two changes in a row.
            stamp = tuple((path.name, about.st_mtime_ns, about.st_ino) for path in files if (about := path.stat()))
        except OSError:
            return
        if stamp != self._read_at:
            self._standings, self._damaged = self._registry.sorted_out()
            self._read_at = stamp

    def _shadows_of(self, instrument: Instrument) -> list[str]:
        """Versions that are shadow of a scope which covers it.  Raises ``BundleError`` where such a file is damaged."""
        self._read_standings()
        for scope, error in self._damaged:
            if scope is None or scope.covers(instrument):
                raise error
        covering = [one for one in self._standings if one.scope.covers(instrument)]
        return [version for standing in covering for version in standing.shadow]

    def _may_run(self, instrument: str, bundle: Bundle) -> bool:
        """As the daemon checks who is to serve: who would crash it, or is too slow for it, is no shadow."""
        checked = self._admission.ask(bundle, self._now_ns())
        if checked is None or checked.passing:
            self._waiting.add(instrument)
        if checked is None:
            return False
        if checked.problem:
            self.note(instrument, bundle.version, checked.problem)
        return not checked.problem

    def go_on(self) -> bool:
        """Shadows that were checked meanwhile begin, and canaries are checked: their verdict asks for what they take.
        Whether there was a shadow to look at."""
        waiting = sorted(self._waiting)
        for instrument in waiting:
            self.begin_shadows(instrument)
        for _, track in self.all():
            if track.role == CANARY and track.bundle is not None:
                self._admission.ask(track.bundle, self._now_ns())
        return bool(waiting)

    def end_shadow(self, version: str, why: str) -> None:
        """It is not run any more, on no instrument."""
        for instrument, track in list(self.all()):
            if track.version == version and track.role == SHADOW:
                self._drop(instrument, track)
                self.note(instrument, version, why)
                self._tidy(instrument)

    def follow_registry(self) -> bool:
        """Looked at again when a standing was changed: each change replaces a file.  Whether it was."""
        self._read_standings()
        if self._read_at == self._followed:
            return False
        self._followed = self._read_at
        for instrument in self._rebuilding.instruments:
            self.begin_shadows(instrument.id)
            self._tidy(instrument.id)
        return True
