"""Ctrl-C before a command has begun: one line and status 130, as later in it.

Importing this is what does it.  ``run.py`` does so first: what else it imports takes a second, in which nothing is
written.  From the command on, ``engine.runtime.process.run_app`` tells it.
"""

from __future__ import annotations

import sys
from types import TracebackType

_before = sys.excepthook


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        _before(kind, error, trace)
        return
    print("kestrel: interrupted", file=sys.stderr)
    sys.exit(130)


sys.excepthook = _tell
