"""API keys and the tokens made from them.

Owns the private key (parsed once) and a pool of tokens made ahead, so that no order waits for a signature.  The secret
never leaves this module: not in ``repr``, not in errors, not in logs.  Does no I/O but reading the key file.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from engine.errors import ConfigError

NS_PER_S = 1_000_000_000
TOKEN_LIFE_S = 120
"""The venue refuses a longer one."""
BACKDATE_S = 5
"""``nbf`` lies this far back, so that a clock a little ahead of the venue's does not void the token."""
STALE_AFTER_S = 90
"""A pooled token older than this is not used: 25 s of its life are left for the request to arrive."""
_STALE_AFTER_NS = STALE_AFTER_S * NS_PER_S
REFRESH_AFTER_S = 30
PLAY_KEY = "organizations/sandbox-"
"""What the names of the keys begin with that the built-in exchange makes."""

_PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class _KeyFile(msgspec.Struct):
    privateKey: str  # noqa: N815 -- the venue's spelling
    name: str = ""
    id: str = ""


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class Key:
    """One API key: ES256 (EC P-256, PEM) or EdDSA (Ed25519, PEM or base64 of 32 or 64 bytes)."""

    def __init__(self, name: str, secret: str) -> None:
        """Raises ``ConfigError`` for anything that is not such a key; the text never shows the secret."""
        self.name = name
        self._private = _parse_secret(secret)
        self.algorithm = "ES256" if isinstance(self._private, ec.EllipticCurvePrivateKey) else "EdDSA"

    def __repr__(self) -> str:
        return f"Key(algorithm={self.algorithm})"

    @property
    def is_play(self) -> bool:
        """Made by the built-in exchange, for play money."""
        return self.name.startswith(PLAY_KEY)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key is never pickled or copied")

    @classmethod
    def from_file(cls, path: str | Path) -> Key:
        """Read the venue's JSON key file: ``{"name":"organizations/.../apiKeys/...","privateKey":"..."}``."""
        try:
            data = Path(path).expanduser().read_bytes()
        except OSError as error:
            raise ConfigError(
                f"key file {path}: {error.strerror or 'cannot be read'}",
                expected="a readable JSON key file",
                do="download it from the venue or correct key_file",
            ) from None
        try:
            content = msgspec.json.decode(data, type=_KeyFile)
        except (msgspec.DecodeError, ValueError, RecursionError):
            # The decoder's text could quote the file.
            raise ConfigError(
                f"key file {path} is not a key file", expected='JSON with "name" and "privateKey"'
            ) from None
        name = content.name or content.id
        if not name:
            raise ConfigError(f"key file {path} has no name", expected='JSON with "name" and "privateKey"')
        return cls(name, content.privateKey)

    def token(self, now_ns: int, nonce: str, uri: str | None = None) -> str:
        """A JWT valid from ``BACKDATE_S`` before ``now_ns`` (venue's clock) for ``TOKEN_LIFE_S`` in all.

        ``uri`` is ``METHOD host[:port]/path`` without query for REST, None for WebSocket.
        """
        start_s = now_ns // NS_PER_S - BACKDATE_S
        header = {"alg": self.algorithm, "kid": self.name, "nonce": nonce, "typ": "JWT"}
        claims: dict[str, object] = {"sub": self.name, "iss": "cdp", "nbf": start_s, "exp": start_s + TOKEN_LIFE_S}
        if uri is not None:
            claims["uri"] = uri
        signed = _b64(json.dumps(header).encode()) + b"." + _b64(json.dumps(claims).encode())
        return (signed + b"." + _b64(self._sign(signed))).decode()

    def _sign(self, data: bytes) -> bytes:
        private = self._private
        if isinstance(private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(private.sign(data, ec.ECDSA(SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return private.sign(data)


def _parse_secret(secret: str) -> _PrivateKey:
    text = secret.strip().replace("\\n", "\n")
    if text.startswith("-----BEGIN"):
        try:
            key = load_pem_private_key(text.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise _no_key("an unreadable PEM block") from None
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return key
        curve = f" on curve {key.curve.name}" if isinstance(key, ec.EllipticCurvePrivateKey) else ""
        raise _no_key(f"of kind {type(key).__name__.removesuffix('PrivateKey')}{curve}")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _no_key("neither PEM nor base64") from None
    if len(raw) not in (32, 64):
        raise _no_key(f"base64 of {len(raw)} bytes")
    return ed25519.Ed25519PrivateKey.from_private_bytes(raw[:32])


def _no_key(seen: str) -> ConfigError:
    return ConfigError(
        f"API private key is {seen}",
        expected="EC P-256 in PEM, or Ed25519 in PEM or base64",
        do="create a key at the venue and use its file unchanged",
    )


class KeptToken:
    """A token made ahead for one route, and when (venue's clock); only the pool renews it."""

    __slots__ = ("made_ns", "method", "path", "text")

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path
        self.made_ns = 0
        self.text = b""

    def __repr__(self) -> str:
        return f"KeptToken({self.method} {self.path})"


class TokenPool:
    """REST tokens by method and path, made ahead for the routes that orders use.

    ``venue_now_ns`` is our clock corrected to the venue's; ``nonce`` gives 32 or more hex digits that never repeat.
    A token serves every request to its route within its life.  ``refresh`` is called from the background every few
    seconds; ``token`` on the tick path only looks up, and signs inline (16 us for ES256) when the pool is stale.
    """

    def __init__(self, key: Key, host: str, *, venue_now_ns: Callable[[], int], nonce: Callable[[], str]) -> None:
        self._key = key
        self._host = host
        self._now_ns = venue_now_ns
        self._nonce = nonce
        self._kept: list[KeptToken] = []
        self.signed_inline = 0

    def make(self, method: str, path: str) -> str:
        """A fresh token for one request."""
        return self._key.token(self._now_ns(), self._nonce(), f"{method} {self._host}{path}")

    def make_stream(self) -> str:
        """A fresh token for one WebSocket message."""
        return self._key.token(self._now_ns(), self._nonce())

    def keep(self, method: str, path: str) -> KeptToken:
        """From now on a token for this route is made ahead."""
        kept = KeptToken(method, path)
        self._renew(kept)
        self._kept.append(kept)
        return kept

    def _renew(self, kept: KeptToken) -> None:
        kept.made_ns = self._now_ns()
        kept.text = self.make(kept.method, kept.path).encode()

    def token(self, kept: KeptToken) -> bytes:
        """The token made ahead; never a stale one.  The same object until it is renewed."""
        if not 0 <= self._now_ns() - kept.made_ns < _STALE_AFTER_NS:
            self.signed_inline += 1
            self._renew(kept)
        return kept.text

    def refresh(self) -> None:
        """Renew what is older than ``REFRESH_AFTER_S``; well before staleness, so a late call costs nothing."""
        now_ns = self._now_ns()
        for kept in self._kept:
            if not 0 <= now_ns - kept.made_ns < REFRESH_AFTER_S * NS_PER_S:
                self._renew(kept)

    def discard(self) -> None:
        """The venue refused a token: none of the kept ones is trusted any more."""
        for kept in self._kept:
            self._renew(kept)
