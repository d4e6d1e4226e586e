"""The market side of the core: from a quote, trade, book or candle to features, model and strategies.

Owns what is known of each instrument (``engine.lanes``) and in which order those are told of an event.  Part of
``engine.core.TradingCore``, which calls it; like that it reads no clock and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from math import isfinite, nan
from typing import Any

from engine import events as e
from engine.arithmetic import exactly
from engine.asking import Asking
from engine.closures import Closures
from engine.consolidated.definition import ConsolidatedDefinition
from engine.consolidated.views import ConsolidatedViews, Derived
from engine.counters import Counters
from engine.desk import Desk
from engine.instruments import Instrument
from engine.lanes import Lane, StrategySlot
from engine.portfolio import Portfolio
from engine.ports import Probe
from engine.predicting import Predicting
from engine.quality.gate import QualityGate
from engine.quality.tolerances import Tolerances
from engine.quality.verdicts import is_shown
from engine.serving import Serving
from engine.venues import VenueStates
from engine.view import CoreView


class Market:
    """See the module's docstring.  ``lanes`` is shared with the view, by instrument."""

    def __init__(
        self,
        *,
        lanes: dict[str, Lane],
        slots: Sequence[StrategySlot],
        venues: VenueStates,
        closures: Closures,
        portfolio: Portfolio,
        view: CoreView,
        desk: Desk,
        asking: Asking,
        serving: Serving,
        predicting: Predicting,
        counters: Counters,
        probe: Probe,
        consolidated: Sequence[ConsolidatedDefinition],
        tolerances: Tolerances,
    ) -> None:
        self.lanes = lanes
        self.slots = slots
        self.venues = venues
        self.closures = closures
        self.portfolio = portfolio
        self.view = view
        self.desk = desk
        self.counters = counters
        self._ask = asking.ask
        self._serving, self._resets, self._feeds = serving, serving.resets, serving.buffers.feeds
        self._predicting, self._tell = predicting, predicting.tell
        self._mark = probe.mark
        self._tolerances = tolerances
        self._known_px: dict[str, float] = {}
        self._views = ConsolidatedViews(consolidated, lanes) if consolidated else None
        self._watched, self._on_price = desk.groups.watched, desk.groups.on_price

    def known_px(self) -> tuple[tuple[str, float], ...]:
        """The last price of each market that was believed, by id; an earlier session's where this one saw none."""
        known = dict(self._known_px)
        for name, lane in self.lanes.items():
            px = lane.quality.expected_px
            if lane.consolidator is None and isfinite(px):
                known[name] = px
        return tuple(known.items())

    def restore_px(self, known_px: Sequence[tuple[str, float]]) -> None:
        """What an earlier session knew: by it the first price of a market is judged."""
        self._known_px.update(known_px)
        for name, px in known_px:
            lane = self.lanes.get(name)
            if lane is not None:
                lane.quality.expect(px)

    def last_px(self, instrument: str) -> Decimal | None:
        """What it is worth now, or was when its market was believed last, by an earlier session too; None when nobody
        knows.  For telling what came to an account or left it, before the first quote: no order rests on it."""
        px = self.view.mark_px(instrument)
        if px is not None:
            return px
        lane = self.lanes.get(instrument)
        rules = self.portfolio.unlisted_instrument(instrument) if lane is None else lane.instrument
        known_px = nan if lane is None else lane.quality.expected_px
        if not isfinite(known_px):
            known_px = self._known_px.get(instrument, nan)
        if rules is None or not isfinite(known_px):
            return None
        try:
            return exactly(rules.price, known_px)
        except (ValueError, ArithmeticError):  # more digits than a Decimal of ours has
            return None

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """What is done with each event of the market."""
        return {
            e.Quote: self._on_quote,
            e.Trade: self._on_trade,
            e.BookDelta: self._on_book_delta,
            e.BookSnapshot: self._on_book_snapshot,
            e.Bar: self._on_bar,
            e.Observation: self._on_observation,
            e.InstrumentDefined: self._on_instrument,
            e.InstrumentStatus: self._on_instrument_status,
            e.VenueStatus: self._on_venue_status,
            e.SessionScheduled: self._on_session_scheduled,
            e.FeedUp: self.venues.feed_up,
            e.FeedDown: self._on_feed_down,
            e.Gap: self._on_gap,
        }

    def on_timer(self, timer: e.Timer) -> None:
        """Consolidated prices age, and time bars end, also where nothing is told."""
        if self.venues.hours.has_turned():
            self.closures.on_status()
            self._resets.on_status()
        self._serving.on_timer(timer.ts_recv_ns)
        self.closures.insist()
        if self._views is not None:
            self._pass_on(self._views.on_timer(timer.ts_recv_ns))
        for lane in self.lanes.values():
            if lane.features is not None and lane.features.on_timer(timer.ts_recv_ns):
                self._on_row(lane, timer.ts_event_ns, timer.ts_recv_ns)

    # --- market -------------------------------------------------------------------------------------------------

    def _on_quote(self, quote: e.Quote) -> None:
        counters = self.counters
        lane = self.lanes.get(quote.instrument)
        if lane is None:
            Counters.add(counters.dropped, "unknown_instrument")
            return
        if lane.member_feed is not None:
            lane.quality.refer(lane.member_feed.reference_px)
        code = lane.quality.quote(quote)
        if code and not lane.usable(code, counters):
            self._refused(lane, code, quote.ts_recv_ns)
            if is_shown(code):
                self._show(lane, quote)
            return
        counters.ticks += 1
        counters.quotes += 1
        lane.book.apply_quote(quote)
        for follower in lane.followers:
            follower.update(quote)
        # Before anybody is asked, so that the view is of one moment; passed on after the member's own way.
        derived = lane.member_feed and lane.member_feed.on_quote(quote)
        self._mark(2)
        features = lane.features
        row = features is not None and features.update(quote)
        self._mark(3)
        if quote.instrument in self._watched:
            self._on_price(quote.instrument, lane.top)
        if row:
            self._on_row(lane, quote.ts_event_ns, quote.ts_recv_ns)
        for slot in lane.quote_slots:
            self._ask(slot, slot.on_quote, quote.instrument)
        if derived:
            self._pass_on(derived)

    def _refused(self, lane: Lane, code: int, ts_recv_ns: int) -> None:
        """A consolidated instrument does without a member whose prices are in doubt."""
        if lane.member_feed is not None:
            self._pass_on(lane.member_feed.on_refused(ts_recv_ns, code >> 2))

    def _show(self, lane: Lane, quote: e.Quote) -> None:
        """Prices of which only the time is refused, for long: positions are valued and left by them, no row is made."""
        lane.show(quote)
        self._on_price(quote.instrument, lane.top)
        for slot in lane.quote_slots:
            self._ask(slot, slot.on_quote, quote.instrument)

    def _show_book(self, lane: Lane, code: int, change: e.BookDelta | e.BookSnapshot) -> None:
        """The same of a book that was changed at such a time."""
        best = lane.book.best(change.ts_event_ns, change.ts_recv_ns) if is_shown(code) else None
        if best is not None and lane.quality.is_plausible(best):
            self._show(lane, best)

    def _pass_on(self, derived: Sequence[Derived]) -> None:
        """Consolidated quotes and trades go the way of any other from the book on: their members' were judged."""
        for lane, event in derived:
            for follower in lane.followers:
                follower.update(event)
            if type(event) is e.Trade:
                lane.top.last_px = event.px
            else:
                lane.book.apply_quote(event)  # type: ignore[arg-type]
                lane.top.suspect = lane.consolidator is None or lane.consolidator.suspect
            if lane.features is not None and lane.features.update(event):
                self._on_row(lane, event.ts_event_ns, event.ts_recv_ns)
            if type(event) is e.Quote:
                for slot in lane.quote_slots:
                    self._ask(slot, slot.on_quote, event.instrument)

    def _on_trade(self, trade: e.Trade) -> None:
        lane = self.lanes.get(trade.instrument)
        if lane is None:
            Counters.add(self.counters.dropped, "unknown_instrument")
            return
        code = lane.quality.trade(trade)
        if code and not lane.usable(code, self.counters):
            return
        self.counters.ticks += 1
        self.counters.trades += 1
        lane.top.last_px = trade.px
        for follower in lane.followers:
            follower.update(trade)
        derived = lane.member_feed and lane.member_feed.on_trade(trade)
        if lane.features is not None and lane.features.update(trade):
            self._on_row(lane, trade.ts_event_ns, trade.ts_recv_ns)
        if derived:
            self._pass_on(derived)

    def _on_book_snapshot(self, snapshot: e.BookSnapshot) -> None:
        lane = self.lanes.get(snapshot.instrument)
        if lane is None:
            Counters.add(self.counters.dropped, "unknown_instrument")
            return
        code = lane.quality.snapshot(snapshot)
        if code and not lane.usable(code, self.counters):
            lane.apply_unusable(snapshot, code)
            self._refused(lane, code, snapshot.ts_recv_ns)
            self._show_book(lane, code, snapshot)
            return
        best = lane.book.apply_snapshot(snapshot)
        if lane.features is not None:
            lane.features.update(snapshot)  # the levels, before the best quote makes a row
        if best is not None:
            self._on_quote(best)
        elif lane.member_feed is not None:
            self._pass_on(lane.member_feed.on_unchanged(lane, snapshot.ts_event_ns, snapshot.ts_recv_ns))

    def _on_book_delta(self, delta: e.BookDelta) -> None:
        lane = self.lanes.get(delta.instrument)
        if lane is None:
            Counters.add(self.counters.dropped, "unknown_instrument")
            return
        code = lane.quality.delta(delta)
        if code and not lane.usable(code, self.counters):
            lane.apply_unusable(delta, code)
            self._refused(lane, code, delta.ts_recv_ns)
            self._show_book(lane, code, delta)
            return
        best = lane.book.apply_delta(delta)
        if lane.features is not None:
            lane.features.update(delta)
        if best is not None:
            self._on_quote(best)
        elif lane.member_feed is not None:
            self._pass_on(lane.member_feed.on_unchanged(lane, delta.ts_event_ns, delta.ts_recv_ns))

    def _on_bar(self, bar: e.Bar) -> None:
        """A candle of the venue's history: it warms features up and never trades."""
        lane = self.lanes.get(bar.instrument)
        if lane is None:
            Counters.add(self.counters.dropped, "unknown_instrument")
            return
        code = lane.quality.bar(bar)
        if code and not lane.usable(code, self.counters):
            return
        lane.quality.expect(bar.close_px)  # until a price of now has come
        for follower in lane.followers:
            follower.update(bar)
        if lane.features is not None:
            lane.features.update(bar)

    def _on_observation(self, observation: e.Observation) -> None:
        """A published value is about no instrument: every buffer takes what its columns ask for."""
        self._feeds.take(observation)
        for lane in self.lanes.values():
            if lane.features is not None:
                lane.features.update(observation)

    def _on_row(self, lane: Lane, ts_event_ns: int, ts_recv_ns: int) -> None:
        """A feature row is complete: predict, then ask the strategies."""
        self.counters.rows += 1
        if lane.beside:
            self._predicting.on_rows(lane, ts_event_ns, ts_recv_ns)
            return
        features, seat = lane.features, lane.seat
        if features is None or not features.warm:
            if seat is not None:
                seat.lose(ts_recv_ns)
            return
        instrument = lane.instrument.id
        if seat is not None:
            if ts_recv_ns < seat.until_ns:
                prediction = seat.predict(instrument, features.window(), ts_event_ns, ts_recv_ns)
                self._mark(4)
                if prediction is None:
                    self.counters.asked += 1
                elif not self._tell(lane, seat, prediction):
                    return
            elif not self._predicting.look(lane, seat, ts_event_ns, ts_recv_ns):
                return
        for slot in lane.row_slots:
            self._ask(slot, slot.on_row, instrument)

    # --- what there is ---------------------------------------------------------------------------------------------

    def _on_instrument(self, event: e.InstrumentDefined) -> None:
        definition = event.definition
        lane = self.lanes.get(definition.id)
        if lane is not None:
            if not self.closures.take(lane.instrument, definition):
                return
            lane.instrument = definition
            lane.quality.redefine(definition)
        else:
            self.lanes[definition.id] = self._new_lane(definition)
        self.venues.define(definition)
        self.portfolio.define(definition)
        if lane is not None:
            self.closures.on_redefined(definition)
        else:
            self._begin(self.lanes[definition.id])
        if self._views is not None:
            for consolidator in self._views.complete(definition):
                self.venues.define(consolidator.instrument)
                made = self.lanes[consolidator.instrument.id] = self._new_lane(consolidator.instrument)
                self._views.connect(consolidator, made)
                self._begin(made)

    def _new_lane(self, instrument: Instrument) -> Lane:
        slots = [slot for slot in self.slots if slot.listens_to(instrument.id)]
        followers = self._feeds.followers_of(instrument.id)
        quality = QualityGate(instrument, self._tolerances)
        quality.expect(self._known_px.get(instrument.id, nan))
        if not slots:
            return Lane(instrument, None, None, slots, followers, quality)
        features, seat = self._serving.assign(instrument, slots)
        return Lane(instrument, features, seat, slots, followers, quality)

    def _begin(self, lane: Lane) -> None:
        """Once lane, rules and books are there: positions of before may be closed at once."""
        if lane.slots:
            self._serving.begin(lane)

    def _on_instrument_status(self, event: e.InstrumentStatus) -> None:
        self.venues.instrument_status(event)
        self._resets.on_status()
        self.closures.on_status(event.instrument)

    def _on_venue_status(self, event: e.VenueStatus) -> None:
        self.venues.venue_status(event)
        self._resets.on_status()
        self.closures.on_status()

    def _on_session_scheduled(self, event: e.SessionScheduled) -> None:
        self.venues.session_scheduled(event)
        self._resets.on_status()
        self.closures.on_status(event.instrument)

    def _on_feed_down(self, event: e.FeedDown) -> None:
        self.venues.feed_down(event)
        if event.stream == "market":
            self._break_market(event.venue, "", f"feed down: {event.reason}")

    def _on_gap(self, event: e.Gap) -> None:
        self.counters.gaps += 1
        reason = f"gap: expected {event.expected}, got {event.got}" if event.got else "the book is asked for anew"
        self._break_market(event.venue, event.instrument, reason)

    def _break_market(self, venue: str, instrument: str, reason: str) -> None:
        """Books are invalid and features not warm after a hole in the feed: all of them before anybody is asked."""
        broken = [
            lane
            for lane in self.lanes.values()
            if lane.instrument.venue == venue and instrument in ("", lane.instrument.id)
        ]
        for lane in broken:
            lane.book.invalidate()
            self._mark_gap(lane, reason)
        if self._views is not None:
            self._pass_on(self._views.on_break(broken, self.view.now_ns, reason, self._mark_gap))

    def _mark_gap(self, lane: Lane, reason: str) -> None:
        """Rows of the instrument begin anew, and what it costs is unknown to those that follow it."""
        if lane.features is not None:
            lane.features.mark_gap(reason)
        self._resets.on_break(lane, reason)
        for follower in lane.followers:
            follower.mark_gap(reason, lane.instrument.id)
