"""A latency histogram of fixed memory: logarithmic octaves, each split into 32 equal buckets.

Owns counting and reading nanoseconds; relative error of a percentile is at most 1/32 (half of that for the middle of a
bucket).  After Gil Tene's HdrHistogram, without its configurability.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

_SUB_BITS = 5
_SUB = 1 << _SUB_BITS
_MAX_BITS = 40
"""Values of 2**40 ns (18 minutes) and more are counted in the last bucket."""
_SIZE = (_MAX_BITS - _SUB_BITS + 1) << _SUB_BITS


def _index(ns: int) -> int:
    """Bucket of a value in ``[0, 2**40)``: exact below 32 ns, then 32 buckets an octave."""
    shift = ns.bit_length() - _SUB_BITS - 1
    return ns if shift <= 0 else (shift << _SUB_BITS) + (ns >> shift)


def _upper(index: int) -> int:
    """First value above the bucket."""
    shift = (index >> _SUB_BITS) - 1
    return index + 1 if shift <= 0 else ((index & (_SUB - 1)) + _SUB + 1) << shift


class Histogram:
    """Counts of nanoseconds.  ``record`` is the hot path; one thread writes, any thread may read a slightly old state.

    ``sum_ns`` and ``max_ns`` are exact.
    """

    __slots__ = ("_counts", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self._counts = [0] * _SIZE
        self.sum_ns = 0
        self.max_ns = 0

    def record(self, ns: int) -> None:
        """Count one value; negative ones (clocks that disagree) count as 0."""
        if ns > self.max_ns:
            self.max_ns = ns
        elif ns < 0:
            ns = 0
        self.sum_ns += ns
        shift = ns.bit_length() - 6  # _index, inlined: a call would double the cost
        try:
            self._counts[ns if shift <= 0 else (shift << 5) + (ns >> shift)] += 1
        except IndexError:
            self._counts[-1] += 1

    @property
    def count(self) -> int:
        return sum(self._counts)

    def percentile(self, share: float) -> float:
        """The value below which ``share`` (0 to 1) of the counts lie, in ns: a bucket's middle; NaN when empty."""
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share {share!r} is not between 0 and 1")
        counts = self._counts.copy()
        total = sum(counts)
        if total == 0:
            return float("nan")
        rank = max(1, math.ceil(share * total))
        seen = 0
        for index, count in enumerate(counts):
            seen += count
            if seen >= rank:
                lower = _upper(index - 1) if index else 0
                return min((lower + _upper(index) - 1) / 2, float(self.max_ns))
        return float(self.max_ns)

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        for index, count in enumerate(other._counts):
            if count:
                self._counts[index] += count
        self.sum_ns += other.sum_ns
        self.max_ns = max(self.max_ns, other.max_ns)

    def buckets(self) -> Iterator[tuple[int, int]]:
        """``(upper_ns, count)`` of the buckets that hold anything, ascending; ``upper_ns`` is exclusive."""
        for index, count in enumerate(self._counts.copy()):
            if count:
                yield _upper(index), count

    def cumulative(self, first_bits: int = 10, last_bits: int = 33) -> tuple[list[tuple[int, int]], int]:
        """``([(upper_ns, counts below)], all counts)`` at 2**k and 1.5 * 2**k ns: exact, as these are bucket edges."""
        counts = self._counts.copy()
        result: list[tuple[int, int]] = []
        seen = 0
        done = 0
        for bits in range(first_bits, last_bits + 1):
            for edge in (1 << bits, 3 << (bits - 1)):
                stop = _index(edge)
                seen += sum(counts[done:stop])
                done = stop
                result.append((edge, seen))
        return result, seen + sum(counts[done:])


def record_many(histograms: Sequence[Histogram], which: npt.NDArray[np.intp], values_ns: npt.NDArray[np.int64]) -> None:
    """``histograms[which[i]].record(values_ns[i])`` for each i, at a tenth of the cost where there are a thousand."""
    values_ns = np.maximum(values_ns, 0)
    # Exact below 2**53; above, rounding up to a power of two changes nothing: the last bucket holds both.
    shift = np.maximum(np.frexp(values_ns.astype(np.float64))[1] - (_SUB_BITS + 1), 0)
    bucket = np.minimum((shift << _SUB_BITS) + (values_ns >> shift), _SIZE - 1)
    counts = np.bincount(which * _SIZE + bucket, minlength=1)
    filled = counts.nonzero()[0]
    of_all = [histogram._counts for histogram in histograms]
    for index, count in zip(filled.tolist(), counts[filled].tolist(), strict=True):
        of_all[index // _SIZE][index % _SIZE] += count
    sums_ns = np.zeros(len(histograms), np.int64)
    np.add.at(sums_ns, which, values_ns)
    maxima_ns = np.zeros(len(histograms), np.int64)
    np.maximum.at(maxima_ns, which, values_ns)
    for histogram, sum_ns, max_ns in zip(histograms, sums_ns.tolist(), maxima_ns.tolist(), strict=True):
        histogram.sum_ns += sum_ns
        histogram.max_ns = max(histogram.max_ns, max_ns)
