"""Settings that cannot work are refused with one line each."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.robin_stocks.settings import RobinStocksSettings
from engine.errors import ConfigError


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"symbols": ()}, "symbols is empty"),
        ({"symbols": ("AAPL",)}, "symbol 'AAPL'"),
        ({"symbols": ("AAPL/EUR",)}, "symbol"),
        ({"symbols": ("AAPL/USD:USD-2612-200-C",)}, "an option"),
        ({"key_file": ""}, "no key file"),
        ({"rest_url": "http://example.com"}, "https, but on this machine"),
        ({"rest_url": "nowhere"}, "rest_url"),
        ({"proxy": "socks5://somebody:secret@127.0.0.1:1"}, "no such proxy"),
        ({"quotes_s": 0}, "quotes_s"),
        ({"requests_per_min": 1}, "requests_per_min"),
        ({"answer_s": 60.0}, "answer_s"),
    ],
)
def test_settings_that_cannot_work(fields: dict[str, Any], words: str) -> None:
    """One wrong each."""
    good: dict[str, Any] = {"key_file": "login.json"}
    RobinStocksSettings(**good).check()
    RobinStocksSettings(**good, rest_url="http://127.0.0.1:1", symbols=("F/USD", "F/USD:USD-261218-12.5-P")).check()
    with pytest.raises(ConfigError, match=words):
        RobinStocksSettings(**{**good, **fields}).check()
