"""Secrets by name, by look and by registration; and what must stay readable."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.runtime.redaction import REDACTED, Redactor, is_secret_name

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIDummyDummyDummy\n-----END EC PRIVATE KEY-----"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvcmdhbmlzYXRpb24ifQ.c2lnbmF0dXJlLWJ5dGVz"


@pytest.mark.fault("F15")
@pytest.mark.parametrize(
    "name",
    ["key", "api_key", "apiKey", "API_KEY", "secret", "clientSecret", "X-Auth-Token", "jwt", "passphrase",
     "Authorization", "private_key_pem", "signature", "CB-ACCESS-KEY", "cookie", "KESTREL_COINBASE__API_SECRET"],
)  # fmt: skip
def test_names_of_secrets_are_known(name: str) -> None:
    """Names as venues, headers and environment variables spell them."""
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["keyboard", "tokenizer", "instrument", "monkey", "order_id", "authored_ns", "pinned_seq"]
)
def test_ordinary_names_are_left_alone(name: str) -> None:
    """Words that merely contain one of a secret."""
    assert not is_secret_name(name)


@pytest.mark.fault("F15")
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"cannot parse {PEM} here", "MHcCAQEE"),
        (f"token {JWT} expired", "eyJhbGci"),
        ("sent Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("GET wss://host/stream?user=7&listenKey=x&signature=deadbeef00", "deadbeef00"),
        ("api_key=abcd1234efgh failed", "abcd1234efgh"),
        ("""{"secret": "s3cr3t-value-1"}""", "s3cr3t-value-1"),
        ("connect https://bob:hunter2@host/x", "hunter2"),
        ("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49", "MIGHAgEA"),
    ],
)
def test_values_that_look_like_secrets_are_replaced(text: str, secret: str) -> None:
    """Each text holds one; the rest of the text stays."""
    cleaned = Redactor().text(text)
    assert secret not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    "text",
    ["sequence gap on BTC-USD: expected 1042, got 1047",
     "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
     "BTC/USD@coinbase", "20261121T104530-7f3a", "feature spec core40 fingerprint 00ffaa"],
)  # fmt: skip
def test_ordinary_texts_stay(text: str) -> None:
    """Hashes, ids and instruments must stay readable: they are what logs are for."""
    assert Redactor().text(text) == text


@pytest.mark.fault("F15")
def test_registered_secrets_disappear_wherever_they_are() -> None:
    """A passphrase without any particular look, in a text, a nested list and as a PEM with escaped newlines."""
    redactor = Redactor()
    redactor.add("correct horse")
    redactor.add(PEM)
    redactor.add("abc")  # too short to register
    value = redactor.value(
        {"note": "the correct horse", "list": ["correct horse", 1], "raw": PEM.replace("\n", "\\n"), "x": "abc"}
    )
    assert value == {"note": f"the {REDACTED}", "list": [REDACTED, 1], "raw": REDACTED, "x": "abc"}


@pytest.mark.fault("F15")
def test_nested_values_become_plain_and_secret_fields_are_hidden_whole() -> None:
    """Maps, tuples, bytes, Decimals and objects; empty secrets show as empty."""
    cleaned = Redactor().value(
        {
            "venue": {"api_key": {"id": "k", "pem": PEM}, "secret": ""},
            "px": Decimal("1.50"),
            "raw": b"x=1",
            "t": (1, None),
        }
    )
    assert cleaned == {"venue": {"api_key": REDACTED, "secret": ""}, "px": "1.50", "raw": "x=1", "t": [1, None]}


def test_leaves_keep_the_shape_and_hide_by_look_only() -> None:
    """A configuration whose owner has hidden secrets by name: maps under names like ``keys`` must survive."""
    cleaned = Redactor().leaves({"keys": {"size": 5, "note": f"see {JWT}"}, "levels": ["a", 1.5, None]})
    assert cleaned == {"keys": {"size": 5, "note": f"see {REDACTED}"}, "levels": ["a", 1.5, None]}


@pytest.mark.fault("F15")
def test_odd_values_cannot_break_it() -> None:
    """A map that holds itself, and an object whose __str__ raises."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no")

    loop: dict[str, object] = {}
    loop["me"] = loop
    assert "[too deep]" in str(Redactor().value(loop))
    assert Redactor().value(Odd()) == "[unprintable Odd]"


def test_long_hostile_text_takes_no_time_to_speak_of() -> None:
    """A megabyte of what the patterns start with: quadratic matching would hang the test's time limit."""
    text = "key-" * 150_000 + " secret" * 20_000
    assert len(Redactor().text(text)) > 0
