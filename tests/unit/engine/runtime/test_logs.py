"""Logs: to the file as JSON, to the terminal as lines, never a secret, never in the way."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.runtime import logs


@pytest.fixture(autouse=True)
def _stopped() -> Iterator[None]:
    yield
    logs.shutdown()


def lines(folder: Path) -> list[dict[str, Any]]:
    logs.shutdown()
    return [json.loads(line) for line in (folder / "kestrel.jsonl").read_text().splitlines()]


def test_a_line_reaches_the_file_with_its_fields(tmp_path: Path) -> None:
    """Logs through structlog and parses the file."""
    logs.configure(tmp_path)
    logs.get_logger("feed").warning("sequence gap", instrument="BTC/USD@coinbase", expected=5, got=7, age_ns=12)
    (line,) = lines(tmp_path)
    stamp = line.pop("timestamp")
    assert stamp.endswith("Z")
    assert len(stamp) == 27
    assert line == {
        "level": "warning", "event": "sequence gap", "logger": "feed", "instrument": "BTC/USD@coinbase", "expected": 5,
        "got": 7, "age_ns": 12,
    }  # fmt: skip


def test_the_file_is_for_its_owner_alone_also_after_it_was_changed_for_a_new_one(tmp_path: Path) -> None:
    """Names, quantities and what venues say stand in it: with the usual mask of a machine, two files, and one that an
    earlier version left open to all."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "kestrel.jsonl").touch(0o644)
    mask = os.umask(0o022)
    try:
        for folder in (tmp_path / "new", tmp_path / "old"):
            logs.configure(folder, max_bytes=200)
            for number in range(3):
                logs.get_logger("x").info("a line that fills the file", number=number)
            logs.shutdown()
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    files = sorted(tmp_path.glob("*/kestrel.jsonl*"))
    assert len(files) > 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_the_level_is_respected_and_unknown_ones_refused(tmp_path: Path) -> None:
    """Configures ``warning``, logs below and above, then a level that does not exist."""
    logs.configure(tmp_path, level="warning")
    logs.get_logger("x").info("quiet")
    logs.get_logger("x").error("loud")
    assert [line["event"] for line in lines(tmp_path)] == ["loud"]
    with pytest.raises(ConfigError, match="log level 'chatty'; expected debug, info"):
        logs.configure(tmp_path, level="chatty")


@pytest.mark.fault("F15")
def test_secrets_are_gone_from_fields_texts_exceptions_and_foreign_lines(tmp_path: Path) -> None:
    """Tries each way a secret could take into the file and searches the raw bytes."""
    console = io.StringIO()
    logs.configure(tmp_path, console=console)
    log = logs.get_logger("x")
    log.info("connect", api_key="S3CRET-one", headers={"Authorization": "Bearer S3CRET-two-long"})
    log.error("failed with secret=S3CRET-three")
    try:
        raise ValueError("bad key api_key=S3CRET-four")
    except ValueError:
        log.exception("oops")
    logging.getLogger("websockets").warning("token=%s", "S3CRET-five")
    logs.shutdown()
    for text in ((tmp_path / "kestrel.jsonl").read_text(), console.getvalue()):
        assert "S3CRET" not in text
        assert text.count("\n") == 4
    assert "ValueError" in lines(tmp_path)[2]["exception"]


def test_the_terminal_gets_one_readable_line_without_control_characters(tmp_path: Path) -> None:
    """A venue's text with an escape sequence and a newline must not reach the terminal as such."""
    console = io.StringIO()
    logs.configure(None, console=console)
    logs.get_logger("gateway").error("rejected", text="no\n\x1b[2Jmoney", order="k-1")
    logs.shutdown()
    line = console.getvalue()
    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "error    rejected" in line
    assert "order=k-1" in line


def test_the_file_is_rotated_and_bounded(tmp_path: Path) -> None:
    """Writes ten times the limit and looks at what is kept."""
    logs.configure(tmp_path, max_bytes=4_000, backups=2)
    for number in range(400):
        logs.get_logger("x").info("line", number=number)
    logs.shutdown()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["kestrel.jsonl", "kestrel.jsonl.1", "kestrel.jsonl.2"]
    assert all(path.stat().st_size <= 4_000 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "kestrel.jsonl").read_text().splitlines()[-1])["number"] == 399


