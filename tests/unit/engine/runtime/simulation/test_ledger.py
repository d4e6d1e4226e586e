"""A line for each seed: what is read back, what is refused, what is summed up and told."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import DataError, KestrelError
from engine.runtime.simulation.checks import Violation
from engine.runtime.simulation.ledger import Entry, Ledger, Version, version_of
from engine.runtime.simulation.page import page
from engine.runtime.simulation.record import Sum, fold, read_record, write_record
from engine.runtime.simulation.sweep import Outcome
from engine.runtime.simulation.totals import add_up, sum_up
from engine.runtime.simulation.workers import Ran

NOW, BEFORE = Version("a" * 64, "c" * 40, "a machine"), Version("b" * 64, "d" * 40, "a machine")


def entry(seed: int, version: Version = NOW, *, started_s: float = 0.0, violations: int = 0, times: int = 60) -> Entry:
    outcome = Outcome(
        seed,
        [Violation("I1", f"wrong {n}", 12.5) for n in range(violations)],
        3600.0,
        2000,
        100,
        3,
        {"B14": times, "C1": 1},
        {"order_cut_before": times},
    )
    return Entry(version, 1.0, Ran(outcome, started_s, 10.0, 2.0))


def test_what_is_added_is_there_again_and_a_torn_end_is_cut(tmp_path: Path) -> None:
    """Two seeds, half a line behind them as a crash leaves it, then a third: three whole lines."""
    path = tmp_path / "runs" / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.add(entry(1))
        ledger.add(entry(2, BEFORE, violations=1))
    with path.open("ab") as file:
        file.write(path.read_bytes()[:100])
    with Ledger(path) as ledger:
        assert ledger.entries == [entry(1), entry(2, BEFORE, violations=1)]
        assert ledger.seeds(1.0, NOW) == {1}
        assert ledger.seeds(1.0, None) == {1, 2}
        assert ledger.seeds(2.0, None) == set()
        ledger.add(entry(3))
    with Ledger(path) as ledger:
        assert [each.ran.outcome.seed for each in ledger.entries] == [1, 2, 3]


def test_one_sweep_at_a_time_writes_a_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.jsonl"), pytest.raises(KestrelError, match="another sweep writes"):
        Ledger(tmp_path / "ledger.jsonl").__enter__()


def test_a_line_that_is_none_is_named_and_kept(tmp_path: Path) -> None:
    """Damage is not overwritten: whoever looks after the results decides."""
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"seed": 1}\n')
    with pytest.raises(DataError, match="line 1"):
        Ledger(path).__enter__()
    assert path.read_text() == '{"seed": 1}\n'


def test_the_version_is_that_of_the_simulated_sources(tmp_path: Path) -> None:
    """A changed source of the engine is another version, a changed test or document is not."""
    for name in ("engine/core.py", "connectors/simulation/faults.py", "tests/test_core.py", "connectors/ws.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    first = version_of(tmp_path).code
    (tmp_path / "tests" / "test_core.py").write_text("x = 2\n")
    assert version_of(tmp_path).code == first
    for name in ("engine/core.py", "connectors/ws.py"):
        (tmp_path / name).write_text("x = 2\n")
        assert version_of(tmp_path).code != first


def test_sums_are_of_all_seeds_and_time_is_counted_once() -> None:
    """Two seeds side by side and one later: 25 s by the clock, 6 s of processor time, the least failing seed."""
    runs = [entry(9, violations=2).ran, entry(4, started_s=5.0, violations=1).ran, entry(5, started_s=100.0).ran]
    totals = sum_up(runs)
    assert (totals.seeds, totals.violations, totals.first_failing_seed) == (3, 3, 4)
    assert (totals.simulated_hours, totals.events, totals.orders, totals.sessions) == (3.0, 6000, 300, 9)
    assert (totals.seconds, totals.cpu_s, totals.pace) == (25.0, 6.0, 1800.0)
    assert totals.faults == {"B14": 180, "C1": 3}


def test_the_page_counts_one_version_and_tells_of_others() -> None:
    entries = [entry(1), entry(2, violations=1), entry(1, BEFORE)]
    kinds = {"order_cut_before": ("B14",), "half_open": ("C1",), "never": ("C99",)}
    text = page(fold(entries), NOW, kinds)
    assert "2 seeds, 2 simulated hours, 4,000 events" in text
    assert "Not counted here: 1 other versions, 1 seeds, 1 hours" in text
    assert "- seed 2 (`--hours 1`), 12.500000 s: I1: wrong 0" in text
    assert "| B14 | 120 |" in text
    assert "| C99 | 0 |" in text
    assert "2 of 3 kinds of faults happened fewer than 100 times" in text
    text = page(fold(entries), NOW, {"order_cut_before": ("B14",)}, across_versions=True)
    assert "3 seeds, 3 simulated hours" in text
    assert "2 version(s)" in text
    assert "Each of the 1 kinds of faults happened at least 100 times." in text


def test_a_record_holds_what_a_ledger_held_and_counts_no_seed_twice(tmp_path: Path) -> None:
    """Two sweeps, one ledger each, the second with a seed of the first: three seeds of one version, one of another."""
    path = tmp_path / "record.json"
    assert read_record(path) == []
    write_record(path, fold([entry(1), entry(2), entry(1, BEFORE, violations=1)]))
    write_record(path, fold([entry(2), entry(4, violations=2), entry(3)], read_record(path)))
    now, before = read_record(path)
    assert (now.seeds, now.totals.seeds, now.totals.simulated_hours) == ([(1, 4)], 4, 4.0)
    assert (now.totals.violations, now.totals.first_failing_seed, len(now.failures)) == (2, 4, 2)
    assert (before.seeds, before.totals.violations) == ([(1, 1)], 1)
    assert now.totals.faults == {"B14": 240, "C1": 4}
    assert add_up([now.totals, before.totals]).events == 10_000
    assert 4 in now
    assert 5 not in now
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_record_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("[1]")
    with pytest.raises(DataError, match="sums of earlier sweeps"):
        read_record(tmp_path / "record.json")
    assert (tmp_path / "record.json").read_text() == "[1]"


def test_rows_of_seeds_have_gaps() -> None:
    (one,) = fold([entry(5), entry(7), entry(6), entry(9)])
    assert one.seeds == [(5, 7), (9, 9)]
    assert isinstance(one, Sum)
