"""Blocking connections take the daemon's own way to a venue: its proxy, its certificates, and its patience."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from connectors.blocking import connection_to, route_told
from connectors.certificates import AUTHORITY, server_context
from connectors.route import Route
from tests.support.proxies import running_proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content = str(self.headers["Host"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    """A server over TLS, vouched for by an authority in ``folder``."""

    server = HTTPServer(("127.0.0.1", 0), _Handler)
    context = server_context(folder, datetime.datetime.now(datetime.UTC), hosts=("127.0.0.1", "venue.test"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def ask(url: str, route: Route, timeout_s: float = 5.0) -> str:
    connection = connection_to(url, route, timeout_s)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_the_certificates_that_are_named_are_believed_and_no_others(folder: Path, port: int) -> None:
    """As the daemon's own transports: without them the server is nobody's, and no request leaves."""
    url, route = f"https://127.0.0.1:{port}", route_told({"ca_file": str(folder / AUTHORITY)})
    assert ask(url, route) == f"127.0.0.1:{port}"
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(url, route_told({}))
    with pytest.raises(ConnectionError, match=r"gone\.pem"):
        ask(url, Route(ca_file="gone.pem"))


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_the_proxy_is_gone_through_and_a_dead_one_is_not_gone_around(
    folder: Path, port: int, scheme: str
) -> None:
    """The name is the proxy's to resolve; TLS is with the venue.  When it is gone, so is the way."""
    url, authority = f"https://venue.test:{port}", str(folder / AUTHORITY)
    async with running_proxy(scheme) as proxy:
        route = route_told({"proxy": proxy.url, "ca_file": authority})
        assert await asyncio.to_thread(ask, url, route) == f"venue.test:{port}"
        assert proxy.asked == [f"venue.test:{port}"]
    with pytest.raises(ConnectionError, match="proxy "):
        await asyncio.to_thread(ask, url, route)


def test_a_proxy_that_refuses_is_told_without_its_password(folder: Path, port: int) -> None:
    """Nobody listens there; the error names the proxy, not who asked."""
    with pytest.raises(ConnectionError) as caught:
        ask(f"https://venue.test:{port}", Route(proxy="http://me:secret@127.0.0.1:9"), 1.0)
    assert "127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)
