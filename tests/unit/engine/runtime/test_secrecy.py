"""No core file, no traceback with a secret in it, no secret in a child's environment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.runtime.secrecy import CORE_BYTES, without_secrets
from tests.support.daemon import ROOT, environment

DYING = """
import resource, subprocess, sys, threading
from engine.runtime import secrecy
from engine.runtime.redaction import redactor
secrecy.leave_no_core()
secrecy.redact_tracebacks()
redactor.add("correct horse battery")
print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)
subprocess.run([sys.executable, "-c", "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"])
def fail(text):
    raise ValueError("the key is " + text)
thread = threading.Thread(target=fail, args=("correct horse battery",))
thread.start()
thread.join()
fail("correct horse battery, token=abcdefgh12345678")
"""


@pytest.mark.fault("F15")
def test_a_process_that_dies_of_a_defect_shows_where_and_no_secret() -> None:
    """A thread and then the process end by an exception that quotes a key; its limit on cores is a child's too."""
    done = subprocess.run(
        [sys.executable, "-c", DYING], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.splitlines() == [str((CORE_BYTES, CORE_BYTES))] * 2
    assert done.stderr.count("Traceback") == 2
    assert done.stderr.count("the key is [redacted]") == 2
    assert "horse" not in done.stderr  # of code given by -c no line is quoted
    assert "abcdefgh" not in done.stderr


@pytest.mark.fault("F15")
def test_children_that_need_no_secret_are_given_none() -> None:
    """The environment for the exchange, the report, the storing child and the watchdog."""
    assert without_secrets({"PATH": "/bin", "KESTREL_SECRET_X": "s", "KESTREL_DATA": "d"}) == {
        "PATH": "/bin",
        "KESTREL_DATA": "d",
    }
