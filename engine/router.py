"""Sends a command to the gateway of its venue.  Knows venues by name and nothing about their wire."""

from __future__ import annotations

from engine.commands import Command, NewOrder
from engine.events import CancelRejected, OrderRejected
from engine.ports import Publish, VenueGateway


class OrderRouter:
    """A command for a venue without a gateway is refused as an event: it never disappears."""

    def __init__(self, publish: Publish) -> None:
        self._gateways: dict[str, VenueGateway] = {}
        self._publish = publish

    def add(self, gateway: VenueGateway) -> None:
        self._gateways[gateway.venue] = gateway

    def send(self, command: Command) -> None:
        gateway = self._gateways.get(command.venue)
        if isinstance(command, NewOrder):
            if gateway is not None:
                gateway.submit(command)
                return
            self._publish(
                OrderRejected(command.ts_ns, command.ts_ns, command.venue, command.client_order_id, "no_gateway")
            )
            return
        if gateway is not None:
            gateway.cancel(command)
            return
        self._publish(
            CancelRejected(command.ts_ns, command.ts_ns, command.venue, command.client_order_id, "no_gateway")
        )
