"""One account: balance, orders, trades, and what they are worth at the market's prices.

Owns that state and the arithmetic of margin.  Who changes it and why is ``desk``; answers of REST are ``views``.

Margin.  A netting account binds the rate on the net units of an instrument, a hedging one on the larger side; the rate
is the higher of the instrument's and the account's own.  Value is at the middle of the quote, in account currency.
The account is closed out when half of the margin used is more than what it is worth at closing prices.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import msgspec

from connectors.oanda.sandbox.errors import ApiError, Rejection
from connectors.oanda.sandbox.log import TransactionLog
from connectors.oanda.sandbox.market import Market, Markets
from connectors.oanda.sandbox.records import ZERO, Order, Totals, Trade, rounded
from connectors.oanda.sandbox.settings import AccountSettings, SandboxSettings
from engine.events import Side


class Worth(msgspec.Struct, frozen=True):
    """The account at the market's prices: ``closeout`` values are at closing prices."""

    unrealised: Decimal
    margin_used: Decimal
    position_value: Decimal
    closeout_unrealised: Decimal


class Account:
    """``pending`` are open orders by number, ``open_trades`` open trades by number, both oldest first."""

    def __init__(self, of: AccountSettings, settings: SandboxSettings, markets: Markets, now_ns: int) -> None:
        self.settings = of
        self.id = of.account_id
        self.currency = of.currency
        self.alias = of.alias
        self.margin_rate = of.margin_rate
        self.balance = rounded(of.balance)
        self.created_ns = now_ns
        self.user_id = int(of.account_id.split("-")[2])
        self.profit = ZERO
        self.financing = ZERO
        self.guarantees = ZERO
        self.last_fill_ns: int | None = None
        self.margin_call_ns: int | None = None
        self.pending: dict[int, Order] = {}
        self.orders: dict[int, Order] = {}
        self.open_trades: dict[int, Trade] = {}
        self.trades: dict[int, Trade] = {}
        self.totals: dict[str, Totals] = {}
        self.log = TransactionLog(of.account_id, self.user_id, most=settings.max_transactions)
        self._markets = markets
        self._most = settings.max_transactions
        self._done_orders: deque[int] = deque()
        self._closed_trades: deque[int] = deque()

    # --- what is there ------------------------------------------------------------------------------------------------

    def trades_of(self, instrument: str, side: Side | None = None) -> list[Trade]:
        """Open trades, oldest first."""
        return [
            trade
            for trade in self.open_trades.values()
            if trade.instrument == instrument and (side is None or trade.side is side)
        ]

    def units_of(self, instrument: str) -> tuple[Decimal, Decimal]:
        """``(long, short)`` units of a position, both unsigned."""
        longs = sum((trade.units for trade in self.trades_of(instrument, Side.BUY)), ZERO)
        shorts = sum((trade.units for trade in self.trades_of(instrument, Side.SELL)), ZERO)
        return longs, -shorts

    def find_order(self, spec: str, *, finished: bool = True) -> Order:
        """An order by number or ``@`` and client id; only pending ones have the latter.  Raises ``ApiError`` 404."""
        order: Order | None = None
        if spec.startswith("@"):
            mine = [each for each in self.pending.values() if each.spec.client_id == spec[1:]]
            order = mine[-1] if mine else None
        elif spec.isdecimal() and len(spec) < 20:
            order = (self.orders if finished else self.pending).get(int(spec))
        if order is None:
            raise self.missing("order", "NO_SUCH_ORDER")
        return order

    def find_trade(self, spec: str, *, closed: bool = True) -> Trade:
        """A trade by number or ``@`` and client id.  Raises ``ApiError`` 404."""
        among = self.trades if closed else self.open_trades
        trade: Trade | None = None
        if spec.startswith("@"):
            mine = [each for each in self.open_trades.values() if each.client_id == spec[1:]]
            trade = mine[-1] if mine else None
        elif spec.isdecimal() and len(spec) < 20:
            trade = among.get(int(spec))
        if trade is None:
            raise self.missing("trade", "NO_SUCH_TRADE")
        return trade

    def missing(self, what: str, code: str) -> ApiError:
        text = f"The {what} ID specified does not exist"
        return ApiError(404, text, code, lastTransactionID=str(self.log.last))

    # --- bounded memory -----------------------------------------------------------------------------------------------

    def order_is_done(self, order: Order) -> None:
        self.pending.pop(order.number, None)
        self._done_orders.append(order.number)
        while len(self._done_orders) > self._most:
            self.orders.pop(self._done_orders.popleft(), None)

    def trade_is_closed(self, trade: Trade) -> None:
        self.open_trades.pop(trade.number, None)
        self._closed_trades.append(trade.number)
        while len(self._closed_trades) > self._most:
            self.trades.pop(self._closed_trades.popleft(), None)

    # --- worth --------------------------------------------------------------------------------------------------------

    def home(self, amount: Decimal, currency: str) -> Decimal:
        """An amount of a quote currency in the account's: a gain at the bid, a loss at the ask; four decimals."""
        gain, loss, _ = self._markets.rates(currency, self.currency)
        return rounded(amount * (gain if amount > 0 else loss))

    def unrealised(self, trade: Trade) -> Decimal:
        market = self._markets.by_name[trade.instrument]
        quote = market.quote
        if quote is None:
            return ZERO
        return self.home(trade.profit(quote.bid if trade.units > 0 else quote.ask), market.rules.quote)

    def rate_of(self, market: Market) -> Decimal:
        return max(market.rules.margin_rate, self.margin_rate)

    def value(self, market: Market, units: Decimal) -> Decimal:
        """Of that many units at the middle, in account currency."""
        if market.quote is None:
            return ZERO
        return rounded(abs(units) * market.quote.mid * self._markets.rates(market.rules.quote, self.currency)[2])

    def margin(self, market: Market, units: Decimal) -> Decimal:
        return rounded(self.value(market, units) * self.rate_of(market))

    def margin_of(self, market: Market, longs: Decimal, shorts: Decimal) -> Decimal:
        """Of a position with these sides."""
        return self.margin(market, max(longs, shorts) if self.settings.hedging else longs - shorts)

    def worth(self) -> Worth:
        unrealised = closeout = margin = value = ZERO
        for trade in self.open_trades.values():
            unrealised += self.unrealised(trade)
            market = self._markets.by_name[trade.instrument]
            if market.quote is not None:
                px = market.quote.closeout_bid if trade.units > 0 else market.quote.closeout_ask
                closeout += self.home(trade.profit(px), market.rules.quote)
        for name in dict.fromkeys(trade.instrument for trade in self.open_trades.values()):
            market = self._markets.by_name[name]
            longs, shorts = self.units_of(name)
            margin += self.margin_of(market, longs, shorts)
            value += self.value(market, longs) + self.value(market, shorts)
        return Worth(unrealised, margin, value, closeout)

    def check_margin(self, market: Market, units: Decimal, *, opens_only: bool) -> bool:
        """Whether the account can carry ``units`` more (signed); what reduces a position always may."""
        longs, shorts = self.units_of(market.rules.name)
        before = self.margin_of(market, longs, shorts)
        if units > 0:
            closes = ZERO if opens_only else min(shorts, units)
            longs, shorts = longs + units - closes, shorts - closes
        else:
            closes = ZERO if opens_only else min(longs, -units)
            longs, shorts = longs - closes, shorts - units - closes
        after = self.margin_of(market, longs, shorts)
        if after <= before:
            return True
        worth = self.worth()
        return self.balance + worth.unrealised >= worth.margin_used - before + after

    def closeout_percent(self, worth: Worth) -> Decimal:
        """1 and above: trades are closed by force."""
        return _ratio(worth.margin_used / 2, self.balance + worth.closeout_unrealised)

    def call_percent(self, worth: Worth) -> Decimal:
        return _ratio(worth.margin_used, self.balance + worth.unrealised)

    def new_margin_rate(self, rate: Decimal) -> None:
        """Raises ``Rejection`` for a rate that may not be."""
        if not (rate.is_finite() and 0 < rate <= 1):
            raise Rejection("MARGIN_RATE_INVALID")
        before, self.margin_rate = self.margin_rate, rate
        worth = self.worth()
        for percent, reason in (
            (self.closeout_percent(worth), "MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT"),
            (self.call_percent(worth), "MARGIN_RATE_WOULD_TRIGGER_MARGIN_CALL"),
        ):
            if percent >= 1:
                self.margin_rate = before
                raise Rejection(reason)


def _ratio(part: Decimal, whole: Decimal) -> Decimal:
    if not part:
        return ZERO
    return Decimal(1_000) if whole <= 0 else (part / whole).quantize(Decimal("0.00001"))
