"""How long a session needs to find out what the last one on its account left, after a million records.

Writes the journal of a session that was killed, at the mix of a busy one (a prediction for most ticks, a timer ten
times a second, some orders and refusals), then reads back what it left as the next start does.  Only the stream that
the next start reads is written: the market's records lie in files of their own, which it never opens.
``start_up_not_kept`` is the worst case: nothing was kept since the session's first record.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from benchmarks.figures import Reading, Target
from benchmarks.market import INSTRUMENT, NAME, VENUE
from benchmarks.rig import scratch
from engine.carried import encode_carried
from engine.codec import Record
from engine.commands import NewOrder, OrderIntent, OrderType, Rejected
from engine.errors import KestrelError
from engine.events import (
    BalanceReported,
    InstrumentDefined,
    Liquidity,
    OrderAccepted,
    OrderFilled,
    Prediction,
    PredictionStatus,
    SessionStarted,
    Side,
    StateKept,
    Timer,
)
from engine.recovery import Recovery
from engine.runtime.journal import JournalWriter
from engine.runtime.succession import read_left

RECORDS = 1_000_000
QUICK = 100_000
PERIOD = 250
"""Records from one order to the next: some five seconds of five thousand ticks a second."""
TARGET_S = 5.0
_QTY, _PX, _CASH = Decimal("0.01"), Decimal("60000.01"), Decimal(1_000_000)


def records(count: int) -> Iterator[Record]:
    """Of the stream of orders, without a kept state; one nanosecond apart."""
    yield SessionStarted(1, 1, "bench", "config", "code", (), ())
    yield InstrumentDefined(2, 2, INSTRUMENT)
    yield BalanceReported(3, 3, VENUE, "USD", _CASH, _CASH)
    for at in range(4, count + 1):
        place, number = at % PERIOD, at // PERIOD
        order_id, side = f"b-{number}", Side.BUY if number % 2 == 0 else Side.SELL
        if place == 0:
            yield NewOrder(at, order_id, VENUE, _wish(at, side))
        elif place == 1 and number:
            yield OrderAccepted(at, at, VENUE, order_id, f"v-{number}")
        elif place == 2 and number:
            yield OrderFilled(
                at,
                at,
                VENUE,
                order_id,
                f"v-{number}",
                f"t-{number}",
                NAME,
                side,
                _QTY,
                _PX,
                _QTY,
                "USD",
                Liquidity.TAKER,
            )
        elif place % 50 == 3:
            yield Timer(at, at, "tick")
        elif place % 50 == 4:
            yield Rejected(at, _wish(at, side), "position", "2", "1")
        else:
            yield Prediction(at, at, NAME, "demo-crypto", PredictionStatus.OK, (0.5 + at * 1e-9,))


def _wish(at: int, side: Side) -> OrderIntent:
    return OrderIntent(at, "bench", NAME, side, _QTY, OrderType.LIMIT, _PX, model="demo-crypto", prediction_seq=at - 1)


def leave(folder: Path, count: int, *, kept_at: int | None) -> None:
    """A session's folder as a kill leaves it; ``kept_at``: before which record the state is kept."""
    journal = JournalWriter(folder / "journal", session="bench", fsync="never", patience_s=30.0)
    recovery = Recovery("USD")
    seq = 0
    for number, record in enumerate(records(count)):
        if kept_at is not None and number < kept_at:
            recovery.take([record])
        if number == kept_at:
            seq += 1
            journal.append(seq, StateKept(number, number, encode_carried(recovery.left())))
        seq += 1
        journal.append(seq, record)
    journal.close()


def _reading(name: str, count: int, kept_at: int | None) -> Reading:
    with scratch() as folder:
        leave(folder, count, kept_at=kept_at)
        started_s = time.perf_counter()
        found = read_left(folder, "USD")
        took_s = time.perf_counter() - started_s
    filled = (count - 2) // PERIOD
    held = sum((one.qty for one in found.state.money.holdings), Decimal(0)) if found is not None else None
    if held != _QTY * -(filled % 2):
        raise KestrelError(f"{name}: the account is read as {held}", expected=f"{_QTY * -(filled % 2)}")
    note = "state kept before the last tenth" if kept_at is not None else "nothing kept since the session's start"
    return Reading(name, n=count, value=took_s, unit="s", targets=(Target("value", TARGET_S),), note=note)


def run(quick: bool) -> list[Reading]:
    count = QUICK if quick else RECORDS
    return [
        _reading("start_up_kept", count, count - count // 10),
        _reading("start_up_not_kept", count, None),
    ]
