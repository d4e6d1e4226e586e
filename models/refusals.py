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


@contextmanager
def needing(what: str, extra: str = "train") -> Iterator[None]:
    """Raises ``KestrelError`` where a library that ``what`` is done with is missing, or is there and cannot be loaded:
    half of it, or a library of the system that it needs, is not."""
    install = f"pip install -e '.[cpu,{extra}]'"
    try:
        yield
    except ModuleNotFoundError as error:
        raise KestrelError(f"{what} needs {error.name or error}", expected=f"the extra {extra}", do=install) from None
    except (ImportError, OSError) as error:
        # What the loader of shared libraries raises has no number; a full disk, or a file that is not there, has one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise KestrelError(
            f"{what} cannot load what it needs: {said(error)}", do=f"install it again: {install}"
        ) from None


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
