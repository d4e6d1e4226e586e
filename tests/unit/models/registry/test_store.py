"""The registry's folder under copies, kills and two people at once."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import stat
import time
from decimal import Decimal
from functools import partial

import msgspec
import pytest

from engine.errors import BundleError
from engine.instruments import AssetClass
from models.bundle import load_bundle
from models.catalogue import load_named
from models.registry import audit, store
from models.registry.champions import find_champion
from models.registry.promotion import rollback
from models.registry.standing import scope_of
from models.registry.store import Conflict

WHO = {"who": "ann", "why": "better", "forced": (), "now_ns": 1_700_000_000_000_000_000}


def scope_in(registry, version):
    return scope_of(registry.manifest(version))


def test_a_version_is_a_whole_copy_that_nobody_writes_to(registry, add, artifacts) -> None:
    """Loads from the registry as from where it came; adding it again changes nothing."""
    version = add()
    copy = load_bundle(registry.path_of(version))
    assert copy.version == version
    assert not any(path.stat().st_mode & stat.S_IWUSR for path in copy.path.iterdir())
    shipped = load_bundle(artifacts / "demo-crypto")
    assert registry.add(shipped) == (shipped.version, True)
    assert registry.add(shipped) == (shipped.version, False)


def test_a_copy_that_was_killed_is_no_version(registry, add, artifacts, monkeypatch) -> None:
    """The process ends in the middle of the third file: nothing under the version's name, and the next add is whole."""
    bundle = load_bundle(artifacts / "demo-fx")
    assert dies_at(lambda: registry.add(bundle), "_copy", 3)
    assert registry.versions() == []
    version, new = registry.add(bundle)
    assert new
    assert load_bundle(registry.path_of(version)).version == version


