"""What a session leaves to the next one on its account: who holds the account, which session was last, what it says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, JournalError, KestrelError, SessionLocked, WrongAccount
from engine.runtime.succession import Succession
from engine.runtime.watchdog_process import holder_of
from tests.support.daemon import ROOT
from tests.support.succession import ACCOUNT, leave, open_ids, position, succession, trading

D = Decimal


# --- who holds the account ------------------------------------------------------------------------------------------


@pytest.mark.fault("A10")
def test_an_account_is_held_by_one_daemon_and_the_second_is_told_which(tmp_path: Path) -> None:
    """Two of the same account; the other account is free; what was let go of can be taken."""
    first, second = succession(tmp_path), succession(tmp_path)
    first.lock("s-1")
    with pytest.raises(SessionLocked, match=r"traded by process \d+, session s-1.*stop that one first") as caught:
        second.lock("s-2")
    assert "\n" not in str(caught.value)
    other = succession(tmp_path, "coinbase-other")
    other.lock("s-3")
    first.close()
    first.close()
    second.lock("s-2")
    with pytest.raises(SessionLocked, match="session s-2"):
        first.lock("s-4")
    for one in (second, other):
        one.close()


@pytest.mark.fault("A10")
def test_a_daemon_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    """A process takes the lock and dies without letting go; nothing has to be cleared away by hand."""
    code = (
        "import os, sys; from pathlib import Path; from engine.runtime.succession import Succession; "
        f"Succession(Path(sys.argv[1]), {ACCOUNT!r}).lock('s-dead'); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert succession(tmp_path).holder() == f"process {child.pid}, session s-dead"
        with pytest.raises(SessionLocked, match=f"process {child.pid}, session s-dead"):
            succession(tmp_path).lock("s-1")
        child.kill()
    mine = succession(tmp_path)
    assert mine.holder() == succession(tmp_path, "nobody-traded-there").holder() == ""
    mine.lock("s-1")
    mine.close()


@pytest.mark.fault("A10")
def test_whoever_only_was_there_has_not_taken_the_account_over(tmp_path: Path) -> None:
    """What the lock's file says outlives who wrote it: to a watchdog only a daemon that holds it is one."""
    first, dead = succession(tmp_path), os.getpid() + 1
    first.lock("s-1")
    assert holder_of(first.lock_path, dead) == f"process {os.getpid()}, session s-1"
    assert holder_of(first.lock_path, os.getpid()) == ""
    first.close()
    assert holder_of(first.lock_path, dead) == ""
    assert holder_of(tmp_path / "none", dead) == ""


def test_whose_account_it_is_can_be_asked_without_being_kept(tmp_path: Path) -> None:
    """Another one than before is refused in the words of a start; the first one is not yet learned by the question."""
    one = succession(tmp_path)
    one.check_identity("portfolio-1")
    one.begin(tmp_path / "s-1")
    one.check_identity("portfolio-1")
    one.check_identity("portfolio-2")
    one.identify("portfolio-1")
    one.check_identity("portfolio-1")
    with pytest.raises(WrongAccount, match="another one than its sessions so far"):
        one.check_identity("portfolio-2")


@pytest.mark.fault("A10")
def test_a_second_key_of_an_account_is_no_second_account(tmp_path: Path) -> None:
    """Each key has a name, a lock and a pointer of its own; the venue's id of what is behind it is one.  Told apart by
    the server: exchanges of ours give every account the same id."""

    def begun(account: str, session: str, url: str) -> Succession:
        made = succession(tmp_path, account)
        made.lock(session)
        folder = tmp_path / session
        folder.mkdir()
        venue = {"name": "coinbase", "feed": "live", "rest_url": url}
        (folder / "session.json").write_text(json.dumps({"config": {"venue": venue}}))
        made.begin(folder)
        return made

    first, second = begun(ACCOUNT, "s-1", "https://one"), begun("coinbase-second-key", "s-2", "https://one")
    elsewhere = begun("coinbase-elsewhere", "s-3", "https://two")
    for one in (first, elsewhere):
        one.identify("portfolio-1")
    with pytest.raises(WrongAccount, match=r"traded by process \d+, session s-1, with another key"):
        second.identify("portfolio-1")
    second.identify("portfolio-2")
    first.close()
    second.identify("portfolio-1", anew=True)
    for one in (second, elsewhere):
        one.close()


NEW_KEY = "coinbase-new-key"


