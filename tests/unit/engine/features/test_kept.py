"""Folders of compiled kernels: old ones go, used ones stay, also those of other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.features import jit, kept

ROOT = Path(__file__).resolve().parents[4]


def folders(root: Path, count: int) -> list[Path]:
    """As many cache folders, the last one used last."""
    made = []
    for number in range(count):
        folder = root / f"{number:020x}"
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "__pycache__" / "kernel.nbc").write_bytes(b"compiled")
        (folder / "in-use").touch()
        os.utime(folder / "in-use", (1_000 + number, 1_000 + number))
        made.append(folder)
    return made


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_the_ones_used_last_stay(tmp_path: Path) -> None:
    """Three folders more than are kept: the three oldest go, whole; a second time nothing goes."""
    made = folders(tmp_path, kept.KEPT + 3)
    assert kept.prune(tmp_path) == 3
    assert left(tmp_path) == [folder.name for folder in made[3:]]
    assert kept.prune(tmp_path) == 0


def test_a_folder_that_another_process_uses_stays_until_it_ends(tmp_path: Path) -> None:
    """The oldest folder is claimed by a child; it goes only after the child has gone."""
    made = folders(tmp_path, 3)
    code = (
        "import sys; from pathlib import Path; from engine.features import kept;"
        "folder = Path(sys.argv[1]); kept.claim(folder); import os; os.utime(folder / 'in-use', (1, 1));"
        "print('claimed', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(made[0])], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "claimed\n"
        assert kept.prune(tmp_path, 1) == 1
        assert left(tmp_path) == [made[0].name, made[2].name]
        assert (made[0] / "__pycache__" / "kernel.nbc").exists()
    finally:
        child.communicate()
    assert kept.prune(tmp_path, 1) == 1
    assert left(tmp_path) == [made[2].name]


def test_claiming_makes_a_folder_the_one_used_last(tmp_path: Path) -> None:
    """The oldest of three is claimed; another one goes.  A folder without the mark counts by its own time."""
    made = folders(tmp_path, 3)
    (made[1] / "in-use").unlink()
    os.utime(made[1], (5, 5))
    kept.claim(made[0])
    kept.claim(made[0])
    try:
        assert kept.prune(tmp_path, 2) == 1
        assert left(tmp_path) == [made[0].name, made[2].name]
    finally:
        os.close(kept._held.pop(made[0]))


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """Other names, a file with one of our names, a root that is not there."""
    (tmp_path / "notes").mkdir()
    (tmp_path / ("f" * 20)).write_text("")
    assert kept.prune(tmp_path, 0) == 0
    assert left(tmp_path) == ["f" * 20, "notes"]
    assert kept.prune(tmp_path / "nowhere") == 0


def test_a_folder_that_cannot_be_marked_is_used_all_the_same(tmp_path: Path) -> None:
    """It does not exist."""
    kept.claim(tmp_path / "nowhere")
    assert tmp_path / "nowhere" not in kept._held


@pytest.mark.skipif(not jit.enabled(), reason="numba is off")
def test_a_kernel_claims_its_folder(tmp_path: Path) -> None:
    """A process that compiled one holds the lock of exactly that folder."""
    code = (
        "from engine.features import FeatureBuffer, FeatureSpec, jit, kept;"
        "from tests.support.features import instrument;"
        "FeatureBuffer(FeatureSpec(name='x', columns=('close',), window=2), instrument());"
        "print(len(kept._held), kept.prune(jit.cache_root(), 0), len(list(jit.cache_root().iterdir())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KESTREL_NUMBA": "1", "KESTREL_NUMBA_CACHE": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["1", "0", "1"], done.stderr
