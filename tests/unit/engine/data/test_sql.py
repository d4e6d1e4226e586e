"""``engine.data.sql``: a query sees the visible parts, and can do nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.catalogue import Catalogue, Source
from engine.data.kinds import KINDS
from engine.errors import DataError
from tests.support.journals import flip
from tests.support.stored import DAY_NS, T0, bars, quotes, store

HOUR = 3_600 * 10**9


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """Quotes of two instruments, one of them without sizes, and bars; in a folder with a quote in its name."""
    root = tmp_path / "user's data"
    store(root, quotes(30))
    store(root, quotes(20, start_ns=T0 + DAY_NS).drop(["bid_size", "ask_size"]), symbol="BRK-B")
    return store(root, bars(10, HOUR), "bars", interval_ns=HOUR)


def test_each_kind_is_a_view_with_the_names_of_its_rows(catalogue: Catalogue) -> None:
    """Counts and sums by instrument; a column that a part does not have is null; a kind without rows is empty."""
    found = catalogue.query(
        "SELECT venue, instrument, symbol, count(*) AS n, sum(ask - bid) AS spread, count(bid_size) AS sized "
        "FROM quotes GROUP BY ALL ORDER BY n"
    )
    assert found.to_pylist() == [
        {"venue": "test", "instrument": "BRK/B@test", "symbol": "BRK-B", "n": 20, "spread": 20.0, "sized": 0},
        {"venue": "test", "instrument": "BTC/USD@test", "symbol": "BTC-USD", "n": 30, "spread": 30.0, "sized": 30},
    ]
    assert catalogue.query("SELECT max(close) AS top FROM bars").to_pylist() == [{"top": 110.0}]
    for kind in KINDS.values():
        made = catalogue.query(f"SELECT * FROM {kind.name} LIMIT 0")
        assert made.schema.names == ["venue", "instrument", "symbol", *kind.columns]
        assert [field.type for field in made.schema][3:] == [field.type for field in kind.schema]


def test_joins_across_kinds_and_windows_work(catalogue: Catalogue) -> None:
    """The last quote at or before each bar's end, by DuckDB's ASOF join."""
    found = catalogue.query(
        "SELECT b.ts_ns, q.bid FROM bars b ASOF JOIN quotes q "
        "ON b.instrument = q.instrument AND b.ts_ns + b.interval_ns >= q.ts_ns ORDER BY 1 LIMIT 1"
    )
    assert found.to_pylist() == [{"ts_ns": T0, "bid": 129.0}]


def test_an_empty_catalogue_has_empty_views(tmp_path: Path) -> None:
    assert Catalogue(tmp_path / "none").query("SELECT count(*) AS n FROM trades").to_pylist() == [{"n": 0}]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM '{outside}'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_text('{log}')",
        "COPY (SELECT 1) TO '{folder}/made.csv'",
        "COPY quotes TO '{part}'",
        "ATTACH '{folder}/made.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "CREATE TABLE mine AS SELECT 1",
        "DROP VIEW quotes",
        "SELECT 1; COPY (SELECT 1) TO '{folder}/made.csv'",
        "SELEKT 1",
        "SELECT nothing FROM quotes",
        "",
    ],
)
def test_a_query_reads_the_views_and_nothing_else(statement: str, catalogue: Catalogue, tmp_path: Path) -> None:
    """Other files, writing, settings, extensions, several statements, errors: one line, and no file changed."""
    outside = tmp_path / "outside.csv"
    outside.write_text("secret\n1\n")
    part = catalogue.parts()[0].path
    content = part.read_bytes()
    before = sorted(tmp_path.rglob("*"))
    names = {"outside": outside, "folder": tmp_path, "part": part, "log": catalogue.root / "log" / "00000001.json"}
    text = statement
    for name, path in names.items():
        text = text.replace("{" + name + "}", str(path).replace("'", "''"))
    with pytest.raises(DataError) as caught:
        catalogue.query(text)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert part.read_bytes() == content


def test_what_is_not_published_is_not_seen(catalogue: Catalogue) -> None:
    """A file in place that no commit names, and one in the making."""
    (catalogue.parts()[0].path.parent / "part-extra.parquet").write_bytes(catalogue.parts()[0].path.read_bytes())
    with catalogue.batch(Source("made")) as batch:
        batch.writer("test", "BTC-USD", "quotes").write(quotes(5))
        assert catalogue.query("SELECT count(*) AS n FROM quotes").to_pylist() == [{"n": 50}]


@pytest.mark.parametrize("view", ["quotes", "query_table('quo' || 'tes')", "query('FROM quo' || 'tes')"])
def test_a_damaged_part_answers_no_query_however_it_is_named(view: str, catalogue: Catalogue) -> None:
    """One bit of a part is turned round."""
    flip(catalogue.parts(kind="quotes")[0].path, 100)
    with pytest.raises(DataError, match="is damaged: its content is not what its checksum says"):
        Catalogue(catalogue.root).query(f"SELECT count(*) FROM {view}")
