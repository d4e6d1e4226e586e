from __future__ import annotations

import pytest

from connectors.robinhood import account


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is as slow as the venue might be."""
    monkeypatch.setattr(account, "LISTING_LAG_S", 0.02)
    monkeypatch.setattr(account, "_LOOK_S", 0.1)
    monkeypatch.setattr("connectors.robinhood.watch.SHORTEST_S", 0.05)
