"""Chained lines: what was written is read, what was changed is noticed, what a kill cut off is no line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from models.hash_chain import BrokenChainError, add_line, link_to, read_chain


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    previous: str


def added(path: Path, number: int) -> None:
    before = path.read_bytes() if path.exists() else b""
    raw = msgspec.json.encode(Said(number, link_to(read_chain(before, Said))))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        add_line(descriptor, before, raw)
    finally:
        os.close(descriptor)


def numbers(path: Path) -> list[int]:
    return [said.number for _, said in read_chain(path.read_bytes(), Said)]


def test_lines_come_back_in_their_order(tmp_path: Path) -> None:
    for number in range(5):
        added(tmp_path / "chain", number)
    assert numbers(tmp_path / "chain") == [0, 1, 2, 3, 4]
    assert read_chain(b"", Said) == []


def test_wherever_a_kill_cuts_the_last_line_the_next_one_follows_what_was_whole(tmp_path: Path) -> None:
    """At each byte of it: the piece stays, on a line of its own; only without its end of line it was whole already."""
    whole = tmp_path / "whole"
    for number in range(3):
        added(whole, number)
    content = whole.read_bytes()
    begin = content.rindex(b"\n", 0, -1) + 1
    for end in range(begin + 1, len(content)):
        path = tmp_path / str(end)
        path.write_bytes(content[:end])
        added(path, 9)
        assert numbers(path) == ([0, 1, 2, 9] if end == len(content) - 1 else [0, 1, 9])
        assert path.read_bytes().startswith(content[:end] + b"\n")


def test_a_line_that_was_changed_or_taken_out_is_named(tmp_path: Path) -> None:
    for number in range(4):
        added(tmp_path / "chain", number)
    lines = (tmp_path / "chain").read_bytes().splitlines(keepends=True)
    changed = [lines[0], lines[1].replace(b'"number":1', b'"number":7'), *lines[2:]]
    for spoilt, number, why in (
        (changed, 3, ""),
        (lines[1:], 1, ""),
        ([*lines[:2], *lines[3:]], 3, ""),
        ([*lines[:3], lines[3].replace(b'"number":3', b'"number":"x"')], 4, "number"),
        ([*lines[:3], lines[3].replace(b'"number"', b'"amount"')], 4, "amount"),
    ):
        with pytest.raises(BrokenChainError) as seen:
            read_chain(b"".join(spoilt), Said)
        assert seen.value.number == number
        assert why in seen.value.why
        assert bool(seen.value.why) is bool(why)


def test_a_disk_that_takes_a_part_only_is_full(tmp_path: Path) -> None:
    """The real limit on the size of a file: a part of the line is there, and is no line."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "chain"
    added(path, 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
    try:
        with pytest.raises(OSError, match="full") as seen:
            added(path, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert seen.value.errno == errno.ENOSPC
    assert numbers(path) == [0]
    added(path, 2)
    assert numbers(path) == [0, 2]
