"""Errors a user can cause or meet.  Each says what was seen, what was expected and what to do, in one line.

``run.py`` prints ``str(error)`` and exits with ``exit_code``; a traceback means a defect of ours.
"""

from __future__ import annotations


class KestrelError(Exception):
    """Base of every error that is part of the product."""

    exit_code = 2

    def __init__(self, seen: str, *, expected: str = "", do: str = "") -> None:
        self.seen = seen
        self.expected = expected
        self.do = do
        parts = [seen]
        if expected:
            parts.append(f"expected {expected}")
        if do:
            parts.append(do)
        super().__init__(printable("; ".join(parts)))


def printable(text: str) -> str:
    """Names come from files and venues: what could break a line or command a terminal becomes a space."""
    return "".join(each if each.isprintable() else " " for each in text)


class ConfigError(KestrelError):
    """A setting is unknown, of the wrong type or contradicts another."""


class DataError(KestrelError):
    """A data file is missing, unreadable or not what it should be."""


class BundleError(KestrelError):
    """A model bundle is corrupt, expired, or declared for something else."""


class JournalError(KestrelError):
    """A journal cannot be written or read; nothing is sent while it stands."""


class SessionLocked(KestrelError):  # noqa: N818 - said as users say it
    """Another daemon holds the session folder."""


class VenueError(KestrelError):
    """A venue refused us or cannot be reached."""


class WrongAccount(KestrelError):  # noqa: N818 - said as users say it
    """The account is not the one that was meant, or another daemon's: nothing that is open there is ours to touch."""


class LocalProtocolError(KestrelError):
    """We asked a protocol to send something the venue's rules forbid: our mistake."""


class RemoteProtocolError(KestrelError):
    """The peer sent something outside its protocol: its mistake; counted, never fatal."""


class IllegalTransition(KestrelError):  # noqa: N818 - said as users say it
    """An order state machine met an event its table does not allow."""
