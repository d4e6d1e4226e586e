"""Rows on disk: the same as in memory, whole or not there, and never others than were asked for."""

from __future__ import annotations

import errno
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engine.errors import DataError
from engine.features import FeatureSpec
from engine.instruments import Instrument
from models.labels import LabelSpec
from models.trainer.recorded import Recorded
from models.windows import store
from models.windows.rows import in_memory
from models.windows.store import ask, open_rows, stored
from models.windows.table import RowTable
from tests.support.candles import candle_spec, market

SPEC = candle_spec()
LABELS = {
    "next": LabelSpec(kind="return", horizon_rows=3),
    "horizons": LabelSpec(kind="horizons", horizons=(1, 5)),
    "barrier": LabelSpec(kind="barrier", horizon_rows=8, target=Decimal("0.01"), stop=Decimal("0.01")),
}
ARRAYS = ("values", "ts_event_ns", "ts_ns", "close_px", "high_px", "low_px", "warm", "starts")


def markets() -> list[Recorded]:
    return [market("A/USD@test", 120), market("B/USD@test", 90, seed=2, sha="cd")]


def unreadable() -> list[Recorded]:
    """The same markets, whose events must not be read."""

    def refuse():  # type: ignore[no-untyped-def]
        raise AssertionError("the rows were computed again")

    return [replace(one, events=refuse) for one in markets()]


def assert_equal(one: RowTable, other: RowTable) -> None:
    for name in ARRAYS:
        assert getattr(one, name).dtype == getattr(other, name).dtype, name
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
    assert one.labels.keys() == other.labels.keys()
    for name, labels in one.labels.items():
        assert labels.values.tobytes() == other.labels[name].values.tobytes(), name
        assert labels.last.tobytes() == other.labels[name].last.tobytes(), name
    assert (one.spec, one.instruments, one.sources) == (other.spec, other.instruments, other.sources)


def test_stored_rows_are_those_in_memory_and_are_made_once(tmp_path: Path) -> None:
    """Written, mapped, compared; asked for again nothing is read but the store."""
    told: list[float] = []
    first = stored(tmp_path, markets(), SPEC, LABELS, progress=lambda _, share: told.append(share))
    assert_equal(first, in_memory(markets(), SPEC, LABELS))
    assert not first.values.flags.writeable
    assert_equal(first, stored(tmp_path, unreadable(), SPEC, LABELS))
    assert told[-1] == 1.0
    open_rows(tmp_path / first.fingerprint[:24], first.fingerprint, verify=True)


@pytest.mark.parametrize("at", ["rows", "manifest", "rename"])
def test_a_writer_that_is_cut_short_leaves_nothing_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Ended in the second market, before the manifest is synced, before the rename; the next run writes all of it."""

    def end(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if at == "rows":
            given = iter([store.instrument_rows, end])
            patch.setattr(store, "instrument_rows", lambda *args: next(given)(*args))
        elif at == "manifest":
            patch.setattr(store.msgspec.json, "format", end)
        else:
            patch.setattr(Path, "rename", end)
        patch.setattr(store.shutil, "rmtree", lambda *_, **__: None)  # a killed process tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            stored(tmp_path, markets(), SPEC, LABELS)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    assert any(path.name.startswith(".draft-") for path in tmp_path.iterdir())
    table = stored(tmp_path, markets(), SPEC, LABELS)
    assert_equal(table, in_memory(markets(), SPEC, LABELS))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", table.fingerprint[:24]]


def test_a_full_disk_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sync of the files fails as on a full disk; nothing stays behind."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot write rows to .*No space left on device") as caught:
        stored(tmp_path, markets(), SPEC, LABELS)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_markets_without_a_row_are_refused(tmp_path: Path) -> None:
    """And no empty store is left."""
    with pytest.raises(DataError, match="no market gave a row"):
        stored(tmp_path, [market(count=0)], SPEC, {})
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_anything_that_decides_a_number_makes_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, tick, features, label, slice and code, one at a time; the name of a spec is no part of the features'."""
    base = ask(markets(), SPEC, LABELS)
    changed = [
        ask([market(sha="ef"), markets()[1]], SPEC, LABELS),
        ask(markets()[::-1], SPEC, LABELS),
        ask([replace(markets()[0], instrument=coarser(markets()[0].instrument)), markets()[1]], SPEC, LABELS),
        ask(markets(), candle_spec(window=5), LABELS),
        ask(markets(), candle_spec(columns=("close", "ret_1")), LABELS),
        ask(markets(), SPEC, LABELS | {"next": LabelSpec(kind="return", horizon_rows=4)}),
        ask(markets(), SPEC, LABELS, start_ns=1),
        ask(markets(), SPEC, LABELS, end_ns=1),
    ]
    monkeypatch.setattr(store, "_MADE_BY", ("models/labels",))
    changed.append(ask(markets(), SPEC, LABELS))
    found = {each.fingerprint() for each in (base, *changed)}
    assert len(found) == len(changed) + 1


