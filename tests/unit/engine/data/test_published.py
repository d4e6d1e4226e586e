"""Files of published series: told from market data, read in order of publication, refused in words."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.catalogue import Catalogue, Source
from engine.data.published import read_observations, split_files, stored_observations, with_published
from engine.errors import DataError
from engine.events import Observation, Quote
from tests.support.published import published_file
from tests.support.recordings import START_NS, quotes_file

DAY = 86_400_000_000_000


def observation(day: int, period: int, value: float, series: str = "CPI") -> Observation:
    return Observation(START_NS + day * DAY, START_NS + day * DAY, series, value, START_NS + period * DAY)


def row(one: Observation) -> tuple[int, int, str, float]:
    return one.ts_event_ns, one.period_end_ns, one.series, one.value


ROWS = [observation(3, 0, 1.0), observation(1, -2, 2.0), observation(3, -1, 3.0, "GDP"), observation(1, -2, 2.0)]


def test_files_are_told_apart_by_their_columns(tmp_path: Path) -> None:
    """One of each."""
    published = published_file(tmp_path / "series.parquet", [row(one) for one in ROWS])
    market = quotes_file(tmp_path)
    assert split_files([published, market]) == ([market], [published])


def test_rows_come_in_order_of_publication_and_once(tmp_path: Path) -> None:
    """Out of order, one of them twice; the receive time is the publication."""
    path = published_file(tmp_path / "series.parquet", [row(one) for one in ROWS])
    assert read_observations([path, path]) == [ROWS[1], ROWS[2], ROWS[0]]


def test_the_catalogue_gives_the_series_that_are_asked_for(tmp_path: Path) -> None:
    """Two files written into a catalogue; a series that it does not have is named."""
    with Catalogue(tmp_path).writer("exogenous", "ALL", "exogenous", source=Source("test")) as writer:
        writer.write(pq.read_table(published_file(tmp_path / "x.parquet", [row(one) for one in ROWS[:3]])))
    assert stored_observations(tmp_path, ["CPI"]) == [ROWS[1], ROWS[0]]
    assert stored_observations(tmp_path, ["CPI", "GDP"]) == [ROWS[1], ROWS[2], ROWS[0]]
    with pytest.raises(DataError, match=r"no published series PMI.*data import"):
        stored_observations(tmp_path, ["CPI", "PMI"])


def test_a_damaged_part_of_a_catalogue_is_no_source(tmp_path: Path) -> None:
    """Of its old size, with one byte changed: refused with the command that sets it aside."""
    catalogue = Catalogue(tmp_path)
    with catalogue.writer("exogenous", "ALL", "exogenous", source=Source("test")) as writer:
        writer.write(pq.read_table(published_file(tmp_path / "x.parquet", [row(one) for one in ROWS[:3]])))
    (part,) = catalogue.parts()
    content = bytearray(part.path.read_bytes())
    content[8] ^= 1
    part.path.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged.*data verify"):
        stored_observations(tmp_path, ["CPI"])


def test_publication_counts_as_receipt_among_market_events() -> None:
    """Before the first event that came later; of one moment the market comes first; what is left is not given."""
    market = [Quote(t, t, "x", 1.0, 1.0, 1.0, 1.0) for t in (10, 20, 20, 30)]
    told = [Observation(t, t, "CPI", float(t), 0) for t in (5, 20, 29, 31)]
    order = [(type(event).__name__[0], event.ts_recv_ns) for event in with_published(market, told)]
    assert order == [("O", 5), ("Q", 10), ("Q", 20), ("Q", 20), ("O", 20), ("O", 29), ("Q", 30)]


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("ts_ns", pa.array([1.5]), "int64 UTC nanoseconds"),
        ("ts_ns", pa.array([1_700_000_000]), "reads as seconds"),
        ("ts_ns", pa.array([None], pa.int64()), "without ts_ns"),
        ("value", pa.array(["1"]), "double"),
        ("series", pa.array([7]), "string"),
        ("period_end_ns", None, "no column 'period_end_ns'"),
    ],
)
def test_a_file_that_is_not_right_is_refused_with_its_name(
    tmp_path: Path, column: str, values: pa.Array | None, words: str
) -> None:
    """One line for a wrong type, unit, a missing time and a missing column."""
    path = published_file(tmp_path / "series.parquet", [row(ROWS[0])])
    table = pq.read_table(path)
    at = table.schema.get_field_index(column)
    table = table.remove_column(at) if values is None else table.set_column(at, column, values)
    pq.write_table(table, path)
    with pytest.raises(DataError, match=r"series\.parquet") as caught:
        read_observations([path])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
