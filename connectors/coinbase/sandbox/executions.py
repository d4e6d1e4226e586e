"""The sandbox's executions: what a match does to money and orders, and what the venue's people adjust of it afterwards.

Owns the fills and their totals.  Money and positions are the matching model's ledger, the life of an order is
``exchange``'s.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from connectors.coinbase.sandbox.records import ZERO, FillRecord, Market, OrderRecord
from connectors.coinbase.sandbox.times import BadRequest
from connectors.coinbase.sandbox.translate import ACCOUNT
from connectors.matching.orders import Filled
from engine.events import Liquidity, Side

if TYPE_CHECKING:
    from connectors.coinbase.sandbox.exchange import Exchange

KINDS = frozenset({"REVERSAL", "CORRECTION", "SYNTHETIC"})


class Executions:
    """Of one exchange.  ``most`` fills are kept, the oldest are dropped first."""

    def __init__(self, exchange: Exchange, *, most: int) -> None:
        self._exchange = exchange
        self.fills: deque[FillRecord] = deque(maxlen=most)
        self.of: dict[str, list[FillRecord]] = {}
        self.traded_value = ZERO
        self.fees_paid = ZERO
        self.is_listed_twice = False
        self._withhold = 0
        self._withheld: list[tuple[OrderRecord, Market, Filled, bool]] = []

    def withhold(self, count: int) -> None:
        """Of the next so many executions nothing shows, neither in an order nor in a balance, until ``tell``."""
        self._withhold = count

    def tell(self, now_ns: int) -> None:
        """What was withheld happens now for everybody, in its order; it was listed now, and made when it was made."""
        withheld, self._withheld, self._withhold = self._withheld, [], 0
        for record, market, filled, is_maker in withheld:
            self._settle(record, market, filled, is_maker=is_maker, posted_ns=now_ns)
            self._exchange.attaching.filled(record)
            self._exchange.absorb(market, (), now_ns)

    def settle(self, record: OrderRecord, market: Market, filled: Filled, *, is_maker: bool) -> None:
        """One side of a match."""
        if self._withhold:
            self._withhold -= 1
            self._withheld.append((record, market, filled, is_maker))
            return
        self._settle(record, market, filled, is_maker=is_maker)

    def _settle(
        self, record: OrderRecord, market: Market, filled: Filled, *, is_maker: bool, posted_ns: int = 0
    ) -> None:
        """Move money for one side of a match and write its fill."""
        exchange, spec = self._exchange, record.spec
        ledger, instrument = exchange.wallets.ledger, market.instrument
        is_future = market.product.future is not None
        before = ledger.balance(ACCOUNT, instrument.settlement).total if is_future else ZERO
        fee = ledger.apply_fill(
            ACCOUNT,
            instrument,
            order_id=record.order_id,
            side=spec.side,
            qty=filled.qty,
            px=filled.px,
            liquidity=Liquidity.MAKER if is_maker else Liquidity.TAKER,
        )
        if is_future:
            after = ledger.balance(ACCOUNT, instrument.settlement).total
            exchange.futures.realise(spec.product_id, after - before + fee, filled.ts_ns)
        fill = FillRecord(
            entry_id=exchange.new_id(),
            trade_id=filled.match_id,
            order_id=record.order_id,
            product_id=spec.product_id,
            side=spec.side,
            px=filled.px,
            qty=filled.qty,
            commission=fee,
            maker=is_maker,
            ts_ns=filled.ts_ns,
            posted_ns=posted_ns,
        )
        record.fill_count += 1
        record.last_fill_ns = filled.ts_ns
        self._count(record, market, fill, 1)
        self._write(fill)

    def adjust(self, entry_id: str, kind: str, now_ns: int, *, px: Decimal, qty: Decimal, alone: bool) -> None:
        """The venue adjusts the execution of a pair.  ``kind`` ``REVERSAL`` takes it back; ``CORRECTION`` takes it back
        and puts another in its place, ``alone`` without an entry for the first; ``SYNTHETIC`` adds one.  ``px`` and
        ``qty`` are those of the new one.  Raises ``BadRequest``."""
        exchange = self._exchange
        found = next((fill for fill in self.fills if fill.entry_id == entry_id), None)
        record = None if found is None else exchange.orders.get(found.order_id)
        market = None if found is None else exchange.markets[found.product_id]
        if found is None or record is None or market is None or market.product.future is not None:
            raise BadRequest("adjust needs the entry_id of a fill of a pair")
        if kind not in KINDS:
            raise BadRequest(f"kind must be one of {', '.join(sorted(KINDS))}")
        entry = msgspec.structs.replace(found, entry_id=exchange.new_id(), trade_type="REVERSAL", posted_ns=now_ns)
        if kind != "SYNTHETIC":
            self._move(market, found, -1)
            self._count(record, market, found, -1)
            if kind == "REVERSAL" or not alone:
                self._write(entry)
        if kind != "REVERSAL":
            fee = found.commission * qty * px / (found.qty * found.px)
            entry = msgspec.structs.replace(
                entry, entry_id=exchange.new_id(), trade_type=kind, px=px, qty=qty, commission=fee
            )
            self._move(market, entry, 1)
            self._count(record, market, entry, 1)
            self._write(entry)
        exchange.absorb(market, (), now_ns)

    def forget(self, order_id: str) -> None:
        self.of.pop(order_id, None)

    def _move(self, market: Market, fill: FillRecord, sign: int) -> None:
        ledger, instrument = self._exchange.wallets.ledger, market.instrument
        signed = sign * (fill.qty if fill.side is Side.BUY else -fill.qty)
        ledger.deposit(ACCOUNT, instrument.base, signed)
        ledger.deposit(ACCOUNT, instrument.quote, -signed * fill.px - sign * fill.commission)

    def _count(self, record: OrderRecord, market: Market, fill: FillRecord, sign: int) -> None:
        value = market.instrument.notional(fill.qty, fill.px)
        record.filled_qty += sign * fill.qty
        record.filled_value += sign * value
        record.fees += sign * fill.commission
        self.traded_value += sign * value
        self.fees_paid += sign * fill.commission
        self._exchange.touch(record)

    def _write(self, fill: FillRecord) -> None:
        self.fills.append(fill)
        self.of.setdefault(fill.order_id, []).append(fill)
