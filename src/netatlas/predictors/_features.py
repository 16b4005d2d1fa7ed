"""What the trees look at: sums on a logarithmic scale, shares of the whole, and ratios."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netatlas.graph.work import CLASSES, COLUMNS, COMPUTE, SUMS

Floats = npt.NDArray[np.float64]

_UNIT = 1e3
"""Sums below a thousand MACs or bytes are as good as nothing."""

_MACS = [COLUMNS.index(f"{name}.macs") for name in COMPUTE]
_WEIGHTS = [COLUMNS.index(f"{name}.weights") for name in COMPUTE]
_BYTES = [COLUMNS.index(f"{name}.bytes") for name in CLASSES]
_COUNTS = [COLUMNS.index(f"{name}.count") for name in CLASSES]
_LOGGED = [i for i, name in enumerate(COLUMNS) if name not in ("unknown", "classifier")]
_SUMMED = [i for i, name in enumerate(COLUMNS) if name in SUMS and not name.endswith(".count")]


def features(work: Floats) -> Floats:
    """Features ``(n, p)`` of vectors of `netatlas.graph.work.work` ``(n, len(COLUMNS))``; finite for any of them."""
    scaled = work.copy()
    scaled[:, _SUMMED] /= _UNIT
    logs = np.log1p(scaled[:, _LOGGED])
    macs, moved, counts = work[:, _MACS], work[:, _BYTES], work[:, _COUNTS]
    totals = [np.log1p(part.sum(axis=1, keepdims=True)) for part in (macs, work[:, _WEIGHTS], moved, counts)]
    ratios = [totals[0] - totals[1], totals[2] - totals[0], totals[0] - totals[3]]
    return np.concatenate([logs, _shares(macs), _shares(moved), _shares(counts), *totals, *ratios], axis=1)


def _shares(parts: Floats) -> Floats:
    return np.asarray(parts / np.maximum(parts.sum(axis=1, keepdims=True), 1.0))


GROUPS = (
    "dense convolutions",
    "grouped convolutions",
    "linear layers",
    "products",
    "element-wise traffic",
    "weights",
    "operators",
)
"""Parts of the time that machines differ in."""


def time_shares(work: Floats) -> Floats:
    """Share of every group of `GROUPS` in the time on a nominal machine, ``(n, len(GROUPS))``, rows summing to one.

    The nominal speeds are those of one core: 100 GMAC/s in dense products, a fifth of it where channels are few, 10 GB/s, 10 us an
    operator.
    """

    def total(kind: str, *names: str) -> Floats:
        return np.asarray(work[:, [COLUMNS.index(f"{name}.{kind}") for name in names]].sum(axis=1))

    parts = [
        total("macs", "pointwise", "spatial") / 1e5, total("macs", "grouped", "depthwise") / 2e4, total("macs", "linear") / 1e5,
        total("macs", "matmul", "attention", "recurrent") / 5e4, total("bytes", *CLASSES[len(COMPUTE) :]) / 1e4,
        total("weights", *COMPUTE) / 1e4, total("count", *CLASSES) * 10.0,
    ]  # fmt: skip
    whole = np.stack(parts, axis=1)
    return np.asarray(whole / np.maximum(whole.sum(axis=1, keepdims=True), 1e-9))
