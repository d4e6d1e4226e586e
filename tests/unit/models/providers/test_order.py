from __future__ import annotations

from typing import get_args

import pytest
from typer.testing import CliRunner

from models.bundle import load_bundle
from models.commands import app
from models.providers.order import provider_of, providers_of
from models.shipped import Name
from tests.unit.models.providers.conftest import ARTIFACTS

RUN = CliRunner()


def test_every_name_has_its_provider_and_the_cpu_stands_behind_them_all():
    """The configuration's names, in their order, each once."""
    assert [provider_of(name).name for name in get_args(Name)] == list(get_args(Name))
    assert [one.name for one in providers_of(["openvino", "cuda", "openvino"])] == ["openvino", "cuda", "cpu"]
    assert [one.name for one in providers_of(["cpu", "cuda"])] == ["cpu", "cuda"]


def test_verify_tells_provider_device_and_what_a_prediction_takes():
    """The default: the CPU."""
    done = RUN.invoke(app, ["verify", "demo-crypto", "--directory", str(ARTIFACTS)])
    assert done.exit_code == 0
    assert "ok on cpu (CPU, one thread)" in done.stdout
    assert " us each" in done.stdout


def test_verify_takes_the_very_version_that_the_folder_holds(tmp_path):
    """What is advised where an engine is missing; another version of the bundle is none."""
    version = load_bundle(ARTIFACTS / "demo-crypto").version
    where = ["--directory", str(ARTIFACTS), "--registry", str(tmp_path / "registry")]
    done = RUN.invoke(app, ["verify", version, *where])
    assert f"{version}: ok on cpu" in done.stdout
    done = RUN.invoke(app, ["verify", "demo-crypto@000000000000", *where])
    assert "has no version of 'demo-crypto'" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--build"], "tensorrt is not in this runtime"),
        (["--on", "cuda"], "cuda is not in this runtime"),
        (["--on", "tpu"], "provider 'tpu' is unknown"),
    ],
)
def test_verify_refuses_what_this_machine_has_not(tmp_path, arguments, said):
    """No fallback: who asks about a provider wants to know about that one.  No engine is half built."""
    where = ["--directory", str(ARTIFACTS), "--engines", str(tmp_path)]
    done = RUN.invoke(app, ["verify", "demo-crypto", *where, *arguments])
    assert said in str(done.exception)
    assert list(tmp_path.iterdir()) == []
