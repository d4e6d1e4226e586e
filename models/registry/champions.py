"""The champion of an instrument: what the live process asks the registry for.  It reads, and never writes.

Owns the choice.  The narrowest scope wins; a champion that is damaged or has expired is an error and not passed over:
whoever promoted it did not ask for another model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from engine.errors import BundleError
from engine.instruments import Instrument
from models.bundle import Bundle, load_bundle
from models.manifest_sections import DIRECTION
from models.refusals import problem_of
from models.registry import audit
from models.registry.standing import Scope, Standing
from models.registry.store import Registry


class ChampionRefused(BundleError):  # noqa: N818 - said as users say it
    """The champion that stands may not be used; ``version`` is which."""

    def __init__(self, version: str, seen: str, **more: str) -> None:
        super().__init__(seen, **more)
        self.version = version


def find_champion(
    root: Path, instrument: Instrument, *, now_ns: int | None = None, outputs: Collection[str] = ("",)
) -> Bundle | None:
    """The bundle that strategies on ``instrument`` trade on; None where the registry has no champion for it.

    ``outputs``: see ``Bundle.reasons_against``.  A champion whose features need what this feed does not give is passed
    over.  Raises ``BundleError``.
    """
    found = find_standing(Registry(root), instrument, partial(load_bundle, now_ns=now_ns), outputs)
    return None if found is None else found[1]


def find_standing(
    registry: Registry, instrument: Instrument, load: Callable[[Path], Bundle], outputs: Collection[str] = ("",)
) -> tuple[Standing, Bundle] | None:
    """What stands for what on ``instrument``, and its champion as ``load`` gives it; as ``find_champion``."""

    def concerns(scope: Scope) -> bool:
        return (scope.task == DIRECTION or "" not in outputs) and scope.covers(instrument)

    held = [one for one in registry.standings(concerns) if one.champion is not None]
    fitting: list[tuple[Standing, Bundle]] = []
    for one in held:
        assert one.champion is not None
        try:
            bundle = load(registry.path_of(one.champion))
            bundle.check_version(one.champion)
        except Exception as error:
            raise ChampionRefused(
                one.champion,
                f"the champion {one.champion} of {one.scope.text} may not be used: {problem_of(error)}",
                do="promote another version, or go back: python run.py models rollback NAME",
            ) from None
        if not bundle.reasons_against(instrument, outputs):
            fitting.append((one, bundle))
    if not fitting:
        return None
    return max(fitting, key=_precedence)


def find_retired(
    root: Path, instrument: Instrument, outputs: Collection[str] = ("",), names: Collection[str] | None = None
) -> Bundle | None:
    """What was champion of such an instrument last and was taken away, where its scope has nobody in its place; None
    where nobody ever was, or no such version can be read any more.  Its date is not held against it: it does not serve.
    ``names``: of bundles, one of which it has to be called, whoever is champion there now; None for any.

    Raises ``BundleError`` for a registry that is damaged.
    """
    registry = Registry(root)
    held = registry.standings(lambda scope: (scope.task == DIRECTION or "" not in outputs) and scope.covers(instrument))
    left = [one for one in held if one.champion is None or names is not None]
    gone = {version for one in left for version in (*one.earlier, *one.retired)}
    for line in reversed(audit.lines(root) if gone else []):
        if line.action == "void" or line.champion not in gone:
            continue
        if names is not None and line.champion.partition("@")[0] not in names:
            continue
        try:
            bundle = load_bundle(registry.path_of(line.champion), now_ns=0)
            bundle.check_version(line.champion)
        except BundleError:
            continue
        if not bundle.reasons_against(instrument, outputs):
            return bundle
    return None


def _precedence(pair: tuple[Standing, Bundle]) -> tuple[tuple[bool, bool, bool], int, int]:
    standing, bundle = pair
    return standing.scope.narrowness, len(bundle.spec.requires), bundle.manifest.created_ns


def champions(root: Path) -> list[str]:
    """Versions that are champion of anything; none where the registry is damaged.

    A session that uses none of them is not refused for that; one that does hears it from ``find_champion``.
    """
    try:
        return [one.champion for one in Registry(root).standings() if one.champion is not None]
    except BundleError:
        return []
