"""What makes a test run complete: the recorded data is there, and nothing was skipped that can run here.

Owns the judgement; ``tests/conftest.py`` applies it when the variable ``REQUIRE_EVERY_TEST`` is set, as ``.ci/run``
does.  Elsewhere a test without its data is skipped, so that the suite runs on any checkout.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
REQUIRE: Final = "REQUIRE_EVERY_TEST"
"""No ``KESTREL_`` in front: the program takes those variables for settings."""
FOLDERS: Final = ("ticks", "bars", "lob", "raw_frames")
OF_THE_MACHINE: Final = ("this system allows no private mounts", "no right to mount a small disk here", "needs /proc")
"""Reasons to skip that no checkout can do anything about."""


def required(env: Mapping[str, str] = os.environ) -> bool:
    return env.get(REQUIRE, "") not in ("", "0")


def data_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where recorded market data lies: ``KESTREL_DATA``, else ``shared/data`` beside the checkout."""
    return Path(env.get("KESTREL_DATA") or ROOT.parent / "shared" / "data")


def lack_of_data(folder: Path) -> str:
    """What is missing, in one line; empty when all kinds of files are there."""
    missing = [name for name in FOLDERS if not any((folder / name).glob("*.*"))]
    if not missing:
        return ""
    return f"no recorded market data in {', '.join(f'{folder / name}' for name in missing)}: set KESTREL_DATA"


def avoidable(reasons: Iterable[str]) -> list[str]:
    """Of the reasons why tests were skipped those that are not the machine's, each once."""
    return sorted({reason for reason in reasons if not any(known in reason for known in OF_THE_MACHINE)})