def coarser(instrument: Instrument) -> Instrument:
    """Of another tick, as a release might know it: barriers are compared in ticks."""
    return msgspec.structs.replace(instrument, tick_px=instrument.tick_px * 10)


def test_every_source_of_a_label_is_fingerprinted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed line in a copy of the sources, and a calendar beside them."""
    (tmp_path / "labels").mkdir()
    source = tmp_path / "labels" / "returns.py"
    source.write_text("a = 1\n")
    monkeypatch.setattr(store, "_ROOT", tmp_path)
    monkeypatch.setattr(store, "_MADE_BY", ("labels",))
    before = ask([], SPEC, {}).fingerprint()
    assert ask([], SPEC, {}).fingerprint() == before
    source.write_text("a = 2\n")
    changed = ask([], SPEC, {}).fingerprint()
    assert changed != before
    (source.parent / "XNYS.npz").write_bytes(b"hours")
    assert ask([], SPEC, {}).fingerprint() not in (before, changed)


def test_rows_of_something_else_are_refused(tmp_path: Path) -> None:
    """Found under the wrong fingerprint, or in a place that somebody copied to."""
    table = stored(tmp_path, markets(), SPEC, LABELS)
    place = tmp_path / table.fingerprint[:24]
    with pytest.raises(
        DataError, match=rf"are of fingerprint {table.fingerprint[:12]}; expected 0123.*remove"
    ) as caught:
        open_rows(place, "0123" * 16)
    assert "\n" not in str(caught.value)


def damage_manifest(place: Path, **changes: object) -> None:
    path = place / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


DAMAGES = {
    "missing": (lambda place: (place / "values.f32").unlink(), r"values\.f32 is missing; expected [\d,]+ bytes"),
    "short": (lambda place: (place / "ts_ns.i64").write_bytes(b"short"), r"ts_ns\.i64 has 5 bytes; expected 1,680"),
    "no manifest": (
        lambda place: (place / "manifest.json").unlink(),
        r"manifest\.json cannot be read.*; remove .*the next run writes it again",
    ),
    "no json": (lambda place: (place / "manifest.json").write_bytes(b"{"), r"manifest\.json is no list of rows"),
    "schema": (lambda place: damage_manifest(place, schema=99), r"is of schema 99; expected 2"),
    "changed": (lambda place: damage_manifest(place, fingerprint="00" * 32), r"was changed after it was written"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_rows_that_are_not_whole_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """Each with what to do."""
    table = stored(tmp_path, markets(), SPEC, LABELS)
    damage, said = DAMAGES[name]
    damage(tmp_path / table.fingerprint[:24])
    with pytest.raises(DataError, match=said) as caught:
        stored(tmp_path, unreadable(), SPEC, LABELS)
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_is_found_before_a_run_learns_from_it(tmp_path: Path) -> None:
    """Of the right size: only reading all of it tells."""
    table = stored(tmp_path, markets(), SPEC, LABELS)
    place = tmp_path / table.fingerprint[:24]
    content = bytearray((place / "close_px.f64").read_bytes())
    content[100] ^= 1
    (place / "close_px.f64").write_bytes(content)
    open_rows(place)
    with pytest.raises(DataError, match=r"close_px\.f64 is damaged"):
        open_rows(place, verify=True)
    with pytest.raises(DataError, match=r"close_px\.f64 is damaged; .*the next run writes it again"):
        stored(tmp_path, unreadable(), SPEC, LABELS)


def test_a_label_needs_a_name_that_can_be_a_file() -> None:
    """Nothing leaves the folder."""
    with pytest.raises(DataError, match="a label called"):
        ask(markets(), SPEC, {"../next": LABELS["next"]})


def test_the_spec_comes_back_as_it_was(tmp_path: Path) -> None:
    """Gap policy and sampling too: what serves is what was stored."""
    table = stored(tmp_path, markets(), SPEC, {})
    assert isinstance(table.spec, FeatureSpec)
    assert table.spec.fingerprint() == SPEC.fingerprint()
    assert msgspec.to_builtins(table.instruments[0]) == msgspec.to_builtins(markets()[0].instrument)
    assert np.isnan(table.values[0]).any()


def test_every_source_that_is_named_is_there() -> None:
    """A file that was moved would silently be fingerprinted as nothing."""
    assert all((store._ROOT / name).exists() for name in store._MADE_BY)


def test_two_runs_at_once_write_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second asks while the first computes: it waits, and maps what the first wrote."""
    computing, asked = threading.Event(), threading.Event()
    original, calls = store.instrument_rows, []

    def counted(*given: Any) -> Any:
        calls.append(given)
        computing.set()
        assert asked.wait(30)
        return original(*given)

    monkeypatch.setattr(store, "instrument_rows", counted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(stored, tmp_path, markets(), SPEC, LABELS)
        assert computing.wait(30)
        second = pool.submit(stored, tmp_path, markets(), SPEC, LABELS)
        asked.set()
        assert_equal(first.result(30), second.result(30))
    assert len(calls) == 2
