"""Properties of the journal: arbitrary records come back, and no damage ever yields a wrong record."""

from __future__ import annotations

import shutil
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import codec
from engine import commands as c
from engine import events as e
from engine.errors import JournalError
from engine.runtime.segment import SegmentScan
from tests.support.journals import new_order, quote, read_all, small_writer, timer, write

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=40)
FLOAT = st.floats(allow_nan=False, allow_infinity=True)
DECIMAL = st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12)
LEVELS = st.lists(st.tuples(FLOAT, FLOAT), max_size=60).map(tuple)

RECORDS = st.one_of(
    st.builds(e.Quote, INT64, INT64, TEXT, FLOAT, FLOAT, FLOAT, FLOAT),
    st.builds(e.Trade, INT64, INT64, TEXT, FLOAT, FLOAT, st.sampled_from([-1, 0, 1]), TEXT),
    st.builds(e.BookSnapshot, INT64, INT64, TEXT, LEVELS, LEVELS),
    st.builds(e.Timer, INT64, INT64, TEXT),
    st.builds(e.Halted, INT64, INT64, TEXT, TEXT),
    st.builds(e.BalanceReported, INT64, INT64, TEXT, TEXT, DECIMAL, DECIMAL),
    st.builds(
        e.Prediction, INT64, INT64, TEXT, TEXT, st.sampled_from(list(e.PredictionStatus)),
        st.lists(FLOAT, max_size=5).map(tuple), TEXT,
    ),
    st.builds(
        e.PredictionMade, INT64, INT64, TEXT, TEXT, INT64, INT64, st.sampled_from(list(e.PredictionStatus)),
        st.lists(FLOAT, max_size=5).map(tuple), TEXT,
    ),
    st.builds(e.ModelAlarmed, INT64, INT64, TEXT, TEXT, TEXT, TEXT, FLOAT, TEXT),
    st.builds(
        c.NewOrder, INT64, TEXT, TEXT,
        st.builds(
            c.OrderIntent, INT64, TEXT, TEXT, st.sampled_from(list(e.Side)), DECIMAL,
            st.sampled_from(list(c.OrderType)), st.none() | DECIMAL,
        ),
    ),
    st.builds(c.CancelOrder, INT64, TEXT, TEXT, TEXT, TEXT, TEXT),
    st.builds(c.ReplaceOrder, INT64, TEXT, TEXT, TEXT, TEXT, DECIMAL, DECIMAL, DECIMAL, DECIMAL, TEXT),
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(records=st.lists(RECORDS, min_size=1, max_size=60), skip=st.integers(0, 3), first=st.integers(1, 2**40))
def test_any_sequence_of_records_comes_back_byte_for_byte(records: list[codec.Record], skip: int, first: int) -> None:
    """Writes generated records from any first number, with a hole in the middle, and compares everything."""
    with tempfile.TemporaryDirectory() as folder:
        journal = small_writer(Path(folder) / "j", market_bytes=16384, orders_bytes=16384)
        numbers = [first + i + (skip if i >= len(records) // 2 and i > 0 else 0) for i in range(len(records))]
        for seq, record in zip(numbers, records, strict=True):
            journal.append(seq, record)
        journal.close()
        found, report = read_all(Path(folder) / "j")
    assert [item.seq for item in found] == numbers
    assert [item.raw for item in found] == [codec.encode(record) for record in records]
    assert [item.record for item in found] == records
    assert report.closed
    assert report.torn_bytes == 0


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A closed journal of eight records, and their bytes."""
    folder = tmp_path_factory.mktemp("sample") / "j"
    records = [quote(1), timer(2), quote(3), new_order(4), quote(5), timer(6), quote(7), timer(8)]
    write(folder, records).close()
    return folder, [codec.encode(record) for record in records]


def outcome(folder: Path) -> tuple[list[bytes], bool] | None:
    """The records and whether the end was seen; None for an error that was raised."""
    try:
        found, report = read_all(folder)
    except JournalError:
        return None
    assert [item.seq for item in found] == list(range(1, len(found) + 1))
    return [item.raw for item in found], report.closed


@pytest.mark.fault("A6")
@pytest.mark.parametrize("name", ["orders-000001.seg", "market-000001.seg"])
def test_truncation_at_every_byte_is_an_error_or_a_prefix_that_is_not_called_closed(
    sample: tuple[Path, list[bytes]], tmp_path: Path, name: str
) -> None:
    """Cuts one file at each of its bytes: never a wrong record, never a shorter journal that claims to be whole."""
    folder, records = sample
    shutil.copytree(folder, tmp_path / "j")
    data = (folder / name).read_bytes()
    for size in range(len(data)):
        (tmp_path / "j" / name).write_bytes(data[:size])
        result = outcome(tmp_path / "j")
        if result is not None:
            found, closed = result
            assert found == records[: len(found)]
            assert not closed or len(found) == len(records), size


@pytest.mark.fault("A6")
@pytest.mark.parametrize("name", ["orders-000001.seg", "market-000001.seg"])
def test_a_flipped_bit_anywhere_never_yields_a_wrong_record(
    sample: tuple[Path, list[bytes]], tmp_path: Path, name: str
) -> None:
    """Inverts bits of each byte in turn.  Only bits that carry nothing (padding, unused header) may change nothing."""
    folder, records = sample
    shutil.copytree(folder, tmp_path / "j")
    path = tmp_path / "j" / name
    data = (folder / name).read_bytes()
    carrying = {
        at
        for raw in SegmentScan(folder / name).records()
        for at in range(raw.offset, raw.offset + 16 + len(raw.payload))
    }
    carrying |= {*range(68), *range(72, 80)}
    for offset in range(len(data)):
        for bit in (offset % 8, (offset * 3 + 5) % 8):
            damaged = bytearray(data)
            damaged[offset] ^= 1 << bit
            path.write_bytes(damaged)
            result = outcome(tmp_path / "j")
            if result is None:
                assert offset in carrying
                continue
            found, closed = result
            assert found == records[: len(found)], (offset, bit)
            if offset in carrying:
                assert not closed, (offset, bit)
            else:
                assert (found, closed) == (records, True)


@pytest.mark.fault("A6")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_bytes_over_a_journal_never_yield_a_wrong_record(
    sample: tuple[Path, list[bytes]], data: st.DataObject
) -> None:
    """Overwrites a stretch of a file by generated bytes, as a bad sector would."""
    folder, records = sample
    name = data.draw(st.sampled_from(["orders-000001.seg", "market-000001.seg"]))
    good = (folder / name).read_bytes()
    start = data.draw(st.integers(0, len(good) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=64))
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(folder, Path(place) / "j")
        (Path(place) / "j" / name).write_bytes(good[:start] + noise + good[start + len(noise) :])
        result = outcome(Path(place) / "j")
    if result is not None:
        assert result[0] == records[: len(result[0])]


def test_the_records_under_damage_hold_money(sample: tuple[Path, list[bytes]]) -> None:
    """Guards the sample: damage is tried on an order with Decimals, not on timers alone."""
    found, _ = read_all(sample[0])
    orders = [item.record for item in found if isinstance(item.record, c.NewOrder)]
    assert [order.intent.limit_px for order in orders] == [Decimal("60000.01")]


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A closed journal of 600 records over several files of each stream, and their bytes."""
    folder = tmp_path_factory.mktemp("rotated") / "j"
    records = [(quote, new_order, timer, quote)[number % 4](number) for number in range(1, 601)]
    write(folder, records).close()
    assert all(len(list(folder.glob(f"{stream}-*.seg"))) > 2 for stream in ("orders", "market"))
    return folder, [codec.encode(record) for record in records]


DAMAGES = st.lists(
    st.tuples(
        st.sampled_from(["noise", "cut", "grow", "remove", "twice", "swap", "zero"]),
        st.integers(0, 5),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=200),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda damage: damage[1],
)


@pytest.mark.fault("A6")
@pytest.mark.fault("A7")
@settings(max_examples=80, deadline=None)
@given(damages=DAMAGES)
def test_whatever_becomes_of_the_files_only_records_that_were_written_are_read(
    rotated: tuple[Path, list[bytes]], damages: list[tuple[str, int, float, bytes]]
) -> None:
    """Files overwritten, cut, grown, lost, put in the place of others, stretches repeated or emptied: an error, or the
    first records as they were.  Salvaging always ends with them, and says so where anything is missing."""
    folder, records = rotated
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "j"
        shutil.copytree(folder, copy)
        paths = sorted(copy.glob("*.seg"))
        for how, which, where, noise in damages:
            other = folder / paths[(which + 1) % len(paths)].name
            _damage(paths[which], other, how, where, noise)
        result = outcome(copy)
        if result is not None:
            is_prefix = result[0] == records[: len(result[0])]
            assert is_prefix
            assert not result[1] or len(result[0]) == len(records)
        found, report = read_all(copy, salvage=True)
    is_prefix = [item.raw for item in found] == records[: len(found)]  # not in the assertion: its text would be long
    assert is_prefix
    assert report.stopped or not report.closed or len(found) == len(records)


def _damage(path: Path, other: Path, how: str, where: float, noise: bytes) -> None:
    data = path.read_bytes()
    at = int(where * len(data))
    if how == "remove":
        path.unlink()
        return
    damaged = {
        "noise": data[:at] + noise + data[at + len(noise) :],
        "cut": data[:at],
        "grow": data + noise,
        "twice": data[:at] + data[max(0, at - 8 * len(noise)) : at] + data[at:],
        "zero": data[:at] + bytes(len(noise)) + data[at + len(noise) :],
        "swap": other.read_bytes(),
    }
    path.write_bytes(damaged[how])
