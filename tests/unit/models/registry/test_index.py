"""The index says what the folder says, whatever became of its file."""

from __future__ import annotations

import sqlite3

import pytest

from models.registry import index
from models.registry.standing import scope_of


def stand(registry, version, action="promote"):
    seen = registry.standing(scope_of(registry.manifest(version)))
    registry.change(seen, action, version, who="ann", why="", forced=(), now_ns=1)


def test_it_lists_versions_with_what_they_stand_for(registry, add) -> None:
    first, second = add(), add()
    stand(registry, first)
    rows = index.rows(registry)
    assert [(row["version"], row["state"]) for row in rows] == [(first, "champion"), (second, "candidate")]
    assert rows[0]["scope"] == "direction/perpetual,spot/*/*"
    assert rows[0]["network"] == "cnn"
    assert rows[0]["verdict"] == "scored in its run"


def test_it_says_which_version_a_rollback_brings_back(registry, add) -> None:
    first, second = add(), add()
    stand(registry, first)
    assert [row["is_next_back"] for row in index.rows(registry)] == [0, 0]
    stand(registry, second)
    assert {row["version"]: row["is_next_back"] for row in index.rows(registry)} == {first: 1, second: 0}


def test_it_is_read_while_it_is_fresh(registry, add) -> None:
    """A row that was changed in the file, not in the folder, is still there: nobody looked at the folder again."""
    version = add()
    index.rows(registry)
    with sqlite3.connect(registry.root / index.INDEX) as file:
        file.execute("UPDATE versions SET network = 'from the file'")
    assert index.rows(registry)[0]["network"] == "from the file"
    stand(registry, version)
    assert index.rows(registry)[0]["network"] == "cnn"
    assert index.rows(registry)[0]["state"] == "champion"


@pytest.mark.parametrize("content", [None, b"", b"no database", b"SQLite format 3\x00" + bytes(200)])
def test_lost_or_damaged_it_is_made_again(registry, add, content) -> None:
    add()
    before = index.rows(registry)
    path = registry.root / index.INDEX
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert index.rows(registry) == before
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM versions").fetchone() == (1,)


def test_a_damaged_version_is_listed_with_its_reason_until_it_is_whole_again(registry, add) -> None:
    version = add()
    path = registry.path_of(version) / "manifest.json"
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"{")
    (row,) = index.rows(registry)
    assert row["state"] == "damaged"
    assert "is not valid" in row["problem"]
    path.write_bytes(whole)
    (row,) = index.rows(registry)
    assert (row["state"], row["problem"]) == ("candidate", "")


def test_a_registry_that_is_not_there_has_no_rows(registry) -> None:
    assert index.rows(registry) == []
    assert not registry.root.exists()
