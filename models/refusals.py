"""Why a version may not be used, when what it holds makes some part of ours or the runtime fail.

Owns the one line that it becomes: whatever a version brings, it is refused by name and nobody else is stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import BundleError, KestrelError
from engine.intents import said


def problem_of(error: Exception) -> str:
    """One line: an error of the product as it says itself, any other by its type and words."""
    return str(error) if isinstance(error, KestrelError) else said(error)


def broken_install(what: str, error: ImportError | OSError) -> KestrelError:
    """Of a library that is there and cannot be loaded: a part of it, or a library of the system, is missing."""
    return KestrelError(
        f"{what} cannot load what it needs: {said(error)}", do="install it again: pip install -e '.[cpu,train]'"
    )


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Raises ``BundleError`` where anything but an error of the product comes out of it."""
    try:
        yield
    except KestrelError:
        raise
    except Exception as error:
        raise BundleError(
            f"bundle {name} cannot be used: {said(error)}",
            expected="a bundle that this version of the program reads and runs",
            do="train it again, or choose another",
        ) from error
