"""The tail: every record once, in order, as soon as it is whole; what is not whole waits, damage is told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.codec import encode
from engine.errors import JournalError
from engine.runtime.journal_tail import JournalTail
from engine.runtime.segment import SegmentScan
from tests.support.journals import flip, new_order, quote, read_all, small_writer, timer, write


def polled(tail: JournalTail) -> list[int]:
    return [item.seq for item in tail.poll()]


def look_in_vain(tail: JournalTail) -> None:
    for _ in range(100):
        assert polled(tail) == []


def test_records_come_once_and_in_order_while_they_are_written(tmp_path: Path) -> None:
    journal = small_writer(tmp_path / "j")
    tail = JournalTail(tmp_path / "j")
    assert polled(tail) == []
    for number in range(1, 8):
        journal.append(number, timer(number) if number % 3 == 1 else quote(number))
        assert polled(tail) == [number]
    assert polled(tail) == []
    assert not tail.closed
    journal.close()
    assert polled(tail) == []
    assert tail.closed


def test_a_tail_that_comes_late_reads_what_the_reader_reads(tmp_path: Path) -> None:
    """Several segments of both streams, a hole in the numbers, closed."""
    journal = write(tmp_path / "j", [new_order(n) if n % 2 else quote(n) for n in range(1, 1500)])
    journal.append(1510, quote(1510))
    journal.close()
    whole, report = read_all(tmp_path / "j")
    assert report.holes == [(1500, 1509)]
    assert len(list((tmp_path / "j").glob("market-*.seg"))) > 1
    tail = JournalTail(tmp_path / "j")
    found = []
    while part := tail.poll(97):
        assert len(part) <= 97
        found += part
    assert [(item.seq, item.stream, item.raw) for item in found] == [
        (item.seq, item.stream, item.raw) for item in whole
    ]
    assert tail.closed


def test_a_reader_beside_a_fast_writer_sees_each_record_whole(tmp_path: Path) -> None:
    """A thread writes 20,000 records over many segments, and closes, while the tail reads."""
    made = [timer(n) if n % 5 == 1 else quote(n) for n in range(1, 20_001)]
    journal = small_writer(tmp_path / "j", patience_s=30.0)

    def fill() -> None:
        for number, record in enumerate(made, 1):
            journal.append(number, record)
        journal.close()

    writing = threading.Thread(target=fill)
    tail, found = JournalTail(tmp_path / "j"), []
    writing.start()
    while not tail.closed:
        found += tail.poll(500)
        if not writing.is_alive() and not tail.closed:
            found += tail.poll(50_000)
            assert tail.closed
    writing.join()
    assert [item.raw for item in found] == [encode(record) for record in made]


@pytest.mark.fault("A6")
def test_a_record_that_is_half_written_waits_with_all_behind_it(tmp_path: Path) -> None:
    """The length word of a record is stored last: without it there is no record, whatever stands behind it."""
    journal = write(tmp_path / "j", [timer(1), quote(2), quote(3), timer(4)])
    path = tmp_path / "j" / "market-000001.seg"
    second = list(SegmentScan(path).records())[1]
    with path.open("r+b") as file:
        file.seek(second.offset)
        word = file.read(4)
        file.seek(second.offset)
        file.write(bytes(4))
        file.flush()
        tail = JournalTail(tmp_path / "j")
        assert polled(tail) == [1, 2]
        assert polled(tail) == []
        file.seek(second.offset)
        file.write(word)
    assert polled(tail) == [3, 4]
    journal.close()


@pytest.mark.fault("A7")
def test_damage_is_told_and_never_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "j", [timer(1), quote(2), quote(3), timer(4), quote(5)]).close()
    path = tmp_path / "j" / "market-000001.seg"
    second = list(SegmentScan(path).records())[1]
    flip(path, second.offset + 20)
    tail = JournalTail(tmp_path / "j")
    assert polled(tail) == [1, 2]
    with pytest.raises(JournalError, match=rf"record 3 is missing: market-000001.seg at offset {second.offset}"):
        look_in_vain(tail)


def test_a_journal_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    tail = JournalTail(tmp_path / "later")
    assert polled(tail) == []
    journal = write(tmp_path / "later", [timer(1)])
    assert polled(tail) == [1]
    journal.close()


@settings(max_examples=15)
@given(
    kinds=st.lists(st.sampled_from("qto"), min_size=1, max_size=60),
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=20),
)
def test_any_mixture_read_in_any_steps_is_the_same(
    kinds: list[str], steps: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tail") / "j"
    make = {"q": quote, "t": timer, "o": new_order}
    write(folder, [make[kind](number) for number, kind in enumerate(kinds, 1)]).close()
    tail, found = JournalTail(folder), []
    for number in range(200):
        found += [item.seq for item in tail.poll(steps[number % len(steps)])]
        if tail.closed:
            break
    assert found == list(range(1, len(kinds) + 1))
