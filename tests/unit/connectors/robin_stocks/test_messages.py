"""Frames between the session and the worker."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.robin_stocks import messages
from connectors.robin_stocks.messages import Ask, Outcome, Told


def test_messages_come_back_as_they_were_and_show_no_secret() -> None:
    """Both ways; the arguments of a login are in no representation."""
    ask, told = Ask(7, "login", {"password": "words"}), Told(7, Outcome.REFUSED, 400, b"{}", "no", 3, 5)
    head, body = messages.frame(ask)[:4], messages.frame(ask)[4:]
    assert messages.length_of(head) == len(body)
    assert messages.read_ask(body) == ask
    assert messages.read_told(messages.frame(told)[4:]) == told
    assert "words" not in repr(ask)


def test_lengths_that_no_message_has() -> None:
    """Nothing, and more than is ever sent."""
    for head in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        with pytest.raises(ValueError, match="bytes"):
            messages.length_of(head)


@given(st.binary(max_size=64))
def test_bytes_that_are_no_message_are_said_to_be_none(body: bytes) -> None:
    """Nothing else is raised."""
    for read in (messages.read_ask, messages.read_told):
        try:
            read(body)
        except (msgspec.DecodeError, ValueError):
            pass
