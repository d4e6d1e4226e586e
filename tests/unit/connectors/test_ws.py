"""The transport contract over connectors.ws."""

from __future__ import annotations

from connectors.ws import connect
from tests.support.ws_contract import TransportContract


class TestContract(TransportContract):
    connect = staticmethod(connect)
