from __future__ import annotations

from typing import Any

import pytest

from config.histories import check_owner, history_of
from config.load import load
from engine.errors import ConfigError


async def test_every_exchange_of_ccxt_is_a_venue_with_a_past() -> None:
    """By both spellings of its name, with the settings of any venue; of others it is said where their prices are."""
    settings = load((), env={}, overrides={"venue.rest_url": "http://127.0.0.1:9"})
    for name in ("ccxt:kraken", "ccxt_kraken"):
        assert history_of(name)(settings, print).name == "ccxt_kraken_sandbox"
    assert history_of("binance")(settings, print).name == "binance_spot_sandbox"
    for name, said in (("kraken", "or ccxt:EXCHANGE"), ("robinhood", "its API tells no past prices")):
        with pytest.raises(ConfigError, match=said):
            history_of(name)


@pytest.mark.fault("F15")
def test_what_opens_another_venues_account_is_not_used(tmp_path: Any) -> None:
    """Address and key of a file for Coinbase: OANDA would be shown the one, Binance asked at the other."""
    file = tmp_path / "live.yaml"
    file.write_text("venue: {name: coinbase, rest_url: 'https://api.coinbase.com', key_file: key.json}")
    settings = load([file], env={})
    check_owner(settings, "coinbase", has_url=False)
    check_owner(settings, "binance", has_url=True)
    for venue, has_url, said in (
        ("binance", False, "--venue binance with venue.rest_url of coinbase"),
        ("oanda", True, "--venue oanda with venue.key_file of coinbase"),
        ("ccxt:kraken", False, "venue.rest_url of coinbase"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_owner(settings, venue, has_url=has_url)
    file.write_text("venue: {name: 'ccxt:kraken', rest_url: 'http://127.0.0.1:1'}")
    check_owner(load([file], env={}), "ccxt:kraken", has_url=False)
    file.write_text("venue: {key_file: token.txt}")
    check_owner(load([file], env={}), "oanda", has_url=False)
