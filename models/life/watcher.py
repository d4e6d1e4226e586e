"""Follows the registry while a session runs: what should serve is checked, opened beside what serves, and offered.

Owns the thread that does so.  The loop that trades waits for none of it: the check is a process of its own
(``models.life.checking``), and opening a graph leaves the interpreter to the loop (decision 0041).  An
offer is told by ``offer``, which has it journaled in the loop's thread.

A version that may not serve is told once and left out; it is tried again when the registry or its own files change,
and by itself, ever more seldom, where the machine was in the way.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from engine import processors
from engine.errors import BundleError
from engine.instruments import Instrument
from engine.intents import writable
from engine.ports import Assignment
from models.bundle import Bundle
from models.life.checking import Checked, Task
from models.life.roles import Followed, Roles, Shelf, parts_of, wanted_roles
from models.mixture.mixture import Mixture
from models.providers.graph import NoProviderError
from models.refusals import problem_of
from models.registry import audit
from models.registry.champions import ChampionRefused
from models.registry.store import STANDINGS, Registry

POLL_S: Final = 0.5
"""Between two looks at the standings, which are a few small files."""
SWITCH_S: Final = 0.0002
"""How long the loop may wait for the interpreter while a model is opened; it is 5 ms else, which is felt."""
AGAIN_S: Final = (30.0, 1800.0)
"""When a version is tried again that this machine was in the way of: first, and at the latest; each time doubled."""
_STOP_S: Final = 5.0
_REASON_MAX: Final = 200

Role = Literal["champion", "canary", "older"]
_NOBODY: Final = ("", Decimal(0))


class Offer(NamedTuple):
    """``assignment`` empty: the role is nobody's from now on."""

    instrument: str
    role: Role
    assignment: Assignment
    share: Decimal
    reason: str


class Opener(Protocol):
    """Who opens models and hands them to the core; called from this thread."""

    def following(self) -> Sequence[Followed]: ...

    def is_open(self, version: str) -> bool: ...

    def open(self, bundle: Bundle) -> Assignment:
        """Open it with its golden tape, as it will serve.  Raises ``KestrelError``."""
        ...

    def mixture(self, followed: Followed, load: Callable[[Path], Bundle]) -> Mixture | None:
        """What ``followed.mixture`` is made of now; None where a member was taken away.  Raises ``ChampionRefused``
        where a member may not be used, or not with the others."""
        ...

    def open_mixture(self, mixture: Mixture, instrument: str) -> Assignment:
        """As ``open``, of the members that are not open yet."""
        ...

    def keep(self, versions: Collection[str]) -> None:
        """Models of other versions will not be asked for any more."""
        ...


class Checks(Protocol):
    def check(self, task: Task, given_up: Callable[[], bool]) -> Checked: ...


