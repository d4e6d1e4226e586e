"""The same kernels without numba, in a process of their own: what they compute, as one number to compare."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from engine.events import MarketEvent
from engine.features import FeatureBuffer, FeatureSpec, jit
from engine.instruments import Instrument

ROOT = Path(__file__).resolve().parents[2]


def digest_of(spec: FeatureSpec, instrument: Instrument, events: Iterable[MarketEvent]) -> str:
    """The float64 bits of every row that these events make."""
    buffer, found = FeatureBuffer(spec, instrument), hashlib.sha256()
    for event in events:
        if buffer.update(event):
            found.update(buffer.newest_values().tobytes())
    return f"{buffer.rows} {found.hexdigest()}"


def plain_digest(module: str, *arguments: str) -> str:
    """What ``digest(*arguments)`` of a test module gives in a process without numba, in which a warning is an error."""
    code = f"import sys; from {module} import digest; from engine.features import jit; "
    code += "assert not jit.enabled(); print(digest(*sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, "KESTREL_NUMBA": "0", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert jit.enabled(), "nothing to compare with"
    return done.stdout.strip()