def test_an_enormous_line_is_cut_and_stays_json(tmp_path: Path) -> None:
    """A megabyte in one field."""
    logs.configure(tmp_path)
    logs.get_logger("x").info("big", blob="x" * 1_000_000)
    (line,) = lines(tmp_path)
    assert line["cut_chars"] > 1_000_000
    assert line["event"] == "big"


@pytest.mark.fault("F14")
def test_a_full_queue_drops_and_counts_instead_of_waiting(tmp_path: Path) -> None:
    """A terminal that hangs until released: five lines fit the queue, one is being written, the rest is dropped."""
    release, entered = threading.Event(), threading.Event()

    class Hanging(io.StringIO):
        def write(self, text: str) -> int:
            entered.set()
            release.wait(20)
            return super().write(text)

    console = Hanging()
    pipe = logs.configure(None, console=console, queue_lines=5)
    log = logs.get_logger("x")
    log.info("first")
    assert entered.wait(20)
    for _ in range(15):
        log.info("more")
    assert pipe.dropped == 10
    release.set()
    logs.shutdown()
    assert console.getvalue().count("\n") == 6


@pytest.mark.fault("F14")
def test_the_end_waits_for_a_slow_sink_and_not_for_one_that_hangs() -> None:
    """Ten lines of a tenth of a second each, with patience for eight: all of them.  Then one that never ends."""
    go, written = threading.Event(), io.StringIO()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            go.wait(0.1)
            return written.write(text)

    class Hanging(io.StringIO):
        def write(self, text: str) -> int:
            go.wait()
            return len(text)

    slow = logs.LogPipe(None, Slow(), max_bytes=1, backups=0, queue_lines=5)
    for number in range(10):
        slow._queue.put({"event": f"line {number}"})
    slow.stop(timeout_s=0.8)
    assert written.getvalue().count("line") == 10
    hangs = logs.LogPipe(None, Hanging(), max_bytes=1, backups=0, queue_lines=5)
    hangs.put({"event": "one"})
    hangs.stop(timeout_s=0.05)
    assert hangs._thread.is_alive()
    go.set()


def test_a_failing_sink_is_counted_and_the_other_goes_on(tmp_path: Path) -> None:
    """A terminal that is gone; the file still gets every line."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    pipe = logs.configure(tmp_path, console=Gone())
    for _ in range(3):
        logs.get_logger("x").info("still here")
    assert len(lines(tmp_path)) == 3
    assert pipe.failed == 3


@pytest.mark.fault("F14")
def test_a_failing_file_is_counted_and_nothing_is_raised(tmp_path: Path) -> None:
    """Replaces the log file's folder by nothing while it must rotate."""
    pipe = logs.configure(tmp_path / "log", max_bytes=200, backups=1)
    logs.get_logger("x").info("before", filler="x" * 150)
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    for _ in range(3):
        logs.get_logger("x").info("after", filler="x" * 150)
    logs.shutdown()
    assert pipe.failed >= 1


@pytest.mark.fault("F14")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_costs_the_file_its_lines_and_the_terminal_none(tmp_path: Path) -> None:
    """The log file is the device that is always full: each line is counted as failed, and shown."""
    (tmp_path / "kestrel.jsonl").symlink_to("/dev/full")
    console = io.StringIO()
    pipe = logs.configure(tmp_path, console=console)
    for number in range(3):
        logs.get_logger("x").error("alert", number=number)
    logs.shutdown()
    assert pipe.failed >= 3
    assert [f"number={number}" in line for number, line in enumerate(console.getvalue().splitlines())] == [True] * 3


def test_values_that_cannot_be_shown_do_not_break_the_caller(tmp_path: Path) -> None:
    """An object whose __str__ raises, and a foreign line with a wrong format."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no")

    pipe = logs.configure(tmp_path)
    logs.get_logger("x").info("odd", value=Odd())
    # Straight to our handler: the test runner's own would raise for the wrong format.
    (handler,) = [each for each in logging.getLogger().handlers if isinstance(each, logs._ForeignHandler)]
    handler.handle(logging.LogRecord("asyncio", logging.WARNING, "", 0, "%d items", ("three",), None))
    assert pipe.failed == 1
    assert lines(tmp_path)[0]["value"] == "[unprintable Odd]"


def test_a_log_file_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "log").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be opened: .*; choose another folder"):
        logs.configure(tmp_path / "log")
