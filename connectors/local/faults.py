"""Answers that go wrong on purpose: refused, garbled, late, or lost after the request was carried out.

Owns which requests are hit, how often, and what then happens on the wire.  Who writes the script (an operator's door)
and what is carried out is the caller's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

_MOST = 100
_log = logging.getLogger(__name__)
CarryOut = Callable[[], Awaitable[web.StreamResponse]]


class AnswerFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to the next ``times`` requests of ``method`` (any when empty) whose path ends with ``path``.

    ``apply``: ``no`` the request is never carried out, ``before`` (or ``applied``) it is and only its answer goes
    wrong, ``after`` the answer goes wrong at once and the request is carried out ``delay_s`` later.  Else ``delay_s``
    comes before the answer: ``status`` with ``body``, 0 cuts the connection without one.  ``cut`` sends that many bytes
    of the body, under a header that promised all of them.  ``late``: carried out and answered as always, only
    ``delay_s`` later; with ``apply`` ``before`` it is carried out at once, and what it was answered comes ``delay_s``
    later.
    ``twice``: carried out two times, the second one is answered.
    """

    path: str
    status: int = 503
    method: str = ""
    body: str = ""
    content_type: str = "application/json"
    apply: str = "no"
    applied: bool = False
    delay_s: float = 0.0
    cut: int | None = None
    times: int = 1
    late: bool = False
    twice: bool = False
    headers: dict[str, str] = {}


class FaultScript:
    """Faults in the order in which they were written; each is used up and forgotten.

    ``refuse`` makes the venue's own error of a text.
    """

    def __init__(self, refuse: Callable[[str], Exception]) -> None:
        self._refuse = refuse
        self._waiting: deque[tuple[AnswerFault, int]] = deque()
        self._late: set[asyncio.Task[None]] = set()

    def add(self, fields: Mapping[str, Any]) -> None:
        """Raises ``refuse``'s error for what is no fault, and when too many wait."""
        try:
            fault = msgspec.convert(dict(fields), AnswerFault)
        except msgspec.ValidationError as problem:
            raise self._refuse(f"answer: {problem}") from None
        if not fault.path or not 1 <= fault.times <= _MOST or len(self._waiting) >= _MOST:
            raise self._refuse(f"answer needs a path, times from 1 to {_MOST}, and at most {_MOST} may wait")
        if (fault.status and not 200 <= fault.status <= 599) or not 0.0 <= fault.delay_s <= 600.0:
            raise self._refuse("answer needs status 0 or 200 to 599, and delay_s from 0 to 600")
        if fault.apply not in {"no", "before", "after"}:
            raise self._refuse("answer's apply is no, before or after")
        if any(not value.isprintable() for pair in fault.headers.items() for value in pair):
            raise self._refuse("answer's headers are printable text")
        self._waiting.append((fault, fault.times))

    def clear(self) -> None:
        self._waiting.clear()

    def take(self, method: str, path: str) -> AnswerFault | None:
        """The fault for this request, None when it goes well."""
        for place, (fault, left) in enumerate(self._waiting):
            if path.endswith(fault.path) and fault.method in ("", method):
                if left > 1:
                    self._waiting[place] = (fault, left - 1)
                else:
                    del self._waiting[place]
                return fault
        return None

    async def go_wrong(self, request: web.Request, carry_out: CarryOut, fault: AnswerFault) -> web.StreamResponse:
        """The answer as the script has it.  ``carry_out`` does what was asked for, and raises what it always does."""
        await request.read()
        if fault.late and fault.apply == "before":
            answered = await carry_out()
            await asyncio.sleep(fault.delay_s)
            return answered
        if fault.late or fault.twice:
            await asyncio.sleep(fault.delay_s)
            if fault.twice:
                await carry_out()
            return await carry_out()
        if fault.applied or fault.apply == "before":
            await carry_out()
        if fault.apply == "after":
            task = asyncio.create_task(_later(carry_out, fault.delay_s))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        else:
            await asyncio.sleep(fault.delay_s)
        body = fault.body.encode()
        answer = web.Response(
            status=fault.status or 500, body=body, content_type=fault.content_type, headers=fault.headers
        )
        if fault.status and fault.cut is None:
            return answer
        transport = request.transport
        if fault.status and transport is not None:
            head = f"HTTP/1.1 {fault.status} {answer.reason}\r\nContent-Type: {fault.content_type}\r\n"
            transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: fault.cut])
            transport.close()
        elif transport is not None:
            transport.abort()
        return answer

    async def close(self) -> None:
        """Forget what was to be carried out later."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)


async def _later(carry_out: CarryOut, delay_s: float) -> None:
    """The request arrives after all; nobody hears the answer, also where it is a refusal."""
    await asyncio.sleep(delay_s)
    try:
        await carry_out()
    except Exception as refusal:
        _log.info("carried out late, and refused: %s", refusal)
