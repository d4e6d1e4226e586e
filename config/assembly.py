"""Features and models as configured: which bundle and which feature spec serve an instrument."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import numpy as np

from config.asked import asked_model, asked_outputs, listens
from config.feature_specs import plain_spec
from config.mixtures import Mixtures
from config.schema import Settings
from engine.errors import BundleError, KestrelError
from engine.features import FeatureBuffer, FeatureSpec, load_columns
from engine.instruments import Instrument
from engine.ports import Assignment, Features, Model
from engine.seats import ASYNCHRONOUS, VACANT, has_members, is_vacant
from models.bundle import Bundle, load_bundle
from models.catalogue import AUTO, find_bundle, is_at_hand
from models.facts import facts_of
from models.life.roles import Followed
from models.mixture.mixture import Mixture
from models.mixture.model import MixtureModel
from models.mixture.spread import SpreadModel, spread_facts, spread_graph
from models.onnx_model import OnnxModel
from models.providers.absent import AbsentModel
from models.providers.graph import NoProviderError
from models.providers.order import providers_of
from models.refusals import refusing
from models.registry.champions import ChampionRefused, find_champion, find_retired
from models.registry.members import MemberRetired
from models.serving.off_loop import OffLoopModel, WarmModel
from models.serving.opening import OnProvider, OnScheduled, Opened, Opening
from models.serving.schedule import Schedule, measure_us, rows_coming
from models.serving.worker import Worker


class ConfiguredAssembly:
    """Implements ``engine.ports.Assembly`` from settings.  Bundles are opened once and shared by instruments.

    ``stopwatch`` returns nanoseconds; it times predictions against the deadline.  ``recorded``: what a session that is
    run again had on the instrument that is assigned next; where the registry has that version, it serves, whatever is
    champion by now.
    """

    def __init__(
        self,
        settings: Settings,
        stopwatch: Callable[[], int],
        original: ConfiguredAssembly | None = None,
        recorded: Callable[[], Assignment] = Assignment,
    ) -> None:
        self._settings = settings
        self._recorded = recorded
        self._is_rerun = recorded is not Assignment
        self._stopwatch = stopwatch
        if settings.features.columns_folder is not None and original is None:
            load_columns(settings.features.columns_folder)
        self._bundles: dict[str, Bundle] = {}
        self._models: dict[str, Opened] = {}
        self._specs: dict[str, FeatureSpec] = {}
        self._original = original
        self._followed: dict[str, Followed] = {}
        self._twins: list[ConfiguredAssembly] = []
        self._spreads: dict[str, SpreadModel] = {}
        mixtures = None if original is None else original._mixtures
        self._mixtures: Mixtures = Mixtures(settings, stopwatch, mixtures)
        models = settings.models
        self._in_time: set[str] = set()
        """Mixtures that keep the deadline on this machine."""
        self._opening = Opening(
            deadline_us=models.deadline_us,
            stopwatch=stopwatch,
            providers=providers_of(models.providers, models.engines),
            same_max=models.same_answers_max,
            schedule=models.schedule,
            by_step=models.by_step,
        )
        self._placed: dict[str, OnnxModel | SpreadModel | OffLoopModel | WarmModel] = {}

    def use(self, worker: Worker) -> None:
        """Models that are not for the loop run on ``worker``.  Before the first instrument is assigned."""
        self._opening.use(worker)

    def tell_schedules(self, tell: OnScheduled) -> None:
        """Where each version runs and why: of those that are placed, and of each that will be."""
        self._opening.tell_schedules(tell)

    def tell_providers(self, tell: OnProvider) -> None:
        """Of each version that another provider computes than was wanted, now and whenever one is lost."""
        self._opening.tell_providers(tell)

    def assign(self, instrument: Instrument, uses_model: bool) -> Assignment:
        if not any(listens(strategy, instrument) for strategy in self._settings.strategies):
            return Assignment()  # nobody reads features: a session that only watches, or the guardian alone
        if not uses_model:
            return Assignment(spec=plain_spec(self._settings.features, instrument).to_json().decode())
        name = asked_model(self._settings.strategies, instrument)
        if is_vacant(recorded := self._recorded()):
            return recorded
        if self._mixtures.knows(name):
            return self._assign_mixture(name, instrument)
        try:
            bundle = self._find(instrument, self._recorded_version() or name)
        except ChampionRefused:
            expired = self._expired(instrument) if name == AUTO else None
            if expired is None:
                raise
            bundle = expired
        except BundleError:
            vacant = self._vacant(instrument) if name == AUTO else None
            if vacant is None:
                raise
            return vacant
        if name == AUTO:
            self._followed[instrument.id] = Followed(instrument, bundle.version, self._outputs(instrument))
        return self._assignment(bundle)

    def _expired(self, instrument: Instrument) -> Bundle | None:
        """The champion, where nothing but its date is against it: it begins as expired and stands as it would in a
        session that runs, so that what is held can be left.  None for played files, of which nothing is held."""
        models = self._settings.models
        if self._settings.venue.feed == "replay":
            return None
        try:
            return find_champion(models.registry, instrument, now_ns=0, outputs=self._outputs(instrument))
        except BundleError:
            return None

    def _vacant(self, instrument: Instrument) -> Assignment | None:
        """What nobody serves since the registry's champion was taken away: its features go on, as in a session that
        runs, for strategies that read them, and whoever is promoted is followed.  None where it never had one, and for
        played files, of which nothing is held."""
        models, outputs = self._settings.models, self._outputs(instrument)
        if self._settings.venue.feed == "replay" or not models.directory.is_dir():
            return None
        retired = find_retired(models.registry, instrument, outputs)
        if retired is None:
            return None
        self._followed[instrument.id] = Followed(instrument, "", outputs)
        return Assignment(spec=retired.spec.to_json().decode(), facts=((VACANT, 1.0),))

    def _assign_mixture(self, name: str, instrument: Instrument) -> Assignment:
        outputs, recorded, members = self._outputs(instrument), self._recorded(), self._mixtures.follows(name)
        if has_members(recorded) and recorded.model.partition("@")[0] == name:
            mixture = self._mixtures.recorded(recorded, instrument, outputs)
        else:
            try:
                mixture = self._find_mixture(name, instrument, outputs)
            except MemberRetired:
                spec = self._mixtures.spec_left(name, instrument, outputs)
                if spec is None or self._settings.venue.feed == "replay":
                    raise
                self._followed[instrument.id] = Followed(instrument, "", outputs, name, members)
                return Assignment(spec=spec.to_json().decode(), facts=((VACANT, 1.0),))
        if members:
            self._followed[instrument.id] = Followed(instrument, mixture.version, outputs, name, members)
        return self._mixtures.assignment(mixture, instrument.id)

    def _find_mixture(self, name: str, instrument: Instrument, outputs: frozenset[str]) -> Mixture:
        """Where nothing but a date is against it, it begins as expired; not for played files.  Raises as
        ``Mixtures.find`` does."""
        try:
            return self._mixtures.find(name, instrument, outputs)
        except ChampionRefused:
            if self._settings.venue.feed == "replay":
                raise
        return self._mixtures.find(name, instrument, outputs, partial(load_bundle, now_ns=0))

    def _assignment(self, bundle: Bundle) -> Assignment:
        self._bundles[bundle.version] = bundle
        with refusing(bundle.version):
            facts = facts_of(bundle.manifest)
        if self._has_spread(bundle):
            facts = (*facts, *spread_facts(bundle))
        if self._opening.has_worker and isinstance(self._served(bundle), OffLoopModel):
            facts = (*facts, (ASYNCHRONOUS, 1.0))
        return Assignment(bundle.version, bundle.spec.to_json().decode(), facts)

    def features(self, instrument: Instrument, assignment: Assignment) -> Features | None:
        if not assignment.spec:
            return None
        spec = FeatureSpec.from_json(assignment.spec)
        self._specs[instrument.id] = spec
        return FeatureBuffer(spec, instrument)

    def history(self, instrument: str) -> tuple[int, int]:
        """Bar length (ns) and number of past bars that its features warm up from; ``(0, 0)`` without time bars."""
        spec = self._specs.get(instrument)
        if spec is None or spec.sampling.kind != "time_bar":
            return 0, 0
        return spec.sampling.interval_ns, spec.rows_to_warm

    def model(self, instrument: Instrument, assignment: Assignment) -> Model | None:
        """Opens the bundle that was assigned; raises ``BundleError`` when it is not the one at hand any more."""
        if not assignment.model:
            return None
        if has_members(assignment) and self._mixtures.knows(assignment.model.partition("@")[0]):
            served = self._mixtures.model(assignment, instrument, self._outputs(instrument), self._inline)
            self._schedule(served.mixture)
            return served
        bundle = self._bundles.get(assignment.model)
        if bundle is None and self._original is not None:
            bundle = self._original._bundles.get(assignment.model)
        if bundle is None:
            bundle = self._find(instrument, assignment.model)
        return self._served(bundle)

    def _has_spread(self, bundle: Bundle) -> bool:
        """The spread of its forecast is asked for, and it has a graph for it."""
        models = self._settings.models
        by_step = bundle.manifest.name in models.by_step
        return models.uncertainty and not by_step and spread_graph(bundle) is not None

    def _served(self, bundle: Bundle) -> Model:
        """Open as it serves: with the spread of its forecast, on the worker, or answering from the call."""
        model = self._inline(bundle)
        if not isinstance(model, OnnxModel):
            return model
        if not self._has_spread(bundle):
            return self._place(model)
        if self._original is not None and isinstance(self._original._placed.get(bundle.version), OffLoopModel):
            return self._place(model)  # on the worker with its spread: the twin only keeps that warm
        found = self._spreads.get(bundle.version)
        if found is None:
            original = None if self._original is None else self._original._spreads.get(bundle.version)
            found = self._spreads[bundle.version] = SpreadModel(
                model,
                deadline_us=None if original else self._settings.models.deadline_us,
                stopwatch=self._stopwatch,
                session=None if original is None else original.session,
            )
        return self._place(found)

    def _place(self, model: OnnxModel | SpreadModel) -> Model:
        """Where it is to run."""
        version = model.version
        placed = self._placed.get(version)
        if placed is None and self._original is not None:
            placed = self._original._placed.get(version)
            if isinstance(placed, OffLoopModel):
                placed = self._placed[version] = placed.twin()
            else:
                placed = model
        if placed is None:
            placed = model
            if self._opening.has_worker:
                placed = self._placed[version] = self._opening.place(model)
        return placed

    def _inline(self, bundle: Bundle) -> Opened:
        """The bundle open, answering from the call."""
        version = bundle.version
        self._bundles[version] = bundle
        model = self._models.get(version)
        if model is None and self._original is not None and version in self._original._models:
            model = self._models[version] = self._original._models[version].twin()
        if model is None:
            with refusing(version):
                model = self._models[version] = self._opening.open(bundle)
        return model

    # --- while a session runs (``models.life.watcher.Opener``, from its thread) -----------------------------------

    def following(self) -> list[Followed]:
        return list(self._followed.values())

    def is_open(self, version: str) -> bool:
        return version in self._models

    def open(self, bundle: Bundle) -> Assignment:
        """Opens what will be offered, so that ``model`` has it at hand.  Raises ``BundleError``."""
        version = bundle.version
        if version in self._models:
            self._open_twins(bundle)
            return self._assignment(bundle)
        try:
            with refusing(version):
                model = self._opening.open(bundle)
                if isinstance(model, AbsentModel):
                    raise NoProviderError(model.text, do="whoever serves goes on")
                self._models[version] = model
                self._served(bundle)
                self._open_twins(bundle)
                return self._assignment(bundle)
        except KestrelError:
            for each in (self, *self._twins):
                for held in (each._models, each._bundles, each._spreads, each._placed):
                    held.pop(version, None)  # half open it would be taken for one that may serve
            raise

    def mixture(self, followed: Followed, load: Callable[[Path], Bundle]) -> Mixture | None:
        return self._mixtures.follow(followed, load)

    def open_mixture(self, mixture: Mixture, instrument: str) -> Assignment:
        """Its members answer from the call, one after the other, and are held to the deadline together."""
        for bundle in mixture.members:
            if bundle.version not in self._models:
                self._open_member(bundle)
            for twin in self._twins:
                twin._inline(bundle)
        if mixture.version not in self._in_time:
            self._schedule(mixture, self._check_time(mixture))
            self._in_time.add(mixture.version)
        return self._mixtures.assignment(mixture, instrument)

    def _open_member(self, bundle: Bundle) -> None:
        with refusing(bundle.version):
            model = self._opening.open(bundle)
        if isinstance(model, AbsentModel):
            raise NoProviderError(model.text, do="whoever serves goes on")
        self._bundles[bundle.version], self._models[bundle.version] = bundle, model

    def _schedule(self, mixture: Mixture, time_us: float | None = None) -> None:
        """In the loop, whatever its members take: how long that is, is told like that of any version.  ``time_us``: as
        measured; None: to be measured here, as of one that a session begins with."""
        if self._original is not None or not self._opening.has_worker or mixture.version in self._opening.schedules:
            return
        time_us = self._time_of(mixture) if time_us is None else time_us
        self._opening.note(mixture.version, Schedule(False, time_us, f"a mixture; its members take {time_us:.0f} us"))

    def _time_of(self, mixture: Mixture) -> float:
        """Of one prediction, us, on buffers of its own: those of the members may be those of one that serves."""
        longest = max(mixture.members, key=lambda member: member.spec.window)
        shape = (longest.spec.window, len(longest.spec.columns))
        windows = rows_coming(np.frombuffer(longest.golden.window, "<f4").reshape(shape))
        twins = [self._models[bundle.version].twin() for bundle in mixture.members]
        tried = MixtureModel(mixture, twins, deadline_us=None, stopwatch=self._stopwatch)
        return measure_us(lambda: tried.predict(longest.golden.instrument.id, next(windows), 1, 1))

    def _check_time(self, mixture: Mixture) -> float:
        """As ``_time_of``.  Raises ``NoProviderError`` where all of it takes longer than it may."""
        time_us, deadline_us = self._time_of(mixture), self._settings.models.deadline_us
        if time_us > deadline_us:
            raise NoProviderError(
                f"the members of {mixture.version} take {time_us:.0f} us together here",
                expected=f"at most models.deadline_us ({deadline_us:g})",
                do="whoever serves goes on",
            )
        return time_us

    def _open_twins(self, bundle: Bundle) -> None:
        """Buffers of their own, which a provider may compile or capture for: the loop would wait for that."""
        for twin in self._twins:
            twin._served(bundle)

    def keep(self, versions: Collection[str]) -> None:
        """Lets go of all other models: a session of months has many.  Whoever still serves is kept by its seat."""
        versions = self._mixtures.keep(versions)
        self._in_time &= versions
        for each in (self, *self._twins):
            # Replaced as a whole: the loop may be looking one up.
            each._models = {version: model for version, model in each._models.items() if version in versions}
            each._bundles = {version: bundle for version, bundle in each._bundles.items() if version in versions}
            each._spreads = {version: model for version, model in each._spreads.items() if version in versions}
            each._placed = {version: model for version, model in each._placed.items() if version in versions}

    # --- beside it ------------------------------------------------------------------------------------------------

    def twin(self) -> ConfiguredAssembly:
        """The same choices and weights with counters of its own: for a core that must leave no trace in this one."""
        twin = ConfiguredAssembly(self._settings, self._stopwatch, self)
        self._twins.append(twin)
        return twin

    def tolerance(self) -> float:
        """Largest allowed difference of a recomputed prediction on another machine."""
        tolerances = [bundle.manifest.tolerance.outputs_abs for bundle in self._bundles.values()]
        return max(tolerances, default=0.0)

    @property
    def models(self) -> list[Opened]:
        return list(self._models.values())

    def _recorded_version(self) -> str:
        version, models = self._recorded().model, self._settings.models
        return version if is_at_hand(models.directory, version, models.registry) else ""

    def _find(self, instrument: Instrument, name: str) -> Bundle:
        models, outputs = self._settings.models, self._outputs(instrument)
        # Versions that are run again were not too old in their time.
        now_ns = 0 if self._is_rerun and name != AUTO else None
        with refusing(name):
            return find_bundle(
                models.directory, instrument, name, registry=models.registry, now_ns=now_ns, outputs=outputs
            )

    def _outputs(self, instrument: Instrument) -> frozenset[str]:
        return asked_outputs(self._settings.strategies, instrument)
