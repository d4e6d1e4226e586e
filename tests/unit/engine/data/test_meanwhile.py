"""``engine.data.meanwhile``: rows that were chosen by what is no longer all that is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.catalogue import Catalogue, Source
from engine.data.meanwhile import StoredMeanwhile, chosen_anew
from tests.support.stored import DAY_NS, T0, quotes, store


def publish(catalogue: Catalogue, start_ns: int, *, symbol: str = "BTC-USD", again: bool = False) -> None:
    """Ten quotes that were chosen before what ``store`` publishes: ten of T0, of BTC-USD."""
    with catalogue.batch(Source("mine", "ab12"), again=again, chosen=True) as batch:
        batch.writer("test", symbol, "quotes").write(quotes(10, start_ns=start_ns))
        store(catalogue.root, quotes(10), source=Source("other", "ab12" if again else ""))


def test_rows_of_a_span_that_was_published_meanwhile_are_not_published(tmp_path: Path) -> None:
    """The last of one is the first of the other; the error names both sides, and only the other's rows are there."""
    catalogue = Catalogue(tmp_path / "c")
    with pytest.raises(StoredMeanwhile, match="quotes of BTC/USD@test were stored meanwhile, from other"):
        publish(catalogue, T0 + 9 * 10**9)
    catalogue.refresh()
    assert [(part.source.name, part.rows) for part in catalogue.parts()] == [("other", 10)]


@pytest.mark.parametrize(
    ("start_ns", "symbol"), [(T0 + 10 * 10**9, "BTC-USD"), (T0 - DAY_NS, "BTC-USD"), (T0, "ETH-USD")]
)
def test_rows_of_another_span_or_series_are_in_nobodys_way(start_ns: int, symbol: str, tmp_path: Path) -> None:
    """Before, behind, and of another instrument: both are there."""
    catalogue = Catalogue(tmp_path / "c")
    publish(catalogue, start_ns, symbol=symbol)
    catalogue.refresh()
    assert sorted(part.source.name for part in catalogue.parts()) == ["mine", "other"]


def test_rows_that_are_replaced_are_in_nobodys_way(tmp_path: Path) -> None:
    """The same file, stored meanwhile by another: ``again`` replaces those rows as it would older ones."""
    catalogue = Catalogue(tmp_path / "c")
    publish(catalogue, T0, again=True)
    catalogue.refresh()
    assert [(part.source.name, part.rows) for part in catalogue.parts()] == [("mine", 10)]


def test_work_is_done_anew_until_nothing_comes_between_but_not_for_ever() -> None:
    """Twice something comes between; then always."""
    calls = []

    def work(disturbed: int) -> int:
        calls.append(1)
        if len(calls) <= disturbed:
            raise StoredMeanwhile("rows were stored meanwhile")
        return len(calls)

    assert chosen_anew(lambda: work(2)) == 3
    calls.clear()
    with pytest.raises(StoredMeanwhile):
        chosen_anew(lambda: work(1000))
    assert 1 < len(calls) < 1000
