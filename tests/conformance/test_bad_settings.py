"""Settings and arguments that a user can get wrong: one clear line that names the nearest right one, exit 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.bad_input import nothing_written, play, refused
from tests.support.daemon import attempt, into, kestrel, last_json


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "risk.max_order_notionl=3"), ("unknown key 'risk.max_order_notionl'", "'risk.max_order_notional'")),
        (("--set", "foo"), ("--set foo", "KEY=VALUE")),
        (("--set", "venue.symbols=[a"), ("venue.symbols", "no YAML")),
        (("--set", "journal.segment_mb=lots"), ("journal.segment_mb is 'lots'", "a whole number")),
        (("--venue", "coinbas"), ("venue.name is 'coinbas'", "'coinbase'")),
        (("--feed", "sandbx"), ("venue.feed is 'sandbx'", "'sandbox', 'live' or 'replay'")),
        (("--feed", "replay"), ("feed replay without files", "--replay FILE")),
        (("--replay",), ("--replay without files", "--replay FILE")),
        (("some.parquet",), ("unexpected argument some.parquet", "--replay before recorded files")),
        (("--replay", "some.parquet", "--feed", "live"), ("--feed live with --replay", "one of the two")),
        (("--for", "0"), ("--for 0", "a positive number of seconds")),
        (("--for", "nan"), ("--for nan", "a positive number of seconds")),
        (("--for", "soon"), ("'--for'", "a valid number", "--help")),
        (("--speed", "quick"), ("--speed quick", "a positive number or max")),
        (("--speed", "0"), ("--speed 0", "a positive number or max")),
        (("--speed", "nan"), ("--speed nan", "a positive number or max")),
        (("--sped", "3"), ("No such option: --sped", "--speed")),
        (("--config", "none.yaml"), ("none.yaml cannot be read", "a YAML or JSON file")),
        (("--session", "../else"), ("session id '../else'", "letters, digits")),
        (("--set", "strategies=[{name: a, kind: treshold}]"), ("'treshold' is unknown", "'threshold'")),
        (("--set", "strategies.0.params.byu=0.6"), ("parameter 'byu' is unknown", "'buy'")),
        (("--set", "strategies.0.params.buy=high"), ("strategy demo: parameter buy is 'high'", "expected a number")),
        (("--set", "venue.symbols=[]"), ("venue.symbols is []; expected at least 1 item; correct it",)),
        (("--set", "strategies=[{name: a, path: 'none.py:A'}]"), ("none.py is missing", "a Python file")),
        (("--set", "models.directory=none"), ("no folder of bundles at none", "models.directory")),
        (("--set", "risk.max_order_qty={}"), ("risk.max_order_qty is empty", "an entry for each allowed instrument")),
        (("--set", "risk.max_order_qty={BTC/USD@coinbase: 1}"), ("has no entry for ETH/USD@coinbase", "'*'")),
        (("--set", "risk.allowed_instruments=[BTC/USD]"), ("risk.allowed_instruments names none", "it has BTC/USD")),
        (("--set", "portfolio.currency=EUR"), ("BTC/USD@coinbase is paid in USD", "EUR", "portfolio.rates.USD")),
        (("--feed", "live", "--set", "portfolio.currency=EUR"), ("is paid in USD", "EUR", "portfolio.rates.USD")),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_was_expected(
    arguments: tuple[str, ...], said: tuple[str, ...], tmp_path: Path
) -> None:
    """Each mistake on the command line of ``paper``; the session's folder stays empty.  A process of its own is given
    a misspelt command and variable below."""
    refused(attempt("paper", "--json", *into(tmp_path), *arguments), *said)
    nothing_written(tmp_path)


@pytest.mark.fault("F13")
def test_a_recording_in_a_currency_without_a_rate_is_refused(market: tuple[Path, Path], tmp_path: Path) -> None:
    """Tether prices and a portfolio in euros: the default rates are about dollars, and are no euros."""
    for settings in (("portfolio.currency=EUR",), ("portfolio.currency=EUR", "portfolio.rates={}")):
        done = play(tmp_path, market, *(part for setting in settings for part in ("--set", setting)))
        refused(done, "BTC/USDT@binance_usdm is paid in USDT", "portfolio.currency", "portfolio.rates.USDT")
        nothing_written(tmp_path)
    summary = last_json(
        play(tmp_path, market, "--set", "portfolio.currency=EUR", "--set", "portfolio.rates={USDT: 0.9}")
    )
    assert summary["currency"] == "EUR"
    assert summary["equity"] is not None
    assert summary["orders"] > 0


@pytest.mark.fault("F9")
def test_a_misspelt_variable_is_named_with_the_nearest_key(tmp_path: Path) -> None:
    """KESTREL_VENU__FEED: a setting that would silently not hold."""
    refused(kestrel("paper", *into(tmp_path), KESTREL_VENU__FEED="live"), "env KESTREL_VENU__FEED", "expected 'venue'")


@pytest.mark.fault("F16")
def test_what_config_approve_wrote_trades_and_nothing_else_does(tmp_path: Path) -> None:
    """Approved and started with the same options; then with a wider limit, and with a strategy that was edited."""
    (tmp_path / "mine.py").write_text(QUIET)
    mine = f"strategies=[{{name: mine, path: '{tmp_path}/mine.py:Mine', model: none}}]"
    same = ["--set", f"session.approved={tmp_path}/approved.json", "--set", mine, "--set", "sandbox.history_s=1"]
    done = kestrel("config", "approve", *into(tmp_path), *same, "--reason", "reviewed", "--json")
    assert done.returncode == 0, done.stderr
    done = kestrel("paper", *into(tmp_path), *same, "--for", "0.2", "--no-report", "--session", "good", "--json")
    assert done.returncode == 0, done.stderr
    header = json.loads((tmp_path / "sessions" / "good" / "session.json").read_text())
    assert header["approved"].endswith(": reviewed")
    assert list(header["own_code"]) == [f"{tmp_path}/mine.py"]
    (tmp_path / "mine.py").write_text(QUIET + "# edited\n")
    wider = ("--set", "risk.max_order_notional=123456")
    said = ("approves: configuration (in: risk); strategy files", "mine.py", "config approve")
    refused(kestrel("paper", "--json", *into(tmp_path), *same, *wider, "--session", "bad"), *said)
    assert not (tmp_path / "sessions" / "bad").exists()


QUIET = """
from strategies.base import BaseStrategy


class Mine(BaseStrategy):
    pass
"""


def test_an_unknown_command_is_one_line() -> None:
    """``papr`` instead of ``paper``."""
    refused(kestrel("papr"), "No such command 'papr'", "paper")


def test_without_a_command_the_help_is_printed() -> None:
    """Exit 2, as for any call that does nothing, and the commands on stdout."""
    done = kestrel()
    assert (done.returncode, done.stderr) == (2, "")
    assert "paper" in done.stdout
