"""API keys of the official crypto API and the signatures made with them.

Owns the private key (parsed once).  Every request is signed by itself: the message is key, timestamp, path with query
as it will be sent, method and body, without separators; the timestamp (seconds) is good for 30 s.  The secret never
leaves this module: not in ``repr``, not in errors, not in logs.  Does no I/O but reading the key file.

Source: Robinhood Crypto Trading API, authentication (docs.robinhood.com/crypto/trading).
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from engine.errors import ConfigError

NS_PER_S = 1_000_000_000
PLAY_KEY: Final = "rh-api-00000000-0000-4000-8000-"
"""What the names of the keys begin with that a sandbox makes."""
_EXPECTED: Final = 'JSON with "api_key" and "private_key" (Ed25519, base64 of 32 bytes), as they were made'


class _KeyFile(msgspec.Struct):
    api_key: str
    private_key: str


class Key:
    """One API key: its name, which is no secret by itself, and the Ed25519 key that signs for it."""

    def __init__(self, api_key: str, secret: str) -> None:
        """``secret``: base64 of the seed (32 bytes), or of seed and public key (64).

        Raises ``ConfigError`` for anything else; the text never shows the secret.
        """
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ConfigError("API key name is empty or no plain text", expected="the form rh-api-...")
        try:
            raw = base64.b64decode(secret.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise _no_key("not base64") from None
        if len(raw) not in (32, 64):
            raise _no_key(f"base64 of {len(raw)} bytes")
        self.api_key = api_key
        self._private = Ed25519PrivateKey.from_private_bytes(raw[:32])

    def __repr__(self) -> str:
        return "Key(Ed25519)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a key is never pickled or copied")

    @property
    def is_play(self) -> bool:
        """Made by a sandbox, for play money."""
        return self.api_key.startswith(PLAY_KEY)

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._private.public_key()

    @classmethod
    def from_file(cls, path: str | Path) -> Key:
        """Read ``{"api_key":"rh-api-...","private_key":"..."}``.  Raises ``ConfigError``."""
        try:
            data = Path(path).expanduser().read_bytes()
        except OSError as error:
            raise ConfigError(
                f"key file {path}: {error.strerror or 'cannot be read'}",
                expected="a readable JSON key file",
                do="correct key_file",
            ) from None
        try:
            content = msgspec.json.decode(data, type=_KeyFile)
        except (msgspec.DecodeError, ValueError, RecursionError):
            # The decoder's text could quote the file.
            raise ConfigError(f"key file {path} is not a key file", expected=_EXPECTED) from None
        return cls(content.api_key, content.private_key)

    def headers(self, now_ns: int, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        """For one request at ``now_ns`` (venue's clock); ``target`` is path and query exactly as they will be sent."""
        stamp = str(now_ns // NS_PER_S)
        message = f"{self.api_key}{stamp}{target}{method}".encode() + body
        signature = base64.b64encode(self._private.sign(message)).decode()
        return {"x-api-key": self.api_key, "x-signature": signature, "x-timestamp": stamp}

    def request(self, now_ns: int, method: str, target: str, host: str, body: bytes = b"") -> bytes:
        """A whole HTTP/1.1 request, signed for this moment."""
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {host}",
            "User-Agent: kestrel",
            "Accept: application/json",
            *(f"{name}: {value}" for name, value in self.headers(now_ns, method, target, body).items()),
        ]
        if body:
            lines.append("Content-Type: application/json; charset=utf-8")
        lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _no_key(seen: str) -> ConfigError:
    return ConfigError(f"API private key is {seen}", expected="base64 of an Ed25519 key", do="use it as it was made")
