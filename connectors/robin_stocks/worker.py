"""The process that robin_stocks lives in: reads a request, carries it out, writes what is known, and again.

Owns its pipes and what it may not do: it writes nothing to the terminal, no file but a session that was asked for, and
ends with its parent.  Its calls block; nobody else is in this process to be kept waiting.

    python -m connectors.robin_stocks.worker BASE READ_S AUTHORITY
"""

from __future__ import annotations

import os
import signal
import sys

from connectors.robin_stocks.messages import LENGTH_BYTES, Outcome, Told, frame, length_of, read_ask


def main(base: str, read_s: float, authority: str) -> int:
    """Returns at the end of stdin; 3 where the client is not installed."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's matter
    requests, answers = _pipes()
    try:
        from connectors.robin_stocks.calls import Client

        client = Client(base, read_s, authority)
    except ImportError as error:
        name = (error.name or "robin_stocks").partition(".")[0]
        _write(answers, frame(Told(0, Outcome.NOT_SENT, text=f"{name} is not installed")))
        return 3
    _write(answers, frame(Told(0, Outcome.OK)))
    while (head := _read(requests, LENGTH_BYTES)) is not None:
        body = _read(requests, length_of(head))
        if body is None:
            break
        _write(answers, frame(client.carry_out(read_ask(body))))
    return 0


def _pipes() -> tuple[int, int]:
    """Ours, moved away from where the client reads and prints."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return requests, answers


def _read(pipe: int, size: int) -> bytes | None:
    """That many bytes, None at the end."""
    data = b""
    while len(data) < size:
        part = os.read(pipe, size - len(data))
        if not part:
            return None
        data += part
    return data


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3]))
