"""The reader: torn ends are cut and reported, anything that would hide a record is an error that says where."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from engine.errors import JournalError
from engine.runtime.journal_reader import read_journal
from engine.runtime.segment import CONTROL, END, HEADER_BYTES, SegmentScan, control_payload
from tests.support.journals import flip, new_order, quote, read_all, small_writer, timer, write


def closed_journal(folder: Path, count: int = 6) -> list[tuple[str, int, int]]:
    """Alternating quotes and timers, closed; ``(file, offset, seq)`` of each record by number."""
    write(folder, [quote(n) if n % 2 else timer(n) for n in range(1, count + 1)]).close()
    places = [
        (path.name, raw.offset, raw.seq)
        for path in folder.iterdir()
        for raw in SegmentScan(path).records()
        if not raw.control
    ]
    return sorted(places, key=lambda place: place[2])


@pytest.mark.fault("A6")
def test_a_torn_last_record_is_cut_reported_and_its_bytes_kept(tmp_path: Path) -> None:
    """Clears the length word of the last record, as a kill in mid-append leaves it."""
    journal = write(tmp_path / "j", [quote(1), quote(2), quote(3)])
    path = tmp_path / "j" / "market-000001.seg"
    last = list(SegmentScan(path).records())[-1]
    data = bytearray(path.read_bytes())
    data[last.offset : last.offset + 4] = bytes(4)
    path.write_bytes(data)
    found, report = read_all(tmp_path / "j")
    assert [item.seq for item in found] == [1, 2]
    assert report.torn[0].offset == last.offset
    assert report.torn[0].data[16:] == last.payload.rstrip(b"\0")
    assert report.torn_bytes == len(report.torn[0].data)
    assert not report.closed
    assert path.read_bytes() == bytes(data), "reading changes nothing"
    del journal


@pytest.mark.fault("A7")
def test_damage_that_good_records_follow_names_file_offset_and_number(tmp_path: Path) -> None:
    """Inverts one bit of the third of six records."""
    name, offset, _ = closed_journal(tmp_path / "j")[2]
    flip(tmp_path / "j" / name, offset + 20)
    with pytest.raises(
        JournalError, match=rf"{name} is damaged at offset {offset} after record 1, and record 5 follows"
    ):
        read_all(tmp_path / "j")


@pytest.mark.fault("A7")
def test_salvage_stops_at_the_damage_and_says_so(tmp_path: Path) -> None:
    """The same damage with ``salvage``: what precedes it is yielded, no more."""
    name, offset, _ = closed_journal(tmp_path / "j")[2]
    flip(tmp_path / "j" / name, offset + 20)
    found, report = read_all(tmp_path / "j", salvage=True)
    assert [item.seq for item in found] == [1, 2]
    assert f"{name} is damaged at offset {offset}" in report.stopped
    assert "--salvage" not in report.stopped


@pytest.mark.fault("A7")
@pytest.mark.parametrize("stream", ["orders", "market"])
def test_salvage_does_not_begin_behind_a_beginning_that_is_gone(tmp_path: Path, stream: str) -> None:
    """The first file of a stream has the content of its second: nobody knows what came first, so nothing is read."""
    records = [new_order(number) if number % 2 else quote(number) for number in range(1, 401)]
    write(tmp_path / "j", records).close()
    first, second = sorted((tmp_path / "j").glob(f"{stream}-*.seg"))[:2]
    first.write_bytes(second.read_bytes())
    found, report = read_all(tmp_path / "j", salvage=True)
    assert found == []
    assert f"{first.name} says it is {stream} segment 2" in report.stopped


def test_a_record_lost_at_the_end_of_one_stream_shows_as_a_missing_number(tmp_path: Path) -> None:
    """Cuts the market stream before its last record: the orders stream knows the numbers went on."""
    name, offset, seq = closed_journal(tmp_path / "j")[4]
    path = tmp_path / "j" / name
    path.write_bytes(path.read_bytes()[:offset])
    with pytest.raises(JournalError, match=rf"record 6 in orders-000001.seg at offset \d+: {seq} to 5 are missing"):
        read_all(tmp_path / "j")


@pytest.mark.fault("A7")
def test_a_missing_segment_in_the_middle_is_named(tmp_path: Path) -> None:
    """Removes the second of several market segments."""
    write(tmp_path / "j", [quote(n) for n in range(1, 500)]).close()
    (tmp_path / "j" / "market-000002.seg").unlink()
    with pytest.raises(JournalError, match=r"market-000002\.seg is missing"):
        read_all(tmp_path / "j")


def test_a_missing_first_or_last_segment_shows(tmp_path: Path) -> None:
    """Removes the first, then (in a copy) the last market segment; the end note shows the latter."""
    write(tmp_path / "j", [quote(n) for n in range(1, 500)]).close()
    shutil.copytree(tmp_path / "j", tmp_path / "k")
    (tmp_path / "j" / "market-000001.seg").unlink()
    with pytest.raises(JournalError, match=r"is market-000002\.seg; expected market-000001\.seg; restore"):
        read_all(tmp_path / "j")
    sorted((tmp_path / "k").glob("market-*.seg"))[-1].unlink()
    with pytest.raises(JournalError, match="notes the end at 499"):
        read_all(tmp_path / "k")


@pytest.mark.parametrize("kept", [0, 1])
def test_a_lost_only_record_of_a_stream_is_noticed(tmp_path: Path, kept: int) -> None:
    """The market stream has one record, first or last of all, and loses it: nobody behind it in that stream to tell."""
    records = [timer(1), quote(2)] if kept else [quote(1), timer(2)]
    write(tmp_path / "j", records).close()
    flip(tmp_path / "j" / "market-000001.seg", HEADER_BYTES + 20)
    with pytest.raises(JournalError, match=r"market-000001\.seg is damaged at offset 128|1 to 1 are missing"):
        read_all(tmp_path / "j")


def test_an_empty_or_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Nothing to read must never look like a session without events."""
    with pytest.raises(JournalError, match="holds no journal segment"):
        read_all(tmp_path)
    with pytest.raises(JournalError, match="no journal at"):
        read_all(tmp_path / "none")


