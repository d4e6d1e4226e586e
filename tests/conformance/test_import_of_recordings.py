"""``data import`` of every recorded file: each row arrives, and the report names the known defects and no others.

What a file is known to have stands in two places: the table of the README beside the data (counted by whoever
published it, read here), and ``EXPECTED`` below (written from its list of known defects; where a number is ours alone,
the comment says what it counts).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from config import data_commands
from engine.data.catalogue import Catalogue
from engine.data.importing.importer import import_file
from engine.data.importing.options import Options

CLOCK = {"clock_behind": "all"}  # trap 1: the recorder of 2024-08-08
NO_TIME = {"no_venue_time": "all"}  # trap 2: quotes (and the REST snapshots) of Binance spot

# File without its ending: defects and remarks.  A file that is not here has none.
EXPECTED: dict[str, dict[str, Any]] = {
    "crypto_1h_binance_2020_2024": {"missing_bars": 80, "zero_volume": 8},  # trap 10: 20 hours in each of 4 pairs
    # The 5,112 bars of BTC, ETH and SOL are those of the other source, which was first; UNI rose by 55 % in an hour.
    "crypto_1h_binance_2024": {"stored_already": 3 * 5112, "jumps": 1},
    "crypto_1h_coinbase_btcusd_2017_2019": {"non_monotonic": 5, "zero_volume": 28},  # trap 8; sorted, none is missing
    "crypto_1h_ethusd_ltcusd_2017_2019": {"missing_bars": 32},  # trap 9
    "crypto_1m_btc_perp_202201": {"label_unclear": 45_031, "volume_unit": 45_031},  # trap 17; volume in USD
    # Trap 14: 5, 9, 4 and 4 days apart, some adjacent; minutes without trades are left out.
    "crypto_1m_coinbase_btcusd_quote": {"missing_bars": 9, "long_holes": 2},
    "crypto_1m_coinbase_btcusd_trade": {"missing_bars": 537, "long_holes": 3},
    "crypto_1m_coinbase_ethusd_quote": {"missing_bars": 8, "long_holes": 1},
    "crypto_1m_coinbase_ethusd_trade": {"missing_bars": 431, "long_holes": 1},
    "crypto_5m_binance_solusdt_2024": {"outliers": 1},  # 2024-01-03: 13 % down, and most of it back five minutes later
    # Trap 6: the week of 2016-12-09; hourly EURUSD also Christmas of 2016 and 2018 and New Year of 2017, longer than
    # the market's own.  What is missing else are hours (daily: 2018-12-26), and days of gold, without a quote.
    "fx_1d_oanda_eurusd": {"long_holes": 1, "missing_bars": 1, "session_holes": 627},
    "fx_1d_oanda_gbpusd": {"long_holes": 1, "missing_bars": 1, "session_holes": 627},
    "fx_1h_oanda_eurusd": {"long_holes": 4, "missing_bars": 135, "session_holes": 621},
    "fx_1h_oanda_xauusd": {"long_holes": 2, "missing_bars": 1362, "session_holes": 1437},
    "fx_1m_fxcm_gbpusd_201202": {"crossed": 347, "locked": 306, "missing_bars": 124, "session_holes": 1},  # trap 5
    # Trap 11: AMD has a day without volume; on eight days a stock fell by a third or rose by half; September 2001 and
    # every other holiday is the calendar's.
    "us_1d_2000_2024": {"zero_volume": 1, "jumps": 8, "session_holes": 49_394},
    # Trap 11: four splits, and 2000-09-29.  Missing: the late opening of 2002-09-11, Nasdaq's halt of 2013-08-22.
    "us_1h_aapl": {"jumps": 5, "missing_bars": 3, "session_holes": 5847},
    "us_1h_spy": {"missing_bars": 2, "session_holes": 5847},
    **{
        f"binance_{name}": CLOCK
        for name in (
            *(f"spot_{pair}_20240808_{kind}" for pair in ("btcusdt", "ethusdt") for kind in ("book10", "l2_deltas")),
            *(f"spot_{pair}_20240808_trades" for pair in ("btcusdt", "ethusdt")),
            *(
                f"usdm_{pair}_20240808_{kind}"
                for pair in ("btcusdt", "ethusdt")
                for kind in ("book10", "l2_deltas", "l2_snapshot", "quotes", "trades")
            ),
        )
    },
    **{
        f"binance_spot_{pair}_20240808_{kind}": NO_TIME
        for pair in ("btcusdt", "ethusdt")
        for kind in ("quotes", "l2_snapshot")
    },
    "bitstamp_btcusd_l3_20150501": {"duplicates": 1},  # trap 13
    "cme_esh4_book10_20231225": {"crossed": 143},  # trap 12
    "cme_esh4_mbo_20231225": {"duplicates": 12, "snapshot_rows": 8725},  # trap 12
    "coinbase_adapter_fixtures": {"undated": 21},  # trap 15
    "kraken_adapter_fixtures": {"undated": 65},  # trap 15
    "oanda_v20_responses": {"undated": 31},  # trap 16
    "fxcm_eurusd_quotes_20140501_20140516": {"crossed": 116_871, "locked": 142_462, "session_holes": 2},  # trap 4
    "oanda_eurusd_quotes_20140501_20140515": {"duplicates": 12, "session_holes": 2},  # trap 6
    # Trap 7: prints of their own, all kept.  Outliers: prints off the market, of which the vendor marks few.
    "us_ibm_quotes_20131007_20131011": {"duplicates": 61_920, "suspicious": 3, "session_holes": 4},
    "us_ibm_trades_20131007_20131011": {"duplicates": 7147, "outliers": 8, "session_holes": 9},
    "us_spy_trades_20131007_20131011": {"duplicates": 343_636, "suspicious": 10, "outliers": 58, "session_holes": 4},
}


def published(folder: Path) -> dict[str, dict[str, Any]]:
    """What the README's tables say about each file: rows, sha256 and the checks of its publisher."""
    made = {}
    for line in (folder / "README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) < 12 or not re.fullmatch(r"[\w.]+\.(parquet|jsonl\.gz)", cells[0]):
            continue
        checks = {
            name: int(found[1])
            for name, pattern in (
                ("non_monotonic", r"time backwards (\d+)"),
                ("duplicates", r"full duplicates (\d+)"),
                ("crossed", r"(?:crossed|bid close > ask close) (\d+)"),
                ("locked", r"crossed \d+, locked (\d+)"),
                ("bad_ohlc", r"ohlc bad (\d+)"),
                ("not_positive", r"price <= 0: (\d+)"),
            )
            if (found := re.search(pattern, cells[10]))
        }
        made[cells[0]] = {"rows": int(cells[5]), "sha256": cells[11], "checks": checks}
    return made


def test_all_recordings_arrive_and_the_report_names_what_is_known_of_them(
    market_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command on the folder, into an empty catalogue; every count against the two lists above, for every file."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # durability is tested elsewhere, and is a third of the time
    done = CliRunner().invoke(data_commands.app, ["import", str(market_data), "--to", str(tmp_path / "c"), "--json"])
    assert done.exit_code == 0, done.output[-3000:]
    content = json.loads(done.stdout.splitlines()[-1])
    reports = {Path(report["file"]).name: report for report in content["files"]}
    known = published(market_data)
    assert len(known) == 65
    assert set(reports) == set(known)
    assert content["skipped"] == []
    for name, report in reports.items():
        seen = {**report["defects"], **report["remarks"]}
        expected = {
            defect: known[name]["rows"] if count == "all" else count
            for defect, count in EXPECTED.get(name.split(".")[0], {}).items()
        }
        assert seen == expected, name
        assert report["rows"] == known[name]["rows"], name
        left_out = sum(seen.get(reason, 0) for reason in ("undated", "stored_already"))
        assert report["imported"] == report["rows"] - left_out, name
        for check, count in known[name]["checks"].items():
            assert seen.get(check, 0) == count, (name, check)

    catalogue = Catalogue(tmp_path / "c")
    assert catalogue.problems == []
    assert sum(part.rows for part in catalogue.parts()) == content["imported"]
    digests = {part.source.name: part.source.sha256 for part in catalogue.parts()}
    assert {name: digest for name, digest in digests.items() if digest != known[name]["sha256"]} == {}
    kinds = {part.kind for part in catalogue.parts()}
    assert kinds == {"quotes", "side_quotes", "trades", "bars", "quote_bars", "book_deltas", "book_snapshots", "book10",
                     "orders", "frames"}  # fmt: skip
    again = market_data / "ticks" / "oanda_xauusd_quotes_20140505_20140509.parquet"
    report = import_file(catalogue, again, Options())
    assert (report.imported, report.remarks) == (0, {"stored_before": 907_987})
