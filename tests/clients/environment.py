"""The environment of the real clients: made once, kept under ``var/`` by the hash of what it is made of.

Owns the folder and its making (``make clients``); Ray and MLflow have lists of their own.  What runs inside is
``running``.  Nothing here is imported by the product, and nothing of the product runs in there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements" / "clients.txt"
MLFLOW = ROOT / "requirements" / "mlflow.txt"
_INSTALL_TIMEOUT_S = 900.0


class NoClientsError(Exception):
    """The environment is not there and could not be made; the text is one line."""


def folder(root: Path = ROOT, requirements: Path = REQUIREMENTS) -> Path:
    """Another list of packages or another Python is another environment."""
    made_of = requirements.read_bytes() + sys.version.encode()
    return root / "var" / f"{requirements.stem}-{hashlib.sha256(made_of).hexdigest()[:12]}"


def python(root: Path = ROOT, requirements: Path = REQUIREMENTS) -> Path:
    """The interpreter with the clients; the environment is made when it is not there.

    Two processes may ask at once: one makes it, the other waits.  Raises ``NoClientsError``.
    """
    home = folder(root, requirements)
    ready = home / ".ready"
    home.parent.mkdir(parents=True, exist_ok=True)
    with _alone(home.with_suffix(".lock")):
        if not ready.exists():
            shutil.rmtree(home, ignore_errors=True)
            _make(home, requirements)
            ready.touch()
    return home / "bin" / "python"


def python_before_ours(requirements: Path) -> Path:
    """As ``python``, of packages that run with ours behind them: what is not in the list comes from this one."""
    found = python(requirements=requirements)
    behind = found.parents[1] / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (behind / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return found


def _make(home: Path, requirements: Path) -> None:
    """All or nothing: what failed half-way is removed."""
    where = home.relative_to(home.parents[1])
    print(f"installing {requirements.name} into {where} (once)", file=sys.stderr, flush=True)
    # Our pip installs for it: one more copy of pip would be most of what making the environment costs.
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python")]
    install = [*pip, "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    try:
        for command in (
            [sys.executable, "-m", "venv", "--without-pip", str(home)],
            [*install, "-r", str(requirements)],
        ):
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, env=_clean()
            )
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(home, ignore_errors=True)
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        last = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1] if said else "")
        raise NoClientsError(
            f"the packages of {requirements.name} cannot be installed ({last.strip()}); "
            f"make {requirements.stem} needs a package registry"
        ) from None


def _clean() -> dict[str, str]:
    """Without what would make the new environment see the packages of this one."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> int:
    """``--optional``: a machine without a registry is told so and may go on without the clients.  ``--mlflow``: what
    the trainer's test of MLflow runs in."""
    try:
        if "--mlflow" in arguments:
            python_before_ours(MLFLOW)
        else:
            python()
    except NoClientsError as error:
        print(error, file=sys.stderr)
        return 0 if "--optional" in arguments else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
