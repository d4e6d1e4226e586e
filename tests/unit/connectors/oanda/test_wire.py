"""Lines, times and shapes of the wire."""

from __future__ import annotations

import random

import pytest

from connectors.oanda import wire
from connectors.oanda.sandbox.times import at


def test_lines_are_the_same_wherever_the_bytes_are_cut() -> None:
    """A thousand splits of one body; keep-alive newlines are no lines."""
    body = b'{"a":1}\n\r\n{"b":2}\r\n{"c":3}\n{"rest'
    for seed in range(1_000):
        draw = random.Random(seed)
        lines = wire.Lines()
        found, at_byte = [], 0
        while at_byte < len(body):
            step = draw.randrange(1, 9)
            found += lines.feed(body[at_byte : at_byte + step])
            at_byte += step
        assert found == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


def test_a_line_without_end_is_thrown_away_and_the_next_is_read() -> None:
    """Memory is bounded by the longest line that is taken."""
    lines = wire.Lines()
    for _ in range(40):
        assert lines.feed(b"x" * (1 << 16)) == []
    assert lines.feed(b"x\n{}\n") == [b"{}"]
    assert lines.oversize == 1
    assert lines.feed(b"y" * (wire.MAX_LINE_BYTES + 1) + b"\n{}\n") == [b"{}"]
    assert lines.oversize == 2


def test_times_keep_their_nanoseconds() -> None:
    """There and back, at drawn times; what is no time is 0."""
    parse, draw = wire.TimeParser(), random.Random(1)
    for _ in range(500):
        ts_ns = draw.randrange(1_500_000_000 * wire.NS_PER_S, 2_000_000_000 * wire.NS_PER_S)
        assert parse(wire.format_time(ts_ns)) == parse(at(ts_ns)) == ts_ns
    assert parse("2026-11-20T14:03:07Z") == parse("2026-11-20T14:03:07.0Z") == 1_795_183_387 * wire.NS_PER_S
    for text in ("", "soon", "2026-13-20T14:03:07Z", "2026-11-20T14:03:07", "2026-11-20T14:03:07.²Z", "1795183387.1"):
        assert parse(text) == 0


@pytest.mark.parametrize("field", ["units", "price", "accountBalance", "commission"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "1E+99"])
def test_numbers_that_are_none_are_refused(field: str, number: str) -> None:
    """A Decimal takes them, money does not."""
    made = wire.decode_transaction(f'{{"type":"ORDER_FILL","id":"1","{field}":"{number}"}}'.encode())
    with pytest.raises(ValueError, match=r"transaction 1"):
        made.check()
