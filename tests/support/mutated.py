"""Bytes of a stream as they should not be: cut anywhere on the wire, flipped, repeated, or of another shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from connectors.fakes import FakeClock, RecordingSink
from connectors.ws import WebsocketsConnection, WsOptions

_ODD = [b"null", b"-1e999", b'"', b"{", b"\xff", b"NaN", b"[[[[", b"0", b",", b"]", b"99999999999999999999", b'""']
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def fed(stream: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The frames that the real transport makes of a stream which arrives in pieces of these sizes, again and again."""

    async def feed() -> list[bytes]:
        sink = RecordingSink()
        inner = ClientProtocol(parse_uri("ws://x/"), max_size=None)
        connection = WebsocketsConnection(inner, sink, FakeClock(), WsOptions())
        inner.state = inner.state.OPEN
        inner.parser = super(ClientProtocol, inner).parse()
        next(inner.parser)
        at = index = 0
        while at < len(stream):
            size = sizes[index % len(sizes)]
            connection.data_received(stream[at : at + size])
            at += size
            index += 1
        return sink.frames

    return asyncio.run(feed())


def mutate(draw: Any, message: bytes) -> bytes:
    """Bytes flipped, cut, inserted and repeated."""
    data = bytearray(message)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "copy"]))
        if kind == "flip" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif kind == "insert":
            data[at:at] = draw(st.sampled_from(_ODD))
        else:
            data[at:at] = data[: draw(st.integers(0, 60))]
    return bytes(data)


def reshape(draw: Any, text: bytes) -> bytes:
    """A good message with one member, at any depth, replaced by an arbitrary JSON value or removed."""
    message = json.loads(text)
    node: Any = message
    for _ in range(8):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and node[key] and draw(st.booleans()):
            node = node[key]
            continue
        if draw(st.booleans()):
            node[key] = draw(VALUES)
        else:
            del node[key]
        break
    return json.dumps(message).encode()
