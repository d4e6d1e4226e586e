"""REST calls to Binance that keep its weight limit: books' snapshots, instruments, the clock, candles.

Owns when a request may leave, and what is learned from an answer's headers.  Does not repeat calls or read bodies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from connectors.binance.streams import SPOT, USDM
from connectors.binance.weights import WeightBudget
from connectors.endpoints import Endpoints
from connectors.rest import RestClient, RestError
from connectors.route import Route
from engine.ports import Clock

PREFIX: Final = {SPOT: "/api/v3", USDM: "/fapi/v1"}
LIMIT: Final = {SPOT: 6000, USDM: 2400}
"""Weight a minute and address."""
DEPTH_LEVELS: Final = 1000
DEPTH_WEIGHT: Final = {SPOT: 50, USDM: 20}
"""Of ``GET depth`` with that many levels a side."""
INFO_WEIGHT: Final = {SPOT: 20, USDM: 1}
KLINES_WEIGHT: Final = {SPOT: 2, USDM: 5}
KLINES_MAX: Final = 1000
"""In one answer; futures give 1500, for twice the weight."""


class BinanceRest:
    """One venue's public REST interface.  ``rest_urls`` are origins, ``https://api.binance.com``, the preferred first.

    Raises ``ConfigError`` when the route's certificates cannot be read.
    """

    def __init__(
        self,
        venue: str,
        rest_urls: Sequence[str],
        clock: Clock,
        *,
        timeout_s: float = 10.0,
        route: Route | None = None,
        budget: WeightBudget | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.venue = venue
        self.budget = budget or WeightBudget(LIMIT[venue])
        self.requests = 0
        self._clock = clock
        self._sleep = sleep
        self._client = RestClient(
            # A question may be asked twice: at the first failure it goes to the next address.
            Endpoints([url.rstrip("/") + PREFIX[venue] for url in rest_urls], failures_max=1),
            timeout_s=timeout_s,
            route=route,
            on_answer=self._on_answer,
        )

    async def start(self) -> None:
        """Open the session.  Raises ``ConfigError`` for a proxy of the environment that is none."""
        await self._client.start()

    async def stop(self) -> None:
        await self._client.stop()

    async def get(self, path: str, params: Sequence[tuple[str, str]] = (), *, weight: int) -> bytes:
        """The body of a 2xx answer, once the budget has room.  Raises ``RestError`` for any other."""
        while not self.budget.take(weight, self._clock.now_ns()):
            await self._sleep(max(self.budget.wait_ns(weight, self._clock.now_ns()) / 1e9, 0.001))
        self.requests += 1
        try:
            return await self._client.get(path, params, auth=False)
        except RestError as error:
            if error.status in (418, 429):
                self.budget.refused(error.status, error.retry_after_s, self._clock.now_ns())
            raise

    def _on_answer(self, _status: int, headers: Mapping[str, str]) -> None:
        used = headers.get("X-MBX-USED-WEIGHT-1M", "")
        if used:
            self.budget.told(used, self._clock.now_ns())