def begun(folder: Path, account: str, created_ns: int, name: str = "") -> tuple[Succession, str]:
    """A session that went as far as its first bytes to the real venue, and which one it goes on with."""
    made, name = succession(folder, account), name or f"s-{created_ns}"
    made.lock(name)
    left = made.left("USD")
    session = leave(folder / name, trading(created_ns).records)
    venue = {"name": "coinbase", "feed": "live", "rest_url": None}
    (session / "session.json").write_text(json.dumps({"config": {"venue": venue}, "created_ns": created_ns}))
    made.begin(session)
    return made, "" if left is None else left.session


@pytest.mark.fault("C8")
@pytest.mark.fault("F6")
def test_a_key_that_was_replaced_leaves_what_its_sessions_left(tmp_path: Path) -> None:
    """The old key's session holds orders, stops and latches: the new key's first start names it, the next one goes on
    with it, and back with the old key the same holds.  Begun anew, nothing of it counts."""

    old, _ = begun(tmp_path, ACCOUNT, 1)
    old.identify("portfolio-1")
    old.close()
    new, _ = begun(tmp_path, NEW_KEY, 2)
    with pytest.raises(WrongAccount, match=r"session s-1 traded on with another key.*start again"):
        new.identify("portfolio-1")
    new.close()
    new, came_from = begun(tmp_path, NEW_KEY, 3)
    new.identify("portfolio-1")
    new.close()
    assert came_from == "s-1"
    back, _ = begun(tmp_path, ACCOUNT, 4)
    with pytest.raises(WrongAccount, match="session s-3"):
        back.identify("portfolio-1")
    back.close()
    anew, _ = begun(tmp_path, "coinbase-third-key", 5)
    anew.identify("portfolio-1", anew=True)
    anew.close()


@pytest.mark.fault("C8")
@pytest.mark.fault("F6")
def test_a_start_that_failed_before_it_saw_the_account_has_not_traded_on_it(tmp_path: Path) -> None:
    """The key that was revoked is tried once more, by mistake, and so is the new one without a network: neither hides
    what was traded since, nor what went before."""
    old, _ = begun(tmp_path, ACCOUNT, 1)
    old.identify("portfolio-1")
    old.close()
    begun(tmp_path, NEW_KEY, 2)[0].close()
    new, _ = begun(tmp_path, NEW_KEY, 3)
    with pytest.raises(WrongAccount, match="session s-1"):
        new.identify("portfolio-1")
    new.close()
    new, came_from = begun(tmp_path, NEW_KEY, 4)
    new.identify("portfolio-1")
    new.close()
    assert came_from == "s-1"
    begun(tmp_path, ACCOUNT, 5)[0].close()
    again, came_from = begun(tmp_path, NEW_KEY, 6)
    again.identify("portfolio-1")
    again.close()
    assert came_from == "s-4"
    back, _ = begun(tmp_path, ACCOUNT, 7)
    with pytest.raises(WrongAccount, match="session s-6"):
        back.identify("portfolio-1")
    back.close()
    clock_set_back, came_from = begun(tmp_path, ACCOUNT, 3, "s-8")
    clock_set_back.identify("portfolio-1")
    clock_set_back.close()
    assert came_from == "s-6"
    new, _ = begun(tmp_path, NEW_KEY, 9)
    with pytest.raises(WrongAccount, match="session s-8"):
        new.identify("portfolio-1")
    new.close()


