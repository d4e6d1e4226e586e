"""What shadows said is written in files of bounded size; a disk that is full costs lines, and nothing else."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.observer.shadows import FILE, OLDER, BoundedLog


def lines(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """The kernel writes a file up to there and no farther, as a disk that is full."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_shadows_said_is_kept_in_two_files_of_bounded_size(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path, 4_000)
    for number in range(500):
        log.add({"number": number, "text": "x" * 20})
        log.flush()
    sizes = [(tmp_path / name).stat().st_size for name in (FILE, OLDER)]
    assert sum(sizes) <= 4_000
    assert lines(tmp_path / FILE)[-1] == 499


def test_a_full_disk_costs_whole_lines_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """What fits in part is taken back; no line is torn, none is written twice, and nothing is raised."""
    log = BoundedLog(tmp_path, 1 << 20)
    for number in range(10):
        log.add({"number": number, "text": "x" * 100})
    log.flush()
    with full_at((tmp_path / FILE).stat().st_size + 50):
        for number in range(10, 20):
            log.add({"number": number, "text": "x" * 100})
            log.flush()
    log.add({"number": 20, "text": ""})
    log.flush()
    assert lines(tmp_path / FILE) == [*range(10), 20]


def test_a_file_that_was_taken_away_is_made_again(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path, 400)
    for number in range(20):
        log.add({"number": number, "text": "x" * 50})
        log.flush()
        if number == 9:
            (tmp_path / FILE).unlink()
    assert lines(tmp_path / FILE)[-1] == 19
