"""One daemon on an account of a machine, whatever run folder or user it was started with.

Owns two names among Linux's abstract sockets (``unix(7)``): one is the lock, which the kernel gives to one process and
takes back when that ends, however it ends; the other tells who holds it, to everybody who reads ``/proc/net/unix``.
Daemons in containers with networks of their own do not see each other.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
from pathlib import Path

from engine.errors import SessionLocked

_LISTED = Path("/proc/net/unix")
_WORDS_MAX = 50
"""A name has at most 107 bytes."""


class MachineLock:
    """``account`` names it in words, the same in every process of the machine."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._name = "kestrel-account-" + hashlib.sha256(account.encode()).hexdigest()[:32]
        self._held: list[socket.socket] = []

    def lock(self) -> None:
        """Hold it until ``close``.  Raises ``SessionLocked`` while another process does."""
        if self._held:
            return
        try:
            self._held.append(_bound(self._name))
        except OSError as error:
            raise SessionLocked(
                f"account {self._account} is traded by {self.holder() or 'an unknown process'}",
                expected="one daemon on an account",
                do="stop that one first",
            ) from error
        told = f"{self._name}/process {os.getpid()} of {_user()}"
        self._held.append(_bound(told[: len(self._name) + _WORDS_MAX]))

    def holder(self) -> str:
        """The process that holds it now, in words; empty for none."""
        try:
            names = [line.partition("@")[2] for line in _LISTED.read_text(errors="replace").splitlines()]
        except OSError:
            return ""  # what cannot be asked is found out by locking
        told = [name.partition("/")[2] for name in names if name.startswith(f"{self._name}/")]
        return told[0] if told else "an unknown process" if self._name in names else ""

    def close(self) -> None:
        """Let go of it.  Idempotent."""
        for one in self._held:
            one.close()
        self._held.clear()


def _bound(name: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.bind(b"\0" + name.encode())
    except OSError:
        made.close()
        raise
    return made


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
