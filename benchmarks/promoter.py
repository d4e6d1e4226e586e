"""The operator of the swap benchmark, a process of its own as the command is: each version on its stdin is promoted."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from models.bundle import load_bundle
from models.registry.standing import scope_of
from models.registry.store import Registry


def main() -> int:
    """``promoter.py REGISTRY``; says that it is there, then promotes until its stdin ends."""
    registry = Registry(Path(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        version = line.strip()
        seen = registry.standing(scope_of(load_bundle(registry.path_of(version)).manifest))
        registry.change(seen, "promote", version, who="bench", why="", forced=(), now_ns=time.time_ns())
    return 0


if __name__ == "__main__":
    sys.exit(main())
