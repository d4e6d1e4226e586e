"""The bodies of requests for orders at OANDA v20, as typed structs.

Owns their shapes.  Which of our orders becomes which is ``orders``' and ``exits``'; what the venue says is ``wire``'s.

Source: OANDA v20 REST API, order definitions (developer.oanda.com/rest-live-v20/order-df).
"""

from __future__ import annotations

import msgspec

from connectors.oanda.wire import Extensions


class OrderRequest(msgspec.Struct, omit_defaults=True, gc=False):
    """The ``order`` of POST orders.  Units are signed, numbers are texts."""

    type: str
    instrument: str
    units: str
    price: str = ""
    priceBound: str = ""  # noqa: N815
    timeInForce: str = ""  # noqa: N815
    gtdTime: str = ""  # noqa: N815
    positionFill: str = ""  # noqa: N815
    triggerCondition: str = ""  # noqa: N815
    clientExtensions: Extensions | None = None  # noqa: N815


class ExitRequest(msgspec.Struct, omit_defaults=True, gc=False):
    """An order that closes one trade: the ``order`` of POST orders, or, without type and trade, in ``ExitsBody``."""

    type: str = ""
    tradeID: str = ""  # noqa: N815
    price: str = ""
    distance: str = ""
    timeInForce: str = ""  # noqa: N815
    gtdTime: str = ""  # noqa: N815
    triggerCondition: str = ""  # noqa: N815
    clientExtensions: Extensions | None = None  # noqa: N815


class OrderBody(msgspec.Struct, gc=False):
    order: OrderRequest | ExitRequest


class ExitsBody(msgspec.Struct, omit_defaults=True, gc=False):
    """PUT trades/{id}/orders: what is named is made, or takes the place of what the trade has."""

    takeProfit: ExitRequest  # noqa: N815
    stopLoss: ExitRequest | None = None  # noqa: N815
    guaranteedStopLoss: ExitRequest | None = None  # noqa: N815
