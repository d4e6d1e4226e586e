"""Times on the wire."""

from __future__ import annotations

import pytest

from connectors.coinbase.sandbox.times import BadRequest, at, parse_time_ns

NS = 1_795_183_387_123_456_789


def test_a_time_is_written_with_nanoseconds_and_read_back_to_the_microsecond() -> None:
    """The text and the round trip."""
    assert at(NS) == "2026-11-20T14:03:07.123456789Z"
    assert parse_time_ns(at(NS)) == NS // 1_000 * 1_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1795183387", 1_795_183_387),
        (1_795_183_387, 1_795_183_387),
        ("2026-11-20T14:03:07Z", 1_795_183_387),
        ("2026-11-20T15:03:07+01:00", 1_795_183_387),
        ("2026-11-20T14:03:07", 1_795_183_387),
        ("2026-11-20T14:03:07.1Z", 1_795_183_387.1),
    ],
)
def test_each_form_that_clients_send_is_read(text, seconds) -> None:
    """Unix seconds and RFC 3339 with and without zone and fraction."""
    assert parse_time_ns(text) == round(seconds * 10) * 100_000_000


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "1e9", None, "9" * 30])
def test_another_text_is_a_bad_request(text) -> None:
    """Never a ValueError."""
    with pytest.raises(BadRequest):
        parse_time_ns(text)
