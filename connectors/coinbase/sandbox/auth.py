"""Verification of CDP JSON web tokens: which key signed, for which request, within which seconds.

Owns the registry of public keys and the rule of the protocol sheet, section 2.  Holds no private key (those are
``keys``), no socket and no clock: the caller passes the time.

A token is verified once and remembered by its exact text until it expires, so that a client which uses one token for
several requests to the same endpoint pays for one signature check.  Nonces need not be unique: the venue's own rule
binds a token to method, path and 120 seconds.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import Iterable

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from engine.errors import RemoteProtocolError

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_CACHE_SIZE = 4096
_MAX_TOKEN_CHARS = 4096


class AuthError(RemoteProtocolError):
    """The token is not good for this request.  The text is for the sandbox's own log: clients see ``Unauthorized``."""


class ApiKey(msgspec.Struct, frozen=True):
    """A registered key: public half only, what it may do and the portfolio it is bound to."""

    name: str
    public_key: PublicKey
    can_view: bool = True
    can_trade: bool = True
    can_transfer: bool = False
    portfolio: str = "default"


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""


class _Claims(msgspec.Struct):
    exp: int | float
    sub: str = ""
    nbf: int | float | None = None
    uri: str | None = None
    uris: list[str] | None = None


class _Verified(msgspec.Struct, frozen=True):
    key: ApiKey
    not_before_s: float
    expires_s: float
    targets: tuple[tuple[str, str], ...]


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_claims = msgspec.json.Decoder(_Claims).decode
_SHA256 = hashes.SHA256()


class Verifier:
    """Checks tokens against registered keys.  ``skew_s`` is how far the client's clock may be off."""

    def __init__(self, keys: Iterable[ApiKey], *, skew_s: float = 30.0) -> None:
        self._keys = {key.name: key for key in keys}
        self._skew_s = skew_s
        self._cache: OrderedDict[str, _Verified] = OrderedDict()
        self.signatures_checked = 0

    def add(self, key: ApiKey) -> None:
        self._keys[key.name] = key

    def names(self) -> list[str]:
        """Of every registered key."""
        return list(self._keys)

    def remove(self, name: str) -> ApiKey | None:
        """The key expired or was deleted: from now on nothing that it signed is good.  Returns it, if there was one."""
        self._cache.clear()
        return self._keys.pop(name, None)

    def permit(self, name: str, **permissions: bool) -> None:
        """Change what a key may do: ``can_view``, ``can_trade``, ``can_transfer``.  Raises ``KeyError``."""
        self._keys[name] = msgspec.structs.replace(self._keys[name], **permissions)
        self._cache.clear()

    def request(self, authorization: str, method: str, path: str, now_s: float) -> ApiKey:
        """The key behind a REST request.  ``path`` has no query string.  Raises ``AuthError``."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AuthError("no bearer token")
        verified = self._verify(token.strip(), now_s)
        if (method, path) not in verified.targets:
            raise AuthError(f"token is for {verified.targets}, request is {method} {path}")
        return verified.key

    def message(self, token: str, now_s: float) -> ApiKey:
        """The key behind a WebSocket message.  Raises ``AuthError``."""
        return self._verify(token, now_s).key

    def _verify(self, token: str, now_s: float) -> _Verified:
        verified = self._cache.get(token)
        if verified is None:
            verified = self._check_signature(token)
            self._cache[token] = verified
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        if verified.not_before_s > now_s + self._skew_s:
            raise AuthError(f"token starts {verified.not_before_s - now_s:.0f} s from now; check the client's clock")
        if verified.expires_s <= now_s - self._skew_s:
            self._cache.pop(token, None)
            raise AuthError(f"token expired {now_s - verified.expires_s:.0f} s ago")
        return verified

    def _check_signature(self, token: str) -> _Verified:
        parts = token.split(".")
        if len(parts) != 3 or len(token) > _MAX_TOKEN_CHARS:
            raise AuthError("token is not three parts")
        try:
            header = _decode_header(_b64(parts[0]))
            claims = _decode_claims(_b64(parts[1]))
            signature = _b64(parts[2])
        except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
            raise AuthError(f"token cannot be read: {type(error).__name__}") from None
        name = header.kid or claims.sub
        key = self._keys.get(name)
        if key is None or (claims.sub and claims.sub != name):
            raise AuthError(f"no key registered as {name[:80]!r}")
        self.signatures_checked += 1
        _verify_bytes(key.public_key, header.alg, signature, f"{parts[0]}.{parts[1]}".encode())
        uris = [*([claims.uri] if claims.uri else []), *(claims.uris or [])]
        return _Verified(
            key=key,
            not_before_s=float("-inf") if claims.nbf is None else float(claims.nbf),
            expires_s=float(claims.exp),
            targets=tuple(_target(uri) for uri in uris),
        )


def _verify_bytes(key: PublicKey, algorithm: str, signature: bytes, signed: bytes) -> None:
    """The algorithm must be the key's own: a token may not choose another."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            if algorithm != "ES256" or len(signature) != 64:
                raise AuthError(f"algorithm {algorithm[:16]!r} for an ES256 key")
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_SHA256))
        else:
            if algorithm != "EdDSA":
                raise AuthError(f"algorithm {algorithm[:16]!r} for an Ed25519 key")
            key.verify(signature, signed)
    except InvalidSignature:
        raise AuthError("signature does not match the registered key") from None


def _target(uri: str) -> tuple[str, str]:
    """``GET host:port/path`` -> ``("GET", "/path")``; some clients leave the scheme in front of the host."""
    method, _, rest = uri.partition(" ")
    for scheme in ("https://", "http://"):
        rest = rest.removeprefix(scheme)
    slash = rest.find("/")
    path = rest[slash:] if slash >= 0 else "/"
    return method.upper(), path.partition("?")[0]


def _b64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
