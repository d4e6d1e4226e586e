"""Signatures by the venue's recipe, against the pair that the venue has published and vectors made with it."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.robinhood.auth import NS_PER_S, PLAY_KEY, Key
from engine.errors import ConfigError

SEED = "xQnTJVeQLmw1/Mg2YimEViSpw/SdJcgNXZ5kQkAXNPU="
"""Published with the venue's documentation for demonstration, with the public key below."""
PUBLIC = "jPItx4TLjcnSUnmnXQQyAKL4eJj3+oWNNMmmm2vATqk="
API_KEY = "rh-api-00000000-0000-4000-8000-000000000001"
NOW_NS = 1_795_183_387 * NS_PER_S + 999_999_999
QUOTES = "/api/v1/crypto/marketdata/best_bid_ask/?symbol=BTC-USD"
ORDER = (
    b'{"client_order_id":"11111111-2222-4333-8444-555555555555","side":"buy","type":"market","symbol":"BTC-USD",'
    b'"market_order_config":{"asset_quantity":"0.001"}}'
)


def test_the_published_pair_is_understood() -> None:
    """The seed of the documentation gives the public key of the documentation."""
    public = Key(API_KEY, SEED).public_key.public_bytes_raw()
    assert base64.b64encode(public).decode() == PUBLIC


@pytest.mark.parametrize(
    ("method", "target", "body", "signature"),
    [
        (
            "GET",
            QUOTES,
            b"",
            "k516rwe7tjHxV1KmGGVQMfb47/Y36MJm0MsY/X+mats8K96lm3Cu846DnXdyNhMxHSNAF6i9wceI8CB99NfTDQ==",
        ),
        (
            "POST",
            "/api/v1/crypto/trading/orders/",
            ORDER,
            "kVsG3ReCzG2/ZiisDx6/d+uC7RnIcHzPBTVxFTcbSXT4jFUXnywNK1OGTL/YeF2MHhhyrgSq4aHPbKRcZGLxBQ==",
        ),
    ],
)
def test_known_signatures(method: str, target: str, body: bytes, signature: str) -> None:
    """Vectors made beforehand with the published seed and not by this code; a part of a second does not count."""
    assert Key(API_KEY, SEED).headers(NOW_NS, method, target, body) == {
        "x-api-key": API_KEY,
        "x-signature": signature,
        "x-timestamp": "1795183387",
    }


def test_a_request_is_whole_and_signed_as_it_stands() -> None:
    """Path, query and body on the line are those of the signature; without a body there is no type of one."""
    key = Key(API_KEY, SEED)
    raw = key.request(NOW_NS, "POST", "/api/v1/crypto/trading/orders/", "127.0.0.1:80", ORDER)
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /api/v1/crypto/trading/orders/ HTTP/1.1"
    assert f"Content-Length: {len(ORDER)}" in lines
    signed = key.headers(NOW_NS, "POST", "/api/v1/crypto/trading/orders/", ORDER)
    assert all(f"{name}: {value}" in lines for name, value in signed.items())
    assert "Content-Type: application/json; charset=utf-8" in lines
    assert body == ORDER
    empty = key.request(NOW_NS, "POST", "/api/v2/crypto/trading/orders/1/cancel/", "h").decode()
    assert empty.endswith("Content-Length: 0\r\n\r\n")
    assert "Content-Type" not in empty


@pytest.mark.parametrize("secret", ["", "?x?", "eHh4", base64.b64encode(b"x" * 31).decode(), "ä" * 44])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str) -> None:
    """One line, without what was given."""
    with pytest.raises(ConfigError) as refused:
        Key(API_KEY, secret)
    assert not secret or secret not in str(refused.value)


def test_seed_with_public_key_is_the_same_key() -> None:
    """64 bytes, as some tools write it."""
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(SEED))
    both = base64.b64encode(private.private_bytes_raw() + private.public_key().public_bytes_raw()).decode()
    assert Key(API_KEY, both).headers(NOW_NS, "GET", QUOTES) == Key(API_KEY, SEED).headers(NOW_NS, "GET", QUOTES)


def test_a_key_shows_and_gives_away_nothing(tmp_path: Path) -> None:
    """No text of it holds the secret; it is neither copied nor pickled; a key of a sandbox is known as such."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"api_key": API_KEY, "private_key": SEED}))
    key = Key.from_file(path)
    assert SEED not in f"{key!r}{key}{vars(key)}"
    for steal in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            steal(key)
    assert key.is_play
    assert API_KEY.startswith(PLAY_KEY)
    assert not Key("rh-api-7f3c0b1e-5a52-4f57-9a3d-1c2f0e9b8a71", SEED).is_play


@pytest.mark.parametrize("content", ["", "[]", '{"api_key":"rh-api-1"}', '{"api_key":1,"private_key":"c2VjcmV0"}'])
def test_a_file_that_is_no_key_file_is_refused_without_its_content(tmp_path: Path, content: str) -> None:
    """Nor is one that is not there."""
    path = tmp_path / "key.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="is not a key file") as refused:
        Key.from_file(path)
    assert "c2VjcmV0" not in str(refused.value)
    with pytest.raises(ConfigError, match="No such file"):
        Key.from_file(tmp_path / "none.json")
