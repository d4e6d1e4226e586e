"""What a session's journal says of what it left, whole and damaged."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from engine import commands as c
from engine import events as e
from engine.carried import encode_carried
from engine.errors import JournalError
from engine.recovery import AT_THE_MARKETS_PACE, Recovery
from engine.runtime.journal_reader import read_journal
from engine.runtime.segment import HEADER_BYTES, MappedSegment, SegmentScan, list_segments
from engine.runtime.succession import VENUE_TRUTH, read_left
from tests.support.account import Account
from tests.support.core import BTC, intent
from tests.support.journals import flip, prediction, quote, timer, write
from tests.support.succession import ORDERS_BYTES, leave, left_by, offsets, open_ids, position, succession, trading

D = Decimal


@pytest.mark.fault("A6")
@pytest.mark.parametrize("how", ["flipped", "rubbish behind", "half"])
def test_a_torn_end_is_cut_at_the_last_good_record(tmp_path: Path, how: str) -> None:
    """The last record is the acceptance of the resting order, or follows it: the order stays, open as it was."""
    session = leave(tmp_path / "s-1", trading().records)
    path, last = offsets(session)[-1]
    whole = list(SegmentScan(path).records())[-1]
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[last + 16] ^= 0x40
    elif how == "half":
        data[last + 16 + len(whole.payload) // 2 : last + 16 + len(whole.payload)] = bytes(
            len(whole.payload) - len(whole.payload) // 2
        )
    else:
        data[last + 16 + len(whole.payload) + 7 : last + 16 + len(whole.payload) + 47] = b"\xa5" * 40
    path.write_bytes(data)
    before = path.read_bytes()
    left = left_by(session)
    assert left.torn_bytes > 0
    assert left.upto_seq == whole.seq - (how != "rubbish behind")
    assert (position(left.state), len(open_ids(left.state))) == (D(1), 1)
    assert path.read_bytes() == before, "the bad bytes are kept as they are"


@pytest.mark.fault("A7")
def test_damage_in_the_middle_ends_the_start_and_names_the_way_out(tmp_path: Path) -> None:
    """Any record but the last, one byte of each: no state is made up from what precedes it."""
    session = leave(tmp_path / "s-1", trading().records)
    one = succession(tmp_path)
    one.begin(session)
    for path, offset in offsets(session)[:-1]:
        flip(path, offset + 16 + 3)
        with pytest.raises(JournalError) as caught:
            one.left("USD")
        assert f"damaged at offset {offset}" in caught.value.seen
        assert (caught.value.do, "\n" in str(caught.value)) == (VENUE_TRUTH, False)
        flip(path, offset + 16 + 3)
    assert one.left("USD") is not None


def in_segments(folder: Path, count: int = 250) -> tuple[Path, Account]:
    """Kept after the first purchase, then so many more that they fill several files."""
    account = trading(1)
    account.keep()
    for number in range(count):
        bought = account.place()
        account.accept(bought)
        account.fill(bought, "1", "100", f"u{number}")
    session = leave(folder / "s-1", account.records, orders_bytes=16 << 10)
    assert len(list_segments(session / "journal")["orders"]) >= 4
    return session, account


def test_a_kept_state_in_an_older_file_is_brought_up_to_the_end_of_the_newest(tmp_path: Path) -> None:
    """250 fills in the files behind it, and a file behind those that was made ahead and is empty."""
    session, account = in_segments(tmp_path)
    segments = list_segments(session / "journal")["orders"]
    assert not list(SegmentScan(segments[-1].path).records()), "the last file was made ahead"
    left = left_by(session)
    assert position(left.state) == D(251) == account.core.view.position(BTC).qty
    assert left.state.money.cash == (("coinbase", "USD", account.core.portfolio.cash()["USD"]),)
    assert open_ids(left.state) == {order.client_order_id for order in account.core.orders.open_orders()}


def test_what_comes_at_the_markets_pace_changes_nothing_of_what_was_left(tmp_path: Path) -> None:
    """Between any two records one of each such kind, over several files: the same state as without them, and as a fold
    that leaves out nothing; only how far the session came is told by the very last of them."""
    account = trading(100)
    refused = c.Rejected(5, intent(), "position", "2", "1")
    answer = e.PredictionMade(5, 5, BTC, "m-1", 4, 4, e.PredictionStatus.OK, (0.5,))
    kinds = (prediction(5), answer, timer(5), refused, e.JournalSynced(5, 5, 1))
    assert {type(one) for one in kinds} == AT_THE_MARKETS_PACE
    mixed = [record for one in account.records for record in (one, *kinds)] + [timer(10**9)]
    session = leave(tmp_path / "s-1", mixed)
    assert len(list_segments(session / "journal")["orders"]) >= 3
    left = left_by(session)
    everything = Recovery("USD")
    everything.take(mixed)
    assert left.state == everything.left() == left_by(leave(tmp_path / "s-2", account.records)).state
    assert (left.upto_seq, left.last_ns) == (len(mixed), 10**9)


@pytest.mark.fault("A6")
def test_a_file_made_ahead_of_which_nothing_reached_the_disk_is_no_loss(tmp_path: Path) -> None:
    """The machine went down: the newest file is there and all zeros.  Everything in the others counts."""
    session, account = in_segments(tmp_path)
    newest = list_segments(session / "journal")["orders"][-1].path
    newest.write_bytes(bytes(newest.stat().st_size))
    left = left_by(session)
    assert position(left.state) == account.core.view.position(BTC).qty
    assert (left.blank, newest.stat().st_size > 0) == ((newest.name,), True)
    assert len(list(read_journal(session / "journal"))) == len(account.records)


@pytest.mark.fault("A6")
def test_a_file_made_ahead_whose_header_reached_the_disk_before_the_last_ones_is_no_loss(tmp_path: Path) -> None:
    """The machine went down after the journal had gone on in a file that nothing was written to yet: that one is all
    zeros, and the one behind it has its header.  What either holds would be damage."""
    session, account = in_segments(tmp_path)
    journal = session / "journal"
    newest = list_segments(journal)["orders"][-1]
    size = newest.path.stat().st_size
    ahead = MappedSegment(journal, "s-1", "orders", newest.number + 1, size=size, prefault=0)
    ahead.close(truncate=False)
    newest.path.write_bytes(bytes(size))
    left = left_by(session)
    assert position(left.state) == account.core.view.position(BTC).qty
    assert left.blank == (newest.path.name, ahead.path.name)
    assert len(list(read_journal(journal))) == len(account.records)
    for path in (newest.path, ahead.path):
        data = path.read_bytes()
        path.write_bytes(data[: size - 8] + b"damaged!")
        with pytest.raises(JournalError, match=newest.path.name):
            read_left(session, "USD")
        path.write_bytes(data)


@pytest.mark.fault("A7")
def test_a_header_that_is_gone_before_records_that_are_there_is_damage(tmp_path: Path) -> None:
    """The newest file's first page never reached the disk, its second did: its fills are not forgotten in silence."""
    session, _ = in_segments(tmp_path)
    *_, newest, ahead = list_segments(session / "journal")["orders"]
    ahead.path.unlink()
    data = newest.path.read_bytes()
    newest.path.write_bytes(bytes(HEADER_BYTES) + data[HEADER_BYTES:])
    with pytest.raises(JournalError, match=newest.path.name):
        read_left(session, "USD")


