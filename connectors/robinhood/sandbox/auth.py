"""Who signed a request, and whether the key may do what it asks.

Owns the registered keys and the check of the three headers.  The message that is signed is key, timestamp, path with
query as it was sent, method and body, put together without separators; the timestamp is seconds of UTC in decimals and
may be ``skew_s`` away from ours.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors.robinhood.sandbox.errors import ApiError

HEADERS = ("x-api-key", "x-signature", "x-timestamp")


class ApiKey(msgspec.Struct):
    """``public_key`` parsed; what it may do."""

    api_key: str
    public_key: Ed25519PublicKey
    can_read: bool = True
    can_trade: bool = True


class Verifier:
    """The keys of one account."""

    def __init__(self, keys: Iterable[ApiKey], *, skew_s: float = 30.0) -> None:
        self._keys = {key.api_key: key for key in keys}
        self._expired: dict[str, ApiKey] = {}
        self.skew_s = skew_s

    def check(self, headers: Mapping[str, str], method: str, target: str, body: bytes, now_s: float) -> ApiKey:
        """The key of a request; ``target`` is path and query as they were sent.  Raises ``ApiError`` 400, 401."""
        given = [headers.get(name, "") for name in HEADERS]
        if not all(given):
            raise ApiError(400, f"Missing required headers: {', '.join(HEADERS)}.")
        name, signature, stamp = given
        key = self._keys.get(name)
        if key is None:
            raise ApiError(401, "Invalid API key.")
        if not (stamp.isascii() and stamp.isdecimal()) or len(stamp) > 12 or abs(int(stamp) - now_s) > self.skew_s:
            raise ApiError(401, "Timestamp is invalid or has expired.")
        message = f"{name}{stamp}{target}{method}".encode() + body
        try:
            key.public_key.verify(base64.b64decode(signature, validate=True), message)
        except (InvalidSignature, binascii.Error, ValueError):
            raise ApiError(401, "Invalid signature.") from None
        return key

    def expire(self) -> None:
        """No key is taken any more."""
        self._expired |= self._keys
        self._keys = {}

    def restore(self) -> None:
        self._keys |= self._expired
        self._expired = {}

    def permit(self, *, can_read: bool | None = None, can_trade: bool | None = None) -> None:
        """What every key may do from now on."""
        for key in self._keys.values():
            key.can_read = key.can_read if can_read is None else can_read
            key.can_trade = key.can_trade if can_trade is None else can_trade
