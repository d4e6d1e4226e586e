"""Summary and series on disk, and the bounded collection of a series."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.runtime.summary import (
    BoundedSeries,
    FillPoint,
    Latency,
    OpenOrderLine,
    PositionLine,
    SessionSeries,
    SessionSummary,
    encode,
    read_series,
    read_summary,
    redacted,
)

SUMMARY = SessionSummary(
    session="s",
    ticks=1,
    predictions=2,
    intents=3,
    orders=4,
    fills=5,
    rejected=6,
    positions={
        "A/B@c": PositionLine(
            qty=Decimal("-0.00000001"), avg_px=Decimal("1E-8"), realised=Decimal(0), fees=Decimal("0.10")
        )
    },
    equity=Decimal("123456789012345678.123456789"),
    tick_to_order_us=Latency(p50=1.5),
    late_predictions=7,
    dropped=8,
    state="active",
    started_ns=9,
    ended_ns=10,
    config_hash="c",
    code_hash="d",
)


def test_a_summary_comes_back_digit_for_digit(tmp_path: Path) -> None:
    """Writes money that float64 cannot hold and reads it back; in JSON it is a number."""
    (tmp_path / "summary.json").write_bytes(encode(SUMMARY))
    assert read_summary(tmp_path) == SUMMARY
    assert isinstance(json.loads(encode(SUMMARY))["equity"], float)


def test_the_summary_has_the_documented_keys() -> None:
    """The keys that scripts rely on."""
    promised = {
        "session", "ticks", "predictions", "intents", "orders", "fills", "rejected", "positions", "equity",
        "tick_to_order_us", "late_predictions", "dropped", "state",
    }  # fmt: skip
    plain = json.loads(encode(SUMMARY))
    assert promised <= set(plain)
    assert set(plain["tick_to_order_us"]) == {"p50", "p99"}


def test_series_come_back_and_their_absence_is_empty(tmp_path: Path) -> None:
    """One of each, and a folder without the file."""
    assert read_series(tmp_path) == SessionSeries()
    series = SessionSeries(
        equity=[(1, 2.5), (2, None)],
        mids={"x": [(1, 2.0)]},
        fills=[FillPoint(1, "x", 1, 1.0, 2.0, 0.0, "s")],
        latency=[(1.0, 2)],
    )
    (tmp_path / "series.json").write_bytes(encode(series))
    assert read_series(tmp_path) == series


@given(count=st.integers(0, 500), limit=st.integers(2, 40))
def test_a_bounded_series_keeps_first_and_last_evenly_and_never_grows(count: int, limit: int) -> None:
    """Adds 0, 1, 2, ... and looks at what was kept."""
    series = BoundedSeries(limit)
    for i in range(count):
        series.add(i, float(i))
    points = series.points
    assert len(points) <= limit + 1
    assert len(points) >= min(count, limit // 2)
    if count:
        assert points[0] == (0, 0.0)
        assert points[-1] == (count - 1, float(count - 1))
    steps = {after[0] - before[0] for before, after in pairwise(points[:-1])}
    assert len(steps) <= 1


def test_a_value_that_is_not_finite_is_a_gap() -> None:
    """NaN and infinity become None, which JSON can hold."""
    series = BoundedSeries()
    series.add(1, float("nan"))
    series.add(2, float("inf"))
    assert series.points == [(1, None), (2, None)]
    assert msgspec.json.decode(encode(SessionSeries(equity=series.points)))["equity"] == [[1, None], [2, None]]


def test_a_series_needs_room_for_two_points() -> None:
    """A limit of one could not keep first and last."""
    with pytest.raises(ValueError, match="below 2"):
        BoundedSeries(1)


@pytest.mark.fault("F15")
def test_a_redacted_summary_keeps_its_figures_and_loses_secrets(tmp_path: Path) -> None:
    """A token in what a strategy raised, in a venue's reason (a key of a table) and in why it stopped."""
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvcmdhbml6YXRpb25zIn0.c2lnbmF0dXJlc2lnbmF0dXJl"
    secret = msgspec.structs.replace(
        SUMMARY,
        quarantined={"mine": f"ValueError: Bearer {token}"},
        rejections={f"venue: bad token {token}": 3, "collar": 1},
        stopped_by=f"failure: {token}",
        open_orders=(
            OpenOrderLine(
                client_order_id="k-1", venue_order_id="", venue="c", instrument="A/B@c", side=-1, state="unknown",
                qty=Decimal("0.10"), leaves_qty=Decimal("1E-8"),
            ),
        ),
    )  # fmt: skip
    clean = redacted(secret)
    assert token not in encode(clean).decode()
    assert sum(clean.rejections.values()) == 4
    assert clean.open_orders == secret.open_orders
    assert clean.positions == secret.positions
    assert clean.equity == secret.equity
    assert redacted(SUMMARY) == SUMMARY
    (tmp_path / "summary.json").write_bytes(encode(clean))
    assert read_summary(tmp_path) == clean
