"""US futures and contracts of the perpetual style: positions, margin, funding, forced closing, expiry, sweeps.

Owns what the venue says about them and what time does to them.  Money and positions are the matching model's ledger:
realised profit, funding and fees move the settlement balance, which spot uses as well (the venue keeps two accounts
and moves money between them by itself; here a sweep is only listed).  Margin is bound at the overnight rate at all
hours: the intraday setting is kept and told, and changes nothing.

Positions are closed by force when what the account is worth falls below half of their margin.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from connectors.coinbase.sandbox import wire
from connectors.coinbase.sandbox.records import ZERO, Market, OrderSpec
from connectors.coinbase.sandbox.requests import UNKNOWN_PREVIEW, OrderRefused, parse_order
from connectors.coinbase.sandbox.times import BadRequest, at
from connectors.coinbase.sandbox.translate import ACCOUNT
from engine.commands import OrderType
from engine.events import Liquidity, Side

if TYPE_CHECKING:
    from connectors.coinbase.sandbox.exchange import Exchange

_HOUR_NS = 3_600 * 1_000_000_000
_DAY_NS = 24 * _HOUR_NS
_MAINTENANCE = Decimal("0.5")
_MOST_SWEEPS = 50
_CENT = Decimal("0.01")
SETTINGS = ("INTRADAY_MARGIN_SETTING_STANDARD", "INTRADAY_MARGIN_SETTING_INTRADAY")


class Futures:
    """Contracts of one exchange.  ``currency`` settles all of them."""

    currency = "USD"

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._realised: dict[str, tuple[int, Decimal]] = {}
        """Profit since midnight UTC by product, with the day that it belongs to."""
        self._funded_hour = exchange.created_ns // _HOUR_NS
        self.liquidations = 0
        self.sweeps: list[wire.Json] = []
        self.setting = SETTINGS[0]
        self._today = exchange.created_ns // _DAY_NS

    # --- what happens -----------------------------------------------------------------------------------------------

    def realise(self, product_id: str, profit: Decimal, now_ns: int) -> None:
        """A fill closed a part of a position."""
        day = now_ns // _DAY_NS
        before, sofar = self._realised.get(product_id, (day, ZERO))
        self._realised[product_id] = (day, profit + (sofar if before == day else ZERO))

    def pass_time(self, now_ns: int) -> None:
        """Once a second: funding at whole hours, contracts that expire, accounts that are worth too little."""
        self._today = now_ns // _DAY_NS
        hour = now_ns // _HOUR_NS
        markets = self._markets()
        if hour != self._funded_hour:
            self._funded_hour = hour
            for market in markets:
                self.fund(market, now_ns)
        for market in markets:
            terms = market.product.future
            if terms is not None and market.product.listed and now_ns >= terms.expires_ns:
                self._expire(market, now_ns)
        held = self._held()
        if held and self._worth() < self._maintenance():
            self._liquidate(held, now_ns)

    def fund(self, market: Market, now_ns: int, rate: Decimal | None = None) -> Decimal:
        """Pay one interval's funding; returns what this account pays (it receives what is below zero)."""
        terms = market.product.future
        if terms is None or terms.funding_rate is None:
            return ZERO
        position = self._position(market)
        rate = terms.funding_rate if rate is None else rate
        paid = position * wire.last_price(market) * terms.contract_size * rate
        if paid:
            self._exchange.wallets.ledger.deposit(ACCOUNT, self.currency, -paid)
            self._exchange.wallets.touch((self.currency,), now_ns)
            self.realise(market.product.product_id, -paid, now_ns)
        return paid

    def _expire(self, market: Market, now_ns: int) -> None:
        """Orders end, the position is settled at the last price without a fee, and the contract is gone."""
        exchange, instrument = self._exchange, market.instrument
        exchange.relist(msgspec.structs.replace(market.product, listed=False, status="delisted"), now_ns)
        qty = self._position(market)
        if qty:
            ledger, px = exchange.wallets.ledger, wire.last_price(market)
            side = Side.SELL if qty > 0 else Side.BUY
            before = ledger.balance(ACCOUNT, self.currency).total
            fee = ledger.apply_fill(
                ACCOUNT, instrument, order_id="", side=side, qty=abs(qty), px=px, liquidity=Liquidity.MAKER
            )
            ledger.deposit(ACCOUNT, self.currency, fee)
            self.realise(market.product.product_id, ledger.balance(ACCOUNT, self.currency).total - before, now_ns)

    def _liquidate(self, held: list[Market], now_ns: int) -> None:
        exchange = self._exchange
        for record in list(exchange.open_orders.values()):
            if record.spec.product_type == "FUTURE":
                exchange.cancel(record.order_id, now_ns)
        for market in held:
            qty = self._position(market)
            spec = OrderSpec(
                client_order_id=f"liquidation-{self.liquidations}",
                product_id=market.product.product_id,
                side=Side.SELL if qty > 0 else Side.BUY,
                kind=OrderType.MARKET,
                time_in_force="IMMEDIATE_OR_CANCEL",
                configuration={"market_market_ioc": {"base_size": wire.number(abs(qty))}},
                base_size=abs(qty),
                quote_size=None,
                product_type="FUTURE",
                margin_type="CROSS",
                unit_size=market.instrument.multiplier,
            )
            try:
                exchange.open(spec, now_ns).is_liquidation = True
            except OrderRefused:
                continue  # Nobody trades: again in a second.
            self.liquidations += 1

    # --- what clients ask -------------------------------------------------------------------------------------------

    def close_body(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /orders/close_position as the order that it stands for.  Raises ``BadRequest`` or ``OrderRefused``."""
        product_id, size = str(body.get("product_id", "")), body.get("size")
        market = self._exchange.markets.get(product_id)
        held = ZERO if market is None else self._position(market)
        configuration = {"market_market_ioc": {"base_size": size or wire.number(abs(held))}}
        made = {
            "client_order_id": body.get("client_order_id", ""),
            "product_id": product_id,
            "side": "SELL" if held > 0 else "BUY",
            "order_configuration": configuration,
        }
        if not held:
            raise OrderRefused("INVALID_REQUEST", UNKNOWN_PREVIEW, f"there is no position in {product_id[:40]}")
        spec = parse_order(made, self._exchange.products, self._exchange.created_ns)
        if spec.base_size is not None and spec.base_size > abs(held):
            raise OrderRefused("INVALID_REQUEST", UNKNOWN_PREVIEW, f"size is above the {abs(held)} contracts held")
        return made

    def positions(self) -> list[wire.Json]:
        return [self.position(market) for market in self._held()]

    def find(self, product_id: str) -> wire.Json | None:
        return next((one for one in self.positions() if one["product_id"] == product_id), None)

    def position(self, market: Market) -> wire.Json:
        terms, held = market.product.future, self._exchange.wallets.ledger.position(ACCOUNT, market.instrument)
        assert terms is not None
        return {
            "product_id": market.product.product_id,
            "expiration_time": at(terms.expires_ns),
            "side": "LONG" if held.qty > 0 else "SHORT",
            "number_of_contracts": wire.number(abs(held.qty)),
            "current_price": wire.number(wire.last_price(market)),
            "avg_entry_price": wire.number(held.avg_px),
            "unrealized_pnl": wire.number(self._unrealised(market).quantize(_CENT)),
            "daily_realized_pnl": wire.number(self._realised_today(market.product.product_id).quantize(_CENT)),
        }

    def user_positions(self) -> wire.Json:
        """Of the user channel: both styles are contracts that expire."""
        made = [
            {
                "product_id": one["product_id"],
                "side": one["side"],
                "number_of_contracts": one["number_of_contracts"],
                "realized_pnl": one["daily_realized_pnl"],
                "unrealized_pnl": one["unrealized_pnl"],
                "entry_price": one["avg_entry_price"],
            }
            for one in self.positions()
        ]
        return {"perpetual_futures_positions": [], "expiring_futures_positions": made}

    def summary(self) -> dict[str, Decimal | wire.Json]:
        """Figures of the account, in settlement currency; the windows are objects of text."""
        exchange = self._exchange
        balance = exchange.wallets.ledger.balance(ACCOUNT, self.currency)
        margin = sum((self._margin(market) for market in self._held()), ZERO)
        hold = self._held_by_orders()
        unrealised = sum((self._unrealised(market) for market in self._held()), ZERO)
        today = sum((self._realised_today(product_id) for product_id in self._realised), ZERO)
        worth, maintenance = balance.total + unrealised, self._maintenance()
        available = max(ZERO, balance.available + min(unrealised, ZERO))
        buffer_percent = (worth - maintenance) / worth * 100 if worth > 0 else ZERO
        window = {
            "margin_window_type": "FCM_MARGIN_WINDOW_TYPE_OVERNIGHT",
            "margin_level": "MARGIN_LEVEL_TYPE_BASE",
            "initial_margin": wire.number(margin.quantize(_CENT)),
            "maintenance_margin": wire.number(maintenance.quantize(_CENT)),
            "liquidation_buffer_percentage": str(int(buffer_percent)),
            "total_hold": wire.number((margin + hold).quantize(_CENT)),
            "futures_buying_power": wire.number(available.quantize(_CENT)),
        }
        return {
            "futures_buying_power": available,
            "total_usd_balance": balance.total,
            "cbi_usd_balance": balance.total - margin - hold,
            "cfm_usd_balance": margin + hold,
            "total_open_orders_hold_amount": hold,
            "unrealized_pnl": unrealised,
            "daily_realized_pnl": today,
            "initial_margin": margin,
            "available_margin": available,
            "liquidation_threshold": maintenance,
            "liquidation_buffer_amount": worth - maintenance,
            "liquidation_buffer_percentage": Decimal(int(buffer_percent)),
            "intraday_margin_window_measure": {**window, "margin_window_type": "FCM_MARGIN_WINDOW_TYPE_INTRADAY"},
            "overnight_margin_window_measure": window,
        }

    def bound(self) -> Decimal:
        """Dollars that contracts and orders for them bind."""
        return sum((self._margin(market) for market in self._held()), ZERO) + self._held_by_orders()

    def _held_by_orders(self) -> Decimal:
        orders = [r for r in self._exchange.open_orders.values() if r.spec.product_type == "FUTURE"]
        return sum((self._exchange.wallets.ledger.held(record.order_id) for record in orders), ZERO)

    def rest_summary(self) -> wire.Json:
        """Amounts as ``{value, currency}``, as REST has them."""
        made: wire.Json = {}
        for name, value in self.summary().items():
            if isinstance(value, dict):
                made[name] = value
            elif name.endswith("percentage"):
                made[name] = wire.number(value)
            else:
                made[name] = {"value": wire.number(value.quantize(_CENT)), "currency": self.currency}
        return made

    def stream_summary(self) -> wire.Json:
        """Plain text, as the stream has them."""
        return {
            name: value if isinstance(value, dict) else wire.number(value.quantize(_CENT))
            for name, value in self.summary().items()
        }

    def schedule_sweep(self, body: dict[str, Any], now_ns: int) -> None:
        """All of it when no amount is given.  Raises ``BadRequest``."""
        raw = str(body.get("usd_amount") or "0")
        if not raw.replace(".", "", 1).isdecimal() or len(self.sweeps) >= _MOST_SWEEPS:
            raise BadRequest("usd_amount must be a plain decimal string")
        self.sweeps.append(
            {
                "id": f"sweep-{now_ns}",
                "requested_amount": {"value": wire.number(Decimal(raw)), "currency": self.currency},
                "should_sweep_all": not Decimal(raw),
                "status": "PENDING",
                "schedule_time": at(now_ns),
            }
        )

    def choose(self, body: dict[str, Any]) -> None:
        """The intraday margin setting.  Raises ``BadRequest``."""
        if body.get("setting") not in SETTINGS:
            raise BadRequest(f"setting must be one of {', '.join(SETTINGS)}")
        self.setting = str(body["setting"])

    @staticmethod
    def window(now_ns: int) -> wire.Json:
        """The margin window of now; here one lasts a day."""
        end_ns = (now_ns // _DAY_NS + 1) * _DAY_NS
        return {
            "margin_window": {"margin_window_type": "FCM_MARGIN_WINDOW_TYPE_OVERNIGHT", "end_time": at(end_ns)},
            "is_intraday_margin_killswitch_enabled": False,
            "is_intraday_margin_enrollment_killswitch_enabled": False,
        }

    # --- figures ----------------------------------------------------------------------------------------------------

    def _markets(self) -> list[Market]:
        return [market for market in self._exchange.markets.values() if market.product.future is not None]

    def _held(self) -> list[Market]:
        return [market for market in self._markets() if self._position(market)]

    def _position(self, market: Market) -> Decimal:
        """Contracts, negative when short."""
        if market.product.future is None:
            return ZERO
        return self._exchange.wallets.ledger.position(ACCOUNT, market.instrument).qty

    def _margin(self, market: Market) -> Decimal:
        return self._exchange.wallets.ledger.position(ACCOUNT, market.instrument).margin

    def _unrealised(self, market: Market) -> Decimal:
        held = self._exchange.wallets.ledger.position(ACCOUNT, market.instrument)
        return held.qty * market.instrument.multiplier * (wire.last_price(market) - held.avg_px)

    def _realised_today(self, product_id: str) -> Decimal:
        day, profit = self._realised.get(product_id, (0, ZERO))
        return profit if day == self._today else ZERO

    def _worth(self) -> Decimal:
        total = self._exchange.wallets.ledger.balance(ACCOUNT, self.currency).total
        return total + sum((self._unrealised(market) for market in self._held()), ZERO)

    def _maintenance(self) -> Decimal:
        return sum((self._margin(market) for market in self._held()), ZERO) * _MAINTENANCE
