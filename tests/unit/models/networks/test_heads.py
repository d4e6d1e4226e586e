from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the trainer is not installed: pip install -e '.[train]'")

from models.networks.heads import CLASSES, REGIMES, forecasts, output_count, split_tasks  # noqa: E402


def test_raw_outputs_become_what_they_forecast():
    """Every head on the same kind of raw numbers."""
    raw = torch.tensor([[0.0, -200.0, 1.0, 2.0, 3.0, 4.0], [0.5, 0.0, 0.0, 0.0, 0.0, 0.0]])
    tasks = forecasts("multi_task", raw)
    assert tasks["return"].tolist() == [[0.0], [0.5]]
    torch.testing.assert_close(tasks["volatility"], torch.tensor([[-100.0], [0.0]]).exp())
    torch.testing.assert_close(tasks["regime"].sum(1), torch.ones(2))
    assert tasks["regime"].shape == (2, len(REGIMES))
    assert tasks["regime"][0].argmax() == REGIMES.index("volatile")
    assert forecasts("binary", raw[:, :1])["p_up"].tolist() == [[0.5], [pytest.approx(0.6225, abs=1e-4)]]
    classes = forecasts("three_class", raw[:, :3])["classes"]
    assert classes.shape == (2, len(CLASSES))
    torch.testing.assert_close(classes.sum(1), torch.ones(2))
    assert torch.equal(forecasts("regression", raw[:, :1])["return"], raw[:, :1])
    assert torch.equal(forecasts("multi_horizon", raw)["return"], raw)


def test_the_tasks_are_all_of_the_outputs():
    """Split and put together again."""
    raw = torch.arange(12.0).reshape(2, 6)
    assert torch.equal(torch.cat(list(split_tasks(raw).values()), dim=1), raw)
    assert raw.shape[1] == output_count("multi_task")