def test_segments_of_two_sessions_are_not_mixed(tmp_path: Path) -> None:
    """Replaces the market segment by one of another session with the same numbers."""
    write(tmp_path / "j", [quote(1), timer(2)]).close()
    write(tmp_path / "k", [quote(1), timer(2)], session="other").close()
    shutil.copy(tmp_path / "k" / "market-000001.seg", tmp_path / "j" / "market-000001.seg")
    with pytest.raises(JournalError, match=r"belongs to session (other|s-test)"):
        read_all(tmp_path / "j")


def test_a_renamed_segment_is_noticed(tmp_path: Path) -> None:
    """Gives a third market segment the name of a fourth."""
    write(tmp_path / "j", [quote(n) for n in range(1, 300)]).close()
    files = sorted((tmp_path / "j").glob("market-*.seg"))
    shutil.copy(files[-1], tmp_path / "j" / f"market-{len(files) + 1:06d}.seg")
    with pytest.raises(JournalError, match="says it is market segment"):
        read_all(tmp_path / "j")


@pytest.mark.fault("A15")
def test_an_unknown_format_version_says_which_release_to_use(tmp_path: Path) -> None:
    """Raises the version in the header."""
    write(tmp_path / "j", [quote(1)]).close()
    path = tmp_path / "j" / "market-000001.seg"
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 8, 7)
    path.write_bytes(data)
    with pytest.raises(
        JournalError, match="format version 7; expected version 1; read it with the release that wrote it"
    ):
        read_all(tmp_path / "j")


@pytest.mark.parametrize(("offset", "text"), [(0, "expected a journal segment"), (30, "header of .* is damaged")])
def test_a_damaged_header_is_an_error(tmp_path: Path, offset: int, text: str) -> None:
    """Inverts a bit of the magic number, then of the session's name."""
    write(tmp_path / "j", [quote(1)]).close()
    flip(tmp_path / "j" / "market-000001.seg", offset)
    with pytest.raises(JournalError, match=text):
        read_all(tmp_path / "j")


@pytest.mark.fault("A15")
def test_a_record_of_an_unknown_kind_is_not_skipped(tmp_path: Path) -> None:
    """Writes a record with a good checksum whose tag this release does not know."""
    journal = write(tmp_path / "j", [quote(1)])
    journal._orders.segment.start(2)
    journal._orders.segment.place(HEADER_BYTES, 2, b"\x92\xcd\x03\xe7\x01")
    with pytest.raises(JournalError, match=r"record 2 in orders-000001\.seg at offset 128 cannot be decoded"):
        read_all(tmp_path / "j")


def test_nothing_may_follow_the_end_note(tmp_path: Path) -> None:
    """Puts an order behind an end note, as two writers on one folder would."""
    journal = write(tmp_path / "j", [timer(1)])
    segment = journal._orders.segment
    at = segment.place(journal._orders.tail, 1, control_payload(END, 1), CONTROL)
    segment.place(at, 2, b"\x94\x28\x02\x02\xa1x")
    with pytest.raises(JournalError, match="follows the end of the journal"):
        read_all(tmp_path / "j")


@pytest.mark.fault("A5")
def test_an_unused_prepared_segment_holds_no_records_and_no_error(tmp_path: Path) -> None:
    """Copies the folder of a running writer with its spare segments and an unfinished one, as a kill leaves it."""
    journal = write(tmp_path / "j", [quote(1), timer(2)])
    assert journal.wait_ready()
    shutil.copytree(tmp_path / "j", tmp_path / "k")
    (tmp_path / "k" / "market-000003.tmp").write_bytes(b"")
    journal.close()
    assert len(list((tmp_path / "k").glob("*.seg"))) == 4
    found, report = read_all(tmp_path / "k")
    assert [item.seq for item in found] == [1, 2]
    assert report.torn_bytes == 0


@pytest.mark.fault("A5")
def test_a_segment_that_died_before_its_first_record_is_empty(tmp_path: Path) -> None:
    """Writes the first number into a spare segment's header, then nothing: killed between the two stores."""
    journal = write(tmp_path / "j", [quote(1)])
    journal._orders.segment.start(2)
    found, report = read_all(tmp_path / "j")
    assert [item.seq for item in found] == [1]
    assert report.torn_bytes == 0
    journal.close()


def test_reading_is_lazy(tmp_path: Path) -> None:
    """Removes later segments after the first record was read: they must not have been opened yet."""
    write(tmp_path / "j", [new_order(n) for n in range(1, 300)]).close()
    reading = read_journal(tmp_path / "j")
    assert next(reading).seq == 1
    later = sorted((tmp_path / "j").glob("orders-*.seg"))[2]
    later.unlink()
    with pytest.raises(JournalError, match=f"cannot read .*{later.name}"):
        list(reading)


def test_a_hole_note_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    """Skips numbers, then cuts the record before the note: the note starts at another number than expected."""
    journal = small_writer(tmp_path / "j")
    for seq in (1, 2, 5):
        journal.append(seq, quote(seq))
    journal.close()
    path = tmp_path / "j" / "market-000001.seg"
    records = list(SegmentScan(path).records())
    data = bytearray(path.read_bytes())
    data[records[1].offset :] = bytes(len(data) - records[1].offset)
    path.write_bytes(data)
    with pytest.raises(JournalError, match="notes a hole from 3; expected 2"):
        read_all(tmp_path / "j")
