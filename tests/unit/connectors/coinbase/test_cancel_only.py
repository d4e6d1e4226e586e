"""All that the watchdog can say to Coinbase, against a server of the test's own that answers as it is told."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors.coinbase.cancel_only import CANCEL_PATH, LIST_PATH, TIME_PATH, CancelOnly, encode_cancels, open_account
from engine.errors import ConfigError, VenueError
from tests.support.durable import key_pair_file

Answer = tuple[int, bytes]


class Venue:
    """``answers``: by path, a function of the request's query and body."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.tokens: list[dict[str, Any]] = []
        self.ahead_s = 0.0
        self.drips = False
        self.answers: dict[str, Callable[[dict[str, list[str]], bytes], Answer]] = {
            TIME_PATH: lambda _query, _body: said(epochMillis=str(int((time.time() + self.ahead_s) * 1000))),
            LIST_PATH: lambda _query, _body: said(orders=[]),
        }

    def handler(self) -> type[BaseHTTPRequestHandler]:
        venue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, body: bytes) -> None:
                url = urlsplit(self.path)
                venue.asked.append((self.command, url.path))
                if token := self.headers.get("Authorization"):
                    claims = token.removeprefix("Bearer ").split(".")[1]
                    venue.tokens.append(json.loads(base64.urlsafe_b64decode(claims + "==")))
                status, content = venue.answers[url.path](parse_qs(url.query), body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) + 100 * venue.drips))
                self.end_headers()
                self.wfile.write(content)
                while venue.drips:
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.05)

            def log_message(self, *_arguments: object) -> None: ...

        return Handler


def said(**content: Any) -> Answer:
    return 200, json.dumps(content).encode()


@pytest.fixture
def venue() -> Iterator[Venue]:
    found = Venue()
    server = HTTPServer(("127.0.0.1", 0), found.handler())
    found.port = server.server_port  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield found
    found.drips = False
    server.shutdown()
    server.server_close()


@pytest.fixture
def account(venue: Venue, tmp_path: Path) -> CancelOnly:
    settings = {
        "rest_url": f"http://127.0.0.1:{venue.port}",  # type: ignore[attr-defined]
        "key_file": str(key_pair_file(tmp_path)),
        "timeout_s": 0.5,
    }
    return open_account(settings)


def test_all_pages_of_all_open_statuses_are_read(venue: Venue, account: CancelOnly) -> None:
    """What is pending first, then what is open, each to its last page; an order in both counts once."""

    def page(query: dict[str, list[str]], _body: bytes) -> Answer:
        if "OPEN" not in query["order_status"]:
            return said(orders=[{"order_id": "a"}])
        if "cursor" in query:
            return said(orders=[{"order_id": "c"}], has_next=False, cursor="")
        return said(orders=[{"order_id": "a"}, {"order_id": "b"}], has_next=True, cursor="2")

    venue.answers[LIST_PATH] = page
    assert account.open_orders() == ["a", "b", "c"]
    assert venue.asked == [("GET", TIME_PATH), *[("GET", LIST_PATH)] * 3]


def test_a_listing_without_end_is_no_listing(venue: Venue, account: CancelOnly) -> None:
    """A cursor that goes on for ever: an error, not the orders so far."""
    venue.answers[LIST_PATH] = lambda _query, _body: said(orders=[], has_next=True, cursor="again")
    with pytest.raises(VenueError, match="did not end"):
        account.open_orders()


@pytest.mark.fault("B18")
def test_each_cancel_has_a_result_of_its_own(venue: Venue, account: CancelOnly) -> None:
    """Taken, refused, refused without a word, and not mentioned at all."""
    results = [
        {"order_id": "a", "success": True, "failure_reason": "UNKNOWN_CANCEL_FAILURE_REASON"},
        {"order_id": "b", "success": False, "failure_reason": "UNKNOWN_CANCEL_ORDER"},
        {"order_id": "c", "success": False},
    ]
    bodies: list[bytes] = []
    venue.answers[CANCEL_PATH] = lambda _query, body: (bodies.append(body), said(results=results))[1]
    assert account.cancel(["a", "b", "c", "d"]) == {
        "a": "",
        "b": "UNKNOWN_CANCEL_ORDER",
        "c": "refused",
        "d": "not answered",
    }
    assert bodies == [encode_cancels(["a", "b", "c", "d"])] == [b'{"order_ids":["a","b","c","d"]}']


@pytest.mark.fault("C16")
def test_tokens_are_of_the_venues_time_and_of_one_request_each(venue: Venue, account: CancelOnly) -> None:
    """The venue's clock is an hour ahead; after a refused token it is asked again, since it may have moved."""
    venue.ahead_s = 3600
    account.open_orders()
    first = venue.tokens[0]
    assert first["nbf"] == pytest.approx(time.time() + 3595, abs=5)
    assert first["uri"] == f"GET 127.0.0.1:{venue.port}{LIST_PATH}"  # type: ignore[attr-defined]
    venue.answers[LIST_PATH] = lambda _query, _body: (401, b"unauthorized")
    with pytest.raises(VenueError, match="HTTP 401: unauthorized"):
        account.open_orders()
    venue.ahead_s = 0
    venue.answers[LIST_PATH] = lambda _query, _body: said(orders=[])
    account.open_orders()
    assert venue.asked.count(("GET", TIME_PATH)) == 2
    assert venue.tokens[-1]["nbf"] == pytest.approx(time.time() - 5, abs=5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((429, b"slow down"), "HTTP 429: slow down"),
        ((503, b"<html>\n"), "HTTP 503: <html>"),
        ((302, b""), "HTTP 302"),
        ((200, b"{"), "unreadable answer"),
        ((200, b'{"orders": 5}'), "unreadable answer"),
        ((200, b"null"), "unreadable answer"),
    ],
)
@pytest.mark.fault("C14")
def test_what_is_no_listing_is_never_read_as_no_orders(
    answer: Answer, error: str, venue: Venue, account: CancelOnly
) -> None:
    """Refused, redirected, unreadable: an error of one line each."""
    venue.answers[LIST_PATH] = lambda _query, _body: answer
    with pytest.raises(VenueError, match=error):
        account.open_orders()


@pytest.mark.fault("C1")
def test_an_answer_that_drips_or_never_comes_is_bounded(venue: Venue, account: CancelOnly, tmp_path: Path) -> None:
    """Bytes now and then keep no socket timeout from passing; a closed port is an error at once."""
    venue.drips = True
    with pytest.raises(VenueError, match="does not end"):
        account.open_orders()
    nobody = open_account({"rest_url": "http://127.0.0.1:9", "key_file": tmp_path / "key.json", "timeout_s": 0.5})
    with pytest.raises(VenueError, match="ConnectionRefusedError"):
        nobody.open_orders()


@pytest.mark.fault("F15")
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path) -> None:
    """One line, and nothing of the file's content in it."""
    path = tmp_path / "key.json"
    path.write_text('{"name": "n", "privateKey": "c2VjcmV0"}')
    with pytest.raises(ConfigError) as refused:
        open_account({"rest_url": "https://venue", "key_file": str(path), "timeout_s": 1})
    assert "c2VjcmV0" not in str(refused.value)