@pytest.mark.fault("A10")
def test_of_two_keys_that_begin_at_once_one_sees_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that comes up starts both: the second asks who trades while the first has not finished asking."""
    (first, _), (second, _) = (begun(tmp_path, account, number) for number, account in enumerate((ACCOUNT, NEW_KEY), 1))
    look = first._twin_that_traded_since

    def look_and_be_overtaken(*asked: Any) -> Any:
        found = look(*asked)
        with pytest.raises(WrongAccount, match="session s-1, with another key"):
            second.identify("portfolio-1")
        return found

    monkeypatch.setattr(first, "_twin_that_traded_since", look_and_be_overtaken)
    first.identify("portfolio-1")
    for one in (first, second):
        one.close()


def test_a_run_folder_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    """A file lies where the folder should be: neither lock nor pointer, and each says which path."""
    (tmp_path / "run").write_text("in the way")
    one = Succession(tmp_path / "run", ACCOUNT)
    with pytest.raises(KestrelError, match=r"cannot lock account coinbase-.*make the folder yours"):
        one.lock("s-1")
    with pytest.raises(KestrelError, match="cannot note the session"):
        one.begin(tmp_path / "s-1")


# --- which session was last -----------------------------------------------------------------------------------------


def test_nothing_was_left_where_nobody_traded(tmp_path: Path) -> None:
    """No pointer; and that of another account is none."""
    assert succession(tmp_path).left("USD") is None
    succession(tmp_path, "coinbase-other").begin(leave(tmp_path / "s-1", trading().records))
    assert succession(tmp_path).left("USD") is None


@pytest.mark.fault("A4")
def test_the_newest_session_is_gone_on_with_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by a relative path from another working directory; what it holds is what its records say."""
    leave(tmp_path / "a" / "s-1", trading(1).records)
    leave(tmp_path / "b" / "s-2", trading(2).records, closed=True)
    monkeypatch.chdir(tmp_path / "a")
    succession(tmp_path).begin(Path("s-1"))
    monkeypatch.chdir(tmp_path / "b")
    succession(tmp_path).begin(Path("s-2"))
    monkeypatch.chdir("/")
    left = succession(tmp_path).left("USD")
    assert left is not None
    assert (left.session, position(left.state), left.torn_bytes) == ("s-2", D(2), 0)
    assert len(open_ids(left.state)) == 1
    account = trading(2)
    assert left.last_ns == account.now_ns


def test_the_pointer_names_the_newest_and_the_one_before(tmp_path: Path) -> None:
    """After three sessions."""
    one = succession(tmp_path)
    for name in ("s-1", "s-2", "s-3"):
        one.begin(tmp_path / name)
    (pointer,) = (tmp_path / "run" / "accounts").glob("*.json")
    content = json.loads(pointer.read_text())
    newest = [str(tmp_path / "s-3"), str(tmp_path / "s-2")]
    assert content == {"account": ACCOUNT, "sessions": newest, "identity": "", "identified_ns": 0}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sessions": 7}', b"\xff\xfe"])
@pytest.mark.fault("A7")
def test_a_pointer_that_cannot_be_read_ends_the_start(tmp_path: Path, content: bytes) -> None:
    """Nobody knows what the account owes; the way out is named, and it is one: the next session is noted."""
    one = succession(tmp_path)
    one.begin(tmp_path / "s-1")
    (pointer,) = (tmp_path / "run" / "accounts").glob("*.json")
    pointer.write_bytes(content)
    with pytest.raises(DataError, match="--venue-truth") as caught:
        one.left("USD")
    assert "\n" not in str(caught.value)
    one.begin(leave(tmp_path / "s-2", trading().records))
    left = one.left("USD")
    assert left is not None
    assert left.session == "s-2"


@pytest.mark.fault("A5")
@pytest.mark.parametrize("empty", ["segments", "folder"])
def test_a_session_of_which_nothing_is_on_disk_falls_back_to_the_one_before(tmp_path: Path, empty: str) -> None:
    """It was noted as the newest and the machine went down: files that were allocated only, or not even those."""
    one = succession(tmp_path)
    one.begin(leave(tmp_path / "s-1", trading().records))
    if empty == "segments":
        leave(tmp_path / "s-2", [])
    else:
        (tmp_path / "s-2" / "journal").mkdir(parents=True)
    one.begin(tmp_path / "s-2")
    left = one.left("USD")
    assert left is not None
    assert (left.session, position(left.state)) == ("s-1", D(1))


def test_two_sessions_of_which_nothing_is_on_disk_left_nothing(tmp_path: Path) -> None:
    """Neither has sent anything."""
    one = succession(tmp_path)
    for name in ("s-1", "s-2"):
        one.begin(leave(tmp_path / name, []))
    assert one.left("USD") is None


@pytest.mark.fault("A7")
@pytest.mark.parametrize("gone", ["journal", "session"])
def test_a_journal_that_is_gone_ends_the_start(tmp_path: Path, gone: str) -> None:
    """Deleted by hand: that there was one is known, so its orders may still live.  The session before is no answer."""
    one = succession(tmp_path)
    one.begin(leave(tmp_path / "s-1", trading().records))
    one.begin(leave(tmp_path / "s-2", trading(2).records))
    shutil.rmtree(tmp_path / "s-2" / ("journal" if gone == "journal" else ""))
    with pytest.raises(JournalError, match=rf"last session on account {ACCOUNT}.*no journal.*--venue-truth") as caught:
        one.left("USD")
    assert "\n" not in str(caught.value)
