"""Sends a command to the gateway of its venue.  Knows venues by name and nothing about their wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.commands import CancelOrder, Command, NewOrder
from engine.events import CancelRejected, OrderRejected
from engine.ports import Publish, VenueGateway


class OrderRouter:
    """A command for a venue without a gateway is refused as an event: it never disappears.

    ``gateways`` is asked again for a venue that is not known yet: connectors make theirs while they start.
    """

    def __init__(self, publish: Publish, gateways: Callable[[], Iterable[VenueGateway]]) -> None:
        self._known: dict[str, VenueGateway] = {}
        self._gateways = gateways
        self._publish = publish

    def _find(self, venue: str) -> VenueGateway | None:
        self._known = {gateway.venue: gateway for gateway in self._gateways()}
        return self._known.get(venue)

    def send(self, command: Command) -> None:
        gateway = self._known.get(command.venue) or self._find(command.venue)
        if isinstance(command, NewOrder):
            if gateway is not None:
                gateway.submit(command)
                return
            self._publish(
                OrderRejected(command.ts_ns, command.ts_ns, command.venue, command.client_order_id, "no_gateway")
            )
            return
        assert type(command) is CancelOrder
        if gateway is not None:
            gateway.cancel(command)
            return
        self._publish(
            CancelRejected(command.ts_ns, command.ts_ns, command.venue, command.client_order_id, "no_gateway")
        )
