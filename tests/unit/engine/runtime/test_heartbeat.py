"""The heartbeat file: what one end writes, the other reads, in another mapping of the same file."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.commands import RiskState
from engine.errors import KestrelError
from engine.runtime.heartbeat import SIZE_BYTES, Heart, Phase, Pulse


def test_each_end_reads_what_the_other_wrote(tmp_path: Path) -> None:
    """Beats, phase, risk and open orders one way; that it is watched, and the latch, the other way."""
    heart = Heart(tmp_path / "heartbeat")
    pulse = Pulse(tmp_path / "heartbeat")
    first = pulse.read()
    assert (first.beats, first.phase, first.risk, first.open_orders) == (0, Phase.STARTING, RiskState.ACTIVE, 0)
    heart.enter(Phase.TRADING)
    heart.beat(RiskState.REDUCING, 3)
    beat = pulse.read()
    assert (beat.beats, beat.phase, beat.risk, beat.open_orders) == (1, Phase.TRADING, RiskState.REDUCING, 3)
    assert beat.at_ns >= first.at_ns > 0
    assert (heart.watched_ns, heart.latched) == (0, False)
    pulse.look(77)
    pulse.latch()
    assert (heart.watched_ns, heart.latched) == (77, True)
    heart.release()
    heart.unwatched()
    assert (heart.watched_ns, heart.latched) == (0, False)


def test_the_last_word_outlives_who_said_it(tmp_path: Path) -> None:
    """The daemon's end is closed and its file removed: what is mapped stays readable."""
    heart = Heart(tmp_path / "heartbeat")
    pulse = Pulse(tmp_path / "heartbeat")
    heart.beat(RiskState.HALTED, 1)
    heart.enter(Phase.ENDED)
    heart.close()
    (tmp_path / "heartbeat").unlink()
    beat = pulse.read()
    assert (beat.phase, beat.open_orders) == (Phase.ENDED, 1)


@pytest.mark.fault("A8")
def test_a_heartbeat_that_cannot_be_made_or_read_is_one_line(tmp_path: Path) -> None:
    """No folder, no file, a file of something else."""
    with pytest.raises(KestrelError, match="cannot be made"):
        Heart(tmp_path / "nowhere" / "heartbeat")
    with pytest.raises(KestrelError, match="cannot be read"):
        Pulse(tmp_path / "heartbeat")
    (tmp_path / "heartbeat").write_bytes(b"x" * SIZE_BYTES)
    with pytest.raises(KestrelError, match="no heartbeat"):
        Pulse(tmp_path / "heartbeat")
