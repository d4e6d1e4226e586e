"""Signatures, nonces, tokens and counters of the Kraken sandbox, held against the venue's own worked example."""

from __future__ import annotations

import pytest

from connectors.kraken.sandbox.access import Access
from connectors.kraken.sandbox.errors import ApiError
from connectors.kraken.sandbox.settings import KrakenSettings, RateLimits
from connectors.local.keys import SecretKey
from connectors.local.operator import Door
from engine.errors import ConfigError

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
BODY = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
SIGNATURE = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
PATH = "/0/private/AddOrder"
"""The example of the venue's documents."""
NS = 1_000_000_000


def access(**given: object) -> tuple[Access, Door]:
    door = Door()
    return Access(SecretKey("key", SECRET), door, KrakenSettings(**given)), door  # type: ignore[arg-type]


def refused(asked: object, *args: object) -> str:
    with pytest.raises(ApiError) as caught:
        asked(*args)  # type: ignore[operator]
    return str(caught.value)


def test_the_documented_example_is_accepted_once() -> None:
    """Its nonce is used up by it, and not by a request that was refused."""
    made, door = access()
    check = made.check
    assert refused(check, "key", SIGNATURE[1:], PATH, "1616492376594", BODY) == "EAPI:Invalid signature"
    assert refused(check, "key", None, PATH, "1616492376594", BODY) == "EAPI:Invalid signature"
    assert refused(check, "other", SIGNATURE, PATH, "1616492376594", BODY) == "EAPI:Invalid key"
    assert refused(check, None, SIGNATURE, PATH, "1616492376594", BODY) == "EAPI:Invalid key"
    assert refused(check, "key", SIGNATURE, PATH, "soon", BODY) == "EAPI:Invalid nonce"
    check("key", SIGNATURE, PATH, "1616492376594", BODY)
    assert refused(check, "key", SIGNATURE, PATH, "1616492376594", BODY) == "EAPI:Invalid nonce"
    door.known = False
    assert refused(check, "key", SIGNATURE, PATH, "1616492376594", BODY) == "EAPI:Invalid key"


def test_a_wrong_signature_may_be_called_a_wrong_key() -> None:
    """By a switch: the venue's list has both texts."""
    made, _ = access(signature_error="EAPI:Invalid key")
    assert refused(made.check, "key", "x", PATH, "1", BODY) == "EAPI:Invalid key"


def test_a_secret_that_is_no_base64_cannot_be_served() -> None:
    """And is not quoted."""
    with pytest.raises(ConfigError) as caught:
        Access(SecretKey("key", "s3cret!"), Door(), KrakenSettings())
    assert "s3cret" not in str(caught.value)


def test_a_token_lives_for_its_time() -> None:
    """Another one, none at all, and one of a key that is gone are refused."""
    made, door = access(token_life_s=10)
    token = made.new_token(0)
    made.check_token(token, 9 * NS)
    for other in ("other", None, ["a"], 7):
        assert refused(made.check_token, other, 0) in {"ESession:Invalid session", "EAPI:Invalid token"}
    assert refused(made.check_token, token, 10 * NS) == "ESession:Invalid session"
    door.known = False
    assert refused(made.check_token, token, 0) == "ESession:Invalid session"


def test_counters_fill_with_requests_and_empty_with_time() -> None:
    """One for requests, and one for orders in each market."""
    made, _ = access(rate_limits=RateLimits(calls=3, calls_decay_per_s=1, orders=1, orders_decay_per_s=0.5))
    made.take_call(2, 0)
    assert refused(made.take_call, 2, 0) == "EAPI:Rate limit exceeded"
    made.take_call(2, NS)
    made.take_order("BTC/USD", 0)
    made.take_order("ETH/USD", 0)
    assert refused(made.take_order, "BTC/USD", NS) == "EOrder:Rate limit exceeded"
    made.take_order("BTC/USD", 2 * NS)
