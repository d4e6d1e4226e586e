"""The set of columns that look at the last 128 rows as a signal.

Owns the choice only; the columns are in ``wavelets``, ``fourier``, ``fractal`` and ``entropy``.
"""

from __future__ import annotations

from typing import Final

from engine.features.columns import entropy, fourier, fractal, wavelets

SPECTRAL: Final = (
    *(f"wavelet_energy(4,{level},128)" for level in range(1, wavelets.deepest(4, 128) + 1)),
    "wavelet_rest(4,128)",
    *(f"fft_{part}({rank},128,5)" for part in ("magnitude", "phase", "frequency") for rank in (1, 2, 3)),
    "hurst_128",
    "higuchi(128,5)",
    "box_dimension(128)",
    "sample_entropy(128,10)",
)
"""The costly ones each fifth or tenth row: what they tell changes more slowly."""

__all__ = ["SPECTRAL", "entropy", "fourier", "fractal", "wavelets"]
