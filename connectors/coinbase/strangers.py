"""Open orders that nobody here has sent: made by hand, by another program, or by a session whose record was lost.

Owns how they are found and told; what becomes of them is followed like any other order (``tracker``).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from connectors.coinbase.fills import exact
from connectors.coinbase.inquiry import Inquiry
from connectors.coinbase.versions import listed_version


async def find_strangers(inquiry: Inquiry, instruments: Mapping[str, str]) -> list[str]:
    """Tell of each once; ids of those whose size cannot be read.

    ``instruments`` maps product ids to canonical instruments.  What came with an entry of ours, or may have, is
    observed: as long as nobody knows, it is held (``exits``).  Raises ``VenueError``.
    """
    unreadable: list[str] = []
    tracker = inquiry.tracker
    tracker.strangers = False
    for product_id, instrument in instruments.items():
        asked = [("product_ids", product_id), ("order_status", "OPEN"), ("limit", "100")]
        for listed in await inquiry.listings.orders(asked):
            known = tracker.get(listed.client_order_id)
            if known is not None and known.ours and known.venue_order_id in ("", listed.order_id):
                if known.closed and (known.is_adopted or not known.accepted):
                    inquiry.observe(listed)  # given up as never arrived, or filled as far as was known, and here it is
                continue
            may_be_exit = tracker.of_venue(listed.order_id) is None and tracker.attachments.unnamed(product_id)
            named = listed.originating_order_id or tracker.attachments.of_exit(listed.order_id) is not None
            if named or may_be_exit:
                inquiry.observe(listed)
                found = tracker.of_venue(listed.order_id)
                if found is not None and (found.ours or found.held):
                    continue
            shown = listed_version(listed)
            if shown is None:
                unreadable.append(listed.order_id)
                continue
            filled_qty = exact(listed.filled_size) or Decimal(0)
            inquiry.emit(
                tracker.find(
                    listed.client_order_id, listed.order_id, instrument, listed.side, shown.qty, filled_qty, shown.px,
                    inquiry.clock.now_ns(),
                )
            )  # fmt: skip
    return unreadable
