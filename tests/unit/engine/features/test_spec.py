"""Identity of a spec: the fingerprint, its JSON form, what it requires, what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import DataError
from engine.features import FeatureSpec, GapPolicy, Sampling, column, core40_spec, quote40_spec
from tests.support.features import instrument

BASE: dict[str, Any] = {"name": "a", "columns": ("close", "sma_20", "bb_upper"), "window": 10}


@pytest.mark.parametrize(
    "change",
    [
        {"columns": ("sma_20", "close", "bb_upper")},
        {"columns": ("close", "sma_20")},
        {"window": 11},
        {"sampling": Sampling.tick_bar(2)},
        {"sampling": Sampling.time_bar(1_000_000_000)},
        {"sampling": Sampling.time_bar(1_000_000_000, 5)},
        {"volume": "ticks"},
        {"gap": GapPolicy(flat_rows_max=1)},
        {"gap": GapPolicy(silence_ns_max=0)},
    ],
    ids=lambda change: str(change),
)
def test_any_change_of_what_the_model_sees_changes_the_fingerprint(change: dict[str, Any]) -> None:
    """One field at a time."""
    assert FeatureSpec(**{**BASE, **change}).fingerprint() != FeatureSpec(**BASE).fingerprint()


def test_the_name_is_a_label() -> None:
    """Two names, one fingerprint."""
    assert FeatureSpec(**{**BASE, "name": "b"}).fingerprint() == FeatureSpec(**BASE).fingerprint()


@pytest.mark.parametrize("name", ["sma_20", "std_20"], ids=["in the spec", "used by a column of the spec"])
def test_a_new_version_of_a_column_changes_the_fingerprint(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """bb_upper uses std_20: its version counts although the spec does not name it."""
    before = FeatureSpec(**BASE).fingerprint()
    newer = msgspec.structs.replace(column.lookup(name), version=2)
    monkeypatch.setitem(column._COLUMNS, name, newer)
    assert FeatureSpec(**BASE).fingerprint() != before


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    """Another process with another hash seed."""
    code = "from engine.features import core40_spec; print(core40_spec().fingerprint())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "77", "KESTREL_NUMBA": "0"},
        cwd=Path(__file__).resolve().parents[4],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == core40_spec().fingerprint()
    assert len(core40_spec().fingerprint()) == 64


@pytest.mark.parametrize("spec", [core40_spec(), quote40_spec(sampling=Sampling.time_bar(60_000_000_000, 7))])
def test_json_brings_back_the_same_spec(spec: FeatureSpec) -> None:
    """Equal, and with an equal fingerprint, after the cached one was computed."""
    fingerprint = spec.fingerprint()
    again = FeatureSpec.from_json(spec.to_json())
    assert again == spec
    assert again.fingerprint() == fingerprint


@pytest.mark.fault("E3")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "not a feature spec"),
        ("nonsense", "not a feature spec"),
        ('{"name":"a","columns":["close"],"window":5,"colour":1}', "not a feature spec"),
        ('{"name":"a","columns":["sma_21"],"window":5}', "unknown feature column 'sma_21'.*did you mean 'sma_20'"),
        ('{"name":"a","columns":["close","close"],"window":5}', "names close twice"),
        ('{"name":"a","columns":[],"window":5}', "no columns"),
        ('{"name":"a","columns":["close"],"window":0}', "window 0"),
        ('{"name":"a","columns":["close"],"window":5,"sampling":{"kind":"time_bar"}}', "interval_ns 0"),
    ],
)
def test_a_bad_spec_is_one_clear_error(text: str, message: str) -> None:
    """What was seen; no traceback of the decoder."""
    with pytest.raises(DataError, match=message):
        FeatureSpec.from_json(text)


def test_core40_and_quote40_are_forty_columns_and_say_what_they_need() -> None:
    """Counts, requirements, warm-up, and the 13 indicators of both in the same order."""
    core, quotes = core40_spec(), quote40_spec()
    assert len(core.columns) == len(quotes.columns) == 40
    assert core.requires == {"quotes", "sizes", "trades"}
    assert quotes.requires == {"quotes"}
    assert core.columns[:13] == quotes.columns[:13]
    assert core.warm_rows == quotes.warm_rows == 51


def test_lacking_names_each_column_with_what_it_needs() -> None:
    """An instrument with sizes and no trades."""
    spec = FeatureSpec(name="x", columns=("close", "imbalance", "flow_5", "obv", "ofi_5"), window=5)
    assert spec.lacking(instrument()) == ()
    assert spec.lacking(instrument(has_trades=False)) == ("flow_5 (trades)", "obv (trades)")
    assert spec.lacking(instrument(has_quote_sizes=False)) == ("imbalance (sizes)", "ofi_5 (sizes)")
    counted = FeatureSpec(name="x", columns=("obv", "vwap"), window=5, volume="ticks")
    assert counted.lacking(instrument(has_trades=False)) == ()


def test_more_flat_rows_than_the_window_are_refused() -> None:
    """A window of nothing but repeated prices would look warm."""
    with pytest.raises(DataError, match="5 flat rows in a window of 5"):
        FeatureSpec(name="x", columns=("close",), window=5, sampling=Sampling.time_bar(1_000_000_000))
