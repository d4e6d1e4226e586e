"""Which version of a changed order lives: what proves it, and what proves nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connectors.coinbase import wire
from connectors.coinbase.versions import Version, Versions
from engine.commands import ReplaceOrder
from engine.events import OrderReplaced, ReplaceRejected
from tests.support.coinbase import BTC

D = Decimal
S = 1_000_000_000
GRACE_NS = 15 * S


def change(qty: str, px: str, old_qty: str = "4", old_px: str = "100") -> ReplaceOrder:
    return ReplaceOrder(0, "c1", "coinbase", "v1", BTC, D(qty), D(px), D(old_qty), D(old_px))


def streamed(filled: str, left: str, px: str = "", status: str = "OPEN") -> wire.UserOrder:
    return wire.UserOrder(
        "v1", status, "BTC-USD", cumulative_quantity=filled, leaves_quantity=left, limit_price=px
    )  # fmt: skip


def listed(qty: str, px: str, status: str = "OPEN", **more: Any) -> wire.RestOrder:
    fields = {"limit_limit_gtc": {"base_size": qty, "limit_price": px, "post_only": False}}
    return wire.RestOrder("v1", status, "BTC-USD", client_order_id="c1", order_configuration=fields, **more)


def under_way(qty: str = "6", px: str = "101") -> Versions:
    versions = Versions("coinbase")
    versions.begin(change(qty, px), 1 * S)
    return versions


def shown(events: list[Any]) -> list[tuple[Any, ...]]:
    return [(one.qty, one.limit_px) if type(one) is OrderReplaced else (one.reason,) for one in events]


def test_the_new_version_on_the_stream_is_proof_and_told_once() -> None:
    """Filled in part meanwhile: what is filled and what is left make the size."""
    versions = under_way()
    (event,) = versions.told(streamed("1", "5", "101"), 2 * S, 3 * S)
    assert event == OrderReplaced(2 * S, 3 * S, "coinbase", "c1", "v1", D(6), D(101))
    assert not versions.is_pending("v1")
    assert versions.told(streamed("1", "5", "101"), 2 * S, 3 * S) == []


@pytest.mark.parametrize(
    "seen",
    [
        streamed("1", "3", "100"),
        streamed("1", "5", "100"),
        streamed("1", "5"),
        streamed("", "", "101"),
        streamed("1", "5", "101", "EDIT_QUEUED"),
    ],
)
def test_anything_else_on_the_stream_proves_nothing(seen: wire.UserOrder) -> None:
    """The old version (it may be behind), a half of the new one, fields left out, a change that is queued."""
    versions = under_way()
    assert versions.told(seen, 2 * S, 2 * S) == []
    assert versions.is_pending("v1")


@pytest.mark.fault("B14")
def test_a_change_is_given_up_after_two_looks_long_after_its_answer_was_lost() -> None:
    """Not while its answer is awaited, not by one look, not early: a request may be under way for long."""
    versions = under_way()
    assert versions.looked_up(listed("4", "100"), 90 * S, 90 * S, GRACE_NS) == []
    versions.answered("v1", 91 * S, taken=False)
    assert versions.looked_up(listed("4", "100"), 105 * S, 105 * S, GRACE_NS) == []
    (event,) = versions.looked_up(listed("4", "100"), 106 * S, 107 * S, GRACE_NS)
    assert (type(event), event.reason, event.client_order_id) == (ReplaceRejected, "never_arrived", "c1")
    assert not versions.is_pending("v1")
    # It came after all: told as what it is.
    assert shown(versions.looked_up(listed("6", "101"), 108 * S, 108 * S, GRACE_NS)) == [(D(6), D(101))]


def test_a_listing_that_was_asked_for_before_disproves_nothing() -> None:
    """Asked at an unknown time, or before the change left."""
    versions = under_way()
    versions.answered("v1", 2 * S, taken=True)
    for asked_ns in (0, S // 2):
        for _ in range(3):
            assert versions.looked_up(listed("4", "100"), asked_ns, 60 * S, GRACE_NS) == []
    assert shown(versions.looked_up(listed("6", "101"), 0, 60 * S, GRACE_NS)) == [(D(6), D(101))]


@pytest.mark.fault("B13")
def test_an_order_that_filled_says_as_which_version() -> None:
    """By its size in the listing, or by all that the stream says is filled."""
    assert shown(under_way("2", "100").told(streamed("2", "0", "100", "FILLED"), S, S)) == [(D(2), D(100))]
    versions = under_way("2", "100")
    assert versions.told(streamed("4", "0", "100", "FILLED"), S, S) == []
    assert shown(versions.looked_up(listed("4", "100", "FILLED"), 2 * S, 2 * S, GRACE_NS)) == [("unknown_order",)]
    assert shown(under_way().looked_up(listed("6", "101", "FILLED"), 2 * S, 2 * S, GRACE_NS)) == [(D(6), D(101))]
    assert len(versions) == 0


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED", "FAILED"])
def test_an_order_that_ended_otherwise_takes_its_change_with_it(status: str) -> None:
    """Its own end is told by the tracker."""
    for by_stream in (True, False):
        versions = under_way()
        if by_stream:
            assert versions.told(streamed("0", "0", "100", status), S, S) == []
        else:
            assert versions.looked_up(listed("4", "100", status), 2 * S, 2 * S, GRACE_NS) == []
        assert (versions.is_pending("v1"), len(versions)) == (False, 0)


def test_a_version_that_nobody_asked_for_is_told_and_the_change_waits_on() -> None:
    """Somebody has changed it by hand meanwhile; later, with nothing under way, as well."""
    versions = under_way()
    assert shown(versions.looked_up(listed("3", "99"), 2 * S, 2 * S, GRACE_NS)) == [(D(3), D(99))]
    assert versions.is_pending("v1")
    assert shown(versions.looked_up(listed("6", "101"), 3 * S, 3 * S, GRACE_NS)) == [(D(6), D(101))]
    assert versions.looked_up(listed("3", "99"), 4 * S, 4 * S, GRACE_NS) == [], "it may be behind"
    assert shown(versions.looked_up(listed("3", "99"), 40 * S, 40 * S, GRACE_NS)) == [(D(3), D(99))]
    assert versions.looked_up(listed("3", "99"), 80 * S, 80 * S, GRACE_NS) == []


def test_a_change_back_is_not_proved_by_a_message_from_before() -> None:
    """From A to B and back: the stream may still be telling of the first A."""
    versions = under_way()
    assert versions.told(streamed("0", "6", "101"), S, S)
    versions.begin(change("4", "100", "6", "101"), 5 * S)
    assert versions.told(streamed("0", "4", "100"), 5 * S, 5 * S) == []
    assert shown(versions.looked_up(listed("4", "100"), 6 * S, 6 * S, GRACE_NS)) == [(D(4), D(100))]


def test_a_look_up_that_shows_a_version_of_before_the_last_one_is_behind() -> None:
    """Asked right after the stream has shown the last one, while the next is under way: nobody has changed it back.
    Long after that it was somebody's doing."""
    versions = under_way()
    assert versions.told(streamed("0", "6", "101"), 4 * S, 4 * S)
    versions.begin(change("7", "102", "6", "101"), 5 * S)
    assert versions.looked_up(listed("4", "100"), 5 * S, 6 * S, GRACE_NS) == []
    assert shown(versions.looked_up(listed("4", "100"), 20 * S, 20 * S, GRACE_NS)) == [(D(4), D(100))]


