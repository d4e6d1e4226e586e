"""Which proxy an address is reached through, and what is refused before anything is dialled."""

from __future__ import annotations

import os

import pytest

from connectors.route import STRAIGHT, Route, shown
from engine.errors import ConfigError

PROXY = "http://proxy.test:3128"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "wss://venue.test", ""),
        ({"HTTPS_PROXY": PROXY}, "wss://venue.test:9443/stream", PROXY),
        ({"https_proxy": PROXY}, "https://venue.test", PROXY),
        ({"HTTPS_PROXY": PROXY, "WSS_PROXY": "socks5://s.test:1"}, "wss://venue.test", "socks5://s.test:1"),
        ({"HTTPS_PROXY": PROXY, "WSS_PROXY": "socks5://s.test:1"}, "https://venue.test", PROXY),
        ({"ALL_PROXY": "socks5h://s.test"}, "https://venue.test", "socks5://s.test:1080"),
        ({"HTTPS_PROXY": "proxy.test"}, "https://venue.test", "http://proxy.test:8080"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "venue.test"}, "https://venue.test", ""),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": ".test"}, "wss://a.venue.test", ""),
        ({"HTTPS_PROXY": PROXY}, "https://127.0.0.1:8443", ""),
        ({"ALL_PROXY": PROXY}, "ws://localhost:1", ""),
        ({"ALL_PROXY": PROXY}, "https://[::1]:1", ""),
    ],
)
def test_the_environments_proxy_counts_where_none_is_named(
    variables: dict[str, str], url: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Route().proxy_url(url) == expected
    assert Route(proxy=STRAIGHT).proxy_url(url) == ""
    assert Route(proxy="socks4://mine.test").proxy_url(url) == "socks4://mine.test:1080"


@pytest.mark.parametrize(
    "proxy", ["ftp://a", "https://user:secret@a", "http://", "http://a:port", "http://[a", "proxy"]
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the settings by ``check``, in the environment when it would be used: nobody goes around it."""
    with pytest.raises(ConfigError) as caught:
        Route(proxy=proxy).check("venue")
    assert "secret" not in str(caught.value)
    if "://" in proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        with pytest.raises(ConfigError, match="HTTPS_PROXY"):
            Route().proxy_url("wss://venue.test")


def test_certificates_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"certificates 'none\.pem' cannot be read: No such file"):
        Route(ca_file="none.pem").check("venue")
    with pytest.raises(ConfigError, match="cannot be read"):
        Route(ca_file=__file__).check("venue")
    assert Route(ca_file="none.pem").ssl("ws://plain") is None


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(Route(proxy="http://user:secret@proxy.test:1"))
    assert shown("http://user:se@cret@proxy.test:1") == "http://proxy.test:1"
