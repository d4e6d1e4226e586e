"""Keys, tokens, and that the secret shows nowhere."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.coinbase.auth import STALE_AFTER_S, TOKEN_LIFE_S, Key, TokenPool
from engine.errors import ConfigError

S = 1_000_000_000
NOW_NS = 1_795_183_387 * S
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
SEED = ED.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def pem(key: object, kind: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, kind, NoEncryption()).decode()  # type: ignore[attr-defined]


EC_TEXTS = {
    "sec1": pem(EC, PrivateFormat.TraditionalOpenSSL),
    "pkcs8": pem(EC),
    "escaped newlines": pem(EC).replace("\n", "\\n"),
}
ED_TEXTS = {
    "pkcs8": pem(ED),
    "32 bytes": base64.b64encode(SEED).decode(),
    "64 bytes": base64.b64encode(SEED + ED.public_key().public_bytes_raw()).decode(),
}


def parts(token: str) -> tuple[dict, dict, bytes, bytes]:
    head, claims, signature = token.split(".")
    decode = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))  # noqa: E731
    return json.loads(decode(head)), json.loads(decode(claims)), decode(signature), f"{head}.{claims}".encode()


@pytest.mark.parametrize("text", EC_TEXTS.values(), ids=EC_TEXTS.keys())
def test_an_ec_key_makes_tokens_that_its_public_half_verifies(text: str) -> None:
    """ES256: r and s as 32 bytes each, checked with the library's own verification."""
    header, claims, signature, signed = parts(Key("keys/1", text).token(NOW_NS, "ab" * 32, "POST host/x"))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    EC.public_key().verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    assert header == {"alg": "ES256", "kid": "keys/1", "nonce": "ab" * 32, "typ": "JWT"}
    assert (claims["sub"], claims["iss"], claims["uri"]) == ("keys/1", "cdp", "POST host/x")
    assert claims["nbf"] <= NOW_NS // S < claims["exp"]
    assert claims["exp"] - claims["nbf"] == TOKEN_LIFE_S


@pytest.mark.parametrize("text", ED_TEXTS.values(), ids=ED_TEXTS.keys())
def test_an_ed25519_key_makes_tokens_that_its_public_half_verifies(text: str) -> None:
    """EdDSA, and a stream's token has no uri."""
    header, claims, signature, signed = parts(Key("k", text).token(NOW_NS, "cd"))
    ED.public_key().verify(signature, signed)
    assert header["alg"] == "EdDSA"
    assert "uri" not in claims


def bad_secrets() -> dict[str, str]:
    return {
        "empty": "",
        "words": "not a key at all",
        "short": base64.b64encode(b"short").decode(),
        "broken pem": EC_TEXTS["pkcs8"].replace("M", "!", 5),
        "other curve": pem(ec.generate_private_key(ec.SECP384R1())),
        "rsa": pem(rsa.generate_private_key(65537, 2048)),
    }


@pytest.mark.fault("F15")
@pytest.mark.parametrize("text", bad_secrets().values(), ids=bad_secrets().keys())
def test_what_is_no_key_is_one_clear_line_without_the_secret(text: str) -> None:
    """And nothing of the secret stands in the chain of causes."""
    with pytest.raises(ConfigError, match="API private key is") as caught:
        Key("k", text)
    assert "\n" not in str(caught.value)
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.fault("F15")
def test_the_secret_is_in_no_representation() -> None:
    """repr, str, vars of the pool, pickling."""
    key = Key("k", EC_TEXTS["pkcs8"])
    secret = EC_TEXTS["pkcs8"].splitlines()[1]
    pool = TokenPool(key, "host", venue_now_ns=lambda: NOW_NS, nonce=lambda: "0")
    for text in (repr(key), str(key), repr(vars(key)), repr(vars(pool))):
        assert secret not in text
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(key)


def test_a_key_file_is_read_with_either_name_member(tmp_path: Path) -> None:
    """``name`` or ``id``."""
    for member in ("name", "id"):
        path = tmp_path / f"{member}.json"
        path.write_text(json.dumps({member: "keys/7", "privateKey": EC_TEXTS["sec1"]}))
        assert Key.from_file(path).name == "keys/7"


@pytest.mark.fault("F15")
@pytest.mark.parametrize("content", ["", "{}", '{"privateKey":"SECRETTEXT"}', '{"name":"k","privateKey":"SECRETTEXT"}'])
def test_a_wrong_key_file_is_one_clear_line(tmp_path: Path, content: str) -> None:
    """The file's content never shows."""
    path = tmp_path / "key.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        Key.from_file(path)
    assert "SECRETTEXT" not in str(caught.value)


def test_a_missing_key_file_names_its_path(tmp_path: Path) -> None:
    """One line with what to do."""
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        Key.from_file(tmp_path / "nowhere.json")


class TestPool:
    """Time moves only when the test says so; nonces count, so each signature shows."""

    def setup_method(self) -> None:
        self.now_ns = NOW_NS
        self.nonces = 0
        self.pool = TokenPool(
            Key("k", EC_TEXTS["sec1"]), "host:1", venue_now_ns=lambda: self.now_ns, nonce=self.next_nonce
        )
        self.kept = self.pool.keep("POST", "/orders")

    def next_nonce(self) -> str:
        self.nonces += 1
        return str(self.nonces)

    def token(self) -> bytes:
        return self.pool.token(self.kept)

    def test_a_kept_token_is_handed_out_without_signing(self) -> None:
        """The same bytes, one nonce, the route in its uri."""
        first = self.token()
        assert self.token() is first
        assert self.nonces == 1
        assert parts(first.decode())[1]["uri"] == "POST host:1/orders"

    def test_refresh_renews_what_has_aged_and_only_that(self) -> None:
        """At 10 s nothing, at 31 s one signature."""
        self.now_ns += 10 * S
        self.pool.refresh()
        assert self.nonces == 1
        self.now_ns += 21 * S
        self.pool.refresh()
        assert self.nonces == 2
        assert self.pool.signed_inline == 0

    def test_a_stale_token_is_never_handed_out(self) -> None:
        """No refresh for too long: signed inline, counted, with life left."""
        self.now_ns += STALE_AFTER_S * S
        claims = parts(self.token().decode())[1]
        assert claims["exp"] * S > self.now_ns + 60 * S
        assert self.pool.signed_inline == 1

    @pytest.mark.fault("C16")
    def test_a_clock_that_steps_back_makes_a_new_token(self) -> None:
        """A token from the future would not be valid yet."""
        self.now_ns -= 60 * S
        claims = parts(self.token().decode())[1]
        assert claims["nbf"] * S <= self.now_ns

    @pytest.mark.fault("C8")
    def test_a_refused_token_is_not_used_again(self) -> None:
        """After a 401."""
        first = self.token()
        self.pool.discard()
        assert self.token() != first
