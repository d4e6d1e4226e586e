"""Promoting a version, going back, and taking one away: what is checked before, and how it is told.

Owns the checks.  ``force`` overrides what was found against a version, and the audit keeps what that was; a session
still refuses at its start what cannot be served.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

from engine.errors import BundleError
from models.catalogue import verify_bundle
from models.manifest import Manifest
from models.registry.standing import Action, Standing, scope_of
from models.registry.store import Conflict, Registry

_ACTIONS: Final[dict[str, Action]] = {"champion": "promote", "canary": "canary", "shadow": "shadow"}


def promote(
    registry: Registry,
    name: str,
    sha: str,
    *,
    to: Literal["champion", "canary", "shadow"] = "champion",
    share: Decimal = Decimal(0),
    who: str,
    why: str,
    force: bool = False,
    now_ns: int,
    sequence: int | None = None,
) -> Standing:
    """Makes a version the champion of its scope, its canary with ``share`` of the size of entries, or a shadow.
    Returns the standing after it.  ``sequence``: of the standing that this was decided on, None: whatever it is.

    Raises ``BundleError`` when it does not verify, has expired, or (for one that trades) was not evaluated, and when
    another change came between.
    """
    version = registry.resolve(name, sha)
    seen = registry.standing(scope_of(registry.manifest(version)))
    _refuse_another(seen, sequence)
    action = _ACTIONS[to]
    seen.after(action, version, share)  # what would change nothing is told before the long work
    against = objections(registry, version, trades=to != "shadow", now_ns=now_ns)
    _refuse(f"{version} was not promoted", against, force)
    return registry.change(seen, action, version, who=who, why=why, forced=tuple(against), now_ns=now_ns, share=share)


def rollback(
    registry: Registry,
    name: str,
    *,
    scope: str = "",
    who: str,
    why: str,
    force: bool,
    now_ns: int,
    sequence: int | None = None,
) -> Standing:
    """The champion before the one called ``name`` stands again, without any canary.  Where ``name`` is that of a canary
    alone, it is retired and the champion stays.  ``scope``: of several, which one is meant; ``sequence`` as above.

    Raises ``BundleError`` when there is no such champion, none before it, or the one before does not verify any more or
    has expired.  That it was judged is not asked again: somebody answered for that when it was promoted.
    """
    standings, damaged = registry.sorted_out()
    own = [one for one in standings if _name(one.champion) == name]
    tried = [one for one in standings if _name(one.canary) == name and scope in ("", one.scope.text)]
    meant = [one.scope for one in own or tried if scope in ("", one.scope.text)]
    for whose, error in damaged:
        if not meant or whose in meant:
            raise error
    if not own and len(tried) == 1:
        assert tried[0].canary is not None
        _refuse_another(tried[0], sequence)
        return registry.change(tried[0], "retire", tried[0].canary, who=who, why=why, forced=(), now_ns=now_ns)
    named = [one for one in own if scope in ("", one.scope.text)]
    if len(named) != 1:
        scopes = ", ".join(one.scope.text for one in own) or "no scope"
        raise BundleError(
            f"{name!r} is champion of {scopes}",
            expected="one scope to go back in",
            do="--scope names it" if len(own) > 1 else "see: models list",
        )
    seen = named[0]
    _refuse_another(seen, sequence)
    version = seen.earlier[-1] if seen.earlier else ""
    seen.after("rollback", version)
    against = objections(registry, version, trades=False, now_ns=now_ns)
    _refuse(f"{version} was not brought back", against, force)
    return registry.change(seen, "rollback", version, who=who, why=why, forced=tuple(against), now_ns=now_ns)


def retire(
    registry: Registry, name: str, sha: str, *, who: str, why: str, now_ns: int, sequence: int | None = None
) -> Standing:
    """Takes a version out of every use; where it was the champion, its scope has none then.  ``sequence`` as above.

    Raises ``BundleError``.
    """
    version = registry.resolve(name, sha)
    seen = registry.standing(scope_of(registry.manifest(version)))
    _refuse_another(seen, sequence)
    return registry.change(seen, "retire", version, who=who, why=why, forced=(), now_ns=now_ns)


def _refuse_another(seen: Standing, sequence: int | None) -> None:
    if sequence not in (None, seen.sequence):
        raise Conflict(
            f"{seen.scope.text} was changed since that was decided; nothing was done",
            do="look at `models list` and decide again",
        )


def _name(version: str | None) -> str:
    return "" if version is None else version.partition("@")[0]


def objections(registry: Registry, version: str, *, trades: bool, now_ns: int) -> list[str]:
    """What speaks against using a version, a line each.  It is loaded and its golden tape run, as a session would."""
    found = []
    try:
        held = verify_bundle(registry.path_of(version), now_ns=now_ns)["version"]
        if held != version:
            found.append(f"its folder holds {held}: bring {version} back from a backup")
    except BundleError as error:
        found.append(str(error))
    if trades:
        found += _unproven(registry.manifest(version))
    return found


def _unproven(manifest: Manifest) -> list[str]:
    if not manifest.scored:
        return ["its card has no evaluation (python run.py evaluate --run RUN, then models add RUN)"]
    judged = manifest.evaluation
    if judged is not None and judged.suspicions and not judged.explained:
        more = f" (and {len(judged.suspicions) - 1} more)" if len(judged.suspicions) > 1 else ""
        how = 'python run.py evaluate --run RUN --explain "WHY", then models add RUN'
        return [f"its evaluation is suspicious and nobody has said why: {judged.suspicions[0]}{more} ({how})"]
    return []


def _refuse(what: str, against: list[str], force: bool) -> None:
    if against and not force:
        raise BundleError(
            f"{what}: {' | '.join(against)}",
            do="put that right, or override it with --force --reason TEXT",
        )
