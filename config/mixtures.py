"""The mixtures that the settings name, as they are served: found for an instrument, and opened for it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from config.schema import Settings
from engine.errors import BundleError, ConfigError
from engine.instruments import Instrument
from engine.ports import Model
from models.bundle import Bundle
from models.catalogue import find_bundle
from models.mixture.learned import read_weights
from models.mixture.mixture import Mixture, mix
from models.mixture.model import MixtureModel
from models.registry.store import Registry


class Mixtures:
    """Of one session.  Members are opened by whoever has all models; each instrument has weights of its own."""

    def __init__(self, settings: Settings, stopwatch: Callable[[], int]) -> None:
        self._models = settings.models
        self._wanted = {mixture.name: mixture for mixture in settings.mixtures}
        self._stopwatch = stopwatch
        self._found: dict[str, Mixture] = {}
        self._opened: dict[tuple[str, str], MixtureModel] = {}

    def knows(self, name: str) -> bool:
        """Whether a strategy's ``model``, or a version, is of a mixture."""
        return name.partition("@")[0] in self._wanted

    def find(self, name: str, instrument: Instrument, outputs: Collection[str]) -> Mixture:
        """Raises ``BundleError`` or ``ConfigError`` when its members may not serve the instrument, or not together."""
        plain = name.partition("@")[0]
        wanted = self._wanted[plain]
        if (self._models.directory / plain).is_dir():
            raise ConfigError(
                f"mixtures has {plain}, and so has {self._models.directory}", do="name the mixture otherwise"
            )
        members = [
            find_bundle(self._models.directory, instrument, one, registry=self._models.registry, outputs=outputs)
            for one in wanted.members
        ]
        if name == plain:  # a session that is run again had what it had
            for member, bundle in zip(wanted.members, members, strict=True):
                self._check_standing(plain, member, bundle, instrument)
        mixture = mix(
            plain,
            members,
            weights=wanted.weights,
            learned=None if wanted.weights_file is None else read_weights(wanted.weights_file),
            on_failure=wanted.on_failure,
            weight_least=wanted.weight_least,
            recent=wanted.weighing == "recent",
        )
        if name not in (plain, mixture.version):
            raise ConfigError(f"the mixture {mixture.version} is configured", expected=name, do="restore its settings")
        self._found[mixture.version] = mixture
        return mixture

    def _check_standing(self, mixture: str, member: str, bundle: Bundle, instrument: Instrument) -> None:
        """Members do not follow the registry.  Raises ``ConfigError`` where a name would hide another champion."""
        try:
            standings = Registry(self._models.registry).standings(lambda scope: scope.covers(instrument))
        except BundleError:
            return  # what is damaged there is told by whoever needs it
        for standing in standings:
            champion = standing.champion or ""
            if champion.partition("@")[0] == member and champion != bundle.version:
                raise ConfigError(
                    f"the mixture {mixture} has the member {member}, which is {bundle.version} in "
                    f"{self._models.directory} and {champion} as champion of the registry",
                    expected="a version: members stay what they are at the start, whatever is promoted",
                    do=f"name {champion} or {bundle.version} in mixtures",
                )

    def model(
        self, version: str, instrument: Instrument, outputs: Collection[str], open_member: Callable[[Bundle], Model]
    ) -> MixtureModel:
        """The mixture of that version, open.  ``open_member`` gives a model that answers from the call."""
        key = (version, instrument.id)
        if key not in self._opened:
            mixture = self._found.get(version) or self.find(version, instrument, outputs)
            self._opened[key] = MixtureModel(
                mixture,
                [open_member(bundle) for bundle in mixture.members],
                deadline_us=self._models.deadline_us,
                stopwatch=self._stopwatch,
            )
        return self._opened[key]
