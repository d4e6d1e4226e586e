"""This process as a whole: how it begins, how a coroutine is run in it, and how it ends for whoever called it.

A ``KestrelError`` becomes one line on stderr and a non-zero exit; a traceback is a defect of ours.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import typer
from typer.exceptions import TyperException

from engine import arithmetic, processors
from engine.cli import print_json
from engine.errors import KestrelError
from engine.runtime import secrecy
from engine.runtime.redaction import redactor


def run_app(app: typer.Typer) -> NoReturn:
    """Run the command that the arguments name, then exit: known errors in one line, money never made of floats."""
    for descriptor in (0, 1, 2):
        # Started with a stream closed: its number must not go to a journal file that a library then "prints" into.
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    secrecy.leave_no_core()
    secrecy.redact_tracebacks()
    arithmetic.install()
    try:
        status = app(standalone_mode=False)
        if status == 130:
            print("kestrel: interrupted", file=sys.stderr)
        sys.exit(status if isinstance(status, int) else 0)
    except KestrelError as error:
        _refuse(str(error), error.exit_code)
    except TyperException as error:
        # A wrong option or argument, in one line as well; a bare group of commands has said its help already.
        said = error.format_message().strip()
        if not said:
            sys.exit(error.exit_code)
        path = getattr(getattr(error, "ctx", None), "command_path", "run.py")
        _refuse(f"{said.rstrip('.')}; see: python {path} --help", error.exit_code)
    except KeyboardInterrupt:
        print("kestrel: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away: nothing to tell anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def run_loop(make: Callable[[], Any], *, uvloop: bool, cpu: int | None = None) -> Any:
    """Run a coroutine to its end, on uvloop where it is wanted and installed, and on a processor of its own where one
    is named.  Raises ``ConfigError`` where that one cannot be had."""
    factory = None
    if uvloop:
        try:
            import uvloop as fast

            factory = fast.new_event_loop
        except ImportError:
            factory = None
    with processors.loop_on(cpu), asyncio.Runner(loop_factory=factory) as runner:
        if cpu is not None:  # threads take after the one that starts them
            with processors.beside():
                loop = runner.get_loop()
            loop.set_default_executor(ThreadPoolExecutor(initializer=processors.step_aside))
        return runner.run(make())


def _refuse(text: str, status: int) -> NoReturn:
    text = redactor.text(text)  # what a venue or a user's own code said may quote a key
    print(f"kestrel: {text}", file=sys.stderr)
    if "--json" in sys.argv:
        print_json({"error": text})
    sys.exit(status)
