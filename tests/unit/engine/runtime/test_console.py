"""What a person reads while a session runs: plain lines on a stream that may go away."""

from __future__ import annotations

import io
import os
from decimal import Decimal

import pytest

from engine import events as e
from engine.runtime.console import StatusConsole, money
from engine.runtime.histogram import Histogram
from tests.support.core import BTC, EveryQuote, MemoryRecorder, Scripted, build_core, open_market, quote, spot


def line_of(core: object, histogram: Histogram | None = None) -> str:
    stream = io.StringIO()
    StatusConsole(stream).line(core, histogram or Histogram())  # type: ignore[arg-type]
    return stream.getvalue()


def test_the_line_says_state_counts_equity_and_price() -> None:
    """A core with one quote: plain text, no colour codes, one line."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core)
    core.on_event(quote(5))
    core.on_event(e.Timer(6, 6, "tick"))
    text = line_of(core)
    assert text.count("\n") == 1
    assert "\x1b" not in text
    for part in ("ACTIVE", "pred 0", "orders 0", "fills 0", "equity 1,000.00", "BTC/USD 100.0"):
        assert part in text
    assert "refused" not in text
    assert "tick-to-order" not in text


def test_the_line_says_what_is_missing() -> None:
    """No price yet; then a price with features that are still warming up; refusals; latency once measured."""
    core = build_core(MemoryRecorder(), Scripted(), features=lambda: EveryQuote(warm_after=3))
    open_market(core)
    assert "BTC/USD no price" in line_of(core)
    core.on_event(quote(5))
    core.counters.rejected["collar"] = 2
    core.counters.venue_rejected["funds"] = 1
    histogram = Histogram()
    histogram.record(50_000)
    text = line_of(core, histogram)
    assert "(1 of 3 rows)" in text
    assert "refused 3" in text
    assert "tick-to-order" in text


def test_a_halt_is_on_the_line() -> None:
    """The state in capitals."""
    core = build_core(MemoryRecorder(), Scripted())
    core.on_event(e.Halted(1, 1, "operator", "storm"))
    assert "HALTED" in line_of(core)


def test_many_instruments_are_counted_rather_than_listed() -> None:
    """Four are shown, the rest is a number: the line stays readable with fifty."""
    core = build_core(MemoryRecorder(), Scripted())
    for number in range(7):
        name = f"C{number}/USD@coinbase"
        open_market(core, spot(id=name, base=f"C{number}"))
    assert "+3 more" in line_of(core)


def test_brackets_in_a_text_are_text() -> None:
    """``[red]`` in a reason is not markup, and a broken tag raises nothing."""
    stream = io.StringIO()
    StatusConsole(stream).say("strategy [red]x[/nope] failed")
    assert stream.getvalue() == "strategy [red]x[/nope] failed\n"


def test_the_summary_lists_its_rows() -> None:
    """Title and each row, in order."""
    stream = io.StringIO()
    StatusConsole(stream).summary({"ticks": "12", "venue [x]": "[y]"}, "session one")
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert lines[0] == "session one"
    assert lines[1].split() == ["ticks", "12"]
    assert lines[2].split() == ["venue", "[x]", "[y]"]


def test_a_reader_that_goes_away_is_survived_for_good() -> None:
    """A pipe whose reading end is closed: no exception, no exit, and nothing fails when the stream is flushed later."""
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    os.close(reading)
    console = StatusConsole(stream)
    core = build_core(MemoryRecorder(), Scripted())
    for _ in range(3):
        console.say("still here")
        console.line(core, Histogram())
        console.summary({"a": "b"}, "end")
    stream.close()


def test_a_closed_stream_is_survived() -> None:
    """Writing to a file that was closed raises ``ValueError`` inside, and nothing outside."""
    stream = io.StringIO()
    console = StatusConsole(stream)
    stream.close()
    console.say("x")
    console.summary({"a": "b"}, "end")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "unknown"), (Decimal("1234567.891"), "1,234,567.89"), (Decimal("-0.5"), "-0.50")],
)
def test_money_is_shown_with_two_places_or_as_unknown(value: Decimal | None, text: str) -> None:
    """Unknown is not zero."""
    assert money(value) == text


def test_a_position_is_shown_with_its_sign() -> None:
    """Held quantity after the price, without trailing zeros."""
    core = build_core(MemoryRecorder(), Scripted())
    open_market(core)
    core.on_event(quote(5))
    core.on_event(e.PositionReported(6, 6, "coinbase", BTC, Decimal("0.2500"), Decimal(100)))
    assert "+0.25" in line_of(core)
