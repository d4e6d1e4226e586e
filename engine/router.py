"""Sends a command to the gateway of its venue.  Knows venues by name and nothing about their wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.commands import CancelOrder, Command, NewOrder, ReplaceOrder
from engine.events import CancelRejected, InputEvent, OrderRejected, ReplaceRejected
from engine.ports import EditingGateway, Publish, VenueGateway
from engine.refusals import NO_GATEWAY


def refusal_of(command: Command, reason: str, text: str = "", ts_ns: int = 0) -> InputEvent:
    """What is told of a command that did not leave; ``ts_ns``: where not the time of its decision."""
    at_ns, venue, name = ts_ns or command.ts_ns, command.venue, command.client_order_id
    if isinstance(command, NewOrder):
        return OrderRejected(at_ns, at_ns, venue, name, reason, text)
    if type(command) is ReplaceOrder:
        return ReplaceRejected(at_ns, at_ns, venue, name, reason, text)
    return CancelRejected(at_ns, at_ns, venue, name, reason)


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
        if gateway is None:
            self._publish(refusal_of(command, NO_GATEWAY))
        elif isinstance(command, NewOrder):
            gateway.submit(command)
        elif type(command) is CancelOrder:
            gateway.cancel(command)
        else:
            assert type(command) is ReplaceOrder
            if isinstance(gateway, EditingGateway):
                gateway.replace(command)
            else:
                self._publish(refusal_of(command, "unsupported"))
