"""The ledger of opened tests: on disk first, whole after a kill, and nothing is unlocked without it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine.errors import DataError
from models.evaluation.ledger import Ledger, Opening, Sealed, TestSet

DAY_NS = 86_400_000_000_000


def rows(fingerprint: str = "a", *, label: str = "up", first: int = 10, last: int = 20, names=("X",)) -> TestSet:
    return TestSet(label, fingerprint * 64, 100, first * DAY_NS, last * DAY_NS, tuple(names))


def opened(path: Path, test: TestSet | None = None, run: str = "r", **made_of: str) -> Opening:
    told = {"commit": "c", "config_sha256": run, "data_fingerprint": "d"} | made_of
    return Ledger(path).open(test or rows(), run=run, now_ns=1_760_000_000_000_000_000, **told)


def test_the_line_is_on_disk_before_anything_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The opening exists only after its line was synced: at the time of fsync the file holds it."""
    path, seen = tmp_path / "deep" / "ledger.jsonl", []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(path.read_bytes())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    opening = opened(path)
    assert opening.raw in seen[0]
    assert opening.line.at == "2025-10-09T08:53:20+00:00"
    assert Sealed("a" * 64, lambda: "rows").open(opening) == "rows"


def test_forecasts_of_one_run_do_not_count_against_each_other(tmp_path: Path) -> None:
    """Return and regime of one run: both are first looks.  The second look at either is not."""
    path = tmp_path / "ledger.jsonl"
    assert not opened(path, rows(label="return")).reused
    assert not opened(path, rows(label="regime")).reused
    again = opened(path, rows(label="regime"))
    assert [line.test.label for line in again.earlier] == ["regime"]


@pytest.mark.parametrize("made_of", [{"commit": "c2"}, {"config_sha256": "s2"}, {"data_fingerprint": "d2"}])
def test_a_run_that_was_made_anew_is_another_one(made_of: dict[str, str], tmp_path: Path) -> None:
    """What differs may have been chosen by what the first forecast showed."""
    path = tmp_path / "ledger.jsonl"
    opened(path, rows(label="return"))
    assert opened(path, rows(label="regime"), **made_of).reused


def test_a_sync_that_fails_unlocks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot sync: one line of error and no opening."""

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError, match="No space left"):
        opened(tmp_path / "ledger.jsonl")


def test_a_disk_that_fills_within_the_line_unlocks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the second line fits: one line of error, the first opening still counts, and the next one is whole."""
    path, real = tmp_path / "ledger.jsonl", os.write
    opened(path, run="first")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, text: real(descriptor, text[: len(text) // 2]))
        with pytest.raises(DataError, match="the disk is full"):
            opened(path, run="full")
    third = opened(path, run="third")
    assert [line.run for line in third.earlier] == ["first"]
    assert Sealed("a" * 64, lambda: "rows").open(third) == "rows"


def test_an_opening_cannot_be_made_by_hand(tmp_path: Path) -> None:
    """Its type is given by the ledger alone."""
    with pytest.raises(TypeError):
        Opening(object(), tmp_path, b"{}", ())


def test_an_opening_unlocks_its_own_rows_only(tmp_path: Path) -> None:
    """Rows of another test stay shut, and nothing was loaded."""
    asked = []
    with pytest.raises(DataError, match="open the test of this run"):
        Sealed("b" * 64, lambda: asked.append(1)).open(opened(tmp_path / "ledger.jsonl"))
    assert asked == []


def test_an_opening_whose_line_was_taken_out_unlocks_nothing(tmp_path: Path) -> None:
    """The file emptied between opening and reading."""
    path = tmp_path / "ledger.jsonl"
    opening = opened(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="lost the line"):
        Sealed("a" * 64, lambda: "rows").open(opening)


def test_a_second_opening_knows_the_first(tmp_path: Path) -> None:
    """By another run, on the same rows."""
    path = tmp_path / "ledger.jsonl"
    assert not opened(path, run="first").reused
    second = opened(path, run="second")
    assert second.reused
    assert [line.run for line in second.earlier] == ["first"]


@pytest.mark.parametrize(
    ("other", "reused"),
    [
        (rows("b", first=15, last=30), True),
        (rows("b", first=21, last=30), False),
        (rows("b", label="volatility"), False),
        (rows("b", names=("Y",)), False),
        (rows("a", label="volatility"), True),
    ],
    ids=["overlaps", "later", "another label", "another instrument", "the same rows"],
)
def test_rows_in_common_make_it_the_same_test(tmp_path: Path, other: TestSet, reused: bool) -> None:
    """One row less does not make a new test."""
    path = tmp_path / "ledger.jsonl"
    opened(path)
    assert opened(path, other, run="another").reused is reused


def test_a_line_that_a_kill_cut_off_harms_no_other(tmp_path: Path) -> None:
    """Every length of a torn second line: the first still counts, the next opening is whole."""
    path = tmp_path / "ledger.jsonl"
    opened(path, run="first")
    first = path.read_bytes()
    opened(path, run="torn")
    torn = path.read_bytes()
    for length in range(len(first) + 1, len(torn) - 1, 40):
        path.write_bytes(torn[:length])
        third = opened(path, run="third")
        assert [line.run for line in third.earlier] == ["first"]
        assert Sealed("a" * 64, lambda: "rows").open(third) == "rows"
        assert [line.run for line in Ledger(path).lines()] == ["first", "third"]


def test_a_line_that_was_changed_or_taken_out_is_noticed(tmp_path: Path) -> None:
    """The first of three lines edited, then the second removed."""
    path = tmp_path / "ledger.jsonl"
    for run in ("one", "two", "three"):
        opened(path, run=run)
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in ([lines[0].replace(b"one", b"eno"), *lines[1:]], [lines[0], lines[2]]):
        path.write_bytes(b"".join(changed))
        with pytest.raises(DataError, match="does not follow the line before it"):
            opened(path)


def test_openings_at_once_take_turns(tmp_path: Path) -> None:
    """Eight threads: eight lines in one chain, and each knows all those before it."""
    path = tmp_path / "ledger.jsonl"
    found: list[Opening] = []
    threads = [threading.Thread(target=lambda n=n: found.append(opened(path, run=str(n)))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Ledger(path).lines()) == 8
    assert sorted(len(one.earlier) for one in found) == list(range(8))
