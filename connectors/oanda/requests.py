"""Every request that the connector makes of OANDA: method, path and parameters, in one place.  Pure.

Owns these and nothing of what is done with them.  They are held against the endpoint classes of the client that other
people wrote (``tests/clients/test_oanda_endpoints.py``); why those are not loaded here is decision 0026.

Source: OANDA v20 REST API, endpoints (developer.oanda.com/rest-live-v20).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from connectors.oanda.wire import format_time

Params = tuple[tuple[str, str], ...]


class Request(msgspec.Struct, frozen=True):
    """``params`` are the query, not escaped yet.  A body is the caller's."""

    method: str
    path: str
    params: Params = ()


ACCOUNTS = Request("GET", "/v3/accounts")
"""Those that the token opens."""


def details(account: str) -> Request:
    """One moment of everything."""
    return Request("GET", _of(account))


def instruments(account: str) -> Request:
    return Request("GET", f"{_of(account)}/instruments")


def pricing(account: str, names: Sequence[str], *, conversions: bool = False) -> Request:
    more: Params = (("includeHomeConversions", "true"),) if conversions else ()
    return Request("GET", f"{_of(account)}/pricing", (("instruments", ",".join(names)), *more))


def candles(name: str, *params: tuple[str, str]) -> Request:
    """Middle prices on the grid of UTC days, whatever the venue's own day is."""
    aligned = (("price", "M"), ("dailyAlignment", "0"), ("alignmentTimezone", "UTC"))
    return Request("GET", f"/v3/instruments/{name}/candles", (*params, *aligned))


def transactions_since(account: str, number: int) -> Request:
    return Request("GET", f"{_of(account)}/transactions/sinceid", (("id", str(number)),))


def transactions_from(account: str, ts_ns: int) -> Request:
    """Addresses of the ranges that lie after a time."""
    return Request("GET", f"{_of(account)}/transactions", (("from", format_time(ts_ns)), ("pageSize", "1000")))


def price_stream(account: str, names: Sequence[str]) -> Request:
    """On the host of streams, as the other one is."""
    return Request("GET", f"{_of(account)}/pricing/stream", (("instruments", ",".join(names)), ("snapshot", "true")))


def transaction_stream(account: str) -> Request:
    return Request("GET", f"{_of(account)}/transactions/stream")


def create_order(account: str) -> Request:
    return Request("POST", f"{_of(account)}/orders")


def trade_exits(account: str, trade: str) -> Request:
    """What a trade is to be closed by."""
    return Request("PUT", f"{_of(account)}/trades/{_quoted(trade)}/orders")


def cancel_order(account: str, which: str) -> Request:
    """``which`` is the venue's number, or ``@`` and our id."""
    return Request("PUT", f"{_of(account)}/orders/{_quoted(which)}/cancel")


def _of(account: str) -> str:
    return f"/v3/accounts/{account}"


def _quoted(which: str) -> str:
    """In a path: our ids are letters, digits and hyphens; whatever else one holds is escaped."""
    return "".join(
        each if each.isascii() and (each.isalnum() or each in "-._@") else "".join(f"%{b:02X}" for b in each.encode())
        for each in which
    )
