"""A short dense vector whose inner products follow the likeness of `strata`: the first look at very large collections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from netatlas.encoders._strata_features import CHANNELS
from netatlas.encoders._strata_packed import MEASURES, Packed, channels_of, keys_of, weights_of
from netatlas.encoders._strata_view import mix

DIM = 256
_PLACES = 4
"""Places a feature is written to; more make the estimate of rare features steadier and the projection slower."""


def project(many: Packed, fusion: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """``(m, DIM)`` unit vectors by signed hashing (Weinberger et al., ICML 2009, arXiv 0902.2206).

    A feature's value is the root of the share it has in its channel, measure by measure, weighed by fusion: the inner product of two
    vectors estimates a cosine where `strata` has a Jaccard index. Stages, work and costs play no part.
    """
    by_measure = fusion[: len(CHANNELS) * len(MEASURES)].reshape(len(CHANNELS), len(MEASURES))
    share = np.divide(by_measure, many.totals, out=np.zeros_like(many.totals), where=many.totals > 0)  # (m, channels, measures)
    channel = channels_of(many.words)
    value = sum(share[many.owner, channel, i] * weight for i, weight in enumerate(weights_of(many.words)))
    hashes = mix(keys_of(many.words))
    found = np.zeros(len(many) * DIM)
    for place in range(_PLACES):
        code = mix(hashes + np.uint64(place))
        sign = 1.0 - 2.0 * ((code >> np.uint64(32)) & np.uint64(1)).astype(np.float64)
        cell = many.owner * DIM + (code % np.uint64(DIM)).astype(np.int64)
        found += np.bincount(cell, weights=sign * np.sqrt(value), minlength=len(found))
    dense = found.reshape(len(many), DIM)
    return np.asarray(dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12), dtype=np.float32)
