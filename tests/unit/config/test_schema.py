"""What a value may be, and what is never shown."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from config.features_schema import SamplingSettings
from config.risk_schema import RiskSettings
from config.schema import (
    FeaturesSettings,
    Section,
    Settings,
    StrategySettings,
    VenueSettings,
    is_sensitive,
    redact,
)


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    ("section", "values"),
    [
        (VenueSettings, {"rest_url": "http://api.example.com"}),
        (VenueSettings, {"rest_url": "https://user:pass@api.example.com"}),
        (VenueSettings, {"ws_user_url": "ftp://host"}),
        (VenueSettings, {"key_file": "-----BEGIN EC PRIVATE KEY-----"}),
        (VenueSettings, {"symbols": ["BTC/USD", "BTC/USD"]}),
        (VenueSettings, {"symbols": ["btcusd"]}),
        (VenueSettings, {"symbols": []}),
        (StrategySettings, {"name": "x"}),
        (StrategySettings, {"name": "x", "kind": "threshold", "path": "a.py:B"}),
        (SamplingSettings, {"kind": "time_bar", "every": "soon"}),
        (SamplingSettings, {"kind": "time_bar", "every": "0s"}),
        (SamplingSettings, {"kind": "tick", "every": 2}),
        (SamplingSettings, {"kind": "tick_bar", "every": 0}),
        (SamplingSettings, {"kind": "tick_bar", "every": 5, "lateness_ms": 10}),
        (FeaturesSettings, {"columns": []}),
        (RiskSettings, {"max_daily_loss": "-1"}),
        (RiskSettings, {"max_daily_loss": "NaN"}),
        (RiskSettings, {"max_daily_loss": "1e30"}),
        (RiskSettings, {"max_drawdown_bps": 10_001}),
        (RiskSettings, {"no_such_limit": 1}),
    ],
)
def test_what_cannot_be_meant_is_refused(section: type[Section], values: dict[str, Any]) -> None:
    """One wrong value a section."""
    with pytest.raises(ValidationError):
        section.model_validate(values)


def test_plain_transports_are_for_this_machine() -> None:
    """Loopback by name and by both families."""
    for url in ("http://127.0.0.1:80", "ws://localhost:9", "http://[::1]:7"):
        assert VenueSettings(rest_url=url).rest_url == url


@pytest.mark.parametrize(
    ("every", "interval_ns"), [("500ms", 500_000_000), ("1s", 10**9), ("5m", 300 * 10**9), ("1h", 3600 * 10**9)]
)
def test_bar_lengths_are_read_with_their_unit(every: str, interval_ns: int) -> None:
    """Each unit."""
    assert SamplingSettings(kind="time_bar", every=every).interval_ns == interval_ns


def test_money_in_settings_is_decimal_digit_for_digit() -> None:
    """A limit with more digits than float64 has."""
    assert RiskSettings(max_daily_loss="100000.000000000000001").max_daily_loss == Decimal("100000.000000000000001")


def test_settings_do_not_change_and_equal_settings_have_equal_digests() -> None:
    """Assignment fails; the digest follows values."""
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.venue.feed = "live"
    assert settings.digest() == Settings().digest()
    assert settings.digest() != Settings(venue=VenueSettings(feed="live")).digest()


@pytest.mark.fault("F15")
def test_what_a_session_records_holds_no_secret_and_survives_json() -> None:
    """A strategy's parameters are the user's own: a token among them is blotted out, a threshold is not."""
    strategy = StrategySettings(
        name="x", path="a.py:B", params={"api_key": "abc", "buy": 0.6, "deep": {"password": "p", "n": [1, 2]}}
    )
    recorded = Settings(strategies=[strategy], venue=VenueSettings(key_file=Path("key.json"))).redacted()
    params = recorded["strategies"][0]["params"]
    assert params["buy"] == 0.6
    assert params["deep"]["n"] == [1, 2]
    assert "abc" not in str(recorded)
    assert params["deep"]["password"] != "p"
    assert Settings.model_validate(recorded).strategies[0].name == "x"


def test_names_of_secrets_are_known() -> None:
    """What is hidden by its name, and what only looks similar."""
    assert all(is_sensitive(name) for name in ("api_key", "password", "secret", "access_token"))
    assert not any(is_sensitive(name) for name in ("symbols", "buy", "max_order_qty"))
    assert redact({"password": "p", "n": 1})["n"] == 1


def test_the_default_folder_of_bundles_is_found_from_any_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the working folder has none, the shipped one; its own, or one that was named, is taken as it is."""
    shipped = Path(__file__).resolve().parents[3] / "models" / "artifacts"
    named = Path("models/artifacts")
    monkeypatch.chdir(tmp_path)
    assert Settings().models.directory == shipped
    assert Settings.model_validate({"models": {"directory": str(named)}}).models.directory == shipped
    assert Settings.model_validate({"models": {"directory": "mine"}}).models.directory == Path("mine")
    named.mkdir(parents=True)
    assert Settings().models.directory == named
