"""A file is replaced whole or not at all, and a line that was added is there."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from engine.durable import append_synced, write_atomically


def test_atomic_writing_keeps_the_old_content_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the sync fail in the middle: the old file stands, no temporary one is left."""
    path = tmp_path / "x.json"
    write_atomically(path, b"old")

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


def test_a_line_of_which_only_a_part_finds_room_is_an_error(tmp_path: Path) -> None:
    """Lets the file become three bytes larger than it is, as a disk that fills does."""
    path = tmp_path / "lines.jsonl"
    append_synced(path, b"{}\n")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 3, allowed[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            append_synced(path, b'{"number":2}\n')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    append_synced(path, b"\n{}\n")
    assert path.read_bytes() == b'{}\n{"n\n{}\n'
