"""Every trial on the record: ``trials.jsonl``, a line each, written once and synced; also failed and pruned ones.

Owns the file.  The study's storage decides what comes next; this is what is shown and counted.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from engine.durable import append_synced
from engine.errors import DataError

TRIALS = "trials.jsonl"


class TrialLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """``value``: the mean of ``scores``; none of a trial that was not trained to its end.  ``again_of``: the number of
    the trial that was killed and is given again by this one.  ``generation`` and ``parent``: of a population.
    ``data``: the fingerprint of its (first) run's rows."""

    number: int
    state: str
    values: dict[str, Any]
    ended: str
    value: float | None = None
    scores: tuple[float, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""
    again_of: int | None = None
    generation: int | None = None
    parent: int | None = None
    data: str = ""


class TrialLog:
    """Appends; a line that a kill cut off is cut away when the file is opened again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / TRIALS
        self.lines = _read(self.path)

    def add(self, line: TrialLine) -> None:
        """On the disk when this returns.  Raises ``DataError`` when it cannot be."""
        try:
            append_synced(self.path, msgspec.json.encode(line) + b"\n")
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {error.strerror}", do="make room, then go on with --resume"
            ) from None
        self.lines.append(line)


def _read(path: Path) -> list[TrialLine]:
    try:
        content = path.read_bytes() if path.exists() else b""
        whole, newline, rest = content.rpartition(b"\n")
        if rest:
            with path.open("r+b") as file:
                file.truncate(len(whole) + len(newline))
        return [msgspec.json.decode(line, type=TrialLine) for line in whole.split(b"\n") if line]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise DataError(f"{path} is damaged: {error}", do="move it aside; --resume writes it again") from None


def ended_now() -> str:
    """For ``ended``."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
