"""The sandbox's venue state: markets, accounts, and time that passes for both.

Owns the order in which time acts: orders end first, then the market moves, then quotes trigger orders, then margin is
looked at, and interest is charged at 17:00 New York.  What requests do is ``desk`` and ``closing``.  Pure: time is
given.
"""

from __future__ import annotations

from decimal import Decimal

from connectors.oanda.sandbox.account import Account
from connectors.oanda.sandbox.closing import Closing
from connectors.oanda.sandbox.desk import Desk
from connectors.oanda.sandbox.errors import Json, Rejection
from connectors.oanda.sandbox.market import Markets
from connectors.oanda.sandbox.records import ZERO, Totals, money
from connectors.oanda.sandbox.settings import SandboxSettings
from connectors.oanda.sandbox.times import NS, next_roll_ns, weekday_of_roll
from connectors.oanda.sandbox.views import charged_days

_MARGIN_EVERY_NS = NS // 4
_YEAR_DAYS = 365


class Exchange:
    """State of the venue.  ``advance`` is called with the time; requests come in between."""

    def __init__(self, settings: SandboxSettings, now_ns: int) -> None:
        self.settings = settings
        self.created_ns = now_ns
        self.markets = Markets(settings)
        self.accounts: dict[str, Account] = {}
        self.desk = Desk(settings, self.markets)
        self.closing = Closing(self.desk)
        self._roll_ns = next_roll_ns(now_ns)
        self._margin_ns = 0
        for of in settings.accounts:
            account = Account(of, settings, self.markets, now_ns)
            self.accounts[account.id] = account
            _open_account(account, now_ns)
        for market in self.markets.by_name.values():
            market.candles.fabricate(
                now_ns, settings.history_days, settings.seed, venue_hours=settings.hours == "venue"
            )

    def advance(self, now_ns: int) -> bool:
        """Let time pass until ``now_ns``; True when a quote or the state of a market is another one."""
        for account in self.accounts.values():
            if account.pending:
                self.desk.expire(account, now_ns)
        changed = self.markets.step(now_ns)
        for market in changed:
            for account in self.accounts.values():
                if account.pending:
                    self.desk.on_quote(account, market, now_ns)
        if now_ns >= self._margin_ns:
            self._margin_ns = now_ns + _MARGIN_EVERY_NS
            for account in self.accounts.values():
                self._check_margin(account, now_ns)
        while now_ns >= self._roll_ns:
            self.charge_financing(self._roll_ns)
            self._roll_ns = next_roll_ns(self._roll_ns)
        return bool(changed)

    def look(self, now_ns: int) -> None:
        """The market after an operator's hand: orders that are due act."""
        for market in self.markets.by_name.values():
            for account in self.accounts.values():
                self.desk.on_quote(account, market, now_ns)

    # --- margin -------------------------------------------------------------------------------------------------------

    def _check_margin(self, account: Account, now_ns: int) -> None:
        if not account.open_trades and account.margin_call_ns is None:
            return
        worth = account.worth()
        called = account.call_percent(worth) >= 1
        if called and account.margin_call_ns is None:
            account.margin_call_ns = now_ns
            account.log.begin("")
            account.log.add("MARGIN_CALL_ENTER", now_ns, {})
        elif not called and account.margin_call_ns is not None:
            account.margin_call_ns = None
            account.log.begin("")
            account.log.add("MARGIN_CALL_EXIT", now_ns, {})
        if account.closeout_percent(worth) >= 1:
            self.closing.margin_closeout(account, now_ns)

    # --- interest and funds -------------------------------------------------------------------------------------------

    def charge_financing(self, now_ns: int) -> None:
        """A day's interest on every open trade, by the instrument's rates; Wednesday's counts for three."""
        days = charged_days(weekday_of_roll(now_ns))
        if not days:
            return
        for account in self.accounts.values():
            positions: list[Json] = []
            whole = ZERO
            for name in dict.fromkeys(trade.instrument for trade in account.open_trades.values()):
                market = self.markets.by_name[name]
                told: list[Json] = []
                of_position = ZERO
                for trade in account.trades_of(name):
                    long = trade.units > 0
                    rate = market.rules.long_rate if long else market.rules.short_rate
                    value = account.value(market, trade.units)
                    amount = Decimal(money(value * rate * days / _YEAR_DAYS))
                    trade.financing += amount
                    of_position += amount
                    account.totals.setdefault(name, Totals()).financing[long] += amount
                    told.append({"tradeID": trade.id, "financing": money(amount)})
                whole += of_position
                positions.append({"instrument": name, "financing": money(of_position), "openTradeFinancings": told})
            if positions:
                account.balance += whole
                account.financing += whole
                account.log.begin("")
                members: Json = {
                    "financing": money(whole),
                    "accountBalance": money(account.balance),
                    "accountFinancingMode": "DAILY",
                    "positionFinancings": positions,
                }
                account.log.add("DAILY_FINANCING", now_ns, members)

    def transfer(self, account: Account, amount: Decimal, now_ns: int) -> Json:
        """Money comes or goes.  Raises ``Rejection``."""
        if not amount.is_finite() or not amount:
            raise Rejection("AMOUNT_INVALID")
        worth = account.worth()
        if amount < 0 and account.balance + worth.unrealised - worth.margin_used + amount < 0:
            raise Rejection("INSUFFICIENT_FUNDS")
        account.balance += Decimal(money(amount))
        account.log.begin("")
        members = {
            "amount": money(amount),
            "fundingReason": "CLIENT_FUNDING",
            "accountBalance": money(account.balance),
        }
        return account.log.add("TRANSFER_FUNDS", now_ns, members)


def _open_account(account: Account, now_ns: int) -> None:
    site, division, user, number = (int(part) for part in account.id.split("-"))
    account.log.begin("")
    created = {
        "divisionID": division,
        "siteID": site,
        "accountUserID": user,
        "accountNumber": number,
        "homeCurrency": account.currency,
    }
    account.log.add("CREATE", now_ns, created)
    rate = {"alias": account.alias, "marginRate": f"{account.margin_rate}"}
    account.log.add("CLIENT_CONFIGURE", now_ns, rate)
    if account.balance:
        members = {"amount": money(account.balance), "fundingReason": "ADJUSTMENT"}
        account.log.add("TRANSFER_FUNDS", now_ns, {**members, "accountBalance": money(account.balance)})
