"""The error of a file whose bytes are not those that were written.

Owns the one thing that ``data verify`` has to tell from other errors: damage, as opposed to a file that is whole and
means something else than was thought.
"""

from __future__ import annotations

from engine.errors import DataError


class DamagedFile(DataError):  # noqa: N818 - said as users say it
    """Cut off, overwritten, empty, or not readable at all."""
