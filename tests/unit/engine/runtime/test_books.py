"""When a venue is asked for a book anew, over a real core."""

from __future__ import annotations

import pytest

from engine import events as e
from engine.core import TradingCore
from engine.runtime.books import AGAIN_MAX_NS, BEAR_NS, BookWatch
from tests.support.core import BTC, EveryQuote, MemoryRecorder, Scripted, build_core, open_market, quote

S = 1_000_000_000
GOOD = (((100.0, 1.0), (99.0, 1.0)), ((101.0, 1.0), (102.0, 1.0)))


class Asked:
    """A venue that remembers what it was asked for."""

    name = "coinbase"

    def __init__(self) -> None:
        self.renewals: list[tuple[str, int]] = []

    def renew(self, instrument: str, attempt: int) -> None:
        self.renewals.append((instrument, attempt))


class Bench:
    def __init__(self) -> None:
        self.core: TradingCore = build_core(MemoryRecorder(), Scripted(), features=lambda: EveryQuote(2))
        open_market(self.core)
        self.venue = Asked()
        self.watch = BookWatch(self.core, self.venue)  # type: ignore[arg-type]
        self.now_ns = 10 * S
        self.snapshot()

    def snapshot(self) -> None:
        self.now_ns += 1
        self.core.on_event(e.BookSnapshot(self.now_ns, self.now_ns, BTC, *GOOD))

    def change(self, *changes: tuple[int, float, float]) -> None:
        self.now_ns += 1
        self.core.on_event(e.BookDelta(self.now_ns, self.now_ns, BTC, changes))

    def pass_s(self, seconds: int) -> list[int]:
        """The attempts that were made in so many seconds."""
        before = len(self.venue.renewals)
        for _ in range(seconds):
            self.now_ns += S
            self.watch.look(self.now_ns)
        return [attempt for _, attempt in self.venue.renewals[before:]]


@pytest.mark.fault("D2")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([(1, 103.0, 1.0)], id="crossed"),
        pytest.param([(1, 101.0, 1.0)], id="locked"),
        pytest.param([(-1, 101.0, 0.0), (-1, 102.0, 0.0)], id="one side"),
    ],
)
def test_a_book_that_stays_senseless_is_asked_for_anew_ever_more_rarely(
    changes: list[tuple[int, float, float]],
) -> None:
    """Not in the first five seconds; then again after 10, 20, 40 s; no entry meanwhile; whole again it is forgotten."""
    b = Bench()
    b.change(*changes)
    top = b.core.view.top(BTC)
    assert top is not None
    assert top.crossed or top.suspect
    assert b.pass_s(5) == []
    assert b.pass_s(2) == [1]
    assert b.pass_s(10) == [2]
    assert b.pass_s(20) == [3]
    b.snapshot()
    b.core.on_event(quote(b.now_ns + 1))
    assert b.pass_s(400) == []
    assert (b.watch.asked, {name for name, _ in b.venue.renewals}) == (3, {BTC})
    b.change(*changes)
    assert b.pass_s(7) == [1]
    assert len(b.pass_s(3600)) < 3600 * S // AGAIN_MAX_NS + 8


@pytest.mark.fault("D2")
def test_a_book_asked_for_anew_leaves_features_cold_and_entries_shut() -> None:
    """What the connector tells then: the instrument's book is broken until its next snapshot."""
    b = Bench()
    for _ in range(3):
        b.change((1, 100.0, float(b.now_ns % 7 + 2)))
    features = b.core.view.features(BTC)
    assert features is not None
    assert features.warm
    b.core.on_event(e.Gap(b.now_ns, b.now_ns, "coinbase", BTC, 0, 0))
    assert (features.warm, features.reason) == (False, "the book is asked for anew")
    assert b.core.lanes[BTC].book.is_broken is False
    assert b.core.view.top(BTC).suspect  # type: ignore[union-attr]
    assert b.core.counters.gaps == 1


def test_a_moment_is_borne_and_a_venue_that_cannot_tell_anew_is_not_asked() -> None:
    """Crossed for four seconds at a time; and a recording."""
    b = Bench()
    for _ in range(3):
        b.change((1, 103.0, 1.0))
        assert b.pass_s(4) == []
        b.change((1, 103.0, 0.0))
        assert b.pass_s(4) == []
    b.change((1, 103.0, 1.0))
    b.watch = BookWatch(b.core, object())  # type: ignore[arg-type]
    b.pass_s(2 * BEAR_NS // S)
    assert b.watch.asked == 0
