"""Generated kernels: compiled once per list of columns, kept on disk, replaced when a source changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import DataError
from engine.features import Column, FeatureBuffer, FeatureSpec, Sampling, column, fused, jit
from tests.support.features import instrument, quote

ROOT = Path(__file__).resolve().parents[4]
numba_only = pytest.mark.skipif(not jit.enabled(), reason="numba is off")

CODE = """
import sys, pathlib
from engine.features import FeatureBuffer, FeatureSpec, fused
from tests.support.features import instrument, quote
b = FeatureBuffer(FeatureSpec(name="x", columns=("close",), window=2), instrument())
b.update(quote(1, 100.0, 101.0))
m = [m for n, m in sys.modules.items() if n.startswith("kestrel_feature_")]
print(b.latest("close"), sum(m[-1].step.stats.cache_hits.values()), sum(m[-1].step.stats.cache_misses.values()))
"""


def start(cache: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "KESTREL_NUMBA": "1", "KESTREL_NUMBA_CACHE": str(cache)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@numba_only
def test_a_second_start_takes_the_kernel_from_disk(tmp_path: Path) -> None:
    """numba's own counters in two processes: a miss, then a hit."""
    assert start(tmp_path) == ["100.5", "0", "1"]
    assert start(tmp_path) == ["100.5", "1", "0"]


@numba_only
def test_a_damaged_cache_costs_a_compilation_and_nothing_else(tmp_path: Path) -> None:
    """Every cached object is truncated; the next start compiles anew, the one after finds that on disk."""
    start(tmp_path)
    for path in tmp_path.rglob("*.nb[ci]"):
        path.write_bytes(path.read_bytes()[:20])
    assert start(tmp_path) == ["100.5", "0", "1"]
    assert start(tmp_path) == ["100.5", "1", "0"]


@numba_only
def test_a_folder_that_cannot_be_written_costs_a_compilation_and_nothing_else(tmp_path: Path) -> None:
    """The cache folder is a file."""
    (tmp_path / "occupied").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", CODE.rsplit("m =", 1)[0] + "print(b.latest('close'))"],
        env={**os.environ, "KESTREL_NUMBA": "1", "KESTREL_NUMBA_CACHE": str(tmp_path / "occupied")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["100.5"], done.stderr


def test_another_source_means_another_folder(tmp_path: Path) -> None:
    """One byte of one kernel file."""
    source = tmp_path / "column.py"
    source.write_text("a = 1\n")
    before = jit.cache_folder([source])
    assert jit.cache_folder([source]) == before
    source.write_text("a = 2\n")
    assert jit.cache_folder([source]) != before


def test_instruments_and_samplings_share_one_kernel() -> None:
    """Only the columns and the window are compiled in."""
    one = FeatureBuffer(FeatureSpec(name="x", columns=("close",), window=2), instrument())
    two = FeatureBuffer(
        FeatureSpec(name="y", columns=("close",), window=2, sampling=Sampling.tick_bar(2)), instrument(id="ETH/USDT@x")
    )
    assert one._step is two._step
    one.update(quote(1, 100.0, 101.0))
    assert two.reason == "waiting for the first row"


@jit.kernel_apart
def total(s, p, n):  # type: ignore[no-untyped-def]
    """Large enough to be compiled by itself, for this test."""
    for i in range(n):
        s[p + i] += i
    return s[p + n - 1]


@jit.kernel
def keeper(s, p, n):  # type: ignore[no-untyped-def]
    return total(s, p, n)


@jit.kernel
def reader(s, kept, place):  # type: ignore[no-untyped-def]
    return s[kept + place]


def test_a_column_reads_what_another_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """One column adds up 0, 1, 2 in its own slots on each row; two others, which come first in the spec, read two."""
    monkeypatch.setattr(column, "_COLUMNS", dict(column._COLUMNS))
    name = "engine.features.columns.trend"
    for function in (keeper, reader, total):
        source = jit.python_source(function)
        monkeypatch.setattr(sys.modules[name], source.__name__, function, raising=False)
        monkeypatch.setattr(source, "__module__", name)
    common = {"formula": "", "unit": "ratio", "inputs": ("price",), "warm_rows": 1}
    column.register(Column(name="kept", function=keeper, params=(3,), private_slots=3, **common))
    for place in (1, 2):
        column.register(Column(name=f"read_{place}", function=reader, reads=("kept",), params=(place,), **common))
    buffer = FeatureBuffer(FeatureSpec(name="x", columns=("read_2", "read_1", "close"), window=1), instrument())
    for ts_ns in (1, 2):
        buffer.update(quote(ts_ns, 100.0 + ts_ns, 102.0))
    assert [buffer.latest(name) for name in buffer.spec.columns] == [4.0, 2.0, 102.0]


@numba_only
def test_a_column_that_does_not_compile_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns text; the message fits one line and names the way out."""
    monkeypatch.setattr(column, "_COLUMNS", dict(column._COLUMNS))
    name = "engine.features.columns.trend"
    monkeypatch.setattr(sys.modules[name], "broken", jit.kernel(broken), raising=False)
    broken.__module__ = name
    column.register(Column(name="bad", function=broken, formula="", unit="ratio", inputs=("quotes",), warm_rows=1))
    with pytest.raises(DataError, match=r"does not compile.*KESTREL_NUMBA=0") as caught:
        fused.kernel_for(FeatureSpec(name="x", columns=("bad",), window=2))
    assert "\n" not in str(caught.value)


def broken(s):  # type: ignore[no-untyped-def]
    return "text"
