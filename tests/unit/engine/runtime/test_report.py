"""The report page: complete, offline, escaped, and possible for any session that ended."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.errors import DataError
from engine.runtime.report import build_report, main
from engine.runtime.summary import (
    FillPoint,
    Latency,
    OpenOrderLine,
    PositionLine,
    SessionSeries,
    SessionSummary,
    encode,
)

T0 = 1_700_000_000_000_000_000
ROOT = Path(__file__).parents[4]
BTC = "BTC/USD@coinbase"

EMPTY = SessionSummary(
    session="s-empty",
    ticks=0,
    predictions=0,
    intents=0,
    orders=0,
    fills=0,
    rejected=0,
    positions={},
    equity=None,
    tick_to_order_us=Latency(),
    late_predictions=0,
    dropped=0,
    state="active",
    started_ns=T0,
    ended_ns=T0,
    config_hash="c" * 64,
    code_hash="d" * 64,
)
FULL = msgspec.structs.replace(
    EMPTY,
    session="s-full",
    ticks=12_345,
    predictions=678,
    intents=12,
    orders=9,
    fills=2,
    rejected=3,
    positions={
        BTC: PositionLine(qty=Decimal("0.15"), avg_px=Decimal(60_000), realised=Decimal("-1.5"), fees=Decimal(3))
    },
    equity=Decimal("99998.50"),
    equity_start=Decimal(100_000),
    fees=Decimal(3),
    tick_to_order_us=Latency(p50=55.4, p99=140.6),
    rejections={"stale_quote": 2, "max_order_qty": 1},
    drops={"crossed": 4},
    models=("demo-crypto@abcdef123456",),
    features=("core40:0123",),
    ended_ns=T0 + 65 * 10**9,
    venue="coinbase",
    feed="sandbox",
    stopped_by="SIGINT",
)
SERIES = SessionSeries(
    equity=[(T0, 100_000.0), (T0 + 10**9, None), (T0 + 2 * 10**9, 99_998.5)],
    mids={BTC: [(T0, 60_000.0), (T0 + 10**9, 60_010.0)]},
    fills=[
        FillPoint(T0 + 10**8, BTC, 1, 0.2, 60_001.0, 2.0, "demo"),
        FillPoint(T0 + 10**9, BTC, -1, 0.05, 60_009.0, 1.0, "demo"),
    ],
    latency=[(40.0, 3), (60.0, 5), (150.0, 1)],
)


class Page(HTMLParser):
    """What a browser would see: text outside of scripts and styles, tags, and what would be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.words = ""
        self._skip = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        self._skip += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._skip -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.words += data + " "


def session(tmp_path: Path, summary: SessionSummary, series: SessionSeries | None = None) -> Path:
    (tmp_path / "summary.json").write_bytes(encode(summary))
    if series is not None:
        (tmp_path / "series.json").write_bytes(encode(series))
    return tmp_path


def traces(text: str) -> list[dict[str, Any]]:
    """The data given to each chart, as plotly would parse it."""
    found = []
    for match in re.finditer(r'Plotly\.newPlot\(\s*"chart-\d+",\s*', text):
        data, _ = json.JSONDecoder().raw_decode(text[match.end() :])
        found += data
    return found


def test_the_page_shows_figures_charts_and_versions(tmp_path: Path) -> None:
    """Builds the page of a full session and reads it back as a browser would."""
    path = build_report(session(tmp_path, FULL, SERIES))
    assert path == tmp_path / "report.html"
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    for expected in ("12,345", "99,998.50", "-1.50", "55 / 141", "stale_quote", "crossed", "demo-crypto@abcdef123456",
                     "core40:0123", "c" * 64, "d" * 64, "0.15", "1 min 5 s", "by SIGINT", BTC):  # fmt: skip
        assert expected in page.words, expected
    by_name = {str(trace.get("name")): trace for trace in traces(text)}
    assert by_name["buys (1)"]["y"] == [60_001.0]
    assert by_name["sells (1)"]["y"] == [60_009.0]
    assert by_name["mid"]["y"] == [60_000.0, 60_010.0]
    assert by_name["equity, USD"]["y"] == [100_000.0, None, 99_998.5]
    assert [count for count in by_name["orders"]["y"] if count] == [3, 5, 1]
    assert len(by_name["orders"]["y"]) == 8  # bins of 1/12 decade from 40 to 150 us, those without orders included


