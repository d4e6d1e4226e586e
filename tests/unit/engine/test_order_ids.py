"""Ids of orders name the session that sent them."""

from __future__ import annotations

import pytest

from engine.order_ids import session_of
from engine.runtime.session import new_session_id, order_prefix


@pytest.mark.fault("A10")
def test_the_session_of_an_order_can_be_told_from_its_id() -> None:
    """Of a session as they are named by themselves; what is no such id is nobody's."""
    session = new_session_id(1_800_000_000_000_000_000)
    assert session_of(f"{order_prefix(session)}-17") == session
    for other in ("", "by-hand", order_prefix(session), f"{order_prefix('mine')}-1", f"x{order_prefix(session)}-1"):
        assert session_of(other) == ""
