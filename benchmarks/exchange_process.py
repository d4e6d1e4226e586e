"""The other end of the wire lanes: ticks out over a WebSocket, orders in over HTTP, and the stopwatch.

A process of its own, started by ``wire`` and spoken to in JSON lines: it prints ``{"port": ...}``, reads one line
``{"warm": ..., "ticks": ..., "per_second": ...}``, prints ``{"latencies_ns": [...], ...}`` and ends.  Both clocks are
this process's, so nothing has to be synchronised: a latency runs from before a ticker frame is handed to the kernel to
the moment a complete order request has been read.  Deliberately bare (epoll, no frameworks): it must not be what is
measured.  After a frame it polls without sleeping until the order is there, so that its own waking is not counted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import socket
import sys
import time

from benchmarks.market import PERIOD, Market, phase_of

_read = time.perf_counter_ns
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WARM_PER_SECOND = 1_000
WAIT_NS = 2_000_000
"""How long to poll for the answer to a tick; a later one still counts, when the wait for the next tick reads it."""
TRADE_EVERY = 4


class Exchange:
    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._open: dict[int, tuple[socket.socket, bytearray]] = {}
        self._stream: socket.socket | None = None
        self._market = Market()
        self._sent_ns = [0] * PERIOD
        self._taken = [True] * PERIOD
        self._measuring = False
        self.latencies_ns: list[int] = []
        self.orders = 0
        self.strays = 0
        self.per_second = 0.0

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def run(self, warm: int, ticks: int, per_second: int) -> None:
        """Warm up, then measure; returns when every tick was sent and its order had time to come."""
        self._tick_for(warm, WARM_PER_SECOND)
        self._measuring = True
        start_ns = _read()
        self._tick_for(ticks, per_second)
        self.per_second = ticks * 1e9 / (_read() - start_ns)
        end_ns = _read() + 200_000_000
        while _read() < end_ns:
            self._poll(0.02)

    def serve_until_subscribed(self) -> None:
        while self._stream is None or not self._market.sequence:
            self._poll(0.1)

    # --- ticks ----------------------------------------------------------------------------------------------------

    def _tick_for(self, ticks: int, per_second: int) -> None:
        interval_ns = 1_000_000_000 // per_second
        due_ns = sent_ns = _read()
        for number in range(ticks):
            # What was lost to the machine is not caught up in a burst.
            due_ns = max(due_ns + interval_ns, sent_ns + interval_ns // 2)
            self._idle_until(due_ns)
            frame = _text_frame(self._market.ticker(time.time_ns()))
            phase = (self._market.ticks - 1) % PERIOD
            self._taken[phase] = False
            before = self.orders
            self._sent_ns[phase] = sent_ns = _read()
            self._send(frame)
            while self.orders == before and _read() - sent_ns < WAIT_NS:
                self._poll(0)
            if number % TRADE_EVERY == 0:
                self._idle_until(_read() + min(200_000, interval_ns // 4))
                self._send(_text_frame(self._market.trade(time.time_ns())))

    def _idle_until(self, due_ns: int) -> None:
        """Serve what comes meanwhile; epoll sleeps in milliseconds, the rest is polled."""
        while (left_ns := due_ns - _read()) > 0:
            self._poll(max(left_ns - 100_000, 0) / 1e9)

    def _send(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.sendall(data)

    # --- connections ----------------------------------------------------------------------------------------------

    def _poll(self, timeout_s: float) -> None:
        for fileno, _ in self._epoll.poll(timeout_s):
            if fileno == self._listener.fileno():
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open[connection.fileno()] = (connection, bytearray())
                self._epoll.register(connection, select.EPOLLIN)
                continue
            connection, pending = self._open[fileno]
            data = connection.recv(65_536)
            now_ns = _read()
            if not data:
                self._epoll.unregister(fileno)
                del self._open[fileno]
                connection.close()
            elif connection is self._stream:
                if not self._market.sequence:
                    # Whatever the client subscribes to is confirmed at once.
                    self._send(_text_frame(self._market.subscribed()))
            else:
                pending += data
                self._serve(connection, pending, now_ns)

    def _serve(self, connection: socket.socket, pending: bytearray, now_ns: int) -> None:
        while (end := pending.find(b"\r\n\r\n")) >= 0:
            head = bytes(pending[:end])
            if b"Sec-WebSocket-Key" in head:
                del pending[: end + 4]
                connection.sendall(_upgrade(head))
                self._stream = connection
                return
            length = int(_header(head, b"Content-Length") or 0)
            if len(pending) < end + 4 + length:
                return
            body = bytes(pending[end + 4 : end + 4 + length])
            del pending[: end + 4 + length]
            if head.startswith(b"POST"):
                connection.sendall(_answer(self._take(body, now_ns)))
            else:
                connection.sendall(_answer(b'{"iso":"","epochSeconds":"0","epochMillis":"0"}'))

    def _take(self, body: bytes, now_ns: int) -> bytes:
        """Note the order against the tick that its price names."""
        self.orders += 1
        order = json.loads(body)
        (fields,) = order["order_configuration"].values()
        phase = phase_of(order["side"], fields["limit_price"])
        if self._taken[phase]:
            self.strays += 1
        else:
            self._taken[phase] = True
            if self._measuring:
                self.latencies_ns.append(now_ns - self._sent_ns[phase])
        return (
            b'{"success":true,"order_id":"v-%d","success_response":{"order_id":"v-%d","product_id":"BTC-USD","side":'
            b'"%b","client_order_id":"%b"}}'
            % (self.orders, self.orders, order["side"].encode(), order["client_order_id"].encode())
        )


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.lower():
            return value.strip()
    return b""


def _upgrade(head: bytes) -> bytes:
    accept = base64.b64encode(hashlib.sha1(_header(head, b"Sec-WebSocket-Key") + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _text_frame(payload: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455, 5.2)."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


def main() -> None:
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    exchange = Exchange()
    print(json.dumps({"port": exchange.port}), flush=True)
    exchange.serve_until_subscribed()
    line = sys.stdin.readline()
    if not line:
        return
    wanted = json.loads(line)
    exchange.run(wanted["warm"], wanted["ticks"], wanted["per_second"])
    print(
        json.dumps(
            {
                "latencies_ns": exchange.latencies_ns,
                "orders": exchange.orders,
                "strays": exchange.strays,
                "per_second": exchange.per_second,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
