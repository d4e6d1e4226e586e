"""What each path of the private API answers: routes, lists and pages over one exchange.

Owns which request means what.  No sockets (``rest``); the shapes of single things are ``views``.  Pure: time is given.

Several hosts meet in one server; which one a request was for is told by the shell.  Paths are taken with or without
their last slash, because the client writes both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime

from connectors.robin_stocks.sandbox import views
from connectors.robin_stocks.sandbox.account import Account
from connectors.robin_stocks.sandbox.errors import Json, detail, field, not_found
from connectors.robin_stocks.sandbox.exchange import Exchange, Listed
from connectors.robin_stocks.sandbox.pages import API_HOST, COIN_HOST, Request, order_page, page
from connectors.robin_stocks.sandbox.records import API
from connectors.robin_stocks.sandbox.times import NS, date_at

_MAX_NAMES = 1_630
"""Symbols that one request may name."""


Handler = Callable[[Request, Sequence[str]], Json]


class Api:
    """``answer`` is all there is to it: status and JSON, or ``ApiError``."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._routes: list[tuple[str, str, re.Pattern[str], Handler]] = []
        for host, method, pattern, handler in (*self._open_routes(), *self._stock_routes(), *self._coin_routes()):
            self._routes.append((host, method, re.compile(pattern), handler))

    def answer(self, request: Request) -> tuple[int, Json]:
        """Raises ``ApiError``."""
        path = request.path.rstrip("/")
        methods = set()
        for host, method, pattern, handler in self._routes:
            found = pattern.fullmatch(path) if host == request.host else None
            if found is not None:
                methods.add(method)
                if method == request.method:
                    made = handler(request, found.groups())
                    return (201 if method == "POST" and path.endswith("/orders") else 200), made
        if methods:
            raise detail(405, f'Method "{request.method}" not allowed.')
        raise not_found()

    def _open_routes(self) -> Iterable[tuple[str, str, str, Handler]]:
        """The way in, and what needs no login."""
        login = self._exchange.login
        return (
            (API_HOST, "POST", "/oauth2/token", lambda r, _: login.oauth(r.form, r.now_ns)),
            (API_HOST, "POST", "/pathfinder/user_machine", lambda r, _: login.open_machine(r.form)),
            (API_HOST, "GET", "/pathfinder/inquiries/([^/]+)/user_view", lambda _, at: login.view(at[0])),
            (API_HOST, "POST", "/pathfinder/inquiries/([^/]+)/user_view", lambda _, at: login.go_on(at[0])),
            (API_HOST, "GET", "/push/([^/]+)/get_prompts_status", lambda _, at: login.prompt(at[0])),
            (API_HOST, "POST", "/challenge/([^/]+)/respond", lambda r, at: login.respond(at[0], r.form)),
            (API_HOST, "GET", "/markets", lambda r, _: self._markets(r)),
            (API_HOST, "GET", "/markets/([^/]+)/hours/([^/]+)", self._hours),
            (API_HOST, "GET", "/instruments", lambda r, _: self._instruments(r)),
            (API_HOST, "GET", "/instruments/([^/]+)", lambda _, at: self._instrument(at[0])),
            (API_HOST, "GET", "/fundamentals", lambda r, _: self._fundamentals(r)),
        )

    def _stock_routes(self) -> Iterable[tuple[str, str, str, Handler]]:
        mine = self._mine
        return (
            (API_HOST, "GET", "/accounts", mine(lambda a, r, _: page(r, [views.account_json(a)]))),
            (API_HOST, "GET", "/accounts/([^/]+)", mine(lambda a, _, at: views.account_json(_own(a, at[0])))),
            (API_HOST, "GET", "/portfolios", mine(lambda a, r, _: page(r, [views.portfolio_json(a)]))),
            (API_HOST, "GET", "/portfolios/([^/]+)", mine(lambda a, _, at: views.portfolio_json(_own(a, at[0])))),
            (API_HOST, "GET", "/user", mine(lambda a, *_: {"username": a.settings.username, "id": a.number})),
            (API_HOST, "GET", "/positions", mine(lambda a, r, _: self._positions(a, r))),
            (API_HOST, "GET", "/quotes", mine(lambda _, r, __: self._quotes(r))),
            (API_HOST, "GET", "/quotes/historicals", mine(lambda _, r, __: self._historicals(r))),
            (API_HOST, "GET", "/quotes/([^/]+)", mine(lambda _, r, at: self._quote(self._stock(at[0]), r))),
            (API_HOST, "GET", "/marketdata/quotes/([^/]+)", mine(lambda _, r, at: self._quote(self._by_id(at[0]), r))),
            (
                API_HOST,
                "GET",
                "/marketdata/pricebook/snapshots/([^/]+)",
                mine(lambda _, __, at: views.book_json(self._by_id(at[0]))),
            ),
            (API_HOST, "GET", "/orders", mine(lambda a, r, _: self._orders(a, r, "stock"))),
            (API_HOST, "POST", "/orders", mine(self._place_stock)),
            (API_HOST, "GET", "/orders/([^/]+)", mine(lambda a, _, at: self._order(a, at[0], "stock"))),
            (API_HOST, "POST", "/orders/([^/]+)/cancel", mine(lambda a, r, at: self._cancel(a, r, at[0], "stock"))),
            (API_HOST, "GET", "/options/chains/([^/]+)", mine(lambda _, __, at: self._chain(at[0]))),
            (API_HOST, "GET", "/options/instruments", mine(lambda _, r, __: self._contracts(r))),
            (API_HOST, "GET", "/options/instruments/([^/]+)", mine(lambda _, r, at: self._contract(at[0], r))),
            (API_HOST, "GET", "/marketdata/options", mine(lambda _, r, __: self._option_quotes(r))),
            (API_HOST, "GET", "/options/positions", mine(lambda a, r, _: self._option_positions(a, r))),
            (API_HOST, "GET", "/options/aggregate_positions", mine(lambda a, r, _: self._option_positions(a, r))),
            (API_HOST, "GET", "/options/orders", mine(lambda a, r, _: self._orders(a, r, "option"))),
            (API_HOST, "POST", "/options/orders", mine(self._place_option)),
            (API_HOST, "GET", "/options/orders/([^/]+)", mine(lambda a, _, at: self._order(a, at[0], "option"))),
            (
                API_HOST,
                "POST",
                "/options/orders/([^/]+)/cancel",
                mine(lambda a, r, at: self._cancel(a, r, at[0], "option")),
            ),
            (API_HOST, "GET", "/marketdata/forex/quotes/([^/]+)", mine(lambda _, __, at: self._coin_quote(at[0]))),
        )

    def _coin_routes(self) -> Iterable[tuple[str, str, str, Handler]]:
        mine = self._mine
        account = mine(lambda a, r, _: page(r, [{"id": a.number, "status": "active", "user_id": a.number}]))
        return (
            (COIN_HOST, "GET", "/accounts", account),
            (COIN_HOST, "GET", "/currency_pairs", lambda r, _: page(r, [views.pair_json(self._exchange)])),
            (
                COIN_HOST,
                "GET",
                "/holdings",
                mine(lambda a, r, _: page(r, [views.coin_holding_json(a, self._exchange)])),
            ),
            (COIN_HOST, "GET", "/orders", mine(lambda a, r, _: self._orders(a, r, "coin"))),
            (COIN_HOST, "POST", "/orders", mine(self._place_coin)),
            (COIN_HOST, "GET", "/orders/([^/]+)", mine(lambda a, _, at: self._order(a, at[0], "coin"))),
            (COIN_HOST, "POST", "/orders/([^/]+)/cancel", mine(lambda a, r, at: self._cancel(a, r, at[0], "coin"))),
        )

    def _mine(self, handler: Callable[[Account, Request, Sequence[str]], Json]) -> Handler:
        """Only with a token; its account comes first."""

        def checked(request: Request, at: Sequence[str]) -> Json:
            return handler(self._exchange.login.account_of(request.authorization, request.now_ns), request, at)

        return checked

    # --- stocks -------------------------------------------------------------------------------------------------------

    def _stock(self, symbol: str) -> Listed:
        listed = self._exchange.stocks.get(symbol.upper())
        if listed is None:
            raise not_found()
        return listed

    def _by_id(self, instrument_id: str) -> Listed:
        listed = self._exchange.by_id.get(instrument_id)
        if listed is None:
            raise not_found()
        return listed

    def _named(self, request: Request) -> list[Listed | None]:
        """Of ``symbols=``: None where there is no such stock, as the venue has null there."""
        names = request.query.get("symbols", "").upper().split(",")
        if names == [""] or len(names) > _MAX_NAMES:
            raise detail(400, "symbols is required.")
        return [self._exchange.stocks.get(name) for name in names]

    def _instruments(self, request: Request) -> Json:
        symbol, words = request.query.get("symbol"), request.query.get("query", "").lower()
        found = [
            listed
            for listed in self._exchange.stocks.values()
            if (symbol is None or listed.rules.symbol == symbol.upper())
            and (not words or words in listed.rules.symbol.lower() or words in listed.rules.name.lower())
        ]
        rows = [self._instrument(listed.id) for listed in found]
        return page(request, rows, size=self._exchange.settings.page_size)

    def _instrument(self, instrument_id: str) -> Json:
        listed = self._by_id(instrument_id)
        return views.instrument_json(listed, self._exchange.options.chain_of(listed.rules.symbol))

    def _fundamentals(self, request: Request) -> Json:
        made = [
            None if listed is None else views.fundamentals_json(self._exchange, listed, request.now_ns)
            for listed in self._named(request)
        ]
        return {"results": made}

    def _quotes(self, request: Request) -> Json:
        made = [None if listed is None else self._quote(listed, request) for listed in self._named(request)]
        if not any(made):
            raise detail(400, "No valid symbols.")
        return {"results": made}

    def _quote(self, listed: Listed, request: Request) -> Json:
        return views.quote_json(listed, zero=views.shows_zero(self._exchange, request.now_ns))

    def _historicals(self, request: Request) -> Json:
        query = request.query
        interval, span = query.get("interval", ""), query.get("span", "")
        bounds = query.get("bounds", "regular")
        results = []
        for listed in self._named(request):
            if listed is None:
                raise detail(400, "Invalid symbol.")
            bars = listed.chart.bars(interval, span, bounds, request.now_ns)
            results.append(
                {
                    "symbol": listed.rules.symbol,
                    "interval": interval,
                    "span": span,
                    "bounds": bounds,
                    "instrument": f"{API}/instruments/{listed.id}/",
                    "previous_close_price": views.px(listed.previous_close),
                    "historicals": [bar.json() for bar in bars],
                }
            )
        return {"results": results}

    def _positions(self, account: Account, request: Request) -> Json:
        rows = [
            views.position_json(account, listed, holding)
            for symbol, listed in self._exchange.stocks.items()
            if (holding := account.holdings.get(symbol)) is not None
        ]
        _check_account(account, request, "account_number")
        return page(request, rows, size=self._exchange.settings.page_size)

    # --- hours --------------------------------------------------------------------------------------------------------

    def _markets(self, request: Request) -> Json:
        return page(request, [views.market_json(mic, date_at(request.now_ns)) for mic in views.MARKETS])

    def _hours(self, _: Request, at: Sequence[str]) -> Json:
        try:
            day = date.fromisoformat(at[1])
        except ValueError:
            raise not_found() from None
        if at[0] not in views.MARKETS:
            raise not_found()
        return views.hours_json(self._exchange.hours, at[0], day)

    # --- options ------------------------------------------------------------------------------------------------------

    def _chain(self, chain_id: str) -> Json:
        chain = self._exchange.options.chains.get(chain_id)
        if chain is None:
            raise not_found()
        return views.chain_json(chain, self._exchange.stocks[chain.stock.symbol].id)

    def _contracts(self, request: Request) -> Json:
        query, options = request.query, self._exchange.options
        dates = set(query.get("expiration_dates", "").split(",")) - {""}
        strike, kind, state = query.get("strike_price"), query.get("type"), query.get("state", "")
        try:
            wanted = None if strike is None else float(strike)
        except ValueError:
            raise field("strike_price", "Enter a number.") from None
        if kind is not None and kind not in ("call", "put"):
            # The client's default is the word "both", which the venue takes for no filter.
            kind = None
        chain = options.chains.get(query.get("chain_id", ""))
        made = [
            views.contract_json(contract, request.now_ns)
            for contract in (() if chain is None else chain.contracts)
            if (not dates or contract.expiry in dates)
            and (wanted is None or float(contract.strike) == wanted)
            and kind in (None, contract.kind)
            and (state != "active" or contract.expires_ns > request.now_ns)
        ]
        return page(request, made, size=self._exchange.settings.page_size)

    def _contract(self, contract_id: str, request: Request) -> Json:
        contract = self._exchange.options.contracts.get(contract_id)
        if contract is None:
            raise not_found()
        return views.contract_json(contract, request.now_ns)

    def _option_quotes(self, request: Request) -> Json:
        options, named = self._exchange.options, request.query.get("instruments") or request.query.get("ids", "")
        made: list[Json | None] = []
        for url in named.split(","):
            contract = options.contracts.get(url.rstrip("/").rpartition("/")[2])
            if contract is None:
                made.append(None)
                continue
            market = options.market(contract.id, request.now_ns)
            made.append(views.option_quote_json(contract, market, options.greeks(contract.id, request.now_ns)))
        return {"results": made}

    def _option_positions(self, account: Account, request: Request) -> Json:
        _check_account(account, request, "account_numbers")
        contracts = self._exchange.options.contracts
        rows = [
            views.option_position_json(account, contracts[key], holding)
            for key, holding in account.holdings.items()
            if key in contracts
        ]
        return page(request, rows, size=self._exchange.settings.page_size)

    # --- coins --------------------------------------------------------------------------------------------------------

    def _coin_quote(self, pair_id: str) -> Json:
        if pair_id != self._exchange.coin_id:
            raise not_found()
        return views.coin_quote_json(self._exchange)

    # --- orders -------------------------------------------------------------------------------------------------------

    def _place_stock(self, account: Account, request: Request, _: Sequence[str]) -> Json:
        exchange = self._exchange
        order = exchange.reader.stock(account, request.form, request.now_ns)
        return exchange.desk.place(account, order, request.now_ns).json()

    def _place_option(self, account: Account, request: Request, _: Sequence[str]) -> Json:
        exchange = self._exchange
        order = exchange.reader.option(account, request.form, request.now_ns)
        return exchange.desk.place(account, order, request.now_ns).json()

    def _place_coin(self, account: Account, request: Request, _: Sequence[str]) -> Json:
        exchange = self._exchange
        if request.form.get("account_id") != account.number or request.form.get("currency_pair_id") != exchange.coin_id:
            raise detail(400, "Unknown account or currency pair.")
        order = exchange.reader.coin(account, request.form, exchange.coin, exchange.coin_id, request.now_ns)
        return exchange.desk.place(account, order, request.now_ns).json()

    def _orders(self, account: Account, request: Request, kind: str) -> Json:
        """Newest first.  ``updated_at[gte]`` as the client writes it: a date or a time."""
        _check_account(account, request, "account_numbers")
        since_ns = _since(request.query.get("updated_at[gte]"))
        shown_ns = request.now_ns - int(self._exchange.settings.switches.read_lag_s * NS)
        with_ref = self._exchange.settings.switches.listed_ref_id
        orders = [
            order
            for order in reversed(account.orders.values())
            if order.kind == kind and order.updated_ns >= since_ns and order.created_ns <= shown_ns
        ]
        return order_page(request, orders, self._exchange.settings.page_size, with_ref=with_ref)

    def _order(self, account: Account, order_id: str, kind: str) -> Json:
        order = account.orders.get(order_id)
        if order is None or order.kind != kind:
            raise not_found()
        return order.json(with_ref=self._exchange.settings.switches.listed_ref_id)

    def _cancel(self, account: Account, request: Request, order_id: str, kind: str) -> Json:
        self._exchange.desk.cancel(account, order_id, kind, request.now_ns)
        return {}


def _own(account: Account, number: str) -> Account:
    if number != account.number:
        raise not_found()
    return account


def _check_account(account: Account, request: Request, name: str) -> None:
    if request.query.get(name, account.number) != account.number:
        raise detail(403, "You do not have permission to perform this action.")


def _since(text: str | None) -> int:
    if not text:
        return 0
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise field("updated_at", "Enter a valid date/time.") from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return int(when.timestamp() * 1_000_000) * 1_000
