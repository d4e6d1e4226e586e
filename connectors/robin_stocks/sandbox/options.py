"""Option chains on some of the stocks: which contracts there are and what a dealer quotes for them.

Owns contracts and their prices, which are those of Black and Scholes at one volatility, around which the dealer keeps a
spread.  A contract's book is made when somebody first asks for it.  Pure: time is given.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta
from decimal import Decimal
from math import erf, exp, log, pi, sqrt
from uuid import NAMESPACE_URL, uuid5

import msgspec

from connectors.robin_stocks.sandbox.account import Contract
from connectors.robin_stocks.sandbox.market import ZERO, Market, Quote
from connectors.robin_stocks.sandbox.settings import SandboxStock
from connectors.robin_stocks.sandbox.times import MarketHours, at, date_at
from engine.instruments import AssetClass

VOLATILITY = 0.28
RATE = 0.04
CUTOFF = Decimal(3)
ABOVE_TICK, BELOW_TICK = Decimal("0.05"), Decimal("0.01")
"""Steps of option prices from the cutoff on, and below it."""
_STRIKES = 5
_WEEKS = 4
_DEALER_QTY = Decimal(50)
_YEAR_NS = 365.25 * 86_400e9
_MULTIPLIER = Decimal(100)


class Greeks(msgspec.Struct, frozen=True):
    """``px`` is the theoretical price of one share's worth; ``theta`` a day, ``vega`` and ``rho`` for one percent."""

    px: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float


def black_scholes(spot: float, strike: float, years: float, *, call: bool) -> Greeks:
    """F. Black, M. Scholes, The Pricing of Options and Corporate Liabilities (1973), formula 13."""
    root = VOLATILITY * sqrt(years)
    d1 = (log(spot / strike) + (RATE + VOLATILITY**2 / 2) * years) / root
    d2 = d1 - root
    density = exp(-d1 * d1 / 2) / sqrt(2 * pi)
    paid = strike * exp(-RATE * years)
    sign = 1 if call else -1
    px = sign * (spot * _below(sign * d1) - paid * _below(sign * d2))
    decay = -spot * density * VOLATILITY / (2 * sqrt(years)) - sign * RATE * paid * _below(sign * d2)
    return Greeks(
        px=max(px, 0.0),
        delta=sign * _below(sign * d1),
        gamma=density / (spot * root),
        theta=decay / 365,
        vega=spot * density * sqrt(years) / 100,
        rho=sign * paid * years * _below(sign * d2) / 100,
    )


def _below(x: float) -> float:
    """The normal distribution function."""
    return 0.5 * (1 + erf(x / sqrt(2)))


def step_of(px: Decimal) -> Decimal:
    return ABOVE_TICK if px >= CUTOFF else BELOW_TICK


class Chain(msgspec.Struct, frozen=True):
    id: str
    stock: SandboxStock
    expiries: tuple[str, ...]
    contracts: tuple[Contract, ...]


class Options:
    """All chains.  ``spot`` is the middle of a stock's quote, None before it has one."""

    def __init__(
        self, stocks: tuple[SandboxStock, ...], hours: MarketHours, now_ns: int, spot: Callable[[str], Decimal | None]
    ) -> None:
        self.chains: dict[str, Chain] = {}
        self.contracts: dict[str, Contract] = {}
        self.markets: dict[str, Market] = {}
        """Of the contracts that somebody has asked for."""
        self._spot = spot
        for stock in stocks:
            if stock.strike_step:
                chain = _make_chain(stock, hours, now_ns)
                self.chains[chain.id] = chain
                self.contracts.update({contract.id: contract for contract in chain.contracts})

    def chain_of(self, symbol: str) -> Chain | None:
        return next((chain for chain in self.chains.values() if chain.stock.symbol == symbol), None)

    def market(self, contract_id: str, now_ns: int) -> Market:
        """Raises ``KeyError`` for an id of no contract."""
        known = self.markets.get(contract_id)
        if known is None:
            contract = self.contracts[contract_id]
            known = self.markets[contract.id] = Market(
                contract.id,
                tick_px=BELOW_TICK,
                lot_qty=Decimal(1),
                multiplier=_MULTIPLIER,
                asset_class=AssetClass.OPTION,
            )
            self.quote(known, now_ns)
        return known

    def step(self, now_ns: int) -> None:
        for market in self.markets.values():
            self.quote(market, now_ns)

    def quote(self, market: Market, now_ns: int) -> None:
        """The dealer's quote of now; one that was pinned by hand stays."""
        greeks = self.greeks(market.key, now_ns)
        if market.pinned or greeks is None:
            return
        fair = market.instrument.price(greeks.px)
        half = max(BELOW_TICK, market.on_grid(fair * Decimal("0.01"), up=True))
        step = step_of(fair)
        bid = max(BELOW_TICK, (fair - half) // step * step)
        ask = bid + max(step, -(-(2 * half) // step) * step)
        made = Quote(now_ns, bid, _DEALER_QTY, ask, _DEALER_QTY)
        if market.quote is None or msgspec.structs.replace(market.quote, ts_ns=now_ns) != made:
            market.pin([(bid, _DEALER_QTY)], [(ask, _DEALER_QTY)], now_ns, by_hand=False)

    def greeks(self, contract_id: str, now_ns: int) -> Greeks | None:
        contract = self.contracts[contract_id]
        spot = self._spot(contract.symbol)
        if spot is None:
            return None
        years = max((contract.expires_ns - now_ns) / _YEAR_NS, 1e-6)
        return black_scholes(float(spot), float(contract.strike), years, call=contract.kind == "call")

    def intrinsic(self, contract: Contract) -> Decimal:
        """What it is worth at its end."""
        spot = self._spot(contract.symbol) or ZERO
        return max(ZERO, spot - contract.strike if contract.kind == "call" else contract.strike - spot)


def _make_chain(stock: SandboxStock, hours: MarketHours, now_ns: int) -> Chain:
    """Weekly contracts for a month, strikes around the price that the stock begins at."""
    chain_id = str(uuid5(NAMESPACE_URL, f"kestrel/chain/{stock.symbol}"))
    middle = stock.start_px // stock.strike_step * stock.strike_step
    strikes = [middle + number * stock.strike_step for number in range(-_STRIKES, _STRIKES + 1)]
    expiries: list[date] = []
    day = date_at(now_ns)
    while len(expiries) < _WEEKS:
        day += timedelta(days=1)
        if day.weekday() == 4:
            expiries.append(day if hours.day(day).is_open else hours.next_open(day, -1))
    made = [
        Contract(
            str(uuid5(NAMESPACE_URL, f"kestrel/option/{stock.symbol}/{expiry}/{strike}/{kind}")),
            stock.symbol,
            chain_id,
            expiry.isoformat(),
            strike,
            kind,
            at(expiry, time(16)),
        )
        for expiry in expiries
        for strike in strikes
        if strike > 0
        for kind in ("call", "put")
    ]
    return Chain(chain_id, stock, tuple(day.isoformat() for day in expiries), tuple(made))
