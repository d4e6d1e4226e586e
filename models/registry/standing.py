"""Which version stands for what within a scope, and how that changes.

Owns the states and their changes, as pure functions; the file that holds a standing is ``models.registry.store``.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Final, Literal

import msgspec

from engine.errors import BundleError
from engine.instruments import Instrument
from models.manifest import Manifest
from models.manifest_sections import DIRECTION

State = Literal["candidate", "shadow", "canary", "champion", "retired"]
Action = Literal["promote", "canary", "shadow", "rollback", "retire"]
SHARE_MAX: Final = Decimal("0.5")
"""Of the size of entries that a canary may have: beyond, the champion would be the smaller one."""
_ANY: Final = "*"


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For what there is one champion: a task on instruments.  ``*`` means any.

    ``task`` is ``direction`` for what strategies trade on, else the name of the run's task.
    """

    task: str
    asset_classes: tuple[str, ...]
    venues: tuple[str, ...]
    instruments: tuple[str, ...]

    @property
    def text(self) -> str:
        return "/".join([self.task, *(",".join(part) for part in (self.asset_classes, self.venues, self.instruments))])

    @property
    def key(self) -> str:
        """A file's name: forty instruments would make a long one."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def covers(self, instrument: Instrument) -> bool:
        return (
            (_ANY in self.asset_classes or instrument.asset_class in self.asset_classes)
            and (_ANY in self.venues or instrument.venue in self.venues)
            and (_ANY in self.instruments or instrument.id in self.instruments)
        )

    def meets(self, other: Scope) -> bool:
        """There may be an instrument that both cover."""
        pairs = (
            (self.asset_classes, other.asset_classes),
            (self.venues, other.venues),
            (self.instruments, other.instruments),
        )
        return self.task == other.task and all(_ANY in (*a, *b) or set(a) & set(b) for a, b in pairs)

    @property
    def narrowness(self) -> tuple[bool, bool, bool]:
        """Greater for a scope that names instruments than for one that names venues, then asset classes."""
        return (_ANY not in self.instruments, _ANY not in self.venues, _ANY not in self.asset_classes)


def scope_of(manifest: Manifest) -> Scope:
    """Of a bundle: what its manifest declares."""
    task = DIRECTION if manifest.label.kind == DIRECTION or manifest.task is None else manifest.task.name
    scope = manifest.scope
    return Scope(task, *(tuple(sorted(part)) for part in (scope.asset_classes, scope.venues, scope.instruments)))


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Versions are ``NAME@SHA12``.  ``earlier``: champions before this one, the last of them at the end.

    ``canary`` trades ``share`` of the size of entries beside the champion (0: there is none), so it never stands
    without one.  ``sequence`` counts the changes; 0: there was none, everything is a candidate.
    """

    scope: Scope
    sequence: int = 0
    champion: str | None = None
    earlier: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    canary: str | None = None
    share: Decimal = Decimal(0)

    def state_of(self, version: str) -> State:
        if version == self.champion:
            return "champion"
        if version == self.canary:
            return "canary"
        if version in self.shadow:
            return "shadow"
        return "retired" if version in (*self.earlier, *self.retired) else "candidate"

    def after(self, action: Action, version: str, share: Decimal = Decimal(0)) -> Standing:
        """The standing after ``action`` on ``version``.  ``share``: of a canary.

        A canary that was put beside a champion that is none any more is retired with it: what it has shown was shown
        beside that one.  A champion before this one may be retired: no rollback comes to it, and no mixture has it as
        its member, from then on.  Raises ``BundleError`` when it would change nothing, or may not be.
        """
        state = self.state_of(version)
        if action == "rollback":
            return self._rolled_back(version)
        if action == "canary":
            return self._with_canary(version, share)
        changes_nothing = state == {"promote": "champion", "shadow": "shadow", "retire": "retired"}[action]
        if changes_nothing and not (action == "retire" and version in self.earlier):
            raise BundleError(f"{version} is {state} of {self.scope.text} already; nothing was changed")
        if action == "shadow" and state == "champion":
            raise BundleError(
                f"{version} is the champion of {self.scope.text}", do="retire it or promote another first"
            )
        rest = self._without(version)
        if action == "promote":
            before = () if rest.champion is None else (rest.champion,)
            return rest._without_canary()._changed(champion=version, earlier=(*rest.earlier, *before))
        if action == "shadow":
            return rest._changed(shadow=(*rest.shadow, version))
        left = rest if rest.champion is not None else rest._without_canary()
        return left._changed(retired=(*left.retired, version))

    def _with_canary(self, version: str, share: Decimal) -> Standing:
        if not (share.is_finite() and 0 < share <= SHARE_MAX):
            raise BundleError(
                f"a canary with the share {share}",
                expected=f"more than 0 and at most {SHARE_MAX} of the size of entries",
                do="--share 0.05 is a usual one",
            )
        if self.champion is None:
            raise BundleError(
                f"{self.scope.text} has no champion", expected="a canary beside a champion", do="promote one first"
            )
        if version == self.champion:
            raise BundleError(
                f"{version} is the champion of {self.scope.text}",
                expected="another version than the champion as its canary",
                do="python run.py models list shows them",
            )
        if self.canary not in (None, version):
            raise BundleError(
                f"{self.canary} is canary of {self.scope.text}",
                expected="one at a time",
                do="promote it, or take it away: python run.py models retire NAME VERSION",
            )
        if version == self.canary and share == self.share:
            raise BundleError(f"{version} is canary of {self.scope.text} with that share already; nothing was changed")
        return self._without(version)._changed(canary=version, share=share)

    def _without_canary(self) -> Standing:
        """Whoever is canary is retired."""
        if self.canary is None:
            return self
        retired = (*self.retired, self.canary)
        return msgspec.structs.replace(self, canary=None, share=Decimal(0), retired=retired)

    def _rolled_back(self, version: str) -> Standing:
        if not self.earlier or self.champion is None:
            meant = self.canary or self.champion  # a canary is what came last
            retire = "" if meant is None else f": python run.py models retire {meant.replace('@', ' ')}"
            raise BundleError(
                f"{self.champion or self.scope.text} has no champion before it",
                do=f"promote another version, or take {'its canary' if self.canary else 'it'} away{retire}",
            )
        if version != self.earlier[-1]:
            raise BundleError(f"the champion before was {self.earlier[-1]}, not {version}; nothing was changed")
        rest = self._without(version)._without_canary()
        return rest._changed(champion=version, retired=(*rest.retired, self.champion))

    def _without(self, version: str) -> Standing:
        def less(versions: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(one for one in versions if one != version)

        return msgspec.structs.replace(
            self,
            champion=None if self.champion == version else self.champion,
            canary=None if self.canary == version else self.canary,
            share=Decimal(0) if self.canary == version else self.share,
            earlier=less(self.earlier),
            shadow=less(self.shadow),
            retired=less(self.retired),
        )

    def _changed(self, **parts: object) -> Standing:
        return msgspec.structs.replace(self, sequence=self.sequence + 1, **parts)
