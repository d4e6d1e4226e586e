"""The token's file: one line, and nothing that opens another account."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.oanda.tokens import MAX_BYTES, read_token
from engine.errors import ConfigError


def test_a_token_is_read_without_what_stands_around_it(tmp_path: Path) -> None:
    """As the venue's site shows it, whatever an editor has put behind."""
    file = tmp_path / "token"
    file.write_text("0123abcd0123abcd0123abcd0123abcd-89ef89ef89ef89ef89ef89ef89ef89ef\r\n")
    assert read_token(str(file)) == "0123abcd0123abcd0123abcd0123abcd-89ef89ef89ef89ef89ef89ef89ef89ef"


@pytest.mark.fault("F15")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"two words",
        b"x" * (MAX_BYTES + 1),
        b"\xff\xfe",
        b'{"name":"organizations/1/apiKeys/2","privateKey":"AAAA+//="}',
        b'{"api_key":"rh-api-1","private_key":"AAAA"}',
    ],
    ids=["empty", "blank", "words", "long", "bytes", "coinbase", "robinhood"],
)
def test_what_is_no_token_is_neither_sent_nor_shown(tmp_path: Path, content: bytes) -> None:
    """The key file of another venue among them: its content would leave in a header."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="holds no token") as refused:
        read_token(str(file))
    assert "AAAA" not in str(refused.value)
