"""A golden tape can be made for every kind of spec, and says the same each time it is run."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import DataError
from engine.events import BookSnapshot, Trade
from engine.features import FeatureSpec, GapPolicy, Sampling
from models.golden import decode_golden, encode_golden, run_tape
from models.trainer.golden import WARM_ROWS, make_tape

SECOND = 1_000_000_000


def predict(window: np.ndarray) -> tuple[float, ...]:
    return (float(window.sum()),)


def spec(sampling: Sampling, *columns: str) -> FeatureSpec:
    return FeatureSpec("g", columns or ("close", "ret_5"), 5, sampling, gap=GapPolicy(flat_rows_max=4))


SPECS = {
    "ticks": spec(Sampling.tick()),
    "time": spec(Sampling.time_bar(SECOND)),
    "time of trades": spec(Sampling.time_bar(SECOND, price="trade")),
    "volume": spec(Sampling.volume_bar(10_000.0)),
    "notional": spec(Sampling.dollar_bar(5e6)),
    "imbalance": spec(Sampling.imbalance_bar(20)),
    "levels": spec(Sampling.tick(), "book_imbalance_10", "imbalance"),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_tape_gives_its_own_outputs_again(name: str) -> None:
    """Made, written, read and run: same window, same outputs, twenty-four of them."""
    wanted = SPECS[name]
    tape = decode_golden(encode_golden(make_tape(wanted, predict)))
    window, outputs = run_tape(wanted, tape.instrument, tape.events, predict)
    assert window.astype("<f4").tobytes() == tape.window
    assert outputs == list(tape.outputs)
    assert len(outputs) == WARM_ROWS
    assert np.ptp(outputs) > 0.0
    assert any(isinstance(event, BookSnapshot) for event in tape.events) == (name == "levels")
    assert any(isinstance(event, Trade) for event in tape.events) == ("trades" in wanted.requires)


def test_a_spec_that_never_gets_warm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars that take more trades than a tape may have."""
    monkeypatch.setattr("models.trainer.golden.EVENTS_MAX", 500)
    with pytest.raises(DataError, match="not warm after 500 generated events"):
        make_tape(spec(Sampling.tick_bar(400)), predict)
