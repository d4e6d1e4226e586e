"""What an error of the library says about an order: refused, certainly not sent, or nobody knows.

Owns the reading of exception classes, by their names: the library is not imported for it.  Pure.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from engine.refusals import worded

WORDS: Final = 200
_SECRET: Final = re.compile(
    r"(?i)((?:api-?key|signature|sign|secret|token|password|passphrase)\S{0,12}?[=:]\s*)[^\s&,}]+"
)
_LONG: Final = re.compile(r"[A-Za-z0-9+/=_\-.]{60,}")


class Verdict(enum.Enum):
    REFUSED = "refused"
    """The exchange said no, or the library did before anything left."""
    UNKNOWN = "unknown"
    """It may have been carried out."""


_BEFORE_THE_WIRE: Final = frozenset({"ArgumentsRequired", "BadSymbol", "NotSupported", "InvalidProxySettings"})
_REFUSALS: Final = frozenset(
    {
        *_BEFORE_THE_WIRE,
        "AuthenticationError", "PermissionDenied", "AccountNotEnabled", "AccountSuspended",
        "BadRequest", "OperationRejected", "MarketClosed", "ManualInteractionNeeded", "RestrictedLocation",
        "InsufficientFunds", "InvalidOrder", "OrderImmediatelyFillable", "OrderNotFillable", "ContractUnavailable",
    }
)  # fmt: skip
"""A class that stands here says no more than it means, and so do those derived from it.

Not among them, though the library derives them from one that is: ``DuplicateOrderId`` (the id is taken: by this very
order, when an answer was lost), ``OrderNotFound``.  A bare ``ExchangeError`` is none either: exchanges' 503s come as
one, and an order that an overloaded exchange answers for may live.
"""
_DOUBTFUL: Final = frozenset({"DuplicateOrderId", "OrderNotFound", "OrderNotCached", "ExchangeClosedByUser"})


def names_of(error: BaseException) -> list[str]:
    """The error's class and those it is derived from, nearest first."""
    return [each.__name__ for each in type(error).__mro__]


_LIMITS_REFUSE: Final = frozenset({"coinbase", "coinbaseexchange", "binance", "binanceus", "kraken", "okx", "bybit"})
"""Exchanges that count requests before they look at them: what is one too many was not carried out."""
_REFUSING_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "coinbase": ('"success":false',),
    "kraken": ('"error":["EOrder:', '"error":["EGeneral:Invalid arguments', '"error":["EQuery:'),
}
"""What stands in a definite refusal that the library has no class for: in answers with status 200."""


def verdict(error: BaseException, exchange: str = "") -> Verdict:
    """Of a request to create an order."""
    names = names_of(error)
    if "RateLimitExceeded" in names and exchange in _LIMITS_REFUSE:
        return Verdict.REFUSED
    if names[0] == "ExchangeError" and any(word in str(error) for word in _REFUSING_WORDS.get(exchange, ())):
        return Verdict.REFUSED
    for name in names:
        if name in _DOUBTFUL:
            return Verdict.UNKNOWN
        if name in _REFUSALS:
            return Verdict.REFUSED
    return Verdict.UNKNOWN


def is_gone(error: BaseException) -> bool:
    """Whether the exchange says that it has no such order."""
    return "OrderNotFound" in names_of(error)


def is_rate_limit(error: BaseException) -> bool:
    names = names_of(error)
    return "RateLimitExceeded" in names or "DDoSProtection" in names


def is_clock(error: BaseException) -> bool:
    """A nonce or a time that the exchange does not take."""
    return "InvalidNonce" in names_of(error) and "ChecksumError" not in names_of(error)


def is_key(error: BaseException) -> bool:
    return "AuthenticationError" in names_of(error) or "AccountSuspended" in names_of(error)


_REASONS: Final = (
    ("InsufficientFunds", "insufficient_funds"),
    ("OrderImmediatelyFillable", "post_only_would_cross"),
    ("DuplicateOrderId", "duplicate_client_id"),
    ("MarketClosed", "trading_halted"),
    ("BadSymbol", "unknown_instrument"),
    ("PermissionDenied", "permission_denied"),
    ("AuthenticationError", "unauthorized"),
    ("RateLimitExceeded", "rate_limited"),
    ("DDoSProtection", "rate_limited"),
    ("InvalidNonce", "clock"),
    ("RequestTimeout", "timeout"),
    ("TimeoutError", "timeout"),
    ("OnMaintenance", "maintenance"),
    ("ExchangeNotAvailable", "unavailable"),
    ("NotSupported", "unsupported"),
    ("ArgumentsRequired", "unsupported"),
    ("OrderNotFillable", "no_liquidity"),
    ("ContractUnavailable", "trading_halted"),
    ("AccountNotEnabled", "account_locked"),
    ("InvalidOrder", "invalid_request"),
    ("BadRequest", "invalid_request"),
    ("OperationRejected", "refused"),
)


def reason(error: BaseException) -> str:
    """One word of ours, of an order or of a question; of a refused order see ``refusal``."""
    names = names_of(error)
    for name, word in _REASONS:
        if name in names:
            return word
    return "exchange_error" if "ExchangeError" in names else type(error).__name__.lower()


def refusal(error: BaseException) -> tuple[str, str]:
    """``(word, text)`` of a refused order, as ``engine.refusals`` has them."""
    return worded(reason(error), words(error))


def cause(error: BaseException) -> str:
    """What the connection broke on, where the library names only what it asked for."""
    behind = error.__cause__
    if behind is None or "NetworkError" not in names_of(error):
        return ""
    said = words(behind)
    return "" if said.partition(": ")[2][:40] in words(error) else f" ({said})"


def advice(error: BaseException) -> str:
    """What to do about a question without an answer; empty where nothing is known to help."""
    names = names_of(error)
    if "OnMaintenance" in names:
        return "wait: see the exchange's status page"
    if "InvalidNonce" in names or is_rate_limit(error) or "NetworkError" not in names:
        return ""
    return "check this machine's network, its proxy (venue.proxy) and the exchange's status page"


def words(error: BaseException) -> str:
    """What the library says, in one line, without what could be a key or a signature: it quotes whole requests."""
    said = " ".join(str(error).encode("ascii", "backslashreplace").decode().split())
    said = _LONG.sub("[...]", _SECRET.sub(r"\1[...]", said))
    return f"{type(error).__name__}: {said[:WORDS]}"
