"""Client order ids as UUIDs and back."""

from __future__ import annotations

import uuid

from hypothesis import example, given
from hypothesis import strategies as st

from connectors.robinhood.names import client_name, venue_name
from engine.order_ids import session_of

SESSION_IDS = st.from_regex(r"k[0-9]{8}T[0-9]{6}-[0-9a-f]{4}-(0|[1-9][0-9]{0,9})", fullmatch=True)


@given(SESSION_IDS)
@example("k20261120T140307-1a2b-17")
@example("k99999999T999999-ffff-9999999999")
@example("k00000000T000000-0000-0")
def test_an_id_of_a_session_can_be_read_from_its_uuid(client_order_id: str) -> None:
    """A well-formed version 4 UUID that names the session to whoever finds the order."""
    name = venue_name(client_order_id)
    assert (str(uuid.UUID(name)), uuid.UUID(name).version, uuid.UUID(name).variant) == (name, 4, uuid.RFC_4122)
    assert client_name(name) == client_order_id
    assert session_of(client_name(name)) == client_order_id[1:].rpartition("-")[0]


@given(st.text(max_size=60))
@example("k20261120T140307-1a2b-007")
@example("k20261120T140307-1a2b-99999999999999")
@example("\ud800")
def test_any_other_id_has_a_uuid_of_its_own(client_order_id: str) -> None:
    """Always the same one, and nobody takes it for a session's; numbers that cannot be written back are such ids."""
    name = venue_name(client_order_id)
    assert str(uuid.UUID(name)) == name
    assert venue_name(client_order_id) == name
    assert client_name(name) in ("", client_order_id)
    assert venue_name(client_order_id + "x") != name


@given(st.uuids(version=4))
def test_somebody_elses_uuid_names_no_session(theirs: uuid.UUID) -> None:
    """24 bits stand against it; and a UUID stays as it is."""
    assert client_name(str(theirs)) == ""
    assert venue_name(str(theirs)) == str(theirs)


@given(SESSION_IDS, st.integers(0, 31), st.sampled_from("0123456789abcdef"))
def test_a_digit_changed_is_another_order(client_order_id: str, place: int, digit: str) -> None:
    """What is read from a UUID is what was written, or nothing."""
    name = venue_name(client_order_id)
    digits = list(name.replace("-", ""))
    digits[place] = digit
    text = "".join(digits)
    other = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    assert client_name(other) == (client_order_id if other == name else "")
