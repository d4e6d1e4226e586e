"""Who should serve an instrument by what the registry says now: champion, canary, and the champion before.

Owns the choice for a running session.  It is the one that a start would make, so that a daemon that follows and one
that is started anew serve the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from engine.errors import BundleError
from engine.instruments import Instrument
from models.bundle import Bundle, load_bundle
from models.catalogue import find_bundle
from models.mixture.mixture import Mixture
from models.refusals import problem_of
from models.registry.champions import find_standing
from models.registry.store import Registry


class Followed(NamedTuple):
    """An instrument that takes whoever is champion.  ``version``: what it began with; ``outputs``: names of those that
    its strategies trade on, as in ``Bundle.reasons_against``.  ``mixture``: by name, the one that serves it, of which
    ``members`` are followed; empty for a single model."""

    instrument: Instrument
    version: str
    outputs: frozenset[str] = frozenset({""})
    mixture: str = ""
    members: tuple[str, ...] = ()


class Roles(NamedTuple):
    """``champion`` None: nothing may serve.  ``share``: the canary's part of the size of entries.  ``before``: the
    champion before, which is kept ready.  ``problems``: version -> why it may not be used, of canary and ``before``.
    ``names``: whatever of that name is changed in the registry decides the champion, which is a mixture of them."""

    champion: Bundle | Mixture | None
    canary: Bundle | None = None
    share: Decimal = Decimal(0)
    before: Bundle | None = None
    problems: dict[str, str] = {}  # noqa: RUF012 - never changed
    names: tuple[str, ...] = ()

    @property
    def bundles(self) -> list[Bundle]:
        return [part for one in (self.champion, self.canary, self.before) if one is not None for part in parts_of(one)]


def parts_of(served: Bundle | Mixture) -> tuple[Bundle, ...]:
    """The bundles that it is made of."""
    return served.members if isinstance(served, Mixture) else (served,)


class Shelf:
    """Bundles that were read and verified, by folder: versions never change, so each is read once.

    ``now_ns`` is held against their expiry each time.
    """

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._bundles: dict[Path, Bundle] = {}

    def load(self, path: Path) -> Bundle:
        """Raises ``BundleError`` as ``load_bundle``; what failed is read again the next time."""
        bundle = self._bundles.get(path)
        if bundle is not None:
            expires_ns = bundle.manifest.expires_ns
            if expires_ns is None or self._now_ns() < expires_ns:
                return bundle
        self._bundles[path] = bundle = load_bundle(path, now_ns=self._now_ns())
        return bundle

    def keep(self, bundles: Iterable[Bundle]) -> None:
        """Forget all others."""
        paths = {bundle.path for bundle in bundles}
        self._bundles = {path: bundle for path, bundle in self._bundles.items() if path in paths}


def wanted_roles(registry: Path, directory: Path, followed: Followed, shelf: Shelf) -> Roles:
    """Who should serve now.  Without a champion in the registry it is the bundle of ``directory``, as at a start.

    Raises ``ChampionRefused`` when the champion may not be used, ``BundleError`` when a standing cannot be read.
    """
    held = Registry(registry)
    found = find_standing(held, followed.instrument, shelf.load, followed.outputs)
    if found is None:
        return Roles(_shipped(directory, followed))
    standing, champion = found
    problems: dict[str, str] = {}

    def usable(version: str) -> Bundle | None:
        try:
            bundle = shelf.load(held.path_of(version))
            bundle.check_version(version)
            bundle.check_instrument(followed.instrument, followed.outputs)
        except Exception as error:
            problems[version] = problem_of(error)
            return None
        return bundle

    canary = None if standing.canary is None else usable(standing.canary)
    before = usable(standing.earlier[-1]) if standing.earlier else None
    return Roles(champion, canary, standing.share if canary is not None else Decimal(0), before, problems)


def _shipped(directory: Path, followed: Followed) -> Bundle | None:
    """None where nothing of the folder may be used: then there is no model, and nothing to go on with either."""
    try:
        return find_bundle(directory, followed.instrument, outputs=followed.outputs)
    except BundleError:
        return None
