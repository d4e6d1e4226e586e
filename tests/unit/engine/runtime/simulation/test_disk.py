"""What the simulation does to a journal: damage lies where the session that comes next has to read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine import codec
from engine.errors import JournalError
from engine.events import StateKept
from engine.runtime.segment import SegmentScan, list_segments
from engine.runtime.simulation.disk import damage
from tests.support.account import Account
from tests.support.succession import leave, left_by, trading

FILE_BYTES = 16 << 10


def kept_often(count: int = 60) -> Account:
    account = trading(1)
    for number in range(count):
        bought = account.place()
        account.accept(bought)
        account.fill(bought, "1", "100", f"u{number}")
        account.keep()
    return account


def begins(session: Path) -> list[codec.Record]:
    """The first record of each file of orders that has any."""
    found = [list(SegmentScan(info.path).records()) for info in list_segments(session / "journal")["orders"]]
    return [codec.decode(raws[0].payload) for raws in found if raws]


def records_of(session: Path) -> dict[Path, list[bytes]]:
    """By file.  How long a file is may change: the journal's own thread cuts one that is full."""
    files = [info.path for info in list_segments(session / "journal")["orders"]]
    return {path: [bytes(raw.payload) for raw in SegmentScan(path).records()] for path in files}


def test_a_damaged_journal_is_never_gone_on_with(tmp_path: Path) -> None:
    account = kept_often()
    account.accept(account.place())
    records = account.records
    for number in range(10):
        session = leave(tmp_path / f"s-{number}", records, orders_bytes=FILE_BYTES)
        assert damage(session / "journal", random.Random(number))
        with pytest.raises(JournalError):
            left_by(session)


def test_a_file_that_a_kept_state_has_just_begun_needs_none_before_it(tmp_path: Path) -> None:
    """Seed 700218: the process ended right behind a change of files. Damage in the file before is nobody's to find."""
    records = kept_often().records
    whole = leave(tmp_path / "s-whole", records, orders_bytes=FILE_BYTES)
    begun = next(first for first in begins(whole)[1:] if isinstance(first, StateKept))
    upto = next(number for number, record in enumerate(records) if record == begun)
    session = leave(tmp_path / "s-begun", records[: upto + 1], orders_bytes=FILE_BYTES)
    assert isinstance(begins(session)[-1], StateKept)
    before = records_of(session)
    assert not damage(session / "journal", random.Random(1))
    assert records_of(session) == before
