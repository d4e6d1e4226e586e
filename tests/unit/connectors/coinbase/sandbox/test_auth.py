"""Token verification: the table of what is accepted and what is not."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from connectors.coinbase.sandbox.auth import AuthError, Verifier
from connectors.coinbase.sandbox.keys import make_key_file
from tests.support.coinbase_sandbox import sign

PATH = "/api/v3/brokerage/orders"
URI = f"GET 127.0.0.1:1234{PATH}"


@pytest.fixture(params=["ES256", "EdDSA"])
def signed(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Verifier, Path]:
    path = tmp_path / "key.json"
    return Verifier([make_key_file(path, algorithm=request.param)]), path


@pytest.mark.parametrize(
    ("uri", "changes"),
    [
        (URI, {}),
        (f"GET https://api.coinbase.com{PATH}", {}),
        (f"GET http://localhost:99{PATH}", {"iss": "coinbase-cloud", "aud": ["retail_rest_api_proxy"]}),
        (None, {"uris": [URI], "aud": ["cdp_service"], "iat": int(time.time())}),
    ],
    ids=["plain", "scheme", "coinbase-cloud", "uris"],
)
def test_each_clients_shape_of_token_is_accepted(signed, uri, changes) -> None:
    """Tokens as three different clients make them, signed by independent code."""
    verifier, key_file = signed
    key = verifier.request(f"Bearer {sign(key_file, uri, **changes)}", "GET", PATH, time.time())
    assert key.name == json.loads(key_file.read_text())["name"]


@pytest.mark.parametrize(
    ("uri", "ago_s", "changes", "said"),
    [
        (f"POST x{PATH}", 0, {}, "request is GET"),
        ("GET x/api/v3/brokerage/accounts", 0, {}, "request is GET"),
        (None, 0, {}, "request is GET"),
        (URI, 200, {}, "expired"),
        (URI, -60, {}, "starts"),
        (URI, 0, {"sub": "organizations/a/apiKeys/b"}, "no key"),
        (URI, 0, {"exp": "tomorrow"}, "cannot be read"),
    ],
    ids=["method", "path", "no uri", "expired", "future", "other sub", "bad exp"],
)
def test_a_token_for_something_else_or_another_time_is_refused(signed, uri, ago_s, changes, said) -> None:
    """One deviation at a time from a good token."""
    verifier, key_file = signed
    with pytest.raises(AuthError, match=said):
        verifier.request(f"Bearer {sign(key_file, uri, ago_s=ago_s, **changes)}", "GET", PATH, time.time())


@pytest.mark.parametrize("ago_s", [140, -25])
def test_a_clock_within_the_tolerance_is_accepted(signed, ago_s) -> None:
    """20 s past its end and 25 s before its start, with 30 s allowed."""
    verifier, key_file = signed
    verifier.request(f"Bearer {sign(key_file, URI, ago_s=ago_s)}", "GET", PATH, time.time())


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a.b", "Bearer a.b.c", "Bearer ü.ü.ü"])
def test_a_header_that_is_no_token_is_refused(signed, header) -> None:
    """Never another exception than the one that becomes a 401."""
    with pytest.raises(AuthError):
        signed[0].request(header, "GET", PATH, time.time())


def test_a_signature_by_another_key_is_refused(signed, tmp_path) -> None:
    """The other key claims the registered name."""
    verifier, key_file = signed
    other = tmp_path / "other.json"
    make_key_file(other, algorithm="ES256" if "EC PRIVATE" in key_file.read_text() else "EdDSA")
    content = json.loads(other.read_text()) | {"name": json.loads(key_file.read_text())["name"]}
    other.write_text(json.dumps(content))
    with pytest.raises(AuthError, match="signature"):
        verifier.request(f"Bearer {sign(other, URI)}", "GET", PATH, time.time())


def test_a_token_may_not_choose_its_algorithm(signed) -> None:
    """alg none with an empty signature, and the other family's name."""
    verifier, key_file = signed
    _, claims, signature = sign(key_file, URI).split(".")
    name = json.loads(key_file.read_text())["name"]
    for algorithm, proof in (("none", ""), ("HS256", signature), ("RS256", signature)):
        head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": name}).encode()).rstrip(b"=").decode()
        with pytest.raises(AuthError, match="algorithm"):
            verifier.request(f"Bearer {head}.{claims}.{proof}", "GET", PATH, time.time())


def test_a_token_used_again_costs_no_second_signature_check_until_it_expires(signed) -> None:
    """The counter of signature checks, and the clock moved past the token's end."""
    verifier, key_file = signed
    header = f"Bearer {sign(key_file, URI)}"
    for _ in range(5):
        verifier.request(header, "GET", PATH, time.time())
    assert verifier.signatures_checked == 1
    with pytest.raises(AuthError, match="request is"):
        verifier.request(header, "POST", PATH, time.time())
    with pytest.raises(AuthError, match="expired"):
        verifier.request(header, "GET", PATH, time.time() + 151)


def test_the_memory_of_tokens_is_bounded(tmp_path, monkeypatch) -> None:
    """With room for two, the first of three is checked again."""
    monkeypatch.setattr("connectors.coinbase.sandbox.auth._CACHE_SIZE", 2)
    path = tmp_path / "key.json"
    verifier = Verifier([make_key_file(path)])
    tokens = [sign(path) for _ in range(3)]
    for token in [*tokens, tokens[0]]:
        verifier.message(token, time.time())
    assert verifier.signatures_checked == 4
