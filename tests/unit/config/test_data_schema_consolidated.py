"""The section of consolidated instruments: what it may say, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.data_schema import ConsolidatedSettings
from config.load import load
from config.schema import Settings
from config.wiring import build_slots
from engine.errors import ConfigError

TWO = ["BTC/USD@coinbase", "BTC/USDT@binance_spot"]


@pytest.mark.parametrize(
    "values",
    [
        {"instrument": "BTC/USD"},
        {"instrument": "BTC/USD", "members": TWO[:1]},
        {"instrument": "BTC/USD", "members": [TWO[0], TWO[0]]},
        {"instrument": "btcusd", "members": TWO},
        {"instrument": "BTC/USD", "members": TWO, "stale_ms": 0},
        {"instrument": "BTC/USD", "members": TWO, "wild_bps": 0},
        {"instrument": "BTC/USD", "members": TWO, "wild_bps": 501},
        {"instrument": "BTC/USD", "members": TWO, "bar": "1 minute"},
        {"instrument": "BTC/USD", "members": TWO, "bar": "0s"},
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, Any]) -> None:
    """One wrong value each."""
    with pytest.raises(ValidationError):
        ConsolidatedSettings.model_validate(values)


@pytest.mark.parametrize(
    ("bar", "bar_ns"), [("", 0), ("250ms", 250 * 10**6), ("10s", 10**10), ("1m", 60 * 10**9), ("4h", 4 * 3600 * 10**9)]
)
def test_settings_become_the_definition(bar: str, bar_ns: int) -> None:
    """Milliseconds to nanoseconds, the bar's length with its unit, the id with its venue."""
    made = ConsolidatedSettings(
        instrument="BTC/USD", members=TWO, stale_ms=1_500, wild_bps=20, equivalent={"USDT": "USD"}, bar=bar
    ).definition()
    assert (made.instrument, made.members) == ("BTC/USD@consolidated", tuple(TWO))
    assert (made.stale_ns, made.wild_bps, made.band_bps, made.bar_ns) == (1_500_000_000, 20.0, 500.0, bar_ns)
    assert made.equivalent == {"USDT": "USD"}


def test_each_consolidated_instrument_once() -> None:
    """Two of one name would be two prices of one id."""
    one = ConsolidatedSettings(instrument="BTC/USD", members=TWO)
    with pytest.raises(ValidationError, match="once"):
        Settings(consolidated=[one, one])


def test_a_mistyped_key_of_an_item_names_the_nearest(tmp_path: Path) -> None:
    """As for strategies: the path with its number."""
    path = tmp_path / "c.yaml"
    path.write_text("consolidated:\n  - {instrument: BTC/USD, members: [a, b], stale: 5}\n")
    with pytest.raises(ConfigError, match=r"consolidated\.0\.stale.*stale_ms"):
        load([path], env={})


def test_variables_reach_into_an_item(tmp_path: Path) -> None:
    """One key of one item by its variable; the rest of the file stays."""
    path = tmp_path / "c.yaml"
    path.write_text(f"consolidated:\n  - {{instrument: BTC/USD, members: [{', '.join(TWO)}]}}\n")
    settings = load([path], env={"KESTREL_CONSOLIDATED__0__STALE_MS": "700"})
    assert settings.consolidated[0].stale_ms == 700
    assert settings.consolidated[0].members == TWO


def test_strategies_take_it_where_it_is_named_and_all_is_what_can_be_traded() -> None:
    """One strategy on ``all``, one on the consolidated id, one on an id that nobody has."""
    venue_id, name = "BTC/USD@coinbase", "BTC/USD@consolidated"
    base = {"kind": "ema_cross", "model": "none"}

    def slots(*instruments: Any) -> list[frozenset[str] | None]:
        settings = Settings.model_validate(
            {
                "consolidated": [{"instrument": "BTC/USD", "members": TWO}],
                "strategies": [
                    {"name": f"s{number}", "instruments": wanted, **base} for number, wanted in enumerate(instruments)
                ],
            }
        )
        return [slot.instruments for slot in build_slots(settings, [venue_id])]

    assert slots("all", [name]) == [frozenset([venue_id]), frozenset([name])]
    with pytest.raises(ConfigError, match="BTC/USD@coinbase, BTC/USD@consolidated"):
        slots(["ETH/USD@consolidated"])
