"""The transport contract over connectors.picows_ws."""

from __future__ import annotations

from connectors.picows_ws import connect
from tests.support.ws_contract import TransportContract


class TestContract(TransportContract):
    connect = staticmethod(connect)