def test_a_lock_that_another_process_holds_is_waited_for_and_then_told(registry, add, monkeypatch) -> None:
    """Somebody stopped a change with Ctrl-Z: who watches a live session is not held up for good."""
    version = add()
    standing = registry.standing(scope_in(registry, version))
    with open(registry.root / ".lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(store, "LOCK_S", 0.1)
        with pytest.raises(BundleError, match=r"is being changed by another process for 0\.1 s"):
            registry.change(standing, "promote", version, **WHO)
    assert registry.change(standing, "promote", version, **WHO).champion == version


@pytest.mark.parametrize("sha", ["", "abc", "zzzz", "../.."])
def test_a_version_that_is_not_there_lists_those_that_are(registry, add, sha) -> None:
    version = add()
    with pytest.raises(BundleError, match=f"expected 4 digits or more of one of: {version.partition('@')[2]}"):
        registry.resolve("demo-crypto", sha)


def test_a_version_is_found_by_its_first_digits(registry, add) -> None:
    version = add()
    name, _, sha = version.partition("@")
    assert registry.resolve(name, sha[:4]) == registry.resolve(name, sha) == version


def test_a_change_is_in_the_audit_with_who_when_and_why(registry, add) -> None:
    first, second = add(), add()
    seen = registry.standing(scope_in(registry, first))
    seen = registry.change(seen, "promote", first, **WHO)
    registry.change(seen, "promote", second, **WHO | {"forced": ("it is old",)})
    lines = audit.lines(registry.root)
    assert [(one.action, one.version, one.champion_before, one.champion) for one in lines] == [
        ("promote", first, "", first),
        ("promote", second, first, second),
    ]
    assert lines[1].who == "ann"
    assert lines[1].at == "2023-11-14T22:13:20+00:00"
    assert lines[1].forced == ("it is old",)
    assert registry.standing(seen.scope).champion == second


def test_of_two_at_once_one_wins_and_the_other_is_told(registry, add) -> None:
    """Both looked at the same standing; eight processes then change it at the same moment."""
    versions = [add() for _ in range(8)]
    seen = registry.standing(scope_in(registry, versions[0]))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    begin = context.Barrier(8)

    def change(version: str) -> None:
        begin.wait(30)
        try:
            registry.change(seen, "promote", version, **WHO)
            results.put(("won", version, ""))
        except Conflict as error:
            results.put(("told", version, str(error)))

    people = [context.Process(target=change, args=(version,)) for version in versions]
    for one in people:
        one.start()
    told = [results.get(timeout=60) for _ in people]
    for one in people:
        one.join(60)
    won = [version for outcome, version, _ in told if outcome == "won"]
    assert len(won) == 1
    assert registry.standing(seen.scope).champion == won[0]
    assert all(
        f"by ann at 2023-11-14T22:13:20+00:00: promote {won[0]}" in text for out, _, text in told if out == "told"
    )
    assert len(audit.lines(registry.root)) == 1


def test_a_change_from_canary_to_champion_is_killed_anywhere(registry, add) -> None:
    """The canary is canary or champion, never both and never neither, and its share goes with it."""
    first, second = add(), add()
    scope = scope_in(registry, first)
    old = registry.change(registry.standing(scope), "promote", first, **WHO)
    old = registry.change(old, "canary", second, share=Decimal("0.05"), **WHO)
    for call in range(1, 20):
        died = dies_at(partial(registry.change, old, "promote", second, **WHO), "os.replace", call)
        now = registry.standing(scope)
        assert (now.champion, now.canary, now.share) in [(first, second, Decimal("0.05")), (second, None, Decimal(0))]
        if not died:
            break
    assert now.champion == second
    assert [line.share for line in audit.lines(registry.root) if line.action == "canary"] == [Decimal("0.05")]


POINTS = ("os.open", "os.write", "os.fsync", "os.replace")


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_change_leaves_the_old_champion_or_the_new_one(registry, add, point) -> None:
    """Killed at each call that touches the disk, in turn, until the change gets through.  After each: a whole standing,
    a readable audit, and the next change works and says what was begun and never made."""
    first, second = add(), add()
    scope = scope_in(registry, first)
    old = registry.change(registry.standing(scope), "promote", first, **WHO)
    seen = set()
    for call in range(1, 20):
        died = dies_at(partial(registry.change, old, "promote", second, **WHO), point, call)
        now = registry.standing(scope)
        assert now.champion in (first, second)
        seen.add(now.champion)
        lines = audit.lines(registry.root)
        assert now.champion == first or lines[-1].champion == second
        if not died or now.champion == second:
            break
        again = registry.change(now, "shadow", second, **WHO)
        old = registry.change(again, "retire", second, **WHO)
        left = audit.lines(registry.root)
        assert [one.action for one in left[-2:]] == ["shadow", "retire"]
        assert left[-3].action in ("void", "promote", "retire")
        assert (left[-3].action == "void") == (lines[-1].sequence > now.sequence)
    assert second in seen


def dies_at(work, point: str, call: int) -> bool:
    """Whether a child process that does ``work`` came to its ``call``-th use of ``point``, and died before it."""
    child = os.fork()
    if child == 0:
        owner, _, name = point.rpartition(".")
        place = os if owner == "os" else store
        real, count = getattr(place, name), 0

        def counted(*arguments, **named):
            nonlocal count
            count += 1
            if count == call:
                os._exit(9)
            return real(*arguments, **named)

        setattr(place, name, counted)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def test_a_full_disk_leaves_the_old_champion(registry, add, monkeypatch) -> None:
    """At the audit nothing was begun; at the standing the next change says that it was begun and never made."""
    first, second = add(), add()
    old = registry.change(registry.standing(scope_in(registry, first)), "promote", first, **WHO)

    def full(*_arguments, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(BundleError, match=r"audit\.jsonl cannot be written: No space.*nothing was changed"):
            registry.change(old, "promote", second, **WHO)
    with monkeypatch.context() as patched:
        patched.setattr(store, "write_atomically", full)
        with pytest.raises(BundleError, match=r"No space left on device; the old standing stays"):
            registry.change(old, "promote", second, **WHO)
    assert registry.standing(old.scope) == old
    registry.change(old, "shadow", second, **WHO)
    assert [line.action for line in audit.lines(registry.root)] == ["promote", "promote", "void", "shadow"]


def test_a_torn_audit_line_is_no_change(registry, add) -> None:
    """A kill in the middle of a write: the piece stays, and the next line stands on its own."""
    first, second = add(), add()
    seen = registry.change(registry.standing(scope_in(registry, first)), "promote", first, **WHO)
    with (registry.root / audit.AUDIT).open("ab") as file:
        file.write(b'{"at":"2026-')
    registry.change(seen, "promote", second, **WHO)
    assert [one.version for one in audit.lines(registry.root)] == [first, second]


def test_an_audit_line_that_was_changed_is_noticed(registry, add) -> None:
    """Another name in the first of two lines."""
    first, second = add(), add()
    seen = registry.change(registry.standing(scope_in(registry, first)), "promote", first, **WHO)
    seen = registry.change(seen, "promote", second, **WHO)
    path = registry.root / audit.AUDIT
    path.write_bytes(path.read_bytes().replace(b'"ann"', b'"bob"', 1))
    with pytest.raises(BundleError, match=r"line 2 of .* does not follow the line before it"):
        registry.change(seen, "retire", second, **WHO)


def test_a_damaged_standing_is_refused_in_one_line(registry, add) -> None:
    version = add()
    registry.change(registry.standing(scope_in(registry, version)), "promote", version, **WHO)
    (path,) = (registry.root / store.STANDINGS).glob("*.json")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(BundleError, match="cannot be read") as caught:
        registry.standings()
    assert "\n" not in str(caught.value)


@pytest.mark.fault("E2")
def test_a_copied_standing_is_refused_and_stops_its_own_scope_alone(registry, add, make_instrument) -> None:
    """The copy still has the champion that was rolled back; another scope is read, followed and rolled back."""
    first, second = add(), add()
    others = [add(shipped="demo-fx"), add(shipped="demo-fx")]
    for version in (first, second, *others):
        registry.change(registry.standing(scope_in(registry, version)), "promote", version, **WHO)
    crypto, fx = scope_in(registry, first), scope_in(registry, others[0])
    folder = registry.root / store.STANDINGS
    (folder / "backup.json").write_bytes((folder / f"{crypto.key}.json").read_bytes())
    said = f"backup.json is that of {crypto.text}; expected it in {crypto.key}.json alone".replace("*", r"\*")
    with pytest.raises(BundleError, match=said):
        find_champion(registry.root, make_instrument())
    with pytest.raises(BundleError, match=said):
        rollback(registry, "demo-crypto", who="ann", why="", force=False, now_ns=time.time_ns())
    rolled = rollback(registry, "demo-fx", who="ann", why="", force=False, now_ns=time.time_ns())
    assert (rolled.scope, rolled.champion) == (fx, others[0])
    own = find_champion(registry.root, make_instrument(AssetClass.FX, sizes=False, trades=False))
    assert own is not None
    assert own.version == others[0]
    (folder / "backup.json").unlink()
    (folder / f"{fx.key}.json").write_bytes((folder / f"{crypto.key}.json").read_bytes())
    with pytest.raises(BundleError, match="is that of"):
        registry.standing(fx)


def test_an_empty_registry_has_nothing_and_makes_nothing(registry) -> None:
    """Asking does not write."""
    assert registry.versions() == []
    assert registry.standings() == []
    assert not registry.root.exists()


def test_a_standing_of_another_version_of_the_program_is_refused(registry, add) -> None:
    """A key nobody knows."""
    version = add()
    registry.change(registry.standing(scope_in(registry, version)), "promote", version, **WHO)
    (path,) = (registry.root / store.STANDINGS).glob("*.json")
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), "understudy": "x"}))
    with pytest.raises(BundleError, match="understudy"):
        registry.standings()


def test_standings_that_are_gone_are_not_taken_for_none(registry, add) -> None:
    """Everybody would be a candidate, and a session would begin with another model than the champion."""
    version = add()
    assert registry.standings() == []
    registry.change(registry.standing(scope_in(registry, version)), "promote", version, **WHO)
    folder = registry.root / "standings"
    folder.rename(registry.root / "elsewhere")
    for asked in (registry.standings, lambda: registry.standing(scope_in(registry, version))):
        with pytest.raises(BundleError, match=r"has no folder standings, and audit\.jsonl tells of changes"):
            asked()
    assert registry.sorted_out()[1][0][0] is None
    folder.write_text("no folder")
    with pytest.raises(BundleError, match="cannot be read: Not a directory; expected a folder"):
        registry.standings()


def test_a_version_that_is_named_by_some_of_its_digits_is_told_whole(registry, add, tmp_path) -> None:
    """In settings a version is written whole: a journal and a replay name it so."""
    version = add()
    with pytest.raises(BundleError, match=f"no version '{version[:-4]}' in .*{version}; all digits"):
        load_named(tmp_path, version[:-4], registry=registry.root)
