"""``engine.data.upkeep``: damage is found, set aside with its reason, and never read."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from engine.data.catalogue import Catalogue, Source
from engine.data.upkeep import SET_ASIDE
from engine.errors import DataError
from tests.support.journals import flip
from tests.support.stored import DAY_NS, T0, quotes, rows_of, store


def two_days(root: Path) -> Catalogue:
    store(root, quotes(5))
    return store(root, quotes(7, start_ns=T0 + DAY_NS))


def reasons(root: Path) -> dict[str, str]:
    """Text of each reason file by the file it is about."""
    found = sorted((root / SET_ASIDE).rglob("*.reason.txt"))
    return {path.name.removesuffix(".reason.txt"): path.read_text().strip() for path in found}


def test_a_truncated_part_is_set_aside_at_opening(tmp_path: Path) -> None:
    """Half of a file: noticed by its size, moved away with a reason; the rest is read on."""
    root = tmp_path / "c"
    part = two_days(root).parts()[0]
    part.path.write_bytes(part.path.read_bytes()[: part.bytes // 2])
    catalogue = Catalogue(root)
    (problem,) = catalogue.problems
    assert problem.file == part.file
    assert f"where {part.bytes:,} were written" in problem.reason
    assert problem.rows == 5
    assert rows_of(catalogue, "quotes").num_rows == 7
    assert not part.path.exists()
    assert (root / SET_ASIDE / part.file).exists()
    assert list(reasons(root)) == [part.path.name]
    assert Catalogue(root).problems == []


def test_a_catalogue_that_was_open_before_the_damage_does_not_read_it(tmp_path: Path) -> None:
    """Its list is old: a part that is not of its size any more is left out, one of the same size is refused."""
    catalogue = two_days(tmp_path / "c")
    first, second = catalogue.parts()
    first.path.write_bytes(b"")
    assert [part.file for part in catalogue.parts()] == [second.file]
    flip(second.path, 100)
    with pytest.raises(DataError, match="is damaged: its content is not what its checksum says"):
        rows_of(catalogue, "quotes")
    with pytest.raises(DataError, match="is damaged"):
        list(catalogue.events())
    with pytest.raises(DataError, match="is damaged"):
        catalogue.query("SELECT count(*) FROM quotes")


def test_every_changed_byte_is_found_by_verify(tmp_path: Path) -> None:
    """One bit in the data, the footer or the last byte: same size, other content."""
    for number, where in enumerate((10, -200, -1)):
        root = tmp_path / str(number)
        part = two_days(root).parts()[0]
        flip(part.path, where)
        (problem,) = Catalogue(root).verify()
        assert (problem.file, problem.reason) == (part.file, "its content is not what its checksum says")
        assert Catalogue(root).parts()[0].rows == 7
        assert Catalogue(root).verify() == []


def test_a_whole_part_in_the_place_of_another_is_found(tmp_path: Path) -> None:
    """Ethereum's file copied over bitcoin's: readable, of the same size, and not what was written there."""
    root = tmp_path / "c"
    bitcoin = store(root, quotes(5)).parts()[0]
    store(root, quotes(5), symbol="ETH-USD")
    ether = Catalogue(root).parts(instrument="ETH/USD")[0]
    shutil.copyfile(ether.path, bitcoin.path)
    catalogue = Catalogue(root)
    found = [*catalogue.problems, *catalogue.verify()]
    assert [problem.file for problem in found] == [bitcoin.file]
    assert [part.instrument for part in catalogue.parts()] == ["ETH/USD@test"]


def test_a_part_that_was_deleted_is_told_once(tmp_path: Path) -> None:
    root = tmp_path / "c"
    part = two_days(root).parts()[1]
    part.path.unlink()
    assert [problem.line() for problem in Catalogue(root).problems] == [f"{part.file}: it is missing (7 rows)"]
    assert Catalogue(root).problems == []


def test_a_file_that_no_commit_names_is_no_data(tmp_path: Path) -> None:
    """Copied in by hand: it has no place in the log, so it is moved away and said so."""
    root = tmp_path / "c"
    part = two_days(root).parts()[0]
    stray = part.path.with_name("part-extra.parquet")
    shutil.copyfile(part.path, stray)
    catalogue = Catalogue(root)
    assert [problem.reason.partition(":")[0] for problem in catalogue.problems] == ["no commit names it"]
    assert sum(part.rows for part in catalogue.parts()) == 12
    shutil.copyfile(part.path, stray)  # again: what was set aside before stays
    assert len(Catalogue(root).problems) == 1
    assert len(reasons(root)) == 2


def test_a_writer_at_work_is_left_alone_and_a_dead_one_cleared_away(tmp_path: Path) -> None:
    """Whether its lock is held tells them apart; what a dead one had written is kept, with the reason."""
    root = tmp_path / "c"
    catalogue = Catalogue(root)
    with catalogue.batch(Source("made")) as batch:
        writer = batch.writer("test", "BTC-USD", "quotes")
        writer.write(quotes(5))
        writer.flush()
        assert Catalogue(root).problems == []
    dead = root / ".staging" / "dead"
    dead.mkdir()
    (dead / "000001.parquet").write_bytes(b"PAR1 and no more")
    assert [problem.file for problem in Catalogue(root).problems] == [".staging/dead"]
    assert (root / SET_ASIDE / ".staging" / "dead" / "000001.parquet").exists()
    assert sum(part.rows for part in Catalogue(root).parts()) == 5


def test_nothing_is_moved_while_another_process_publishes(tmp_path: Path) -> None:
    """What looks like a leftover may be its: a stray is left for the next opening."""
    root = tmp_path / "c"
    part = two_days(root).parts()[0]
    shutil.copyfile(part.path, part.path.with_name("part-extra.parquet"))
    held = os.open(root / "lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert Catalogue(root).problems == []
    os.close(held)
    assert len(Catalogue(root).problems) == 1


def test_a_catalogue_that_may_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No right to write: a truncated part cannot be moved, and is not read either."""
    root = tmp_path / "c"
    part = two_days(root).parts()[0]
    part.path.write_bytes(b"")

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("engine.data.commits.os.open", refuse)  # as root, which tests may be, nothing is forbidden
    catalogue = Catalogue(root)
    assert catalogue.problems == []
    assert [part.rows for part in catalogue.parts()] == [7]
