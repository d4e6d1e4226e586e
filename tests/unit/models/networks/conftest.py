from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Networks of this size are slower on several threads, and several test processes share the machine."""
    torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
