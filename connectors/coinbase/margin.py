"""The futures account as the user stream tells it: positions and dollars that changed, a margin that gets thin.

Owns when the stream's word is looked at.  Fills come by REST a moment after the stream has told of what they did, so
what differs is judged when it has been still for a while; what the account holds is then asked for (``reconcile``).
"""

from __future__ import annotations

import asyncio
import logging

from connectors.coinbase.fills import exact
from connectors.coinbase.reconcile import AccountReconciler
from connectors.coinbase.user_protocol import CoinbaseUserProtocol

STILL_S = 3.0
"""A fill is listed well before that."""
THIN_PERCENT = 20
"""Of the liquidation buffer, below which it is said in the log."""

_log = logging.getLogger(__name__)


class MarginWatch:
    """``look`` is called after each batch of the stream."""

    def __init__(self, venue: str, protocol: CoinbaseUserProtocol, reconciler: AccountReconciler) -> None:
        self._venue = venue
        self._protocol = protocol
        self._reconciler = reconciler
        self._seen: tuple[object, object] = (None, None)
        self._timer: asyncio.TimerHandle | None = None
        self._is_thin = False

    def look(self) -> None:
        protocol = self._protocol
        told = (protocol.positions, protocol.margin.total_usd_balance)
        if told == self._seen:
            return
        self._seen = told
        self._judge_margin()
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(STILL_S, self._compare)

    def _compare(self) -> None:
        self._timer = None
        protocol = self._protocol
        if protocol.positions is not None:
            self._reconciler.compare(protocol.positions, exact(protocol.margin.total_usd_balance))

    def _judge_margin(self) -> None:
        margin = self._protocol.margin
        buffer_percent = exact(margin.liquidation_buffer_percentage)
        is_thin = buffer_percent is not None and buffer_percent < THIN_PERCENT
        if is_thin and not self._is_thin:
            _log.error(
                "%s: the liquidation buffer of the futures account is %s %%: close to being closed by force "
                "(available margin %s)", self._venue, buffer_percent, margin.available_margin[:20],
            )  # fmt: skip
        self._is_thin = is_thin

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
