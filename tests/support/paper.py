"""A paper exchange with one instrument, by hand."""

from __future__ import annotations

from connectors.paper.exchange import PaperExchange
from tests.support.matching import SPOT, D, cancel, new, quote, trade

LATENCY_NS = 20


class Desk:
    """A paper exchange with one instrument and the events it published; time moves by quotes and ``at``."""

    def __init__(self, instrument=SPOT, **settings):
        self.events = []
        self.instrument = instrument
        settings = {"balances": {instrument.quote: D(10_000)}, "latency_ns": LATENCY_NS} | settings
        self.exchange = PaperExchange(self.events.append, [instrument], venue="test", **settings)

    def quote(self, bid_px, ask_px, ts, **sizes):
        event = quote(bid_px, ask_px, ts=ts, of=self.instrument.id, **sizes)
        self.exchange.advance(ts)
        self.exchange.on_market(event)
        return self

    def trade(self, px, qty, aggressor, ts):
        self.exchange.advance(ts)
        self.exchange.on_market(trade(px, qty, aggressor, ts=ts, of=self.instrument.id))
        return self

    def send(self, order_id, side, qty, px=None, **more):
        self.exchange.submit(new(order_id, side, qty, px, of=self.instrument, **more))
        return self

    def at(self, ts):
        self.exchange.advance(ts)
        return self

    def cancel(self, order_id):
        self.exchange.cancel(cancel(order_id, self.instrument))
        return self

    def kinds(self, order_id):
        return [type(e).__name__ for e in self.events if getattr(e, "client_order_id", None) == order_id]

    def last(self, kind):
        return next(e for e in reversed(self.events) if isinstance(e, kind))


def opened(instrument=SPOT, **settings):
    return Desk(instrument, **settings).quote(100, 101, 100)
