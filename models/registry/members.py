"""Which version of a name a mixture takes: the one that the registry has promoted under that name.

Owns the choice.  A scope has one champion, and members of a mixture may share a scope; a member is therefore the newest
version of its name that was made champion and was neither rolled back nor retired since, also where another name is
champion by now.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from engine.errors import BundleError
from engine.instruments import Instrument
from models.bundle import Bundle
from models.catalogue import load_named
from models.manifest_sections import DIRECTION
from models.refusals import problem_of
from models.registry.champions import ChampionRefused
from models.registry.standing import Standing
from models.registry.store import Registry


class MemberRetired(BundleError):  # noqa: N818 - said as users say it
    """The registry took the member away, and has nobody of its name in its place."""


def find_member(
    directory: Path,
    registry: Path,
    instrument: Instrument,
    name: str,
    load: Callable[[Path], Bundle],
    outputs: Collection[str],
) -> Bundle:
    """The member called ``name``; ``NAME@VERSION`` is exactly that one, whatever the registry says.

    Without a version it is the registry's for ``instrument``, else the bundle of ``directory``.  Raises
    ``ChampionRefused`` when the registry's may not be used, ``MemberRetired``, ``BundleError``.
    """
    if "@" in name:
        bundle = load_named(directory, name, registry=registry)
        bundle.check_instrument(instrument, outputs)
        return bundle
    held = Registry(registry)
    standings = held.standings(
        lambda scope: (scope.task == DIRECTION or "" not in outputs) and scope.covers(instrument)
    )
    version = _standing_under(name, standings)
    if version:
        try:
            bundle = load(held.path_of(version))
            bundle.check_version(version)
            bundle.check_instrument(instrument, outputs)
        except Exception as error:
            raise ChampionRefused(
                version,
                f"{version}, which the registry has promoted, may not be used: {problem_of(error)}",
                do=f"promote another version, or go back: python run.py models rollback {name}",
            ) from None
        return bundle
    retired = {one for standing in standings for one in standing.retired}
    try:
        bundle = load_named(directory, name)
    except BundleError:
        if any(_name(one) == name for one in retired):
            raise _gone(name, registry) from None
        raise
    if bundle.version in retired:
        raise _gone(bundle.version, registry)
    bundle.check_instrument(instrument, outputs)
    return bundle


def _standing_under(name: str, standings: Collection[Standing]) -> str:
    """Champions first, then the narrowest scope, then the newest; empty where none of the name stands."""
    narrowest_first = sorted(standings, key=lambda one: one.scope.narrowness, reverse=True)
    champions = [one.champion for one in narrowest_first if one.champion is not None]
    before = [version for one in narrowest_first for version in reversed(one.earlier)]
    return next((version for version in (*champions, *before) if _name(version) == name), "")


def _name(version: str) -> str:
    return version.partition("@")[0]


def _gone(what: str, registry: Path) -> MemberRetired:
    return MemberRetired(
        f"{what} was retired in {registry}",
        expected="a version of each member",
        do="promote another version of it, or take it out of mixtures",
    )
