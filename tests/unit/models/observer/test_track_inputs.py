"""When changes of the inputs are an alarm, until when, and after what."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from models.bundle import Bundle, load_bundle
from models.manifest_sections import Reference
from models.observer.maturing import Reading
from models.observer.rules import WatchRules
from models.observer.track import CHAMPION, Track
from models.reference import newest_in_unit, spread_of


@pytest.fixture
def bundle(artifacts: Path) -> Bundle:
    return load_bundle(artifacts / "demo-crypto")


class Market:
    """Windows of noise for the bundle's columns, and a track that knows how they were spread in training."""

    def __init__(self, bundle: Bundle, **rules: Any) -> None:
        self.rng = np.random.default_rng(7)
        self.columns = bundle.spec.columns
        scaling = bundle.manifest.scaling
        windows = np.stack([self.window() for _ in range(500)])
        close = self.columns.index("close")
        edges, shares = spread_of(newest_in_unit(windows, [one.kind for one in scaling], close))
        told = [dict(zip(self.columns, map(tuple, table.tolist()), strict=True)) for table in (edges, shares)]
        bundle.manifest = msgspec.structs.replace(bundle.manifest, reference=Reference(500, *told))
        rows: Any = SimpleNamespace(instrument="X", begun=0, count=0)
        watched = WatchRules(**{"window_rows": 4_000, "adwin_inputs": "size_down", "psi": "none", **rules})
        self.track = Track("m@1", CHAMPION, rows, Reading(50), watched, fee_bps=0.0, bundle=bundle)

    def window(self, **moved: float) -> Any:
        made = self.rng.normal(100.0, 1.0, (3, len(self.columns))).astype(np.float32)
        for name, by in moved.items():
            made[:, self.columns.index(name)] += by
        return made

    def rows(self, count: int, **moved: float) -> list[tuple[str, str]]:
        """That many rows; the alarms that are then told."""
        for _ in range(count):
            self.track.on_row(self.window(**moved))
        return [(source, action) for source, action, _ in self.track.alarm_changes()]


MOVED = {"rsi_14": 6.0, "imbalance": 6.0, "spread_bps": -6.0}


@pytest.mark.fault("E10")
def test_inputs_that_change_their_mean_are_an_alarm_with_its_action(bundle: Bundle) -> None:
    """As many at once as the rules say; fewer are none, and it says which."""
    market = Market(bundle)
    assert market.rows(4_000) == []
    assert market.rows(2_000, rsi_14=6.0) == []
    assert market.rows(2_000, **MOVED) == [("adwin_inputs", "size_down")]
    assert set(market.track.figures()["inputs_changed"]) == set(MOVED)


def test_an_alert_about_inputs_ends_when_they_have_not_changed_for_a_window(bundle: Bundle) -> None:
    market = Market(bundle, adwin_inputs="alert")
    market.rows(4_000)
    assert market.rows(2_000, **MOVED) == [("adwin_inputs", "alert")]
    assert market.rows(5_000, **MOVED) == [("adwin_inputs", "clear")], "the world that it is now is the new one"


def test_inputs_of_a_cleared_alarm_count_anew(bundle: Bundle) -> None:
    market = Market(bundle)
    market.rows(4_000)
    assert market.rows(2_000, **MOVED) == [("adwin_inputs", "size_down")]
    market.track.on_alarm("adwin_inputs", "clear")
    assert market.rows(500, **MOVED) == []
    assert market.rows(2_000) == [("adwin_inputs", "size_down")], "they change again"


def test_a_row_that_is_no_number_blinds_nobody(bundle: Bundle) -> None:
    """One value that is not known: the mean of its column was none for the rest of the session."""
    market = Market(bundle)
    market.rows(2_000)
    market.rows(1, **dict.fromkeys(MOVED, float("nan")))
    market.rows(2_000)
    assert market.rows(2_000, **MOVED) == [("adwin_inputs", "size_down")]
