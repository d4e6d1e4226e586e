"""Who may ask what: the API key, the signature over the request as it was sent, and its time.

Owns that check.  Source: Binance spot API, "Request security": HMAC-SHA256 with the secret over query and body, hex.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from connectors.binance.sandbox.errors import ApiError, missing
from connectors.binance.sandbox.params import integer
from connectors.local.keys import SecretKey
from connectors.local.operator import Door

_AHEAD_MS = 1_000
_WINDOW_MS = 5_000
_MOST_WINDOW_MS = 60_000


class Access:
    """The one key of a sandbox, and what the operator has made of it (``door``)."""

    def __init__(self, key: SecretKey, door: Door) -> None:
        self._key = key
        self._door = door

    def check_key(self, api_key: str | None, *, trades: bool = False) -> None:
        """Raises ``ApiError`` 401."""
        if not api_key or len(api_key) < 16 or not api_key.isascii():
            raise ApiError(-2014, "API-key format invalid.", 401)
        known = self._door.known and hmac.compare_digest(api_key.encode(), self._key.apiKey.encode())
        if not known or (trades and not self._door.can_trade):
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", 401)

    def check_signature(self, payload: str, params: Mapping[str, str], now_ms: int) -> None:
        """``payload`` is what was signed.  Raises ``ApiError``: no signature, a wrong one, a time out of the window."""
        timestamp, window_ms = integer(params, "timestamp"), integer(params, "recvWindow", _WINDOW_MS)
        if not params.get("signature"):
            raise missing("signature")
        if window_ms > _MOST_WINDOW_MS:
            raise ApiError(-1131, f"recvWindow must be less than {_MOST_WINDOW_MS}.")
        wanted = hmac.new(self._key.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted.encode(), params["signature"].lower().encode()):
            raise ApiError(-1022, "Signature for this request is not valid.")
        if timestamp >= now_ms + _AHEAD_MS:
            raise ApiError(-1021, f"Timestamp for this request was {_AHEAD_MS}ms ahead of the server's time.")
        if now_ms - timestamp > window_ms:
            raise ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")
