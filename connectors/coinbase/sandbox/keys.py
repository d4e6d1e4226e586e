"""API key files in the venue's own form: made for a new sandbox, read for one that is given keys.

Owns the file ``{"name": "organizations/.../apiKeys/...", "privateKey": PEM}`` with mode 0600.  The private key is
written there and nowhere else: no log, error or representation holds it.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from connectors.coinbase.auth import PLAY_KEY
from connectors.coinbase.sandbox.auth import ApiKey
from connectors.local.keys import write_key_file
from engine.errors import ConfigError


class _KeyFile(msgspec.Struct):
    privateKey: str  # noqa: N815 - the venue's spelling
    name: str = ""
    id: str = ""

    def __repr__(self) -> str:
        return f"_KeyFile(name={self.name!r}, privateKey=<hidden>)"


def make_key_file(path: Path, *, algorithm: str = "ES256") -> ApiKey:
    """Make a key, write its file (mode 0600, replaced in one step) and return the public half.

    Raises ``ConfigError`` when the folder cannot be written.
    """
    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
        form = serialization.PrivateFormat.PKCS8
    else:
        private = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.TraditionalOpenSSL
    pem = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    name = f"{PLAY_KEY}{uuid.uuid4()}/apiKeys/{uuid.uuid4()}"
    content = msgspec.json.encode({"name": name, "privateKey": pem.decode()})
    write_key_file(path, content)
    return ApiKey(name=name, public_key=private.public_key())


def load_key_file(path: Path, *, can_view: bool = True, can_trade: bool = True) -> ApiKey:
    """Register an existing key file.  Raises ``ConfigError`` in one line that never quotes the file's content."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        seen = f"key file {path} cannot be read: {error.strerror}"
        raise ConfigError(seen, do="check the path and its mode") from None
    expected = 'JSON with "name" and "privateKey" (a P-256 or Ed25519 private key in PEM)'
    try:
        parsed = msgspec.json.decode(raw, type=_KeyFile)
        pem = parsed.privateKey.replace("\\n", "\n").encode()
        private = serialization.load_pem_private_key(pem, password=None)
    except Exception:
        # What the libraries say may quote the text they could not read, and that text is the secret.
        raise ConfigError(f"key file {path} is not a key", expected=expected) from None
    name = parsed.name or parsed.id
    is_es256 = isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1)
    if not name or not (is_es256 or isinstance(private, ed25519.Ed25519PrivateKey)):
        raise ConfigError(f"key file {path} has another kind of key or no name", expected=expected)
    public = private.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
    return ApiKey(name=name, public_key=public, can_view=can_view, can_trade=can_trade)
