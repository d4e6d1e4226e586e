"""The crypto numbers of the Robinhood sheet by a client made from the venue's own pages: requests and an Ed25519 key.

The venue publishes no client, only how to sign; this one does that and nothing else, and shares no code with ours.
Settings: ``main`` (a market that the cases pin), ``reject`` (used ids are refused, v1 takes no time in force, cancels
answer in plain text), ``limited`` (a small bucket), each ``{rest, account, api_key, private_key, authority?}``.
``main`` speaks TLS.
"""

from __future__ import annotations

import base64
import datetime
import json
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import requests
from cases import List, eventually, operate
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

cases = List("robinhood", "signed requests")

BIDS = [["60000.00", "1"], ["59990.00", "1"]]
ASKS = [["60010.00", "1"], ["60020.00", "1"]]
CONFIGS: dict[str, dict[str, str]] = {
    "market": {"asset_quantity": "0.01"},
    "limit": {"asset_quantity": "0.01", "limit_price": "50000.00"},
    "stop_loss": {"asset_quantity": "0.01", "stop_price": "70000.00"},
    "stop_limit": {"asset_quantity": "0.01", "stop_price": "70000.00", "limit_price": "70100.00"},
}


class Client:
    """As the venue's sample: the message is key, timestamp, path with query, method and body."""

    def __init__(self, at: dict[str, Any]) -> None:
        self.rest, self.account = at["rest"], at["account"]
        self.api_key = at["api_key"]
        self.private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(at["private_key"]))
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = at.get("authority", True)

    def headers(self, method: str, path: str, body: str = "", seconds_off: int = 0) -> dict[str, str]:
        stamp = int(time.time()) + seconds_off
        signed = self.private.sign(f"{self.api_key}{stamp}{path}{method}{body}".encode())
        made = {
            "x-api-key": self.api_key,
            "x-signature": base64.b64encode(signed).decode(),
            "x-timestamp": str(stamp),
        }
        return {**made, "Content-Type": "application/json; charset=utf-8"} if body else made

    def send(
        self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None, timeout: float = 10
    ) -> requests.Response:
        return self.session.request(
            method,
            self.rest + path,
            headers=self.headers(method, path, body) if headers is None else headers,
            data=body.encode() if body else None,
            timeout=timeout,
        )

    def get(self, path: str, api: str = "v2", status: int = 200) -> Any:
        """``path`` below ``/api/v2/crypto``."""
        if api == "v2" and ("/orders" in path or "/holdings" in path):
            path += f"{'&' if '?' in path else '?'}account_number={self.account}"
        answer = self.send("GET", f"/api/{api}/crypto{path}")
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()

    def follow(self, path: str) -> Iterator[dict[str, Any]]:
        """Every row of a listing: ``next`` is a whole URL, whose path and query are signed anew."""
        page = self.get(path)
        while True:
            yield from page["results"]
            if page["next"] is None:
                return
            assert page["next"].startswith(self.rest)
            page = self.send("GET", page["next"].removeprefix(self.rest)).json()

    def body(self, kind: str, side: str = "buy", name: str = "", api: str = "v2", **config: Any) -> str:
        given = config or dict(CONFIGS[kind])
        if kind != "market" and api == "v2":
            given.setdefault("time_in_force", "gtc")
        order = {"client_order_id": name or str(uuid.uuid4()), "side": side, "type": kind, "symbol": "BTC-USD"}
        return json.dumps({**order, f"{kind}_order_config": given})

    def orders_path(self, api: str = "v2") -> str:
        return f"/api/{api}/crypto/trading/orders/" + (f"?account_number={self.account}" if api == "v2" else "")

    def post(self, body: str, api: str = "v2", status: int = 201) -> Any:
        answer = self.send("POST", self.orders_path(api), body)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json()

    def place(self, kind: str, status: int = 201, api: str = "v2", **fields: Any) -> Any:
        return self.post(self.body(kind, api=api, **fields), api, status)

    def order(self, order_id: str, api: str = "v2") -> Any:
        return self.get(f"/trading/orders/{order_id}/", api)

    def cancel(self, order_id: str, status: int = 200) -> requests.Response:
        path = f"/api/v2/crypto/trading/orders/{order_id}/cancel/?account_number={self.account}"
        answer = self.send("POST", path)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer

    def pin(self) -> None:
        operate(self.rest, act="pin", symbol="BTC-USD", bids=BIDS, asks=ASKS)

    def sells(self, quantity: str, price: str = "60005.00") -> None:
        operate(self.rest, act="trade", symbol="BTC-USD", side="sell", price=price, quantity=quantity)

    def attr(self, body: Any) -> Any:
        """The field that a refusal names."""
        assert body["type"] == "validation_error"
        (error,) = body["errors"]
        assert isinstance(error["detail"], str)
        return error["attr"]


def client_of(settings: dict[str, Any], name: str = "main") -> Client:
    made = Client(settings[name])
    made.pin()
    return made


