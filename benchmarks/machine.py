"""On what was measured: processor, cores, system, versions, commit, and how fast and how busy the machine was."""

from __future__ import annotations

import os
import platform
import sysconfig
import time
from typing import Any

from benchmarks.rig import ROOT
from engine.runtime.provenance import git_commit, library_versions, processor


def describe_machine() -> dict[str, Any]:
    """Plain values for ``--json`` and the page.

    ``loop_ns`` is the best time of one pass of an empty counting loop: it tells a slow or shared machine from a fast
    one.  ``load_1m`` is the load average at the start: above 0 others were running.
    """
    return {
        "processor": processor()["model"],
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "python_build": _python_build(),
        "commit": git_commit(ROOT)[:12] + ("+" if git_commit(ROOT).endswith("+") else ""),
        "libraries": library_versions(),
        "scheduling": _scheduling(),
        "loop_ns": round(_loop_ns(), 1),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _scheduling() -> str:
    """Real-time priority flatters a busy machine: it is said when a run had it."""
    names = {os.SCHED_OTHER: "normal", os.SCHED_FIFO: "real-time (fifo)", os.SCHED_RR: "real-time (rr)"}
    return names.get(os.sched_getscheduler(0), "other")


def _python_build() -> str:
    """Whether the interpreter was built with profile-guided optimisation: without it Python code is slower."""
    optimised = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return "built with profile-guided optimisation" if optimised else "built without profile-guided optimisation"


def _loop_ns() -> float:
    passes = 200_000
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter_ns()
        total = 0
        for number in range(passes):
            total += number
        best = min(best, (time.perf_counter_ns() - start) / passes)
    return best