def test_a_version_on_the_stream_that_nobody_knows_of_is_asked_about() -> None:
    """A change that was given up and came after all, or one by hand: the stream is no proof, but a reason to look; a
    version of before is none, it may be behind.  One whose price it leaves out neither."""
    versions = under_way()
    assert versions.told(streamed("0", "6", "101"), S, S)
    for seen in (streamed("1", "5", "101"), streamed("0", "4", "100"), streamed("1", "7")):
        assert versions.told(seen, 2 * S, 2 * S) == []
        assert versions.take_strange() == []
    versions = under_way()
    assert versions.told(streamed("1", "7", "101"), 2 * S, 2 * S) == []
    assert versions.take_strange() == [], "a change is under way: that is looked into anyhow"
    assert versions.told(streamed("0", "6", "101"), S, S)
    assert versions.told(streamed("1", "7", "101"), 2 * S, 2 * S) == []
    assert (versions.take_strange(), versions.take_strange()) == (["c1"], [])


@pytest.mark.fault("B13")
@pytest.mark.parametrize(("status", "told"), [("FILLED", [(D(8), D(101))]), ("CANCELLED", [])])
def test_an_order_that_has_filled_as_a_version_that_nobody_knows_of_is_asked_about(
    status: str, told: list[Any]
) -> None:
    """A change that was given up, and came and filled: what the record shows is the last word on its size, however
    lately another version was told."""
    versions = under_way()
    assert versions.told(streamed("0", "6", "101"), S, S)
    assert versions.told(streamed("8", "0", "101", "FILLED"), 2 * S, 2 * S) == []
    assert (versions.take_strange(), versions.is_doubtful("v1")) == (["c1"], True)
    assert shown(versions.looked_up(listed("8", "101", status), 3 * S, 3 * S, GRACE_NS)) == told
    assert (versions.is_doubtful("v1"), len(versions)) == (False, 0)


