"""Every open order of one account, listed and cancelled through the library: all that the watchdog can say there.

Owns the two questions that this takes and an object of its own, of which every other method that changes something is
taken away.  Plain blocking calls, each bounded in time: the watchdog's process has nothing else to do.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from connectors.blocking import route_told
from connectors.ccxt_venue.addresses import outside, redirected
from connectors.ccxt_venue.errors import is_clock, is_gone, is_rate_limit, names_of, words
from connectors.ccxt_venue.exact import mapping, text
from connectors.ccxt_venue.failover import home_of, moved
from connectors.ccxt_venue.keys import read_credentials
from connectors.ccxt_venue.options import options_of
from connectors.route import STRAIGHT, Route
from engine.errors import ConfigError, VenueError

MAX_CANCELS: Final = 100
NONCE_TRIES: Final = 5
_CHANGES: Final = (
    "withdraw", "transfer", "close_position", "close_all_positions", "borrow", "repay", "set_leverage",
    "set_margin_mode", "set_position_mode", "add_margin", "reduce_margin",
)  # fmt: skip


def open_account(settings: Mapping[str, Any]) -> CancelOnly:
    """From plain values: ``exchange``, ``symbols``, ``rest_url`` (empty: its own), ``rest_fallbacks`` (where to go when
    that fails), ``key_file``, ``timeout_s``, and the route (``connectors.blocking.route_told``).

    Raises ``ConfigError`` for an exchange or a key that is none.
    """
    return CancelOnly(
        str(settings["exchange"]),
        [str(symbol) for symbol in settings["symbols"]],
        str(settings["rest_url"]),
        str(settings["key_file"]),
        fallbacks=[str(url) for url in settings.get("rest_fallbacks", ())],
        timeout_s=float(settings["timeout_s"]),
        route=route_told(settings),
    )


class CancelOnly:
    """One account.  Every call raises ``VenueError`` when its answer does not come, or is not understood."""

    def __init__(
        self,
        exchange: str,
        symbols: Sequence[str],
        rest_url: str,
        key_file: str,
        *,
        timeout_s: float,
        route: Route,
        fallbacks: Sequence[str] = (),
    ) -> None:
        credentials = read_credentials(key_file)
        try:
            made = getattr(importlib.import_module("ccxt"), exchange)
        except (ImportError, AttributeError):
            raise ConfigError(
                f"ccxt cannot be loaded, or has no exchange {exchange[:40]!r}", do="pip install -e '.[ccxt]'"
            ) from None
        # The library's own pace would keep cancels waiting; whoever asks for them asks again where one was too many.
        config = {"timeout": int(timeout_s * 1000), "enableRateLimit": False, "options": options_of(exchange)}
        ex: Any = made({**config, **credentials.config()})
        if rest_url:
            ex.urls["api"] = redirected(ex.urls["api"], rest=rest_url, ws_market="ws://127.0.0.1:9", ws_user="")
            if outside(ex.urls["api"]):
                raise ConfigError(f"ccxt {exchange} would still ask another machine", expected="this machine only")
        _lead(ex, route)
        _take_away(ex)
        self._ex = ex
        own = ex.urls["api"]
        self._addresses = [own, *(moved(own, home_of(own), url) for url in fallbacks)]
        self._exchange = exchange
        self._symbols = tuple(symbols)
        self._symbol_of: dict[str, str] = {}

    def open_orders(self) -> list[str]:
        """The exchange's ids of all orders in the symbols that may still fill.  Missing is not none."""
        found: dict[str, None] = {}
        for symbol in self._symbols:
            for order in self._ask("fetch_open_orders", symbol):
                order_id = text(mapping(order).get("id"))
                if not order_id:
                    raise VenueError(f"{self._exchange} fetch_open_orders: an order without an id")
                self._symbol_of[order_id] = symbol
                found[order_id] = None
        return list(found)

    def cancel(self, venue_order_ids: Sequence[str]) -> dict[str, str]:
        """Ask for each to be cancelled; id -> why it was not, empty where the exchange took it."""
        said: dict[str, str] = {}
        for order_id in venue_order_ids:
            symbol = self._symbol_of.get(order_id, self._symbols[0])
            try:
                self._tried("cancel_order", order_id, symbol)
                said[order_id] = ""
            except Exception as error:
                said[order_id] = "" if is_gone(error) else words(error)
        return said

    def _tried(self, name: str, *args: Any) -> Any:
        """At the first address that answers; a cancel that was carried out already does no harm again."""
        for _ in range(len(self._addresses) - 1):
            try:
                return self._asked(name, *args)
            except Exception as error:
                if "NetworkError" not in names_of(error) or is_rate_limit(error) or is_clock(error):
                    raise
            self._addresses.append(self._addresses.pop(0))
            self._ex.urls["api"] = self._addresses[0]
        return self._asked(name, *args)

    def _asked(self, name: str, *args: Any) -> Any:
        """Some exchanges want requests with growing numbers, and the daemon may use the same key meanwhile."""
        for _ in range(NONCE_TRIES - 1):
            try:
                return getattr(self._ex, name)(*args)
            except Exception as error:
                if not is_clock(error):
                    raise
        return getattr(self._ex, name)(*args)

    def _ask(self, name: str, *args: Any) -> list[Any]:
        try:
            found = self._tried(name, *args)
        except Exception as error:
            raise VenueError(f"{self._exchange} {name}: {words(error)}") from None
        if not isinstance(found, list):
            raise VenueError(f"{self._exchange} {name}: no list")
        return found


def _lead(ex: Any, route: Route) -> None:
    """The daemon's own way to the exchange, in the words of the library's HTTP client."""
    if route.ca_file:
        ex.validateServerSsl = route.ca_file  # handed on to the client, which takes a file where it is not just true
    ex.session.trust_env = not route.proxy
    if route.proxy and route.proxy != STRAIGHT:
        ex.proxies = {"http": route.proxy, "https": route.proxy}


def _take_away(ex: Any) -> None:
    """Whatever goes wrong in this process, no order comes of it."""

    def refused(*_args: object, **_given: object) -> NoReturn:
        raise VenueError("the watchdog cancels and does nothing else")

    for name in dir(type(ex)):
        if name.startswith(_CHANGES) or (name.startswith(("create_", "edit_")) and "order" in name):
            setattr(ex, name, refused)
