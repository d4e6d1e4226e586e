from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.bundle import Bundle, load_bundle
from models.golden import run_tape

ARTIFACTS = Path(__file__).resolve().parents[4] / "models" / "artifacts"


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The shipped crypto bundle; read only."""
    return load_bundle(ARTIFACTS / "demo-crypto")


@pytest.fixture(scope="session")
def window(bundle: Bundle) -> np.ndarray:
    """A real window: the last of the golden tape."""
    return run_tape(bundle.spec, bundle.golden.instrument, bundle.golden.events, lambda _: (0.0,))[0]
