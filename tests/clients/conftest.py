"""The environment of the real clients, for every test that runs one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import environment


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """Its interpreter; a machine that cannot install it skips with the reason (CI takes no skip for an answer)."""
    try:
        return environment.python()
    except environment.NoClientsError as error:
        pytest.skip(str(error))
