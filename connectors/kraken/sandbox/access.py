"""Who may ask what: the API key, a nonce that only grows, the signature, and tokens for WebSockets.

Owns that check.  Source: Kraken spot REST API, "Authentication": ``API-Sign`` is HMAC-SHA512 with the decoded secret
over the path and SHA-256 of nonce and body, in base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict

from connectors.kraken.sandbox.errors import ApiError
from connectors.kraken.sandbox.settings import KrakenSettings, RateLimits
from connectors.local.keys import SecretKey
from connectors.local.operator import Door
from engine.errors import ConfigError

_NS = 1_000_000_000
_MOST_TOKENS = 1_024


class Access:
    """The one key of a sandbox, and what the operator has made of it (``door``).  Raises ``ConfigError`` for a secret
    that is not base64."""

    def __init__(self, key: SecretKey, door: Door, settings: KrakenSettings) -> None:
        try:
            self._secret = base64.b64decode(key.secret, validate=True)
        except binascii.Error:
            raise ConfigError("the secret of the key file cannot be decoded", expected="base64") from None
        self._key = key
        self._door = door
        self._settings = settings
        self._nonce = -1
        self._tokens: OrderedDict[str, int] = OrderedDict()
        self._calls = _Counter()
        self._orders: dict[str, _Counter] = {}

    def check(self, api_key: str | None, signature: str | None, path: str, nonce: str, body: str) -> None:
        """Raises ``ApiError``."""
        if not api_key or not self._door.known or not hmac.compare_digest(api_key.encode(), self._key.apiKey.encode()):
            raise ApiError("EAPI:Invalid key")
        if not nonce.isascii() or not nonce.isdecimal() or len(nonce) > 20:
            raise ApiError("EAPI:Invalid nonce")
        digest = hashlib.sha256((nonce + body).encode()).digest()
        wanted = base64.b64encode(hmac.new(self._secret, path.encode() + digest, hashlib.sha512).digest())
        if not hmac.compare_digest(wanted, (signature or "").encode()):
            raise ApiError(self._settings.signature_error)
        if int(nonce) <= self._nonce:
            raise ApiError("EAPI:Invalid nonce")
        self._nonce = int(nonce)

    def check_trading(self) -> None:
        if not self._door.can_trade:
            raise ApiError("EGeneral:Permission denied")

    # --- tokens -------------------------------------------------------------------------------------------------------

    def new_token(self, now_ns: int) -> str:
        """For WebSockets; one that no connection uses is worth nothing after ``token_life_s``."""
        token = secrets.token_urlsafe(32)
        self._tokens[token] = now_ns + int(self._settings.token_life_s * _NS)
        if len(self._tokens) > _MOST_TOKENS:
            self._tokens.popitem(last=False)
        return token

    def check_token(self, token: object, now_ns: int) -> None:
        """Raises ``ApiError``."""
        known = isinstance(token, str) and self._door.known and self._tokens.get(token, 0) > now_ns
        if not known:
            raise ApiError("EAPI:Invalid token" if not isinstance(token, str) else "ESession:Invalid session")

    # --- limits -------------------------------------------------------------------------------------------------------

    def take_call(self, cost: float, now_ns: int) -> None:
        """Raises ``ApiError`` when the counter of REST is full."""
        limits: RateLimits | None = self._settings.rate_limits
        if limits is not None and not self._calls.take(cost, limits.calls, limits.calls_decay_per_s, now_ns):
            raise ApiError("EAPI:Rate limit exceeded")

    def take_order(self, symbol: str, now_ns: int) -> None:
        """Raises ``ApiError`` when the counter of orders in that market is full."""
        limits = self._settings.rate_limits
        if limits is None:
            return
        counter = self._orders.setdefault(symbol, _Counter())
        if not counter.take(1.0, limits.orders, limits.orders_decay_per_s, now_ns):
            raise ApiError("EOrder:Rate limit exceeded")


class _Counter:
    def __init__(self) -> None:
        self._level = 0.0
        self._at_ns = 0

    def take(self, cost: float, most: float, decay_per_s: float, now_ns: int) -> bool:
        self._level = max(0.0, self._level - (now_ns - self._at_ns) / _NS * decay_per_s)
        self._at_ns = now_ns
        if self._level + cost > most:
            return False
        self._level += cost
        return True
