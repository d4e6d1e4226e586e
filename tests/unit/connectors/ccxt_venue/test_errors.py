"""What the library's errors say about an order."""

from __future__ import annotations

import pytest

from connectors.ccxt_venue import errors
from connectors.ccxt_venue.errors import Verdict
from connectors.ccxt_venue.library import load

REFUSED = (
    "ArgumentsRequired", "AuthenticationError", "PermissionDenied", "AccountNotEnabled", "AccountSuspended",
    "BadRequest", "BadSymbol", "OperationRejected", "NoChange", "MarketClosed", "ManualInteractionNeeded",
    "RestrictedLocation", "InsufficientFunds", "InvalidOrder", "OrderImmediatelyFillable", "OrderNotFillable",
    "ContractUnavailable", "NotSupported", "InvalidProxySettings",
)  # fmt: skip
UNKNOWN = (
    "BaseError", "ExchangeError", "OperationFailed", "NetworkError", "RequestTimeout", "ExchangeNotAvailable",
    "OnMaintenance", "RateLimitExceeded", "DDoSProtection", "InvalidNonce", "ChecksumError", "BadResponse",
    "NullResponse", "CancelPending", "DuplicateOrderId", "OrderNotFound", "OrderNotCached", "ExchangeClosedByUser",
)  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_one(name: str) -> None:
    """Classes of the installed library by which an exchange, or the library itself, says no."""
    assert errors.verdict(getattr(load(), name)("x")) is Verdict.REFUSED


@pytest.mark.parametrize("name", UNKNOWN)
def test_everything_else_leaves_the_order_unknown(name: str) -> None:
    """A bare ExchangeError too: a 503 of Coinbase comes as one, and the order may live."""
    assert errors.verdict(getattr(load(), name)("x")) is Verdict.UNKNOWN


def test_errors_that_are_not_the_librarys_leave_it_unknown() -> None:
    """A defect in the reading of an answer says nothing about the order."""
    for error in (TypeError("x"), KeyError("id"), TimeoutError(), ValueError("x")):
        assert errors.verdict(error) is Verdict.UNKNOWN
    assert errors.reason(TimeoutError()) == "timeout"
    assert errors.reason(KeyError("x")) == "keyerror"


def test_words_are_one_line_without_secrets() -> None:
    """The library quotes URLs and bodies, keys and signatures in them."""
    ccxt = load()
    said = errors.words(
        ccxt.RequestTimeout(f"kraken POST https://x/?apiKey=abc123&signature={'f' * 64}\n nonce=1 {'A' * 88}")
    )
    assert "abc123" not in said
    assert "ffff" not in said
    assert "AAAA" not in said
    assert said.isprintable()
    assert errors.reason(ccxt.InsufficientFunds("x")) == "insufficient_funds"
    assert errors.is_gone(ccxt.OrderNotFound("x"))
    assert errors.is_rate_limit(ccxt.RateLimitExceeded("x"))
    assert errors.is_key(ccxt.PermissionDenied("x"))
    assert errors.is_clock(ccxt.InvalidNonce("x"))
    assert not errors.is_clock(ccxt.ChecksumError("x"))


def test_what_an_exchange_refuses_in_no_class_of_its_own_is_refused_there_alone() -> None:
    """Coinbase's 200 that says no; a limit that is counted before a request is looked at."""
    ccxt = load()
    plain = ccxt.ExchangeError('coinbase {"success":false,"error_response":{"error":"X"}}')
    assert errors.verdict(plain, "coinbase") is Verdict.REFUSED
    assert errors.verdict(plain, "other") is Verdict.UNKNOWN
    assert errors.verdict(ccxt.ExchangeError('coinbase {"error":"UNAVAILABLE"}'), "coinbase") is Verdict.UNKNOWN
    assert errors.verdict(ccxt.RateLimitExceeded("x"), "kraken") is Verdict.REFUSED
    assert errors.verdict(ccxt.RateLimitExceeded("x"), "other") is Verdict.UNKNOWN
