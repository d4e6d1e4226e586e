"""``config.data_record``: the settings of a session that only watches."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import run
from config.data_record import watching
from config.load import session_limits
from config.schema import Settings
from config.wiring import build_slots
from engine.errors import ConfigError, KestrelError

BTC = "BTC/USD@coinbase"


def made(
    *assign: str, config: list[Path] | None = None, feed: str | None = None, symbols: str | None = None
) -> Settings:
    return watching(config, venue=None, feed=feed, symbols=symbols, to=None, assign=list(assign))


def test_what_only_watches_has_no_strategy_and_limits_that_let_nothing_through() -> None:
    """Whatever the configuration trades otherwise: no slot, no instrument that may be entered, every size zero."""
    settings = made(feed="live", symbols="BTC/USD, SOL/USD")
    assert settings.venue.symbols == ["BTC/USD", "SOL/USD"]
    assert (settings.strategies, settings.data.record, settings.engine.shadow_tick) == ([], True, False)
    assert build_slots(settings, [BTC]) == []
    limits = session_limits(settings, [BTC], live=False)
    assert limits.allowed_instruments == ()
    assert limits.unusable() == "allowed_instruments is empty"
    assert limits.max_order_notional == limits.max_orders_per_s == limits.max_order_qty["*"] == 0


def test_a_file_without_limits_records_too(tmp_path: Path) -> None:
    """Limits are about trading; the file of a production profile need not have any."""
    file = tmp_path / "own.yaml"
    file.write_text("profile: production\nvenue: {symbols: [ETH/USD]}\n")
    assert session_limits(made(config=[file], feed="live"), [BTC], live=False).max_order_notional == 0


@pytest.mark.parametrize("feed", ["replay", "nonsense"])
def test_recorded_files_are_imported_not_recorded(feed: str) -> None:
    with pytest.raises(ConfigError, match="data import"):
        made(feed=feed)
    with pytest.raises(ConfigError):
        made(f"venue.feed={feed}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("record", "--feed", "replay"), "--feed replay; expected live or sandbox"),
        (("record", "--for", "0"), "--for 0.0; expected a positive number of seconds"),
        (("record", "--symbols", "BTCUSD"), "venue.symbols"),
        (("compact", "nothing", "--sessions", "no/such/folder"), "no session under no/such/folder"),
    ],
)
def test_wrong_words_are_one_line_each(words: tuple[str, ...], said: str) -> None:
    """Before anything is started or written."""
    error = CliRunner().invoke(run.app, ["data", *words]).exception
    assert isinstance(error, KestrelError)
    assert said in str(error)
    assert "\n" not in str(error)