@pytest.mark.fault("A5")
@pytest.mark.fault("A6")
def test_a_session_whose_inheritance_did_not_reach_the_disk_falls_back_to_the_one_before(tmp_path: Path) -> None:
    """The machine went down at its start: only the first page of the journal was written, and in it the state that it
    went on with is cut off.  It had done nothing yet; the account is what the session before left."""
    one = succession(tmp_path)
    one.begin(leave(tmp_path / "s-1", trading(3).records))
    left = one.left("USD")
    assert left is not None
    started = e.SessionStarted(5, 5, "s", "c", "d", (), ())
    carried = e.StateCarried(6, 6, "s-1", left.upto_seq, encode_carried(left.state))
    session = leave(tmp_path / "s-2", [started, carried])
    path, at = offsets(session)[-1]
    data = path.read_bytes()
    path.write_bytes(data[: at + 100] + bytes(len(data) - at - 100))
    one.begin(session)
    again = succession(tmp_path).left("USD")
    assert again is not None
    assert (again.session, position(again.state), len(open_ids(again.state))) == ("s-1", D(3), 1)


@pytest.mark.fault("A5")
def test_any_number_of_starts_that_came_to_nothing_do_not_push_the_last_session_out(tmp_path: Path) -> None:
    """The machine goes down three times in a row before a start is on disk."""
    succession(tmp_path).begin(leave(tmp_path / "s-1", trading().records))
    for name in ("s-2", "s-3", "s-4"):
        one = succession(tmp_path)
        left = one.left("USD")
        assert left is not None
        assert left.session == "s-1"
        one.begin(leave(tmp_path / name, []))


