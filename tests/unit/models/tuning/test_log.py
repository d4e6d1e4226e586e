from __future__ import annotations

import pytest

from engine.errors import DataError
from models.tuning.log import TrialLine, TrialLog


def line(number, **more):
    return TrialLine(number, "complete", {"fit.batch": 64}, "2026-01-01T00:00:00+00:00", 0.5, **more)


def test_lines_are_there_again(tmp_path):
    """Two trials, one of which failed, read back as they were."""
    log = TrialLog(tmp_path)
    lines = [line(0, epochs=3), TrialLine(1, "failed", {}, "t", error="out of memory", again_of=0)]
    for each in lines:
        log.add(each)
    assert TrialLog(tmp_path).lines == lines == log.lines


def test_what_a_kill_cut_off_is_cut_away(tmp_path):
    """At every byte of the last line: the first stays, and the next one begins a line of its own."""
    log = TrialLog(tmp_path)
    log.add(line(0))
    whole = log.path.read_bytes()
    log.add(line(1))
    for length in range(len(whole), len(whole) * 2 - 1):
        log.path.write_bytes((whole * 2)[:length])
        again = TrialLog(tmp_path)
        assert [each.number for each in again.lines] == [0]
        again.add(line(2))
        assert [each.number for each in TrialLog(tmp_path).lines] == [0, 2]


def test_a_damaged_line_is_told_and_a_log_that_cannot_be_written(tmp_path):
    """A line in the middle that is no trial; a folder that is not there."""
    log = TrialLog(tmp_path)
    log.path.write_bytes(b'{"number": "x"}\n')
    with pytest.raises(DataError, match=r"trials.jsonl is damaged: .*number"):
        TrialLog(tmp_path)
    with pytest.raises(DataError, match=r"cannot be written: No such file.*--resume"):
        TrialLog(tmp_path / "none").add(line(0))
