"""``engine.data.commits``: the log says what is visible, all of a commit or nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.data import commits
from engine.data.catalogue import Catalogue, Source
from engine.data.commits import Commit, CommitLog, State, commit_name, sum_name
from engine.errors import DataError
from tests.support.daemon import ROOT
from tests.support.journals import flip
from tests.support.stored import quotes, store


def seen(root: Path) -> tuple[int, int]:
    """Number of the last commit and visible rows."""
    state: State = CommitLog(root).load()
    return state.number, sum(part.rows for part in state.parts.values())


def test_many_commits_are_folded_into_their_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fourth one; what is visible, marks included, stays the same with one file instead of four."""
    monkeypatch.setattr(commits, "FOLD_AFTER", 4)
    root = tmp_path / "c"
    for count in range(1, 11):
        with Catalogue(root).batch(Source("session")) as batch:
            batch.writer("test", "BTC-USD", "quotes").write(quotes(count))
            batch.mark("session", count, expected=count - 1 or None)
        assert seen(root) == (count, count * (count + 1) // 2)
    assert sorted(path.name for path in (root / "log").iterdir()) == [
        sum_name(8), commit_name(9), commit_name(10)
    ]  # fmt: skip
    assert Catalogue(root).mark("session") == 10


def test_a_fold_that_was_killed_half_way_counts_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum is there and the commits that it sums are still there too."""
    root = tmp_path / "c"
    for count in (1, 2, 3):
        store(root, quotes(count))
    kept = {path.name: path.read_bytes() for path in (root / "log").iterdir()}
    monkeypatch.setattr(commits, "FOLD_AFTER", 4)
    store(root, quotes(4))
    for name, content in kept.items():
        (root / "log" / name).write_bytes(content)
    assert seen(root) == (4, 10)
    store(root, quotes(5))
    assert seen(root) == (5, 15)


def test_a_damaged_commit_is_refused_by_name(tmp_path: Path) -> None:
    """One byte of the log: what it named is not guessed."""
    root = tmp_path / "c"
    store(root, quotes(3))
    flip(root / "log" / commit_name(1), 30)
    with pytest.raises(DataError, match=r"00000001\.json is damaged.*restore it from a copy"):
        Catalogue(root)


def test_a_commit_that_is_missing_between_others_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "c"
    for _ in range(3):
        store(root, quotes(1))
    (root / "log" / commit_name(2)).unlink()
    with pytest.raises(DataError, match=r"00000002\.json is missing"):
        Catalogue(root)


def test_an_interrupt_right_after_the_commit_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C when the commit is visible and before the writer knows: its files stay, as the log says."""
    append = CommitLog.append

    def interrupted(log: CommitLog, commit: Commit, state: State) -> None:
        append(log, commit, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CommitLog, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store(tmp_path / "c", quotes(5))
    assert seen(tmp_path / "c") == (1, 5)
    catalogue = Catalogue(tmp_path / "c")
    assert (catalogue.problems, catalogue.verify()) == ([], [])


def test_a_commit_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the log is written: the parts that were moved into place go again, and it is one line."""
    store(tmp_path / "c", quotes(2))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("engine.data.commits.write_atomically", full)
        with pytest.raises(DataError, match=r"cannot write the rows of .*: No space left on device"):
            store(tmp_path / "c", quotes(5))
    assert seen(tmp_path / "c") == (1, 2)
    assert len(list((tmp_path / "c").rglob("*.parquet"))) == 1
    assert Catalogue(tmp_path / "c").problems == []


WRITER = """
import sys
from pathlib import Path
from engine.data import commits
from engine.data.catalogue import Catalogue, Source
from tests.support.stored import quotes
commits.FOLD_AFTER = 7
for number in range(10):
    with Catalogue(Path(sys.argv[1])).batch(Source("made")) as batch:
        batch.writer("test", sys.argv[2] + "-USD", "quotes").write(quotes(3))
"""


def test_writers_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Three processes with ten commits each into one catalogue, while this one keeps reading and the log is folded."""
    root = tmp_path / "c"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(root), name], cwd=ROOT) for name in ("BTC", "ETH", "SOL")
    ]
    numbers = []
    while any(writer.poll() is None for writer in writers):
        number, rows = seen(root)
        assert rows == 3 * number
        numbers.append(number)
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert numbers == sorted(numbers)
    assert seen(root) == (30, 90)
    catalogue = Catalogue(root)
    assert (catalogue.problems, catalogue.verify()) == ([], [])
