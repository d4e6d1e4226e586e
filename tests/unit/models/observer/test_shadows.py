"""What shadows said is written in files of bounded size; a disk that is full costs lines, and nothing else.
Who took its process with it is known to the next one."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import BundleError
from models.bundle import load_bundle
from models.observer.blame import Blame
from models.observer.shadows import FILE, OLDER, BoundedLog, Workshop
from models.onnx_model import OnnxModel
from tests.support.watched import variant


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


@pytest.mark.fault("E12")
def test_a_shadow_that_takes_its_process_with_it_is_known_and_not_run_again(artifacts: Path, tmp_path: Path) -> None:
    """A process is killed while a version is at work: the next one refuses that version, and no other."""
    bundle = load_bundle(artifacts / "demo-crypto")
    code = (
        "import os, signal; from pathlib import Path; from models.observer.blame import Blame;"
        f"Blame(Path({str(tmp_path)!r})).take({bundle.version!r}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[4]
    died = subprocess.run([sys.executable, "-c", code], cwd=root, check=False, env=dict(os.environ))
    assert died.returncode == -signal.SIGKILL
    workshop = Workshop(None, tmp_path, OnnxModel)
    with pytest.raises(BundleError, match="the process that ran it died while it was at work"):
        workshop.model(bundle)
    other = variant(artifacts, tmp_path / "other")
    assert workshop.model(other).version == other.version
    assert list(Workshop(None, tmp_path, OnnxModel).refused) == [bundle.version], "also at the start after that"
    Blame(tmp_path).take(other.version)
    assert list(Workshop(None, tmp_path, OnnxModel).refused) == [bundle.version, other.version]