@cases.case(1, "accounts of both generations; wrong keys, missing headers, missing scopes")
def accounts(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    one = client.get("/trading/accounts/", "v1")
    (row,) = client.get("/trading/accounts/")["results"]
    assert row["account_number"] == one["account_number"] == client.account
    assert Decimal(row["buying_power"]) == Decimal(one["buying_power"]) > 0
    path = "/api/v2/crypto/trading/accounts/"
    good = client.headers("GET", path)
    for name in good:
        answer = client.send("GET", path, headers={key: value for key, value in good.items() if key != name})
        assert answer.status_code == 400
        assert all(each in answer.text for each in good)
    for wrong in ({"x-api-key": "rh-api-other"}, {"x-signature": base64.b64encode(b"0" * 64).decode()}):
        assert client.send("GET", path, headers={**good, **wrong}).status_code == 401
    operate(client.rest, act="permit", can_read=False)
    assert client.send("GET", path).status_code == 403
    operate(client.rest, act="permit", can_read=True)


@cases.case(2, "how far a timestamp may be off")
def timestamps(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    path = "/api/v2/crypto/trading/accounts/"
    for seconds, status in ((-28, 200), (28, 200), (-32, 401), (32, 401)):
        assert client.send("GET", path, headers=client.headers("GET", path, "", seconds)).status_code == status
    operate(client.rest, act="skew", seconds="60")
    assert client.send("GET", path, headers=client.headers("GET", path, "", -50)).status_code == 200
    operate(client.rest, act="skew", seconds="30")


@cases.case(3, "what was signed is what counts: body, query, order of parameters")
def signatures(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    path, body = client.orders_path(), client.body("limit")
    signed = client.headers("POST", path, body)
    assert client.send("POST", path, body + " ", headers=signed).status_code == 401
    asked = f"{path}&limit=1&side=buy"
    assert client.send("GET", f"{path}&side=buy&limit=1", headers=client.headers("GET", asked)).status_code == 401
    assert client.send("POST", path, body, headers=signed).status_code == 201


@cases.case(4, "pairs, repeated symbols, pages")
def pairs(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    named = client.get("/trading/trading_pairs/?symbol=BTC-USD&symbol=ETH-USD")["results"]
    assert [row["symbol"] for row in named] == ["BTC-USD", "ETH-USD"]
    every = [row["symbol"] for row in client.follow("/trading/trading_pairs/?limit=1")]
    assert len(every) == len(set(every)) >= 2
    for row in named:
        assert all(isinstance(row[field], str) for field in ("quote_increment", "asset_increment", "max_order_size"))


@cases.case(5, "best bid and ask, estimates, holdings")
def prices(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    (row,) = client.get("/marketdata/best_bid_ask/?symbol=BTC-USD")["results"]
    assert (Decimal(row["bid"]), Decimal(row["ask"])) == (60000, 60010)
    (row,) = client.get("/marketdata/best_bid_ask/?symbol=BTC-USD", "v1")["results"]
    assert Decimal(row["bid_inclusive_of_sell_spread"]) < 60000
    assert Decimal(row["ask_inclusive_of_buy_spread"]) > 60010
    ten = ",".join("0.1" for _ in range(10))
    path = "/trading/estimated_price/?symbol=BTC-USD&side=ask&quantity="
    assert len(client.get(path + ten)["results"]) == 10
    client.get(f"{path}{ten},1", status=400)
    assert len(client.get("/marketdata/estimated_price/?symbol=BTC-USD&side=both&quantity=1", "v1")["results"]) == 2
    answer = client.send("GET", "/api/v2/crypto/trading/holdings/")
    assert answer.status_code == 400
    assert client.attr(answer.json()) == "account_number"
    assert isinstance(client.get("/trading/holdings/")["results"], list)


@cases.case(6, "each type with each time in force, in units or in money")
def types(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    for kind, config in CONFIGS.items():
        for time_in_force in ("gtc", "gfd", "gfw", "gfm") if kind != "market" else ("",):
            more = {"time_in_force": time_in_force} if time_in_force else {}
            made = client.place(kind, **config, **more)
            assert made[f"{kind}_order_config"] == {**config, **more}
            if kind != "market":
                client.cancel(made["id"])
        if kind == "market":
            continue
        both = {**config, "quote_amount": "100"}
        assert client.attr(client.place(kind, 400, **both)).startswith(f"{kind}_order_config.")
        neither = {name: value for name, value in config.items() if name != "asset_quantity"}
        assert client.attr(client.place(kind, 400, **neither)).startswith(f"{kind}_order_config.")
        client.cancel(client.place(kind, **neither, quote_amount="100")["id"])


@cases.case(6, "v1 with and without a time in force")
def types_v1(settings: dict[str, Any]) -> None:
    for name, status in (("main", 201), ("reject", 400)):
        client = client_of(settings, name)
        config = {**CONFIGS["limit"], "time_in_force": "gtc"}
        made = client.place("limit", status, "v1", **config)
        if status == 400:
            assert client.attr(made) == "limit_order_config.time_in_force"
        client.place("limit", 201, "v1")


@cases.case(7, "precision, least sizes, untradable pairs, buying power")
def bounds(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    good = CONFIGS["limit"]
    for changes, field in (
        ({"asset_quantity": "0.000000001"}, "asset_quantity"),
        ({"asset_quantity": "0.00000001"}, "asset_quantity"),
        ({"asset_quantity": "1000"}, "asset_quantity"),
        ({"limit_price": "50000.001"}, "limit_price"),
    ):
        assert client.attr(client.place("limit", 400, **{**good, **changes})) == f"limit_order_config.{field}"
    assert client.attr(client.place("limit", 400, **{**good, "asset_quantity": "15"})) == "non_field_errors"
    operate(client.rest, act="pair", symbol="BTC-USD", status="untradable")
    assert client.attr(client.place("limit", 400)) == "symbol"
    operate(client.rest, act="pair", symbol="BTC-USD", status="tradable")


@cases.case(8, "open, partially filled, filled: executions add up")
def fills(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    made = client.place("limit", asset_quantity="0.5", limit_price="60005.00")
    assert client.order(made["id"])["state"] == "open"
    client.sells("0.2")
    assert client.order(made["id"], "v1")["state"] == "partially_filled"
    client.sells("0.3")
    done = client.order(made["id"])
    assert done["state"] == "filled"
    quantities = [Decimal(one["quantity"]) for one in done["executions"]]
    assert sum(quantities) == Decimal(done["filled_asset_quantity"]) == Decimal("0.5")
    value = sum(Decimal(one["effective_price"]) * Decimal(one["quantity"]) for one in done["executions"])
    assert value / sum(quantities) == Decimal(done["average_price"]) == Decimal("60005")
    assert Decimal(done["fee_charged"]) > 0


@cases.case(9, "a cancel is acknowledged in words, then canceled; filled and unknown orders")
def cancels(settings: dict[str, Any]) -> None:
    for name in ("main", "reject"):
        client = client_of(settings, name)
        made = client.place("limit")
        answer = client.cancel(made["id"])
        text = answer.text if name == "reject" else answer.json()
        assert text == f"Cancel request was submitted for order {made['id']}"
        eventually(lambda client=client, made=made: client.order(made["id"])["state"] == "canceled")
        filled = client.place("market")
        assert client.order(filled["id"])["state"] == "filled"
        client.cancel(filled["id"], 400)
        client.cancel(str(uuid.uuid4()), 404)


@cases.case(10, "a client order id makes one order; a lost answer is found in the window of its time")
def idempotency(settings: dict[str, Any]) -> None:
    for venue in ("main", "reject"):
        client, name = client_of(settings, venue), str(uuid.uuid4())
        made = client.place("limit", name=name)
        again = client.place("limit", 400 if venue == "reject" else 201, name=name)
        if venue == "reject":
            assert client.attr(again) == "client_order_id"
        else:
            assert again["id"] == made["id"]
        lost = str(uuid.uuid4())
        operate(client.rest, act="answer", path="/orders/", method="POST", status=0, apply="before")
        try:
            client.place("limit", name=lost)
            raise AssertionError("answered")
        except requests.ConnectionError:
            pass
        since = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        listed = [row["client_order_id"] for row in client.follow(f"/trading/orders/?created_at_start={since}")]
        assert listed.count(lost) == listed.count(name) == 1


@cases.case(11, "filters of the list; pages stand still while orders arrive")
def listings(settings: dict[str, Any]) -> None:
    client = client_of(settings)
    before = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    made = [client.place("limit")["id"] for _ in range(5)]
    sold = client.place("market", side="sell", asset_quantity="0.01")
    path = f"/trading/orders/?created_at_start={before}"
    assert [row["id"] for row in client.follow(f"{path}&side=buy&symbol=BTC-USD&type=limit")] == made[::-1]
    assert [row["id"] for row in client.follow(f"{path}&state=filled")] == [sold["id"]]
    found = []
    for row in client.follow(f"{path}&limit=2"):
        found.append(row["id"])
        client.place("limit")
    assert found == [sold["id"], *made[::-1]]


@cases.case(12, "too many requests; 500, 503 in HTML, time-outs")
def trouble(settings: dict[str, Any]) -> None:
    client = client_of(settings, "limited")
    path = "/api/v2/crypto/trading/accounts/"
    statuses = [client.send("GET", path).status_code for _ in range(int(settings["limited"]["burst"]) + 1)]
    assert statuses[:-1] == [200] * (len(statuses) - 1)
    assert statuses[-1] == 429
    client = client_of(settings)
    for status, body, kind in ((500, "{}", "application/json"), (503, "<html></html>", "text/html")):
        operate(client.rest, act="answer", path="/accounts/", status=status, body=body, content_type=kind)
        answer = client.send("GET", path)
        assert (answer.status_code, answer.text) == (status, body)
    operate(client.rest, act="answer", path="/accounts/", late=True, delay_s=0.5)
    try:
        client.send("GET", path, timeout=0.1)
        raise AssertionError("answered")
    except requests.Timeout:
        pass


if __name__ == "__main__":
    cases.main()