@contextmanager
def _yielding() -> Iterator[None]:
    """Whoever waits for the interpreter gets it soon: reading bundles, and the golden tape, is much Python."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


class RegistryWatcher:
    """``start`` when the instruments are known, ``stop`` at the end; ``look`` is one pass, for who has its own thread.

    ``task_of``: what is to be checked of a bundle.  ``knows``: whether the core has an instrument.  ``seated``: which
    version the core has in a role of an instrument now; a champion of other features takes its seat later, and what
    stands beside it is offered then.  None: what was offered is taken for seated.  ``offers_older``: the champion
    before is offered as ``older``; it is opened in any case, so that going back to it takes no preparation.
    ``now_s``: monotonic.
    """

    def __init__(
        self,
        *,
        registry: Path,
        directory: Path,
        opener: Opener,
        checks: Checks,
        offer: Callable[[Offer], None],
        log: Any,
        task_of: Callable[[Bundle], Task],
        knows: Callable[[str], bool] = lambda _: True,
        seated: Callable[[str, Role], str] | None = None,
        offers_older: bool = False,
        shelf: Shelf | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._opener = opener
        self._checks = checks
        self._offer = offer
        self._log = log
        self._task_of = task_of
        self._knows = knows
        self._seated = seated or (lambda instrument, role: self._told.get((instrument, role), _NOBODY)[0])
        self._offers_older = offers_older
        self._shelf = Shelf() if shelf is None else shelf
        self._told: dict[tuple[str, Role], tuple[str, Decimal]] = {}
        self._seen: tuple[Any, ...] = ()
        self._begun = b""
        self._had_changes = False
        self._refused: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()
        self._now_s = now_s
        self._again: dict[str, tuple[float, float]] = {}
        """When a version is tried again, and how long that was waited for."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.refusals = 0
        """Versions that were to serve and may not."""

    # --- the thread -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        # No lower priority of its own: while it holds the interpreter for a moment, the loop would wait at that.
        self._thread = threading.Thread(target=self._run, name="registry-watcher", daemon=True)
        with processors.beside():
            self._thread.start()

    def stop(self) -> None:
        """Idempotent.  What is being checked is given up."""
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_STOP_S)

    def status(self) -> dict[str, Any]:
        """Plain values for an operator: what each instrument was given (and has not taken, or not yet), and what may
        not serve and why."""
        roles: dict[str, dict[str, str]] = {}
        for (instrument, role), (version, share) in list(self._told.items()):
            if not version:
                continue
            seated, of_size = self._seated(instrument, role), f" with {share} of the size" if share else ""
            offered = "" if seated == version else f", offered: {seated or 'nobody'} has the seat"
            roles.setdefault(instrument, {})[role] = f"{version}{of_size}{offered}"
        return {"registry": {"roles": roles, "refused": dict(self._refused), "refusals": self.refusals}}

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            try:
                self.look()
            except Exception:  # a defect of ours: whoever serves goes on, and so does the thread
                self._log.error("following the registry failed", exc_info=True)

    # --- one pass -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Bring what is offered up to what the registry says, if that has changed."""
        following = [one for one in self._opener.following() if self._knows(one.instrument.id)]
        for one in following:
            self._told.setdefault((one.instrument.id, "champion"), (one.version, Decimal(0)))
        self._had_changes |= (self._registry / audit.AUDIT).exists()
        stamp = self._stamp(following)
        if stamp == self._seen:
            return
        self._begun, seats, _ = stamp
        self._refused = {}
        with _yielding():  # bundles are read, hashed and decoded
            wanted = self._wanted(following)
        for role in ("champion", "canary", "older"):
            if not self._bring(role, wanted):
                return  # it has changed meanwhile: begun anew at the next look
        versions = {version for version, _ in self._told.values() if version}
        kept = [bundle for _, roles in wanted if roles is not None for bundle in roles.bundles]
        with _yielding():
            self._opener.keep(versions | {bundle.version for bundle in kept})
        self._shelf.keep(kept)
        self._said = {(version, about) for version, about in self._said if version in self._refused}
        self._again = {version: when for version, when in self._again.items() if version in self._refused}
        # The seats of before: one that was taken meanwhile is looked at again.
        self._seen = (self._begun, seats, self._stamp(following)[2])

    def _stamp(self, following: Sequence[Followed]) -> tuple[Any, ...]:
        """What a pass rests on."""
        seats = tuple((one.instrument.id, self._seated(one.instrument.id, "champion")) for one in following)
        files = tuple(self._state_of(version) for version in sorted(self._refused))
        now_s = self._now_s()
        due = tuple(sorted(version for version, (at_s, _) in self._again.items() if at_s <= now_s))
        return self._standings(), seats, (files, due)

    def _standings(self) -> bytes:
        """By content: a file system's times are too coarse for two changes in a row."""
        digest = hashlib.sha256()
        for path in sorted((self._registry / STANDINGS).glob("*.json")):
            try:
                digest.update(path.name.encode() + path.read_bytes())
            except OSError as error:
                digest.update(f"{path.name} {error.errno}".encode())
        return digest.digest()

    def _state_of(self, version: str) -> tuple[Any, ...]:
        """Of the files of one that was refused: who repairs them changes no standing."""
        name, _, sha = version.partition("@")
        found = []
        for path in sorted((self._registry / "versions" / name / sha).glob("*")):
            try:
                about = path.stat()
            except OSError:
                continue
            found.append((path.name, about.st_size, about.st_mtime_ns))
        return tuple(found)

    def _wanted(self, following: Sequence[Followed]) -> list[tuple[Instrument, Roles | None]]:
        """None: who is champion may not be used, or cannot be told as a standing cannot be read."""
        wanted: list[tuple[Instrument, Roles | None]] = []
        if (
            self._had_changes and not (self._registry / audit.AUDIT).exists()
        ):  # a disk that is not mounted any more, say
            for one in following:
                self._refuse("the registry", f"{self._registry} is gone; bring it back", one.instrument.id)
                wanted.append((one.instrument, None))
            return wanted
        for one in following:
            instrument = one.instrument
            try:
                roles = self._roles(one)
            except ChampionRefused as error:
                self._refuse(error.version, str(error), instrument.id)
                wanted.append((instrument, None))
                continue
            except Exception as error:
                self._refuse("the registry", problem_of(error), instrument.id)
                wanted.append((instrument, None))
                continue
            for version, problem in roles.problems.items():
                self._refuse(version, problem, instrument.id)
            wanted.append((instrument, roles))
        for _, damage in Registry(self._registry).sorted_out()[1]:
            self._refuse("the registry", str(damage), "all")
        return wanted

    def _roles(self, followed: Followed) -> Roles:
        if followed.mixture:
            return Roles(self._opener.mixture(followed, self._shelf.load), names=followed.members)
        return wanted_roles(self._registry, self._directory, followed, self._shelf)

    def _bring(self, role: Role, wanted: Iterable[tuple[Instrument, Roles | None]]) -> bool:
        """Open and offer one role everywhere.  False: the registry has changed meanwhile."""
        for instrument, roles in wanted:
            if roles is None:
                continue  # who should serve may not: whoever serves goes on, and whoever stands beside it
            assignment = Assignment()
            wanted_one = self._candidate(role, instrument.id, roles)
            if wanted_one is not None:
                opened = self._opened(wanted_one, instrument.id)
                if self._is_outdated():
                    return False
                assignment = opened or assignment
            if role == "champion" and not assignment.model and wanted_one is not None:
                continue  # who should serve may not: whoever serves goes on
            if role == "older" and not self._offers_older:
                continue
            share = roles.share if role == "canary" and assignment.model else Decimal(0)
            told = self._told.get((instrument.id, role), _NOBODY)
            if told[0] != self._seated(instrument.id, role):
                told = _NOBODY  # it was refused, or has left
            self._told[instrument.id, role] = now = (assignment.model, share)
            if now != told:
                with _yielding():  # the audit grows
                    why = self._why(role, {now[0] or told[0], *roles.names})
                self._offer(Offer(instrument.id, role, assignment, share, why))
        return True

    def _candidate(self, role: Role, instrument: str, roles: Roles) -> Bundle | Mixture | None:
        if role == "champion":
            return roles.champion
        if roles.champion is None or self._seated(instrument, "champion") != roles.champion.version:
            return None  # the champion that it stands beside, or goes back from, is not the one that serves
        return roles.canary if role == "canary" else roles.before

    def _opened(self, wanted: Bundle | Mixture, instrument: str) -> Assignment | None:
        """Its assignment; None where it may not serve.  Members of a mixture are checked by themselves, each as it
        serves there: in the loop, without a spread of its own."""
        parts, version = parts_of(wanted), wanted.version
        if not self._refused.keys().isdisjoint((version, *(part.version for part in parts))):
            return None
        try:
            for part in parts:
                if self._opener.is_open(part.version):
                    continue
                version, task = part.version, self._task_of(part)
                if isinstance(wanted, Mixture):
                    task = msgspec.structs.replace(task, spread=False, schedule="inline")
                checked = self._checks.check(task, self._is_outdated)
                if self._is_outdated():
                    return None
                if checked.problem:
                    self._refuse(version, checked.problem, instrument, passing=checked.passing)
                    return None
            version = wanted.version
            with _yielding():
                if isinstance(wanted, Mixture):
                    return self._opener.open_mixture(wanted, instrument)
                return self._opener.open(wanted)
        except Exception as error:
            self._refuse(version, problem_of(error), instrument, passing=isinstance(error, NoProviderError))
            return None

    def _is_outdated(self) -> bool:
        """Who goes back must not wait for the check of what is no longer wanted."""
        return self._stopping.is_set() or self._standings() != self._begun

    def _refuse(self, version: str, problem: str, instrument: str, *, passing: bool = False) -> None:
        """Told and counted once for each finding; what is ``passing`` is tried again, and told once for all tries."""
        self._refused[version] = problem
        again = ""
        if passing:
            _, waited_s = self._again.get(version, (0.0, AGAIN_S[0] / 2))
            wait_s = min(2 * waited_s, AGAIN_S[1])
            self._again[version] = (self._now_s() + wait_s, wait_s)
            again = f"; it is tried again in {wait_s:g} s"
        else:
            self._again.pop(version, None)
        about = "the machine" if passing else problem
        if (version, about) in self._said:
            return
        self._said.add((version, about))
        self.refusals += 1
        self._log.error(
            "a model may not serve: whoever serves goes on",
            model=version,
            instrument=instrument,
            problem=problem + again,
        )

    def _why(self, role: Role, about: Collection[str]) -> str:
        """What the registry's audit says last of one of these versions and names."""
        try:
            made = [line for line in audit.lines(self._registry) if line.action != "void"]
        except BundleError:
            made = []
        line = next(
            (
                one
                for one in reversed(made)
                for version in (one.version, one.champion, one.champion_before)
                if version in about or version.partition("@")[0] in about
            ),
            None,
        )
        if line is None:
            return f"{role} by the registry"
        return writable(f"{line.action} by {line.who}" + (f": {line.why}" if line.why else ""))[:_REASON_MAX]
