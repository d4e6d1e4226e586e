"""What goes wrong with a request between the daemon and the venue, and with its answer.

Owns the layer in front of the sandbox's handlers.  Which fault happens is drawn by ``faults``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from connectors.coinbase.sandbox import wire
from connectors.coinbase.sandbox.exchange import Exchange
from connectors.coinbase.sandbox.rest import PREFIX
from connectors.simulation.faults import EDIT, REQUEST, Faults, Kind

LAG_S = 3.0
"""How long a listing may not show what just happened, at most."""
ORDER_TIMEOUT_S = 5.0
"""Of the connector: an answer that comes later finds nobody."""
PAGE = "2"
"""Entries of a page of a listing, where pages are short."""
NS = 1_000_000_000
ORDERS = f"{PREFIX}/orders"
EDITS = f"{ORDERS}/edit"
FILLS = f"{ORDERS}/historical/fills"
LISTINGS = (f"{PREFIX}/accounts", f"{ORDERS}/historical/batch", FILLS)
KEY_EXPIRED, MAINTENANCE, NO_ENTRIES = "key expired", "maintenance", "no order entry"
"""States that last; ``faults`` knows until when."""

ENDED_UNFILLED = frozenset({"CANCELLED", "EXPIRED", "FAILED"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Requests:
    """``now_ns`` is the venue's clock."""

    def __init__(self, faults: Faults, exchange: Exchange, now_ns: Callable[[], int], rng: random.Random) -> None:
        self._faults = faults
        self._exchange = exchange
        self._now_ns = now_ns
        self._random = rng
        self._second = 0
        self._in_second = 0
        self.most_per_s = 0
        """Most requests that came within one second."""
        self.unanswered: set[str] = set()
        """Client ids of orders that are there while their sender does not know it, until it asks for any."""

    @web.middleware
    async def meddle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, or do to it what holds now or what the seed draws."""
        path = request.path
        self._count()
        refusal = self._refused_now(path)
        if refusal is not None:
            return refusal
        if request.headers.get("Upgrade"):
            return await handler(request)
        if request.method != "POST":
            return await self._read(request, handler)
        if path == ORDERS:
            return await self._order(request, handler)
        if path == EDITS:
            return await self._edit(request, handler)
        return await self._cancel(request, handler)

    def _count(self) -> None:
        second = self._now_ns() // NS
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        self.most_per_s = max(self.most_per_s, self._in_second)

    def _refused_now(self, path: str) -> web.Response | None:
        """By a state that lasts."""
        faults = self._faults
        if faults.holds(MAINTENANCE):
            return _error(503)
        if faults.holds(KEY_EXPIRED) and path.startswith(PREFIX) and path != f"{PREFIX}/time":
            return web.Response(status=401, text="Unauthorized")
        if faults.holds(NO_ENTRIES) and path == ORDERS:
            return _refuse("ORDER_ENTRY_DISABLED", "")
        return None

    # --- orders and cancels -------------------------------------------------------------------------------------------

    async def _order(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        what = self._draw("order_")
        if what == "refused":
            return _refuse("INSUFFICIENT_FUND", "PREVIEW_INSUFFICIENT_FUND")
        if what == "forbidden":
            return web.json_response({"error": "PERMISSION_DENIED", "message": "Missing required scopes"}, status=403)
        if what == "delivered_twice":
            await handler(request)
        response = await self._pass(what, request, handler)
        if what in ("cut_after", "error_after"):
            self.unanswered.add(str(json.loads(await request.read())["client_order_id"]))
        return response

    async def _edit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        what = self._draw("edit_", EDIT)
        if what == "refused":
            names = ("COMMANDER_REJECTED_EDIT_ORDER", "PREVIEW_INSUFFICIENT_FUND")
            errors = [dict(zip(("edit_failure_reason", "preview_failure_reason"), names, strict=True))]
            return web.json_response({"success": False, "errors": errors})
        if what == "delivered_twice":
            await handler(request)
        return await self._pass(what, request, handler)

    async def _cancel(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        what = self._draw("cancel_")
        ids = await _ids(request)
        if any(self._crosses(one, what) for one in ids):
            self._faults.count("B6")
        if what and len(ids) > 1:
            self._faults.count("B18")
        if what == "refused":
            return web.json_response({"results": _refusals(ids)})
        if what == "half_refused":
            refused = ids[1::2] or ids
            results = [self._exchange.cancel(one, self._now_ns()) for one in ids if one not in refused]
            return web.json_response({"results": results + _refusals(refused)})
        return await self._pass(what, request, handler)

    def _crosses(self, order_id: str, what: str) -> bool:
        """Whether the cancel meets an order that has filled, or is refused with nothing said about one that lives."""
        record = self._exchange.orders.get(order_id)
        if record is None or record.status in ENDED_UNFILLED:
            return False
        return record.status == "FILLED" or what in ("refused", "half_refused")

    async def _read(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        faults, path = self._faults, request.path
        if path.startswith(f"{ORDERS}/historical/"):
            self.unanswered.clear()
        what = self._draw("read_")
        if what and path == f"{PREFIX}/accounts":
            faults.count("C14")
        if what == "unauthorized":
            return web.Response(status=401, text="Unauthorized")
        response = await self._pass(what, request, handler)
        if what or not isinstance(response, web.Response) or response.status != 200 or not faults.enabled:
            return response
        if path in LISTINGS:
            name = faults.draw(REQUEST, "pages_")
            if name:
                page = await handler(request.clone(rel_url=request.rel_url.update_query(limit=PAGE)))
                if isinstance(page, web.Response) and page.body != response.body:
                    faults.note(name)
                return page
        if path.startswith(f"{ORDERS}/historical/"):
            response = self._behind(path, response)
        return self._otherwise(response) if path == FILLS else response

    async def _pass(self, what: str, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What can happen to any request."""
        if what in ("cut", "cut_before"):
            return _cut(request)
        if what in ("error", "error_before"):
            return _error(self._random.choice((500, 502, 503, 504)))
        if what == "limited":
            return web.Response(status=429, text="{}", headers={"Retry-After": str(self._random.randint(1, 5))})
        if what == "unauthorized":
            return web.Response(status=401, text="Unauthorized")
        if what == "arrives_late":
            # It waits somewhere on the way in; the sender has given it up meanwhile.
            await asyncio.sleep(self._random.uniform(0.5, ORDER_TIMEOUT_S + 4.0))
        response = await handler(request)
        if what == "cut_after":
            return _cut(request)
        if what == "error_after":
            return _error(self._random.choice((500, 502, 504)))
        if what in ("answer_late", "late"):
            await asyncio.sleep(self._random.uniform(0.2, 2.5 * ORDER_TIMEOUT_S))
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            if what == "truncated":
                response.body = response.body[: self._random.randrange(len(response.body))]
            if what == "surprising":
                response.body = response.body.replace(b'"OPEN"', b'"SURPRISING"').replace(b'"BUY"', b'"buy"')
        return response

    def _draw(self, group: str, kinds: dict[str, Kind] = REQUEST) -> str:
        name = self._faults.draw(kinds, group)
        if name:
            self._faults.note(name)
        return name.removeprefix(group)

    # --- listings -----------------------------------------------------------------------------------------------------

    def _behind(self, path: str, response: web.Response) -> web.Response:
        """A listing that does not show the newest yet, where the seed has that."""
        kinds = {"batch": "orders_listing_", "fills": "fills_listing_"}
        prefix = kinds.get(path.rpartition("/")[2])
        name = self._faults.draw(REQUEST, prefix) if prefix else ""
        if not name:
            return response
        since_ns = self._now_ns() - int(self._random.uniform(0.0, LAG_S) * NS)
        body = msgspec.json.decode(response.body)  # type: ignore[arg-type]
        if path.endswith("/batch"):
            shown = [one for one in body["orders"] if self._exchange.orders[one["order_id"]].created_ns <= since_ns]
            hidden = len(body["orders"]) - len(shown)
            body["orders"] = shown
        else:
            times = {fill.entry_id: fill.ts_ns for fill in self._exchange.fills}
            shown = [one for one in body["fills"] if times[one["entry_id"]] <= since_ns]
            hidden = len(body["fills"]) - len(shown)
            body["fills"] = shown
        if not hidden:
            return response
        self._faults.note(name)
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    def _otherwise(self, response: web.Response) -> web.Response:
        """An execution is told a second time in the same listing, and not alike."""
        name = self._faults.draw(REQUEST, "fill_told_")
        if not name:
            return response
        body = msgspec.json.decode(response.body)  # type: ignore[arg-type]
        if not body["fills"]:
            return response
        told = self._random.randrange(len(body["fills"]))
        again = dict(body["fills"][told])
        field, factor = self._random.choice((("size", 2), ("price", 1.01), ("commission", 3)))
        again[field] = f"{float(again[field]) * factor:.8f}"
        # Behind it: whoever sorts by time keeps the order of those that are of one time.
        body["fills"].insert(told + 1, again)
        self._faults.note(name)
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")


async def _ids(request: web.Request) -> list[str]:
    return list(json.loads(await request.read())["order_ids"])


def _refusals(order_ids: list[str]) -> list[dict[str, Any]]:
    refusal = {"success": False, "failure_reason": "UNKNOWN_CANCEL_FAILURE_REASON"}
    return [{**refusal, "order_id": order_id} for order_id in order_ids]


def _refuse(error: str, preview: str) -> web.Response:
    body = wire.refused(error, preview, "drawn", None)
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _error(status: int) -> web.Response:
    return web.Response(status=status, text='{"error":"INTERNAL","message":"try again"}')
