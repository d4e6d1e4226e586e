"""What is decided of a device.  No GPU is needed: torch keeps its switches without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import DataError
from models.trainer.settings import settings_of
from tests.support.training import candle_settings, write_candles

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.networks.normalisers import PerWindow  # noqa: E402
from models.networks.served import Served  # noqa: E402
from models.trainer import dataset, fit  # noqa: E402
from models.trainer.forward import build_network, make_deterministic  # noqa: E402

ALL = {"bf16": True, "tf32": False, "compile": True, "flash_attention": False}


def told(**fit_told):
    return settings_of(candle_settings("classes", fit=fit_told))


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch says that it sees one; all of its switches are as before at the end."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    flash = torch.backends.cuda.flash_sdp_enabled()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.enable_flash_sdp(flash)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
    torch.use_deterministic_algorithms(True)


@pytest.mark.parametrize("on", [True, False])
def test_tf32_and_flash_attention_are_as_they_are_told(on_a_gpu, on):
    """On a GPU; where an operation has no deterministic form there it warns and goes on."""
    device = make_deterministic(told(gpu={"tf32": on, "flash_attention": on}))
    assert device.type == "cuda"
    assert torch.backends.cuda.matmul.allow_tf32 is on
    assert torch.backends.cudnn.allow_tf32 is on
    assert torch.backends.cuda.flash_sdp_enabled() is on
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_a_cpu_may_be_asked_for_and_a_gpu_that_is_not_there_is_a_line(on_a_gpu, monkeypatch):
    """``device: cpu`` beside a GPU; ``device: cuda`` without one."""
    assert make_deterministic(told(device="cpu")).type == "cpu"
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert make_deterministic(told(device="auto")).type == "cpu"
    with pytest.raises(DataError, match=r"fit.device is cuda, and torch sees no GPU; .*device: auto"):
        make_deterministic(told(device="cuda"))


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_a_gpu_s_switches_change_no_bit_on_a_cpu(tmp_path: Path):
    """bf16 and compile are for steps on a GPU alone; there both are taken, and bf16 only where it is asked for."""
    data = write_candles(tmp_path)
    losses, stages = [], []
    for gpu in ({}, ALL):
        settings = told(gpu=gpu)
        rows = dataset.build(settings, dataset.feature_spec(settings.features), data)
        device = make_deterministic(settings)
        torch.manual_seed(1)
        served = Served(PerWindow(rows.values.shape[1]), build_network(settings, rows))
        stages.append(fit.Stage(rows, settings, served, rows.train, 1, 0, device))
        served.train()
        losses.append(stages[-1].step(stages[-1].loader.next(), stages[-1].values))
    assert torch.equal(*losses)
    asked = [stage._precision() for stage in stages]
    assert not any(isinstance(one, torch.autocast) for one in asked)
    for stage, wanted in zip(stages, (False, True), strict=True):
        stage.device = torch.device("cuda")
        assert isinstance(stage._precision(), torch.autocast) is wanted
    assert stages[1]._precision().fast_dtype is torch.bfloat16