@pytest.mark.fault("B13")
@pytest.mark.fault("B16")
def test_a_change_back_is_not_proved_by_a_look_up_from_before() -> None:
    """A listing, a look-up that was asked before the change left, and one that may lag behind show the first A, while
    the larger B rests: nothing is proved until a look-up was asked late enough.  A filled A is one."""
    back = change("4", "100", "6", "101")
    for status, expected in (("OPEN", []), ("FILLED", [(D(4), D(100))])):
        for asked_ns in (0, S, 5 * S - 1, 5 * S + 1):
            versions = under_way()
            assert versions.told(streamed("0", "6", "101"), 4 * S + S // 2, 4 * S + S // 2)
            versions.begin(back, 5 * S)
            assert shown(versions.looked_up(listed("4", "100", status), asked_ns, 6 * S, GRACE_NS)) == expected
            assert versions.is_pending("v1") is not bool(expected)
    versions = under_way()
    assert versions.told(streamed("0", "6", "101"), 4 * S, 4 * S)
    versions.begin(back, 5 * S)
    assert shown(versions.looked_up(listed("4", "100"), 5 * S, 5 * S, GRACE_NS)) == [(D(4), D(100))]


def test_what_is_sized_otherwise_or_unreadable_is_no_evidence() -> None:
    versions = under_way()
    versions.answered("v1", 2 * S, taken=False)
    odd = wire.RestOrder("v1", "OPEN", "BTC-USD", order_configuration={"limit_limit_gtc": {"base_size": "many"}})
    for asked_ns in (40 * S, 50 * S, 60 * S):
        assert versions.looked_up(odd, asked_ns, asked_ns, GRACE_NS) == []
    assert versions.is_pending("v1")


@pytest.mark.fault("A6")
def test_an_earlier_sessions_order_is_doubtful_until_the_venue_has_shown_it() -> None:
    """What that session had recorded last may be lost with its disk: another version is told as what it is."""
    for version in ((D(4), D(100)), (D(6), D(101))):
        expected = [] if version == (D(4), D(100)) else [version]
        for by_stream in (True, False):
            versions = Versions("coinbase")
            versions.follow("c1", "v1", Version(D(4), D(100)), is_doubtful=True)
            assert versions.is_doubtful("v1")
            assert versions.told(streamed("1", str(version[0] - 1), str(version[1])), S, S) == [], "it may be behind"
            assert versions.looked_up(listed(*map(str, version)), 0, S, GRACE_NS) == [] or expected
            if by_stream:
                seen = versions.told(streamed("1", str(version[0] - 1), str(version[1])), S, S, is_snapshot=True)
            else:
                seen = versions.looked_up(listed(*map(str, version)), 2 * S, 2 * S, GRACE_NS)
            assert not versions.is_doubtful("v1")
            assert shown(seen) in ([], expected)


@pytest.mark.fault("B8")
def test_an_order_that_nobody_here_has_changed_may_be_changed_by_hand() -> None:
    """The stream shows another one than was sent: it is asked about, and told as what it is, also where it filled as
    that; once its end was told nothing is followed."""
    for seen, record in ((streamed("1", "1", "99"), "OPEN"), (streamed("2", "0", "99", "FILLED"), "FILLED")):
        versions = Versions("coinbase")
        versions.follow("c1", "v1", Version(D(4), D(100)))
        assert (versions.told(streamed("0", "4", "100"), S, S), versions.take_strange()) == ([], [])
        assert versions.told(seen, 2 * S, 2 * S) == []
        assert versions.take_strange() == ["c1"]
        assert shown(versions.looked_up(listed("2", "99", record), 30 * S, 30 * S, GRACE_NS)) == [(D(2), D(99))]
        versions.ended("v1")
        assert len(versions) == 0


@pytest.mark.fault("B8")
def test_a_change_by_hand_right_after_ours_is_told_at_once() -> None:
    """A look-up that is behind shows a version of before; one that nobody knows of is new.  A listing proves none, and
    is a reason to ask."""
    versions = under_way()
    assert versions.told(streamed("0", "6", "101"), S, S)
    assert versions.looked_up(listed("4", "100"), 0, 2 * S, GRACE_NS) == []
    assert versions.take_strange() == []
    assert versions.looked_up(listed("9", "101"), 0, 2 * S, GRACE_NS) == []
    assert versions.take_strange() == ["c1"]
    assert versions.looked_up(listed("4", "100"), 2 * S, 2 * S, GRACE_NS) == []
    assert shown(versions.looked_up(listed("9", "101"), 2 * S, 2 * S, GRACE_NS)) == [(D(9), D(101))]


def test_an_end_leaves_what_is_in_doubt() -> None:
    """Which version has filled is still asked about."""
    versions = under_way()
    versions.ended("v1")
    assert versions.is_doubtful("v1")


def test_the_history_of_changes_counts_more_than_the_configuration() -> None:
    """Whether that follows a change nobody has asked the real venue; the newest entry is the one, in whatever order."""
    entries = [("6", "101", "2026-11-20T14:03:09Z"), ("5", "102", "2026-11-20T14:03:07Z")]
    history = [wire.OrderEdit(price=px, size=qty, replace_accept_timestamp=at) for qty, px, at in entries]
    assert shown(under_way().looked_up(listed("4", "100", edit_history=history), 2 * S, 2 * S, GRACE_NS)) == [
        (D(6), D(101))
    ]
    versions = under_way("7", "103")
    assert shown(versions.looked_up(listed("7", "103", edit_history=history), 2 * S, 2 * S, GRACE_NS)) == [
        (D(6), D(101))
    ]
    assert versions.is_pending("v1")
    broken = [wire.OrderEdit(price="", size="6")]
    assert under_way().looked_up(listed("4", "100", edit_history=broken), 2 * S, 2 * S, GRACE_NS) == []


def test_an_order_that_somebody_changes_back_to_what_it_was_is_asked_about() -> None:
    """Long after our change no message of before it is under way any more."""
    versions = under_way("2", "100")
    assert versions.told(streamed("0", "2", "100"), 2 * S, 2 * S)
    assert versions.told(streamed("0", "4", "100"), 600 * S, 600 * S) == []
    assert versions.take_strange() == ["c1"]


def test_a_look_up_that_is_behind_a_change_by_hand_does_not_tell_it_back() -> None:
    """As one that is behind a change of ours: the order would hold less than it may fill."""
    versions = Versions("coinbase")
    versions.follow("c1", "v1", Version(D(4), D(100)))
    assert shown(versions.looked_up(listed("6", "100"), 30 * S, 30 * S, GRACE_NS)) == [(D(6), D(100))]
    assert versions.looked_up(listed("4", "100"), 30 * S + 1, 30 * S + 2, GRACE_NS) == []


def test_a_change_back_to_what_the_order_was_before_a_change_by_hand_is_not_proved_by_a_late_look_up() -> None:
    """It shows the order as it was before both; the refusal of ours would come to nothing."""
    versions = Versions("coinbase")
    versions.follow("c1", "v1", Version(D(4), D(100)))
    assert shown(versions.looked_up(listed("6", "100"), 30 * S, 30 * S, GRACE_NS)) == [(D(6), D(100))]
    versions.begin(change("4", "100", "6", "100"), 30 * S + 1)
    assert versions.looked_up(listed("4", "100"), 30 * S + 2, 30 * S + 3, GRACE_NS) == []
    assert versions.is_pending("v1")


@pytest.mark.parametrize(
    "record",
    [
        *(listed(qty, "100") for qty in ("NaN", "0", "-1", "Infinity", "1E+40")),
        *(listed("4", px) for px in ("NaN", "0", "-Infinity")),
        listed("4", "99", edit_history=[wire.OrderEdit("99", "0", "2026-11-20T14:03:09Z")]),
    ],
)
def test_a_record_without_a_size_or_a_price_that_makes_sense_is_no_version(record: wire.RestOrder) -> None:
    """Told as one it is a fact that cannot be booked, which halts: any order that rests is looked up and compared."""
    versions = Versions("coinbase")
    versions.follow("c1", "v1", Version(D(4), D(100)))
    assert versions.looked_up(record, 30 * S, 30 * S, GRACE_NS) == []


def test_sums_beyond_all_numbers_on_the_stream_are_no_version() -> None:
    """An exception would end the line, and the next one: the snapshot shows the order again."""
    versions = Versions("coinbase")
    versions.follow("c1", "v1", Version(D(4), D(100)))
    assert versions.told(streamed("9e999999", "9e999999", "100"), S, S) == []
