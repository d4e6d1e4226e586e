"""What is searched: keys of the training settings, and which values each may take.

Owns the space and its check against the network's own bounds.  A shipped one for each network lies in
``config/tune/spaces``.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.errors import ConfigError
from models.networks.registry import names
from models.tuning.plain import Plain, read_plain

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_DRAWS = 256
_SEARCHED = frozenset(
    {"assets", "augmentation", "curriculum", "fit", "loss", "losses", "network", "normaliser", "oversampling"}
    | {"weighing", "weights"}
)
"""Sections that may be searched.  Other data, columns, windows, labels or splits are other rows, on which scores of two
trials could not be compared."""
_NEVER = frozenset({"network.name", "fit.seeds", "fit.threads", "fit.device", "fit.eval_rows_max"})


class Dimension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Either ``low`` to ``high``, in steps of ``step`` or on a ``log`` scale, whole numbers where both are; or one of
    the ``choices``."""

    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def extremes(self) -> list[Any]:
        return list(self.choices) if self.choices else [self.low, self.high]

    def draw(self, chance: random.Random) -> Any:
        if self.choices:
            return chance.choice(self.choices)
        assert self.low is not None
        assert self.high is not None
        if self.log:
            value = math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
            return round(value) if self.whole else min(max(value, self.low), self.high)
        if self.step is not None or self.whole:
            step = self.step or 1
            return self.low + step * chance.randint(0, math.floor((self.high - self.low) / step + 1e-9))
        return chance.uniform(self.low, self.high)

    def takes(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float) or (self.whole and not isinstance(value, int)):
            return False
        assert self.low is not None
        assert self.high is not None
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-9

    def check(self, where: str) -> None:
        def require(good: bool, seen: str, expected: str) -> None:
            if not good:
                raise ConfigError(f"{where}: {seen}", expected=expected)

        bounds = self.low is not None and self.high is not None
        require(bounds != bool(self.choices), "neither bounds nor choices, or both", "low and high, or choices")
        if self.choices:
            require(self.step is None and not self.log, "step or log with choices", "choices alone")
            require(
                len({_word(choice) for choice in self.choices}) == len(self.choices),
                "a choice twice",
                "each choice once",
            )
            return
        assert self.low is not None
        assert self.high is not None
        require(self.low < self.high, f"low {self.low} and high {self.high}", "low below high")
        require(math.isfinite(self.low) and math.isfinite(self.high), "bounds without end", "numbers")
        require(not (self.log and self.step is not None), "log with a step", "one of the two")
        require(not self.log or self.low > 0, f"log from {self.low}", "above 0")
        if self.step is not None:
            require(self.step > 0, f"step {self.step}", "above 0")
            require(
                not self.whole or isinstance(self.step, int), f"step {self.step}", "a whole number, as the bounds are"
            )
            steps = (self.high - self.low) / self.step
            require(abs(steps - round(steps)) < 1e-9, f"high {self.high}", "a whole number of steps above low")

    def distribution(self) -> BaseDistribution:
        """As Optuna draws it; choices are words there, as it stores nothing else well."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution([_word(choice) for choice in self.choices])
        assert self.low is not None
        assert self.high is not None
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(float(self.low), float(self.high), log=self.log, step=self.step)


@dataclass(frozen=True)
class Space:
    path: Path
    network: str
    dimensions: Mapping[str, Dimension]

    def distributions(self) -> dict[str, BaseDistribution]:
        return {key: dimension.distribution() for key, dimension in self.dimensions.items()}

    def values(self, drawn: Mapping[str, Any]) -> Plain:
        """Values of the settings' keys, of what Optuna drew."""
        return {key: json.loads(drawn[key]) if each.choices else drawn[key] for key, each in self.dimensions.items()}

    def drawn(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The other way round, of as many keys as there are."""
        return {
            key: _word(values[key]) if each.choices else values[key]
            for key, each in self.dimensions.items()
            if key in values
        }

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Whether the study could have drawn these."""
        return all(dimension.takes(values.get(key)) for key, dimension in self.dimensions.items())

    def plain(self) -> Plain:
        """What tells one space from another."""
        found = {key: msgspec.to_builtins(dimension) for key, dimension in sorted(self.dimensions.items())}
        return {"network": self.network, "search": found}

    def check(self, settings_of: Callable[[Plain, str], object]) -> None:
        """Raises ``ConfigError`` for a key that the settings do not have, and for values that they refuse.

        ``settings_of`` makes training settings of some values, or raises beginning with the text it is given.  Every
        key is tried at its ends; then ``_DRAWS`` points of the whole space, for values that do not go together.
        """
        for key, dimension in self.dimensions.items():
            for value in dimension.extremes():
                # With the others anywhere: what only contradicts them is told by the draws below.
                settings_of({key: value}, f"{self.path}: search.{key}: {_word(value)}")
        chance = random.Random(0)
        for _ in range(_DRAWS):
            drawn = {key: dimension.draw(chance) for key, dimension in self.dimensions.items()}
            told = ", ".join(f"{key} {_word(value)}" for key, value in drawn.items() if key.startswith("network."))
            settings_of(drawn, f"{self.path}: {told}")


def load_space(path: Path, network: str) -> Space:
    """The space in a file, for ``network``.  Raises ``ConfigError`` that names file and key."""
    if network not in names():
        raise ConfigError(f"unknown network {network!r}", expected=f"one of {', '.join(names())}")
    plain = read_plain(path, "a search space")
    if unknown := sorted(set(plain) - {"network", "search"}):
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}", expected="network and search")
    if plain.get("network") != network:
        raise ConfigError(f"{path} is of the network {plain.get('network')!r}", expected=repr(network))
    search = plain.get("search")
    if not isinstance(search, dict) or not search:
        raise ConfigError(f"{path}: nothing to search", expected="search with a key or more")
    dimensions = {}
    for key, section in search.items():
        where = f"{path}: search.{key}"
        if key in _NEVER or str(key).split(".", 1)[0] not in _SEARCHED:
            raise ConfigError(
                f"{where} is not to be searched: scores of trials could not be compared",
                expected=f"keys of {', '.join(sorted(_SEARCHED))}",
            )
        dimensions[str(key)] = _dimension(section, where)
    return Space(path, network, dimensions)


def _dimension(section: Any, where: str) -> Dimension:
    try:
        dimension = msgspec.convert({"choices": section} if isinstance(section, list) else section, Dimension)
    except msgspec.ValidationError as error:
        hint = "; YAML takes 1e-4 for a word, write 1.0e-4" if "got `str`" in str(error) else ""
        raise ConfigError(f"{where}: {error}{hint}", expected="low and high, or choices") from None
    dimension.check(where)
    return dimension


def _word(value: Any) -> str:
    return json.dumps(value)
