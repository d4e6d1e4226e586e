"""From an HTTP request to its parameters and body, and from an answer to its bytes.

Owns what every handler of the sandbox's REST side shares.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from connectors.coinbase.sandbox.queries import Params
from connectors.coinbase.sandbox.times import BadRequest
from engine.errors import RemoteProtocolError


class NotThere(RemoteProtocolError):  # noqa: N818 - the name of the HTTP answer
    """What the path names does not exist: HTTP 404 NOT_FOUND with this text."""


def params_of(request: web.Request) -> Params:
    return Params(request.query.items())


async def body_of(request: web.Request) -> dict[str, Any]:
    """Raises ``BadRequest`` for what is no JSON object."""
    raw = await request.read()
    try:
        body = msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        raise BadRequest("body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("body must be an object")
    return body


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)
