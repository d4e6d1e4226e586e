"""Which session a client order id is of.

Ids are unique for ever because sessions are; an order that shows itself at a venue names the session that sent it.
"""

from __future__ import annotations

import re
from typing import Final

_ID: Final = re.compile(r"k(\d{8}T\d{6}-[0-9a-f]{4})-\d+", re.ASCII)
"""Of a session that was not given a name of the user's."""


def attached_id(client_order_id: str) -> str:
    """What the exit is called here that a venue makes for an entry; there it has an id that nobody chose."""
    return f"{client_order_id}-x"


def session_of(client_order_id: str) -> str:
    """The session of this program that sent an order; empty where that cannot be told."""
    found = _ID.fullmatch(client_order_id)
    return "" if found is None else found[1]
