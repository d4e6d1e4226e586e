"""Key files in the library's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.ccxt_venue.keys import read_credentials
from engine.errors import ConfigError


def told(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "key.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_librarys_names_and_the_exchanges_own_are_read(tmp_path: Path) -> None:
    """Coinbase's file says ``name`` and ``privateKey``; a wallet's key stays one."""
    plain = read_credentials(told(tmp_path, {"apiKey": "a", "secret": "s", "password": "p", "note": 1}))
    assert plain.config() == {"apiKey": "a", "secret": "s", "password": "p"}
    coinbase = read_credentials(told(tmp_path, {"name": "organizations/x", "privateKey": "pem"}))
    assert coinbase.config() == {"apiKey": "organizations/x", "secret": "pem"}
    wallet = read_credentials(told(tmp_path, {"walletAddress": "0xa", "privateKey": "k", "secret": "s"}))
    assert wallet.config()["privateKey"] == "k"
    assert plain.name != coinbase.name


@pytest.mark.parametrize("content", ["", "[]", "{", '{"secret": "s"}', '{"apiKey": 5}', '{"apiKey": ["a"]}', "\x00"])
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    """Nothing of what stands in it is quoted."""
    with pytest.raises(ConfigError) as refused:
        read_credentials(told(tmp_path, content))
    assert "key file" in str(refused.value)


def test_no_text_gives_a_value_away(tmp_path: Path) -> None:
    """``repr``, the name, and the error about what lacks."""
    credentials = read_credentials(told(tmp_path, {"apiKey": "sesame-key", "secret": "sesame-secret"}))
    with pytest.raises(ConfigError) as refused:
        credentials.require("okx", {"apiKey": True, "secret": True, "password": True, "uid": False})
    said = f"{credentials!r} {credentials.name} {refused.value}"
    assert "password" in said
    assert "sesame" not in said
