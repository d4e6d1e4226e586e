"""Builds journals for tests: small segments, sample records, and ways to damage files on purpose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine import commands as c
from engine import events as e
from engine.codec import Record
from engine.runtime.journal import JournalWriter
from engine.runtime.journal_reader import JournalRecord, ReadReport, read_journal
from engine.runtime.session import Session

INSTRUMENT = "BTC/USD@coinbase"


def quote(number: int) -> e.Quote:
    return e.Quote(number, number + 1, INSTRUMENT, 60_000.0 + number, 1.5, 60_001.0 + number, 2.5)


def timer(number: int) -> e.Timer:
    return e.Timer(number, number, "tick")


def new_order(number: int) -> c.NewOrder:
    intent = c.OrderIntent(
        number, "threshold", INSTRUMENT, e.Side.BUY, Decimal("0.01"), c.OrderType.LIMIT, limit_px=Decimal("60000.01")
    )
    return c.NewOrder(number, f"k-{number}", "coinbase", intent)


def cancel(number: int) -> c.CancelOrder:
    return c.CancelOrder(number, f"k-{number}", "coinbase", "v-1", INSTRUMENT)


def prediction(number: int) -> e.Prediction:
    return e.Prediction(number, number, INSTRUMENT, "m-1", e.PredictionStatus.OK, (0.25, -1.0))


def small_writer(folder: Path, **options: Any) -> JournalWriter:
    """Segments of a few pages, no sync: rotation within a few hundred records."""
    settings: dict[str, Any] = {
        "session": "s-test", "fsync": "never", "market_bytes": 8192, "orders_bytes": 8192, "reserve_bytes": 1024,
        "interval_s": 0.005, "patience_s": 10.0,
    }  # fmt: skip
    return JournalWriter(folder, **(settings | options))


def write(folder: Path, records: Iterable[Record], **options: Any) -> JournalWriter:
    """Append records as 1, 2, 3...; the journal is left open."""
    journal = small_writer(folder, **options)
    for seq, record in enumerate(records, start=1):
        journal.append(seq, record)
    return journal


def read_all(folder: Path, *, salvage: bool = False) -> tuple[list[JournalRecord], ReadReport]:
    report = ReadReport()
    return list(read_journal(folder, report=report, salvage=salvage)), report


def flip(path: Path, offset: int, mask: int = 0x01) -> None:
    """Invert bits of one byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    path.write_bytes(data)


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """For what another thread of the journal does; the bound is only there so that a failure ends."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


def market_session(
    root: Path,
    records: Iterable[Record],
    *,
    feed: str = "live",
    name: str = "s-test",
    close: bool = True,
    **venue: str | None,
) -> tuple[Session, JournalWriter]:
    """A session folder whose journal of small segments holds the records; the lock is held unless it is closed."""
    session = Session.create(
        root,
        mode="paper",
        config={"venue": {"feed": feed, **venue}},
        wall_ns=1_795_257_930 * 10**9,
        code_root=root,
        session=name,
    )
    journal = write(session.journal, records)
    if close:
        journal.close()
        session.close()
    return session, journal
