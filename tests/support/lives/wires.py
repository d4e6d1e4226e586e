"""What lies between the connector and the model of the venue: requests, questions and the user stream, each with what
may become of it on the way.

Owns delays, losses, repetitions and order.  What is told of the venue is true at the moment of telling.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from connectors.coinbase.wire import format_time
from connectors.http import OnDone, OnLost
from connectors.rest import RestError, no_answer
from engine.ports import Clock
from tests.support.lives.records import Json, Order, encode, user_order
from tests.support.lives.venue import ModelVenue

ORDER_TIMEOUT_S, REST_TIMEOUT_S = 5.0, 10.0
LAG_MOST_S = 3.0
RECORD_LAG_MOST_S = 0.9
FAULTS = {
    "no_connection": 0.05,
    "request_lost": 0.06,
    "request_late": 0.05,
    "request_twice": 0.06,
    "request_refused": 0.05,
    "answer_lost": 0.06,
    "answer_late": 0.06,
    "answer_failed": 0.06,
    "question_lost": 0.03,
    "fills_lag": 0.15,
    "orders_lag": 0.15,
    "record_lag": 0.2,
    "answer_to_question_late": 0.04,
    "message_lost": 0.08,
    "messages_swapped": 0.06,
    "message_twice": 0.06,
    "message_late": 0.1,
    "end_told_early": 0.5,
    "killed_at_record": 0.02,
}
"""Of what may go wrong on the way: how often, where a seed has it."""


class Weather:
    """Which faults a seed has, and how often; none once it is calm."""

    def __init__(self, rng: random.Random, shares: dict[str, float]) -> None:
        self.rng = rng
        self.shares = shares
        self.calm = False
        self.outside: Context
        """Of the venue: what is scheduled there outlives a session."""

    def is_hit(self, name: str) -> bool:
        share = self.shares.get(name, 0.0)
        return not self.calm and share > 0.0 and self.rng.random() < share

    def way_s(self) -> float:
        return self.rng.uniform(0.001, 0.02)


class OrderWire:
    """Stands where ``OrderChannel`` stands."""

    open = free = 4

    def __init__(self, venue: ModelVenue, weather: Weather) -> None:
        self._venue = venue
        self._weather = weather

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def try_send(self, request: bytes, on_done: OnDone, on_lost: OnLost) -> bool:
        weather, rng = self._weather, self._weather.rng
        if weather.is_hit("no_connection"):
            return False
        head, _, body = request.partition(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        once = _Once(on_done, on_lost, copy_context())
        way_s = weather.way_s()
        loop = asyncio.get_running_loop()
        loop.call_later(ORDER_TIMEOUT_S, once.lose, "timeout")
        if weather.is_hit("request_lost"):
            loop.call_later(way_s, once.lose, "reset")
            return True
        if weather.is_hit("request_late"):
            way_s = rng.uniform(0.5, 9.0)
        times = 2 if weather.is_hit("request_twice") else 1
        arrive = partial(self._arrive, path, json.loads(body), once)
        for number in range(times):
            loop.call_later(way_s * (1 + 3 * number), arrive, number > 0, context=weather.outside.copy())
        return True

    def _arrive(self, path: str, body: Json, once: _Once, is_again: bool) -> None:
        weather, rng = self._weather, self._weather.rng
        loop = asyncio.get_running_loop()
        answer: Json = {}
        status = 503
        if not weather.is_hit("request_refused"):
            status, answer = self._venue.request(path, body)
        if is_again or weather.is_hit("answer_lost"):
            loop.call_later(weather.way_s(), once.lose, "reset", context=once.context)
            return
        back_s = rng.uniform(0.2, 9.0) if weather.is_hit("answer_late") else weather.way_s()
        if weather.is_hit("answer_failed"):
            status, answer = 502, {}
        loop.call_later(back_s, once.done, status, encode(answer), context=once.context)


class _Once:
    def __init__(self, on_done: OnDone, on_lost: OnLost, context: Context) -> None:
        self._on_done, self._on_lost = on_done, on_lost
        self.context = context
        self._is_over = False

    def done(self, status: int, body: bytes) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_done(status, body)

    def lose(self, reason: str) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_lost(reason)


class Questions:
    """Stands where ``KeyAccess`` stands."""

    is_open = False

    def __init__(self, venue: ModelVenue, weather: Weather) -> None:
        self._venue = venue
        self._weather = weather

    def open(self) -> None:
        self.is_open = True

    def hold_s(self) -> float:
        return 0.0

    def answered(self, status: int) -> None: ...

    def stream_up(self) -> None: ...

    def stream_ended(self, reason: str) -> None: ...

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, auth: bool = True) -> bytes:
        weather, rng = self._weather, self._weather.rng
        await asyncio.sleep(weather.way_s())
        if weather.is_hit("question_lost"):
            raise no_answer(f"GET {path}", "reset")
        lag_s = 0.0
        if path.endswith("/fills") and weather.is_hit("fills_lag"):
            lag_s = rng.uniform(0.0, LAG_MOST_S)
        if path.startswith("/orders/historical/v") and weather.is_hit("record_lag"):
            lag_s = rng.uniform(0.0, RECORD_LAG_MOST_S)
        if path.endswith("/batch") and weather.is_hit("orders_lag"):
            lag_s = rng.uniform(0.0, LAG_MOST_S)
        answer = self._venue.read(path, params, int(lag_s * 1e9))
        await asyncio.sleep(
            rng.uniform(0.1, REST_TIMEOUT_S) if weather.is_hit("answer_to_question_late") else weather.way_s()
        )
        if answer is None:
            raise RestError(f"GET {path}: 404", status=404)
        return encode(answer)


class Line:
    """One connection of the user stream: stands where a ``WsHandle`` stands."""

    def __init__(self, streams: Streams, sink: Any, clock: Clock) -> None:
        self.is_open = True
        self.bytes_in = self.bytes_out = self.frames_in = 0
        self.due_s = 0.0
        self.held = ""
        self.mute_until_s = 0.0
        self._seq = -1
        self._streams = streams
        self._sink = sink
        self._clock = clock
        self._context = copy_context()
        self._closed = asyncio.Event()
        self._is_subscribed = False

    def send(self, data: bytes | str) -> None:
        message = json.loads(data)
        if message["type"] == "subscribe" and message["channel"] == "user":
            self._is_subscribed = True
            self._streams.subscribe(self)

    def close(self, reason: str = "") -> None:
        if self.is_open:
            self.is_open = False
            self._streams.lines.discard(self)
            asyncio.get_running_loop().call_later(0.0, self._end, reason, context=self._context)

    def _end(self, reason: str) -> None:
        self._sink.on_close(reason)
        self._closed.set()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def put(self, channel: str, events: list[Json]) -> None:
        """Number a message and let it go its way, after those before it."""
        if not self.is_open or (channel == "user" and not self._is_subscribed):
            return
        weather = self._streams.weather
        self._seq += 1
        now_s = asyncio.get_running_loop().time()
        at = format_time(self._clock.now_ns())
        text = json.dumps({"channel": channel, "timestamp": at, "sequence_num": self._seq, "events": events})
        if now_s < self.mute_until_s:
            return
        texts = [text]
        if self.held:
            texts, self.held = [text, self.held], ""
        elif weather.is_hit("message_lost"):
            return
        elif weather.is_hit("messages_swapped"):
            self.held = text
            return
        elif weather.is_hit("message_twice"):
            texts = [text, text]
        way_s = weather.rng.uniform(0.1, 4.0) if weather.is_hit("message_late") else weather.way_s()
        self.due_s = max(self.due_s, now_s + way_s)
        for one in texts:
            asyncio.get_running_loop().call_at(self.due_s, self._arrive, one.encode(), context=self._context)

    def _arrive(self, frame: bytes) -> None:
        if self.is_open:
            self.frames_in += 1
            self._sink.on_frames([frame], self._clock.now_ns())


class Streams:
    """Every connection of the user stream."""

    def __init__(self, venue: ModelVenue, weather: Weather, clock: Clock) -> None:
        self.weather = weather
        self.lines: set[Line] = set()
        self._venue = venue
        self._clock = clock
        venue.on_tell = self.tell

    async def connect(self, url: str, sink: Any, clock: Clock, **_options: Any) -> Line:
        await asyncio.sleep(self.weather.way_s())
        line = Line(self, sink, clock)
        self.lines.add(line)
        sink.on_open()
        return line

    def subscribe(self, line: Line) -> None:
        line.put("subscriptions", [{"subscriptions": {"user": ["u"], "heartbeats": ["heartbeats"]}}])
        orders = [user_order(one) for one in self._venue.orders.values() if one.status == "OPEN"]
        for first in range(0, len(orders) + 1, 50):
            line.put("user", [{"type": "snapshot", "orders": orders[first : first + 50]}])

    def tell(self, order: Order) -> None:
        told = user_order(order)
        if order.status in ("CANCELLED", "EXPIRED") and order.filled_qty and self.weather.is_hit("end_told_early"):
            self._put({**told, "cumulative_quantity": "0"})
            wait_s = self.weather.rng.uniform(0.05, 3.0)
            asyncio.get_running_loop().call_later(wait_s, self._put, told, context=self.weather.outside.copy())
            return
        self._put(told)

    def _put(self, told: Json) -> None:
        for line in list(self.lines):
            line.put("user", [{"type": "update", "orders": [told]}])

    def beat(self) -> None:
        for line in list(self.lines):
            line.put("heartbeats", [{"heartbeat_counter": 1}])

    def forget(self) -> None:
        """Whoever was on the other side is gone."""
        for line in self.lines:
            line.is_open = False
        self.lines.clear()

    def cut(self) -> None:
        for line in list(self.lines):
            line.close("cut")

    def mute(self, seconds: float) -> None:
        for line in self.lines:
            line.mute_until_s = asyncio.get_running_loop().time() + seconds
