"""The registry's folder: adding a version, reading standings, and the one step that changes a standing.

Owns the layout and the order of writing.  A version's folder appears under its name when it is complete; a standing is
replaced by a rename after its audit line is on disk.  A process that is killed anywhere leaves the old standing or the
new one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from engine.durable import sync_folder, write_atomically
from engine.errors import BundleError
from models.bundle import Bundle
from models.manifest import MANIFEST, Manifest, decode_manifest
from models.registry import audit
from models.registry.standing import Action, Scope, Standing, scope_of

VERSIONS: Final = "versions"
STANDINGS: Final = "standings"
_LOCK: Final = ".lock"
LOCK_S: Final = 10.0
"""A change takes parts of a second, to copy a large bundle some seconds."""
_LOCK_LOOK_S: Final = 0.02
_DRAFT: Final = "."
_SHA_DIGITS: Final = 12
_PREFIX_MIN: Final = 4


class Conflict(BundleError):  # noqa: N818 - said as users say it
    """Somebody else changed the standing in between; nothing of ours was written."""


class Registry:
    """``root`` need not exist: an empty registry has no versions and no champions."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    # --- versions -------------------------------------------------------------------------------------------------

    def add(self, bundle: Bundle) -> tuple[str, bool]:
        """A copy of a loaded bundle as a version, and whether it is new.  Raises ``BundleError`` when it fails."""
        final = self.path_of(bundle.version)
        with self._locked():
            if final.is_dir():
                return bundle.version, False
            draft = final.with_name(f"{_DRAFT}{final.name}")
            shutil.rmtree(draft, ignore_errors=True)  # of an add that was killed
            try:
                draft.mkdir(parents=True)
                for name in (*sorted(bundle.manifest.files), MANIFEST):
                    _copy(bundle.path / name, draft / name)
                raw = (draft / MANIFEST).read_bytes()
                if hashlib.sha256(raw).hexdigest() != bundle.sha:
                    raise BundleError(f"{bundle.path} changed while it was added", do="add it again")
                sync_folder(draft)
                draft.rename(final)
                for folder in (final.parent, final.parent.parent, self.root):
                    sync_folder(folder)
            except OSError as error:
                raise BundleError(
                    f"{bundle.version} cannot be added to {self.root}: {error.strerror}; nothing of it was kept",
                    do="make room" if error.errno == errno.ENOSPC else "",
                ) from None
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return bundle.version, True

    def versions(self) -> list[str]:
        """All of them, ``NAME@SHA12``, by name."""
        folders = sorted((self.root / VERSIONS).glob(f"*/*/{MANIFEST}"))
        return [f"{path.parent.parent.name}@{path.parent.name}" for path in folders if path.parent.name[0] != _DRAFT]

    def path_of(self, version: str) -> Path:
        """Where a version lies, whether it is there or not.  Raises ``BundleError`` for what is no version's name."""
        name, _, sha = version.partition("@")
        if not name or not sha or Path(name).name != name or Path(sha).name != sha or "." in (name[0], sha[0]):
            raise BundleError(f"{version!r} names no version", expected="NAME@VERSION, as `models list` shows it")
        return self.root / VERSIONS / name / sha

    def resolve(self, name: str, sha: str) -> str:
        """The one version of ``name`` whose sha begins with ``sha`` (4 digits or more).  Raises ``BundleError``."""
        own = [one for one in self.versions() if one.partition("@")[0] == name]
        found = [one for one in own if len(sha) >= _PREFIX_MIN and one.partition("@")[2].startswith(sha[:_SHA_DIGITS])]
        if len(found) != 1:
            if not own:
                named = ", ".join(sorted({one.partition("@")[0] for one in self.versions()})) or "none yet"
                raise BundleError(
                    f"the registry {self.root} has no version of {name!r}",
                    expected=f"a name that it has: {named}",
                    do="python run.py models add FOLDER registers a bundle",
                )
            seen = f"{len(found)} versions" if found else "no version"
            raise BundleError(
                f"the registry {self.root} has {seen} {sha!r} of {name!r}",
                expected=f"{_PREFIX_MIN} digits or more of one of: {', '.join(one.partition('@')[2] for one in own)}",
                do="python run.py models list tells them apart",
            )
        return found[0]

    def manifest(self, version: str) -> Manifest:
        """What a version declares; its files are not looked at.  Raises ``BundleError``."""
        path = self.path_of(version)
        try:
            raw = (path / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleError(f"the registry {self.root} has no {version}: {error.strerror}") from None
        return decode_manifest(path, raw)

    # --- standings ------------------------------------------------------------------------------------------------

    def standings(self, concerns: Callable[[Scope], bool] = lambda _: True) -> list[Standing]:
        """Of every scope that ever had a change and that ``concerns`` the asker, by its text.

        Raises ``BundleError`` when the file of such a scope is damaged, or one of which nobody can tell the scope.
        """
        whole, damaged = self.sorted_out()
        for scope, error in damaged:
            if scope is None or concerns(scope):
                raise error
        return [one for one in whole if concerns(one.scope)]

    def sorted_out(self) -> tuple[list[Standing], list[tuple[Scope | None, BundleError]]]:
        """The standings that are whole, by their scopes' text, and of each other file whose it is (None: nobody can
        tell) and why it is refused."""
        whole: list[Standing] = []
        damaged: list[tuple[Scope | None, BundleError]] = []
        try:
            names = self._names()
        except BundleError as error:
            return [], [(None, error)]
        for path in (self.root / STANDINGS / name for name in names):
            try:
                one = self._read(path)
            except BundleError as error:
                damaged.append((self._scope_called(path.stem), error))
                continue
            if one is not None and one.scope.key != path.stem:
                damaged.append((one.scope, _misplaced(path, one.scope)))
            elif one is not None:
                whole.append(one)
        return sorted(whole, key=lambda one: one.scope.text), damaged

    def _names(self) -> list[str]:
        """Of the standings' files.  Raises ``BundleError`` where they cannot be listed, or are gone: without them
        everybody would be taken for a candidate, and another model than the champion would serve."""
        folder = self.root / STANDINGS
        try:
            return sorted(name for name in os.listdir(folder) if name.endswith(".json") and name[0] != _DRAFT)
        except FileNotFoundError:
            if (self.root / audit.AUDIT).exists():
                raise BundleError(
                    f"the registry {self.root} has no folder {STANDINGS}, and {audit.AUDIT} tells of changes",
                    do="bring it back from a backup",
                ) from None
            return []
        except OSError as error:
            raise BundleError(
                f"the standings {folder} cannot be read: {error.strerror}",
                expected="a folder that this user may read",
                do="put its rights right",
            ) from None

    def _scope_called(self, key: str) -> Scope | None:
        """The scope of the versions here that has this key."""
        for version in self.versions():
            try:
                scope = scope_of(self.manifest(version))
            except BundleError:
                continue
            if scope.key == key:
                return scope
        return None

    def standing(self, scope: Scope) -> Standing:
        """Raises ``BundleError`` when its file is damaged."""
        path = self._file(scope)
        found = self._read(path) if path.name in self._names() else None
        if found is not None and found.scope != scope:
            raise _misplaced(path, found.scope)
        return Standing(scope) if found is None else found

    def change(
        self,
        seen: Standing,
        action: Action,
        version: str,
        *,
        who: str,
        why: str,
        forced: tuple[str, ...],
        now_ns: int,
        share: Decimal = Decimal(0),
    ) -> Standing:
        """Carries out ``action``, if the standing is still the one that was ``seen``.  ``share``: of a canary.

        First the audit line, synced; then the standing, in one rename.  Raises ``Conflict`` when somebody else was
        faster, ``BundleError`` when nothing would change or the disk refuses.
        """
        with self._locked():
            now = self.standing(seen.scope)
            if now.sequence != seen.sequence:
                last = self._last_line(now)
                by = f" by {last.who} at {last.at}: {last.action} {last.version}" if last is not None else ""
                raise Conflict(
                    f"{seen.scope.text} was changed meanwhile{by}; nothing of this {action} was done",
                    do="look at `models list` and decide again",
                )
            after = now.after(action, version, share)
            path = self._file(seen.scope)
            try:
                path.parent.mkdir(exist_ok=True)  # before the line: lines without a folder are a loss
                self._void_what_was_begun(now, now_ns)
                audit.append(self.root, _line(action, now, after, version, who, why, forced, now_ns))
                write_atomically(path, msgspec.json.format(msgspec.json.encode(after)), mode=0o644)
            except OSError as error:
                raise BundleError(f"{path} cannot be written: {error.strerror}; the old standing stays") from None
        return after

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One change at a time; the lock ends with the process that holds it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BundleError(
                f"the registry {self.root} cannot be changed: {error.strerror}",
                expected="a folder that this user may write to",
                do="make room" if error.errno == errno.ENOSPC else "put its rights right, or name another: --registry",
            ) from None
        try:
            self._take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        """The lock, soon: a change that was stopped half way (Ctrl-Z) must not hold up who watches a live session."""
        until_s = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > until_s:
                    raise BundleError(
                        f"the registry {self.root} is being changed by another process for {LOCK_S:g} s and longer",
                        do="let it end, or end it, then try again",
                    ) from None
                time.sleep(_LOCK_LOOK_S)

    def _last_line(self, standing: Standing) -> audit.Line | None:
        made = [line for line in audit.lines(self.root) if line.scope == standing.scope.text and line.action != "void"]
        return next((line for line in reversed(made) if line.sequence == standing.sequence), None)

    def _void_what_was_begun(self, now: Standing, now_ns: int) -> None:
        """A line whose change was never made, as a kill came between, is followed by one that says so."""
        own = [line for line in audit.lines(self.root) if line.scope == now.scope.text]
        if own and own[-1].sequence > now.sequence and own[-1].action != "void":
            begun = own[-1]
            text = f"{begun.action} of {begun.at} was begun and never made"
            audit.append(
                self.root,
                msgspec.structs.replace(
                    begun, action="void", at=audit.stamp(now_ns), why=text, champion=now.champion or ""
                ),
            )

    def _file(self, scope: Scope) -> Path:
        return self.root / STANDINGS / f"{scope.key}.json"

    @staticmethod
    def _read(path: Path) -> Standing | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Standing)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise BundleError(
                f"the standing {path} cannot be read: {' '.join(str(error).split())}",
                expected="a file that nobody changed",
                do="bring it back from a backup; audit.jsonl tells what it held",
            ) from None


def _misplaced(path: Path, scope: Scope) -> BundleError:
    return BundleError(
        f"the standing {path} is that of {scope.text}",
        expected=f"it in {scope.key}.json alone",
        do="move a copy to another folder",
    )


def _line(
    action: Action,
    before: Standing,
    after: Standing,
    version: str,
    who: str,
    why: str,
    forced: tuple[str, ...],
    now_ns: int,
) -> audit.Line:
    return audit.Line(
        at=audit.stamp(now_ns),
        who=who,
        action=action,
        scope=after.scope.text,
        sequence=after.sequence,
        version=version,
        champion_before=before.champion or "",
        champion=after.champion or "",
        why=why,
        forced=forced,
        previous="",
        share=after.share if action == "canary" else Decimal(0),
    )


def _copy(source: Path, target: Path) -> None:
    """Bytes, synced, and read-only: a version never changes."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(source.read_bytes())
        file.flush()
        os.fsync(file.fileno())
        os.fchmod(file.fileno(), 0o444)
