"""How the scripts talk to an OANDA sandbox by oandapyV20.

Settings: ``main`` (quotes that stand still), ``lively``, ``strict`` (client ids are unique), ``limited`` (one stream),
each ``{rest, account, token, authority?}``.  ``main`` speaks TLS.
"""

from __future__ import annotations

import json
from typing import Any

from cases import operate
from oandapyV20 import API
from oandapyV20.endpoints import accounts, orders, trades, transactions
from oandapyV20.exceptions import V20Error
from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS


class Venue:
    """One sandbox by the client; ``ask`` returns the client's own response."""

    def __init__(self, at: dict[str, Any], token: str | None = None) -> None:
        self.rest, self.account = at["rest"], at["account"]
        self.token = at["token"] if token is None else token
        name = self.rest
        TRADING_ENVIRONMENTS[name] = {"api": self.rest, "stream": self.rest}
        self.trust = {"verify": at["authority"]} if "authority" in at else {}
        self.api = API(access_token=self.token, environment=name, request_params={"timeout": 10, **self.trust})

    def ask(self, endpoint: Any) -> dict[str, Any]:
        self.api.request(endpoint)
        found: dict[str, Any] = endpoint.response
        return found

    def order(self, kind: str, status: int = 201, **fields: Any) -> dict[str, Any]:
        given = {"type": kind, **fields}
        if "tradeID" not in fields and "clientTradeID" not in fields:
            given.setdefault("instrument", "EUR_USD")
        endpoint = orders.OrderCreate(self.account, data={"order": given})
        made = self.ask(endpoint)
        assert endpoint.status_code == status, endpoint.status_code
        return made

    def refused(self, endpoint: Any, code: int) -> dict[str, Any]:
        error = failure(self.api, endpoint)
        assert error.code == code, (error.code, error.msg)
        body: dict[str, Any] = json.loads(error.msg)
        return body

    def pin(self, bid: str = "1.08400", ask: str = "1.08410", units: str = "1000000") -> None:
        operate(self.rest, act="pin", instrument="EUR_USD", bids=[[bid, units]], asks=[[ask, units]])

    def last(self) -> str:
        found: str = self.ask(accounts.AccountSummary(self.account))["lastTransactionID"]
        return found

    def since(self, number: str) -> list[dict[str, Any]]:
        found = self.ask(transactions.TransactionsSinceID(self.account, {"id": number}))["transactions"]
        assert isinstance(found, list)
        return found

    def flat(self) -> None:
        """No open orders, no position, the usual quote."""
        self.pin()
        for order in self.ask(orders.OrdersPending(self.account))["orders"]:
            if "tradeID" not in order:
                self.ask(orders.OrderCancel(self.account, order["id"]))
        for trade in self.ask(trades.OpenTrades(self.account))["trades"]:
            self.ask(trades.TradeClose(self.account, trade["id"]))


def failure(api: API, endpoint: Any, *, streams: bool = False) -> V20Error:
    """The client's own error of a request, or of the first line of a stream."""
    try:
        made = api.request(endpoint)
        if streams:
            made = next(made)
    except V20Error as error:
        return error
    raise AssertionError(f"accepted: {made}")


def main_venue(settings: dict[str, Any]) -> Venue:
    venue = Venue(settings["main"])
    venue.flat()
    return venue


def contrib_extensions(client_id: str) -> dict[str, str]:
    from oandapyV20.contrib.requests import ClientExtensions

    made: dict[str, str] = ClientExtensions(clientID=client_id, clientTag="t", clientComment="c").data
    return made
