"""How the scripts make clients of the official Coinbase library, and what they ask of it in one line."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import requests
from coinbase.rest import RESTClient

BTC = "BTC-USD"
PERPETUAL, DATED = "BIP-20DEC30-CDE", "BIT-27DEC30-CDE"
ZERO = Decimal(0)


def rest(at: dict[str, str], key_file: str = "", **options: Any) -> RESTClient:
    """A client of one sandbox; plain HTTP needs an adapter, because the library writes ``https://`` itself."""
    scheme, _, host = at["rest"].partition("://")
    client = RESTClient(key_file=key_file or at["key_file"], base_url=host, timeout=20, **options)
    _reach(client, at, scheme)
    return client


def public(at: dict[str, str]) -> RESTClient:
    """Without a key."""
    scheme, _, host = at["rest"].partition("://")
    client = RESTClient(base_url=host, timeout=20)
    _reach(client, at, scheme)
    return client


def _reach(client: RESTClient, at: dict[str, str], scheme: str) -> None:
    client.session.trust_env = False
    if scheme == "https":
        client.session.verify = at["authority"]
    else:
        client.session.mount("https://", _Plain())


class _Plain(requests.adapters.HTTPAdapter):
    """The same request, without TLS."""

    def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *arguments, **options)

    def get_connection_with_tls_context(self, request: Any, *arguments: Any, **options: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().get_connection_with_tls_context(request, *arguments, **options)


def name() -> str:
    return uuid.uuid4().hex


def best(client: RESTClient, product_id: str = BTC) -> tuple[Decimal, Decimal]:
    book = client.get_product_book(product_id, limit=1).to_dict()["pricebook"]
    return Decimal(book["bids"][0]["price"]), Decimal(book["asks"][0]["price"])


def order_id(reply: Any) -> str:
    """Of an order that was taken."""
    made = reply.to_dict()
    assert made["success"], made
    return made["success_response"]["order_id"]  # type: ignore[no-any-return]


def refusal(reply: Any) -> tuple[str, str]:
    made = reply.to_dict()
    assert made["success"] is False, made
    return made["error_response"]["error"], made["error_response"]["preview_failure_reason"]


def order(client: RESTClient, of: str) -> dict[str, Any]:
    return client.get_order(of).to_dict()["order"]  # type: ignore[no-any-return]


def fills(client: RESTClient, of: str) -> list[dict[str, Any]]:
    return client.get_fills(order_ids=[of]).to_dict()["fills"]  # type: ignore[no-any-return]


def money(client: RESTClient) -> dict[str, tuple[Decimal, Decimal]]:
    """``(available, hold)`` by currency."""
    accounts = client.get_accounts(limit=250).to_dict()["accounts"]
    return {
        one["currency"]: (Decimal(one["available_balance"]["value"]), Decimal(one["hold"]["value"])) for one in accounts
    }


def total(client: RESTClient, currency: str) -> Decimal:
    return sum(money(client)[currency], ZERO)


def status_of(call: Any, *arguments: Any, **options: Any) -> tuple[int, str]:
    """Of a call that has to fail: the HTTP status and the text of the error."""
    try:
        call(*arguments, **options)
    except requests.exceptions.HTTPError as error:
        return error.response.status_code, f"{error} {error.response.text}"
    raise AssertionError("the call went well")
