"""Signatures of the Binance sandbox, held against the venue's own worked example."""

from __future__ import annotations

import pytest

from connectors.binance.sandbox.access import Access
from connectors.binance.sandbox.errors import ApiError
from connectors.binance.sandbox.params import params_of, payload_of
from connectors.local.keys import SecretKey
from connectors.local.operator import Door

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
FIRST = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
SECOND = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
AT_MS = 1_499_827_319_559
"""The example of the venue's documents: as a query, as a body, and mixed, which joins both without a separator."""


@pytest.mark.parametrize(
    ("query", "body", "signature"),
    [
        (f"{FIRST}&{SECOND}", "", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        ("", f"{FIRST}&{SECOND}", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        (FIRST, SECOND, "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"),
    ],
)
def test_the_documented_examples_are_accepted(query: str, body: str, signature: str) -> None:
    """And refused when a letter of it is another one."""
    access = Access(SecretKey(KEY, SECRET), Door())
    for text, good in ((signature, True), (signature[:-1] + "x", False)):
        signed_query, signed_body = (
            (f"{query}&signature={text}", "") if not body else (query, f"{body}&signature={text}")
        )
        payload, params = payload_of(signed_query, signed_body), params_of(signed_query, signed_body)
        if good:
            access.check_signature(payload, params, AT_MS + 4_000)
            continue
        with pytest.raises(ApiError) as caught:
            access.check_signature(payload, params, AT_MS + 4_000)
        assert caught.value.code == -1022


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"timestamp": ""}, -1102),
        ({"timestamp": "soon"}, -1100),
        ({"signature": ""}, -1102),
        ({"recvWindow": "60001"}, -1131),
    ],
)
def test_what_is_missing_or_no_number_is_told(changes: dict[str, str], code: int) -> None:
    """Before the signature is looked at."""
    params = {"timestamp": "1", "signature": "x", **changes}
    with pytest.raises(ApiError) as caught:
        Access(SecretKey(KEY, SECRET), Door()).check_signature("", params, AT_MS)
    assert caught.value.code == code


def test_a_parameter_may_not_be_there_twice() -> None:
    """In query and body together."""
    with pytest.raises(ApiError) as caught:
        params_of("symbol=A", "symbol=B")
    assert caught.value.code == -1101


@pytest.mark.parametrize("key", [None, "", "short", "é" * 64])
def test_a_key_of_no_form_is_another_error_than_an_unknown_one(key: str | None) -> None:
    """Both are HTTP 401."""
    access = Access(SecretKey(KEY, SECRET), Door())
    for given, code in ((key, -2014), ("a" * 64, -2015)):
        with pytest.raises(ApiError) as caught:
            access.check_key(given)
        assert (caught.value.code, caught.value.status) == (code, 401)
    access.check_key(KEY, trades=True)