def test_the_page_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 600, as everything else that a session leaves; also where an older page lay open."""
    (tmp_path / "summary.json").write_bytes(encode(EMPTY))
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "report.html").chmod(0o644)
    assert stat.S_IMODE(build_report(tmp_path).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "summary.json"]


def test_the_page_loads_nothing_from_anywhere(tmp_path: Path) -> None:
    """No tag names a source, and the chart library is inside, once."""
    text = build_report(session(tmp_path, FULL, SERIES)).read_text(encoding="utf-8")
    assert Page(text).loads == []
    assert text.count("plotly.js v") == 1


def test_names_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    """A hostile name in every text that others choose: no element of it exists in the page."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    summary = msgspec.structs.replace(
        FULL, session=evil, rejections={evil: 1}, drops={evil: 1}, models=(evil,), features=(evil,), state=evil,
        venue=evil, stopped_by=evil, feed=evil, currency=evil, config_hash=evil, code_hash=evil,
        positions={evil: FULL.positions[BTC]},
    )  # fmt: skip
    series = msgspec.structs.replace(
        SERIES,
        mids={evil: SERIES.mids[BTC]},
        fills=[FillPoint(T0, evil, 1, 1.0, 1.0, 0.0, evil)],
    )
    text = build_report(session(tmp_path, summary, series)).read_text(encoding="utf-8")
    page = Page(text)
    assert "img" not in page.tags
    assert "<script>alert" not in text
    assert evil in page.words
    harmless = Page(build_report(session(tmp_path, FULL, SERIES)).read_text(encoding="utf-8"))
    assert page.tags.count("script") == harmless.tags.count("script")


@pytest.mark.parametrize("series", [None, SessionSeries(), SessionSeries(equity=[(T0, None)], mids={BTC: []})])
def test_a_session_in_which_nothing_happened_has_a_report(tmp_path: Path, series: SessionSeries | None) -> None:
    """No series, empty series, series without values."""
    words = Page(build_report(session(tmp_path, EMPTY, series)).read_text(encoding="utf-8")).words
    for expected in ("No valuation", "nothing was measured", "Nothing was ever held", "No order was filled", "unknown"):
        assert expected in words, expected


def test_a_folder_without_a_usable_summary_is_one_line(tmp_path: Path) -> None:
    """Missing, cut and of another shape; nothing half-written is left."""
    for content, words in ((None, "does not exist"), (b'{"session": "x', "cannot be read"), (b"{}", "cannot be read")):
        if content is not None:
            (tmp_path / "summary.json").write_bytes(content)
        with pytest.raises(DataError, match=words) as caught:
            build_report(tmp_path)
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


def test_the_command_prints_the_path_or_one_line_of_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs the module in a process of its own once, as the daemon does, and its errors in this one."""
    folder = session(tmp_path, FULL, SERIES)
    done = subprocess.run(
        [sys.executable, "-m", "engine.runtime.report", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(folder / "report.html"), "")
    assert main([str(tmp_path / "nowhere")]) == 2
    assert main([str(folder), str(tmp_path / "no" / "such" / "folder.html")]) == 2
    assert main([]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "does not exist" in errors[0]


def test_orders_left_open_stand_at_the_top(tmp_path: Path) -> None:
    """Twelve orders of which one is listed: warning, ids and the rest as a number come before the figures."""
    left = OpenOrderLine(
        client_order_id="ks-7", venue_order_id="", venue="coinbase", instrument=BTC, side=-1, state="unknown",
        qty=Decimal("0.2"), leaves_qty=Decimal("0.15"),
    )  # fmt: skip
    summary = msgspec.structs.replace(
        FULL, open_orders=(left,), open_order_count=12, unknown_order_count=1, warnings=("12 orders may <b>live</b>",)
    )
    words = Page(build_report(session(tmp_path, summary, SERIES)).read_text()).words
    assert words.index("To be done by hand") < words.index("99,998.50")
    for text in ("12 orders may <b>live</b>", "ks-7", "sell", "unknown", "0.15", "11 more are in the journal."):
        assert text in words
    assert "To be done by hand" not in Page(build_report(session(tmp_path, FULL, SERIES)).read_text()).words


def test_funding_has_a_tile_where_there_was_any(tmp_path: Path) -> None:
    """What a position paid without an execution stands beside the fees, in all and by instrument."""
    line = msgspec.structs.replace(FULL.positions[BTC], funding=Decimal("-7.25"))
    paid = msgspec.structs.replace(FULL, positions={BTC: line}, funding=Decimal("-7.25"))
    words = []
    for name, summary in (("none", FULL), ("paid", paid)):
        (tmp_path / name).mkdir()
        words.append(Page(build_report(session(tmp_path / name, summary)).read_text(encoding="utf-8")).words)
    assert words[1].count("-7.25") == 2
    assert words[1].count("funding") == words[0].count("funding") + 1
