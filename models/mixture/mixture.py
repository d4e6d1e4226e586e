"""Several bundles as one model of an instrument: which may be combined, from which rows, and what strategies are told.

Owns the choice and the facts; the forecast itself is ``models.mixture.model``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from engine.errors import BundleError
from engine.features.spec import FeatureSpec
from engine.seats import MEMBER
from models.bundle import Bundle
from models.facts import Facts, conformal_facts, facts_of
from models.manifest import Manifest
from models.mixture.learned import LearnedWeights

OnFailure = Literal["renormalise", "fail"]
SHARE: Final = "share."
WEIGHT: Final = "weight."
"""Facts: by version, the weight that a member begins with."""
RECENT: Final = "recent_weights"
"""Fact of a mixture whose weights follow what its members lost lately: whoever watches it weighs them."""


@dataclass(frozen=True)
class Mixture:
    """Members in their order, and the weights (of sum 1) that are declared for them.

    ``on_failure``: ``renormalise`` goes on with the members that have answered while they carry at least
    ``weight_least`` of the weight, ``fail`` does not.  ``spec``: of the longest window; a member with a shorter one
    reads the newest rows of it.  ``version``: ``NAME@`` and first digits of a sha256 over all that decides a forecast.
    """

    name: str
    members: tuple[Bundle, ...]
    weights: tuple[float, ...]
    on_failure: OnFailure
    weight_least: float
    spec: FeatureSpec
    version: str
    facts: Facts

    @property
    def width(self) -> int:
        """Numbers in one forecast of a member, and of all of them combined."""
        return self.members[0].manifest.output_width

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(member.version for member in self.members)

    def beginning_with(self, weights: Sequence[float]) -> Facts:
        """What strategies and the record are told, with the weights (of sum 1) that it begins with."""
        told = zip(self.versions, weights, strict=True)
        return (*self.facts, *[(f"{WEIGHT}{version}", weight) for version, weight in told])

    def weights_after(self, present: Mapping[str, float]) -> tuple[float, ...]:
        """To begin with where some members have weights: those keep theirs among each other, and who has come begins
        with what is declared for it.  ``present``: by version."""
        declared = dict(zip(self.versions, self.weights, strict=True))
        if declared.keys() <= present.keys():
            return tuple(present[version] for version in declared)
        held = math.fsum(present[version] for version in declared if version in present)
        if not held > 0.0:
            return self.weights
        rest = math.fsum(weight for version, weight in declared.items() if version in present)
        return tuple(
            rest * present[version] / held if version in present else weight for version, weight in declared.items()
        )


def members_told(facts: Facts) -> dict[str, float | None]:
    """Versions of the members of a mixture, in their order, and the weights that each begins with (None: not told, as
    releases before did not)."""
    told = dict(facts)
    versions = [name.removeprefix(MEMBER) for name, _ in facts if name.startswith(MEMBER)]
    return {version: told.get(f"{WEIGHT}{version}") for version in versions}


def mix(
    name: str,
    members: Sequence[Bundle],
    *,
    weights: Mapping[str, float] | None = None,
    learned: LearnedWeights | None = None,
    on_failure: OnFailure = "renormalise",
    weight_least: float = 0.5,
    recent: bool = False,
) -> Mixture:
    """``weights``: by bundle name or version (None: all alike).  ``learned``: those of a file, for these very versions.

    Raises ``BundleError`` where the members do not read the same rows or do not forecast the same, and where weights
    are missing, of somebody else, or no weights.
    """
    versions = [member.version for member in members]
    if len(members) < 2 or len(set(versions)) < len(versions):
        raise _refused(name, f"has the members {', '.join(versions) or 'nobody'}", "two or more, each once")
    longest = max(members, key=lambda member: member.spec.window)
    for member in members:
        if differing := difference(longest, member):
            raise _refused(name, f"combines {longest.version} and {member.version}: {differing}", "the same")
    given = _weights(name, members, weights, learned)
    decided = msgspec.json.encode([versions, given, on_failure, weight_least, longest.spec.fingerprint()])
    return Mixture(
        name=name,
        members=tuple(members),
        weights=given,
        on_failure=on_failure,
        weight_least=weight_least,
        spec=longest.spec,
        version=f"{name}@{hashlib.sha256(decided).hexdigest()[:12]}",
        facts=_facts(members, given, learned, recent=recent),
    )


def difference(one: Bundle, other: Bundle) -> str:
    """Of what two members read and forecast; empty where they may be combined."""
    for what, of in (("columns", "columns"), ("sampling", "sampling"), ("volume", "volume"), ("gaps", "gap")):
        if getattr(one.spec, of) != getattr(other.spec, of):
            return f"their features differ in {what}"
    first, second = _forecasts(one.manifest), _forecasts(other.manifest)
    return "" if first == second else f"they forecast {_told(first)} and {_told(second)}"


def _forecasts(manifest: Manifest) -> list[tuple[Any, ...]]:
    """What is to be equal of each output: name, form, classes, horizon and label."""
    if manifest.task is None:
        return [(manifest.outputs[0].name, "probability", ("UP",), manifest.label.horizon_rows, manifest.label.kind)]
    return [(one.name, one.form, one.classes, one.horizon_rows, one.label_kind) for one in manifest.task.forecasts]


def _told(forecasts: Sequence[tuple[Any, ...]]) -> str:
    return ", ".join(f"{name} ({kind}, {rows} rows)" for name, _, _, rows, kind in forecasts)


def _weights(
    name: str, members: Sequence[Bundle], weights: Mapping[str, float] | None, learned: LearnedWeights | None
) -> tuple[float, ...]:
    if learned is not None:
        weights = learned.weights
        if set(weights) != {member.version for member in members}:
            raise _refused(
                name,
                f"has weights learned for {', '.join(sorted(weights))}",
                f"for {', '.join(member.version for member in members)}",
                "learn them again: python run.py models weigh",
            )
    if not weights:
        return tuple(1.0 / len(members) for _ in members)
    found = []
    for member in members:
        keys = [key for key in (member.version, member.manifest.name) if key in weights]
        if not keys:
            raise _refused(name, f"has no weight for {member.version}", "one for each member")
        found.append(float(weights[keys[0]]))
    known = {key for member in members for key in (member.version, member.manifest.name)}
    if strangers := sorted(set(weights) - known):
        raise _refused(
            name, f"has a weight for {strangers[0]}, which is no member", f"one of {', '.join(sorted(known))}"
        )
    total = sum(found)
    if not all(math.isfinite(one) and one >= 0.0 for one in found) or not total > 0.0:
        raise _refused(name, f"has the weights {', '.join(map(str, found))}", "0 or more each, and one above 0")
    return tuple(one / total for one in found)


def _facts(
    members: Sequence[Bundle], weights: Sequence[float], learned: LearnedWeights | None, *, recent: bool
) -> Facts:
    """Those of one bundle, from here on: places of spread, members and weights, and suggestions of the whole."""
    first = members[0].manifest
    own = {key: value for key, value in facts_of(first) if not key.startswith("conformal_")}
    for key in ("return_scale_bps", "buy", "sell"):
        each = [dict(facts_of(member.manifest)).get(key) for member in members]
        own.pop(key, None)
        if all(one is not None for one in each):
            own[key] = sum(weight * one for weight, one in zip(weights, each, strict=True) if one is not None)
    if learned is not None and learned.thresholds is not None:
        own["sell"], own["buy"] = learned.thresholds
    expiries = [member.manifest.expires_ns for member in members if member.manifest.expires_ns is not None]
    if expiries:
        own["expires_ns"] = float(min(expiries))
    width = first.output_width
    for key, place in list(own.items()):
        if key.startswith("output."):
            own[f"spread.{key.removeprefix('output.')}"] = width + place
    at = 2 * width
    for number, member in enumerate(members):
        own[f"{MEMBER}{member.version}"] = float(at + number * width)
        own[f"{SHARE}{member.version}"] = float(at + len(members) * width + number)
    if recent:
        own[RECENT] = 1.0
    return (*own.items(), *(() if learned is None else conformal_facts(first, learned.conformal)))


def _refused(name: str, seen: str, expected: str, do: str = "correct it in mixtures") -> BundleError:
    return BundleError(f"mixture {name} {seen}", expected=expected, do=do)
