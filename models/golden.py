"""The golden tape of a bundle: events, and what features and model must make of them.

Owns its format and the comparison.  The tape is checked whenever a bundle is opened, with the feature kernel and the
runtime that are about to serve it: a bundle that computes something else on this machine never makes a prediction.
The events are generated (``models.trainer.golden``), not recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from engine.errors import BundleError, KestrelError
from engine.events import BookSnapshot, Observation, Quote, Trade
from engine.features.buffer import FeatureBuffer
from engine.features.spec import FeatureSpec
from engine.instruments import Instrument

Float32Array = npt.NDArray[np.float32]
Predict = Callable[[Float32Array], Sequence[float]]
"""One window ``(W, F)`` to all numbers of its prediction, output after output."""


TapeEvent = Quote | Trade | BookSnapshot | Observation


class GoldenTape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``outputs`` holds the numbers of each warm row, row after row; ``window`` is the last one, ``W * F`` little-
    endian float32.  ``spreads``: the deviation of each number that is forecast of ``window``; empty where the bundle
    has no graph of that, or is of before these were kept."""

    instrument: Instrument
    events: tuple[TapeEvent, ...]
    window: bytes
    outputs: tuple[float, ...]
    spreads: tuple[float, ...] = ()


_encoder = msgspec.msgpack.Encoder(decimal_format="string")
_decoder = msgspec.msgpack.Decoder(GoldenTape)


def encode_golden(tape: GoldenTape) -> bytes:
    return _encoder.encode(tape)


def decode_golden(data: bytes) -> GoldenTape:
    """Raises ``msgspec.MsgspecError`` when the bytes are no tape."""
    tape: GoldenTape = _decoder.decode(data)
    return tape


def run_tape(
    spec: FeatureSpec,
    instrument: Instrument,
    events: tuple[TapeEvent, ...],
    predict: Predict,
) -> tuple[Float32Array, list[float]]:
    """The last window and the outputs at each warm row, made by the same buffer as in a session."""
    buffer = FeatureBuffer(spec, instrument)
    outputs: list[float] = []
    for event in events:
        if buffer.update(event) and buffer.warm:
            outputs.extend(predict(buffer.window()))
    return buffer.window().copy(), outputs


def check_tape(
    version: str,
    spec: FeatureSpec,
    tape: GoldenTape,
    predict: Predict,
    *,
    features_rel: float,
    outputs_abs: float,
) -> None:
    """Raises ``BundleError`` when features or outputs are further from the tape than the bundle tolerates."""
    try:
        window, outputs = run_tape(spec, tape.instrument, tape.events, predict)
    except KestrelError as error:
        raise BundleError(f"bundle {version}: its golden tape does not run: {error}", do="train it again") from error
    wanted = np.frombuffer(tape.window, dtype="<f4")
    if len(outputs) != len(tape.outputs) or wanted.size != window.size or not outputs:
        raise BundleError(
            f"bundle {version}: the golden tape gives {len(outputs)} numbers",
            expected=f"{len(tape.outputs)}",
            do="train it again with this version",
        )
    wanted = wanted.reshape(window.shape)
    # Relative to the column's size in the window: a value that happens to be near zero has no precision of its own.
    size = np.maximum(np.abs(wanted).max(axis=0), 1e-12)
    error_rel = np.abs(window.astype(np.float64) - wanted) / size
    if not (worst := float(error_rel.max())) <= features_rel:
        column = spec.columns[int(np.unravel_index(np.argmax(error_rel), error_rel.shape)[1])]
        raise BundleError(
            f"bundle {version}: feature {column} is {worst:.2g} off the golden tape",
            expected=f"at most {features_rel:.2g}",
            do="train it again on this version",
        )
    off = np.abs(np.array(outputs) - np.array(tape.outputs))
    if not (worst := float(off.max())) <= outputs_abs:
        raise BundleError(
            f"bundle {version}: a prediction is {worst:.2g} off the golden tape",
            expected=f"at most {outputs_abs:.2g}",
            do="use another execution provider, or train it again",
        )
