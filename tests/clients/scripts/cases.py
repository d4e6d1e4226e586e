"""Numbered cases of a conformance list, run by a client script in the clients' own environment.

Owns running, timing and reporting: one JSON line a case on stdout.  Standard library only, because it runs beside
third-party clients and not in our environment.  While it runs, no connection may leave this machine: an address that a
client did not take from its settings is an error that names it (an audit hook sees every ``connect``).
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

_LOCAL = ("127.", "::1", "localhost")
leaks: list[str] = []
"""Addresses outside this machine that a client asked for."""


class LeftMachineError(OSError):
    """A client went for the real venue."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and not str(address[0]).startswith(_LOCAL):
            leaks.append(str(address[0]))
            raise LeftMachineError(f"connection to {address[0]}")
    elif event == "socket.getaddrinfo":
        host = arguments[0]
        name = host.decode() if isinstance(host, bytes) else str(host or "")
        if name and not name.startswith(_LOCAL):
            leaks.append(name)
            raise LeftMachineError(f"look-up of {name}")


class List:
    """The cases of one client against one venue, in the order of their declaration.

    ``List("coinbase", "coinbase-advanced-py")``; each case is a function of the settings that the test passes on.
    """

    def __init__(self, venue: str, client: str) -> None:
        self.venue = venue
        self.client = client
        self._cases: list[tuple[str, str, Callable[..., Any]]] = []

    def case(self, number: int | str, title: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Several functions may share a number: all of them have to pass."""

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            self._cases.append((str(number), title, function))
            return function

        return declare

    def main(self) -> None:
        """Run all, or those that ``only`` of the settings names; never stops at the first that fails."""
        sys.addaudithook(_watch)
        settings = json.loads(sys.stdin.readline())
        only = settings.get("only")
        for number, title, function in self._cases:
            if only and number not in only and function.__name__ not in only:
                continue
            self._report(number, title, *_run(function, settings))

    def _report(self, number: str, title: str, error: str, seconds: float) -> None:
        line = {"venue": self.venue, "client": self.client, "case": number, "title": title, "ok": not error}
        print(json.dumps(line | {"error": error, "seconds": round(seconds, 3)}), flush=True)


def _run(function: Callable[..., Any], settings: dict[str, Any]) -> tuple[str, float]:
    began_s = time.monotonic()
    seen = len(leaks)
    error = ""
    try:
        made = function(settings)
        if inspect.iscoroutine(made):
            asyncio.run(made)
    except BaseException as problem:
        if isinstance(problem, KeyboardInterrupt):
            raise
        error = "".join(traceback.format_exception(problem)[-4:])[-3_000:] or repr(problem)
    if len(leaks) > seen and not error:
        error = f"left this machine for {sorted(set(leaks[seen:]))}"
    return error, time.monotonic() - began_s


def operate(rest_url: str, **act: Any) -> dict[str, Any]:
    """An act of the venue's own people, at the sandbox's door for them (``/sandbox/operator``)."""
    request = urllib.request.Request(
        f"{rest_url}/sandbox/operator", json.dumps(act).encode(), {"Content-Type": "application/json"}
    )
    import ssl

    trusting = ssl._create_unverified_context()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting))
    try:
        with opener.open(request, timeout=10) as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"operator: {error.code} {error.read().decode()[:300]}") from None


def eventually(check: Callable[[], Any], within_s: float = 10.0) -> Any:
    """The first true value of ``check``; an error when there is none in time."""
    until_s = time.monotonic() + within_s
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > until_s:
            raise AssertionError(f"{getattr(check, '__name__', 'a condition')} did not come true in {within_s} s")
        time.sleep(0.02)
