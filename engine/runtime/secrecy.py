"""What keeps a process's memory and its own last words to itself: no core file, no traceback that quotes a secret.

Owns what is done once, before anything secret is read.  What counts as a secret is ``engine.runtime.redaction``'s.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from engine.runtime.redaction import redactor

SECRET_VARIABLES: Final = "KESTREL_SECRET_"
CORE_BYTES: Final = 1
"""Not 0: Linux pipes a core to a handler (systemd, apport) whatever the limit is, but for exactly 1."""


def leave_no_core() -> None:
    """From now on neither this process nor its children leave a core dump: it would hold keys, tokens and orders."""
    with contextlib.suppress(ValueError, OSError):  # a lower hard limit, which is as good
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0) if sys.platform != "linux" else (CORE_BYTES, CORE_BYTES))


def redact_tracebacks() -> None:
    """What ends a thread or the process by surprise is printed as ever, without what looks like a secret."""
    sys.excepthook = _print
    threading.excepthook = lambda told: _print(told.exc_type, told.exc_value, told.exc_traceback)


def _print(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, SystemExit):
        return
    text = "".join(traceback.format_exception(kind, error, trace))
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stderr that is closed, or none
        print(redactor.text(text), end="", file=sys.stderr, flush=True)


def without_secrets(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child that needs no secret."""
    found = os.environ if env is None else env
    return {name: value for name, value in found.items() if not name.startswith(SECRET_VARIABLES)}
