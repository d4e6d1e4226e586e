"""The mixtures that the settings name, as they are served: found for an instrument, and opened for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path

from config.mixture_schema import MixtureSettings
from config.schema import Settings
from engine.errors import BundleError, ConfigError, KestrelError
from engine.features import FeatureSpec
from engine.instruments import Instrument
from engine.ports import Assignment, Model
from models.bundle import Bundle, load_bundle
from models.catalogue import load_named
from models.life.roles import Followed
from models.mixture.learned import read_weights
from models.mixture.mixture import Mixture, members_told, mix
from models.mixture.model import MixtureModel
from models.registry.champions import ChampionRefused, find_retired
from models.registry.members import MemberRetired, find_member
from models.registry.store import VERSIONS


class Mixtures:
    """Of one session.  Members are opened by whoever has all models; each instrument has weights of its own.

    ``original``: of the assembly that this one is a twin of; what that one has found is found here too.
    """

    def __init__(self, settings: Settings, stopwatch: Callable[[], int], original: Mixtures | None = None) -> None:
        self._models = settings.models
        self._wanted = {mixture.name: mixture for mixture in settings.mixtures}
        self._stopwatch = stopwatch
        self._found: dict[str, Mixture] = {} if original is None else original._found
        self._serving: dict[str, MixtureModel] = {}
        """By instrument: what the core was given last."""

    def knows(self, name: str) -> bool:
        """Whether a strategy's ``model`` is a mixture."""
        return name in self._wanted

    def follows(self, name: str) -> tuple[str, ...]:
        """Members of which the registry says which version they are."""
        return tuple(member for member in self._wanted[name].members if "@" not in member)

    # --- which one --------------------------------------------------------------------------------------------------

    def find(
        self, name: str, instrument: Instrument, outputs: Collection[str], load: Callable[[Path], Bundle] = load_bundle
    ) -> Mixture:
        """As a start makes it: members without a version are those that the registry has promoted, else those of
        ``models.directory``.

        Raises ``BundleError`` or ``ConfigError`` when its members may not serve the instrument, or not together;
        ``MemberRetired`` before any other.
        """
        for place in (self._models.directory, self._models.registry / VERSIONS):
            if (place / name).is_dir():
                raise ConfigError(f"mixtures has {name}, and so has {place}", do="name the mixture otherwise")
        wanted = self._wanted[name]
        directory, registry = self._models.directory, self._models.registry
        members: list[Bundle] = []
        refused: KestrelError | None = None
        for one in wanted.members:
            try:
                members.append(find_member(directory, registry, instrument, one, load, outputs))
            except MemberRetired:
                raise  # whatever is wrong with another: who was taken away must not serve on
            except (BundleError, ConfigError) as error:
                refused = refused or error
        if refused is not None:
            raise refused
        return self._mixed(wanted, members)

    def spec_left(self, name: str, instrument: Instrument, outputs: Collection[str]) -> FeatureSpec | None:
        """Of the features that go on where a member was taken away: those of the members that are left, which read the
        same columns, else of the one that was taken away last; None where no file of theirs is at hand.  No date is
        held against them: they do not serve."""
        directory, registry = self._models.directory, self._models.registry
        load, specs = partial(load_bundle, now_ns=0), []
        for one in self._wanted[name].members:
            with suppress(BundleError):
                specs.append(find_member(directory, registry, instrument, one, load, outputs).spec)
        if not specs:
            names = [one.partition("@")[0] for one in self._wanted[name].members]
            retired = find_retired(registry, instrument, outputs, names)
            return None if retired is None else retired.spec
        return max(specs, key=lambda spec: spec.window, default=None)

    def follow(self, followed: Followed, load: Callable[[Path], Bundle]) -> Mixture | None:
        """See ``models.life.watcher.Opener.mixture``."""
        try:
            return self.find(followed.mixture, followed.instrument, followed.outputs, load)
        except MemberRetired:
            return None
        except ChampionRefused:
            raise
        except (BundleError, ConfigError) as error:  # a weights file that was removed, members that do not go together
            raise ChampionRefused(followed.mixture, str(error)) from None

    def recorded(self, assignment: Assignment, instrument: Instrument, outputs: Collection[str]) -> Mixture:
        """The one on record, of the very members that its facts name.  Raises ``BundleError`` where one is not at hand,
        ``ConfigError`` where the settings make another one of them."""
        found = self._found.get(assignment.model)
        if found is not None:
            return found
        directory, registry = self._models.directory, self._models.registry
        told = members_told(assignment.facts)  # on record: none was too old by then
        members = [load_named(directory, one, registry=registry, now_ns=0) for one in told]
        for member in members:
            member.check_instrument(instrument, outputs)
        mixture = self._mixed(self._wanted[assignment.model.partition("@")[0]], members)
        if mixture.version != assignment.model:
            raise ConfigError(
                f"the mixture {mixture.version} is configured", expected=assignment.model, do="restore its settings"
            )
        return mixture

    def _mixed(self, wanted: MixtureSettings, members: list[Bundle]) -> Mixture:
        mixture = mix(
            wanted.name,
            members,
            weights=wanted.weights,
            learned=None if wanted.weights_file is None else read_weights(wanted.weights_file),
            on_failure=wanted.on_failure,
            weight_least=wanted.weight_least,
            recent=wanted.weighing == "recent",
        )
        self._found[mixture.version] = mixture
        return mixture

    def keep(self, versions: Collection[str]) -> set[str]:
        """Forget the others; returns those that are kept, with their members."""
        kept = {*versions, *(model.version for model in list(self._serving.values()))}
        for version in [one for one in self._found if one not in kept]:
            self._found.pop(version, None)
        return {*versions, *(member for one in list(self._found.values()) for member in one.versions)}

    # --- as it serves -----------------------------------------------------------------------------------------------

    def assignment(self, mixture: Mixture, instrument: str) -> Assignment:
        """To serve the instrument from now on: where weights follow what members lost lately, members that stay keep
        theirs."""
        weights, before = mixture.weights, self._serving.get(instrument)
        if self._wanted[mixture.name].weighing == "recent" and before is not None:
            weights = mixture.weights_after(dict(zip(before.mixture.versions, before.weights, strict=True)))
        return Assignment(mixture.version, mixture.spec.to_json().decode(), mixture.beginning_with(weights))

    def model(
        self,
        assignment: Assignment,
        instrument: Instrument,
        outputs: Collection[str],
        open_member: Callable[[Bundle], Model],
    ) -> MixtureModel:
        """The one that is assigned, open.  ``open_member`` gives a model that answers from the call."""
        mixture = self.recorded(assignment, instrument, outputs)
        told = list(members_told(assignment.facts).values())
        weights = tuple(one for one in told if one is not None)
        if len(weights) != len(mixture.members):  # recorded by a release that did not tell them
            weights = mixture.weights
        serving = self._serving.get(instrument.id)
        if serving is not None and (serving.version, serving.weights) == (mixture.version, weights):
            return serving
        made = MixtureModel(
            mixture,
            [open_member(bundle) for bundle in mixture.members],
            deadline_us=self._models.deadline_us,
            stopwatch=self._stopwatch,
            weights=weights,
        )
        self._serving[instrument.id] = made
        return made