@pytest.mark.fault("A7")
def test_a_file_that_is_missing_or_torn_before_the_newest_ends_the_start(tmp_path: Path) -> None:
    """An end is only an end in the newest file: bytes cut off from an older one hide records that were there."""
    session, _ = in_segments(tmp_path)
    newest = [info for info in list_segments(session / "journal")["orders"] if list(SegmentScan(info.path).records())]
    path, last = next(found for found in reversed(offsets(session)) if found[0] == newest[-2].path)
    flip(path, last + 16)
    with pytest.raises(JournalError, match="damaged at offset"):
        read_left(session, "USD")
    flip(path, last + 16)
    path.unlink()
    with pytest.raises(JournalError, match=f"{path.name} is missing"):
        read_left(session, "USD")


@pytest.mark.fault("A7")
def test_a_first_file_that_is_missing_ends_the_start_where_the_state_was_in_it(tmp_path: Path) -> None:
    """What the session began with is gone: fills that are left are not the account.  A newer kept state needs none of
    the files before it."""
    account = trading(300)
    session = leave(tmp_path / "s-1", account.records, orders_bytes=8192)
    first, *others = [info.path for info in list_segments(session / "journal")["orders"]]
    assert len(others) > 2
    held = tmp_path / first.name
    first.rename(held)
    with pytest.raises(JournalError, match=rf"{first.name} is missing") as caught:
        read_left(session, "USD")
    assert "\n" not in str(caught.value)
    for path in others:
        path.unlink()
    leave(tmp_path / "s-2", [quote(number) for number in range(3)])
    for info in list_segments(tmp_path / "s-2" / "journal")["orders"]:
        info.path.unlink()
    with pytest.raises(JournalError, match=r"orders-000001\.seg is missing"):
        read_left(tmp_path / "s-2", "USD")


@pytest.mark.fault("A6")
def test_a_state_that_is_itself_the_torn_end_is_done_without(tmp_path: Path) -> None:
    """The one before counts, with everything behind it."""
    account = trading(1)
    account.keep()
    account.fill(account.venue.orders[-1], "1", "100", "u1")
    account.keep()
    session = leave(tmp_path / "s-1", account.records)
    path, last = offsets(session)[-1]
    flip(path, last + 16 + 40)
    left = left_by(session)
    assert (position(left.state), left.torn_bytes > 0) == (D(2), True)


@pytest.mark.fault("A15")
def test_a_record_that_this_release_cannot_read_ends_the_start(tmp_path: Path) -> None:
    """Whole by its checksum, but of no type that is known."""
    session = tmp_path / "s-1"
    journal = write(session / "journal", trading().records, orders_bytes=ORDERS_BYTES)
    journal._write_control(journal._next - 1, 0, 0)
    stream = journal._orders
    stream.tail = stream.segment.place(stream.tail, journal._next, b"\x91\x7e")
    with pytest.raises(JournalError, match="cannot be decoded"):
        read_left(session, "USD")


def test_what_is_not_of_the_account_is_of_no_matter(tmp_path: Path) -> None:
    """Market data between the orders, and records of no account: the state is the same, and so is the end."""
    account = trading()
    bare = left_by(leave(tmp_path / "s-1", account.records))
    among = [part for record in account.records for part in (record, quote(5), e.Timer(6, 6, "tick"))]
    other = left_by(leave(tmp_path / "s-2", among))
    assert (bare.state.money, bare.state.orders) == (other.state.money, other.state.orders)
    assert other.upto_seq > bare.upto_seq


def test_reading_a_killed_session_changes_none_of_its_files(tmp_path: Path) -> None:
    """Byte for byte."""
    session = leave(tmp_path / "s-1", trading(3).records)
    before = {path: path.read_bytes() for path in (session / "journal").iterdir()}
    assert left_by(session).state.open_count == 1
    assert before == {path: path.read_bytes() for path in (session / "journal").iterdir()}
    assert all(len(data) >= HEADER_BYTES for data in before.values())
